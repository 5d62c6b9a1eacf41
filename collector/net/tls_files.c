/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_files.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/tls_error.h"

/* ---- reading -------------------------------------------------------------------------------- */

static int fail_file(struct ut_tls_error *error, const struct ut_tls_pem *pem, const char *why)
{
    error->key = pem->key;
    error->passing = true;
    (void)snprintf(error->text, sizeof(error->text), "%s %s", pem->name, why);
    return -EINVAL;
}

static int read_open(struct ut_tls_pem *pem, int fd, struct ut_tls_error *error)
{
    struct stat stat;
    if (fstat(fd, &stat) != 0 || !S_ISREG(stat.st_mode))
        return fail_file(error, pem, "is no file");
    if (stat.st_size > UT_TLS_FILE_MAX)
        return fail_file(error, pem, "is larger than 1 MiB: no PEM file is");
    pem->data = OPENSSL_malloc((size_t)stat.st_size + 1);
    if (pem->data == NULL)
        return fail_file(error, pem, "cannot be read: out of memory");
    ssize_t got = 0;
    while (pem->size < (size_t)stat.st_size) {
        got = read(fd, pem->data + pem->size, (size_t)stat.st_size - pem->size);
        if (got <= 0)
            break;
        pem->size += (size_t)got;
    }
    return got < 0 ? fail_file(error, pem, strerror(errno)) : 0;
}

static int read_pem(struct ut_tls_pem *pem, const char *file, const char *text,
                    struct ut_tls_error *error)
{
    pem->name = file != NULL ? file : pem->key;
    if (text != NULL) {
        pem->size = strlen(text);
        pem->data = OPENSSL_memdup(text, pem->size + 1);
        return pem->data != NULL ? 0 : fail_file(error, pem, "cannot be read: out of memory");
    }
    if (file == NULL)
        return 0;
    /* A FIFO in the place of the file must not hold the loop. */
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        char why[128];
        (void)snprintf(why, sizeof(why), "cannot be read: %s", strerror(errno));
        return fail_file(error, pem, why);
    }
    int result = read_open(pem, fd, error);
    close(fd);
    return result;
}

int ut_tls_files_read(struct ut_tls_files *files, const struct ut_tls_settings *settings,
                      enum ut_tls_role role, struct ut_tls_error *error)
{
    const char *ca = role == UT_TLS_SERVER ? "client_ca_file" : "ca_file";
    *files = (struct ut_tls_files){
        .cert = {.key = settings->cert_pem != NULL ? "cert_pem" : "cert_file"},
        .key = {.key = settings->key_pem != NULL ? "key_pem" : "key_file"},
        .ca = {.key = settings->ca_pem != NULL ? "ca_pem" : ca},
    };
    int result = read_pem(&files->cert, settings->cert_file, settings->cert_pem, error);
    if (result == 0)
        result = read_pem(&files->key, settings->key_file, settings->key_pem, error);
    if (result == 0)
        result = read_pem(&files->ca, settings->ca_file, settings->ca_pem, error);
    return result;
}

void ut_tls_files_done(struct ut_tls_files *files)
{
    OPENSSL_free(files->cert.data);
    OPENSSL_clear_free(files->key.data, files->key.size);
    OPENSSL_free(files->ca.data);
}

int ut_tls_files_digest(const struct ut_tls_files *files, uint8_t digest[UT_TLS_DIGEST])
{
    const struct ut_tls_pem *const all[] = {&files->cert, &files->key, &files->ca};
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    bool good = hash != NULL && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1;
    for (size_t i = 0; good && i < sizeof(all) / sizeof(all[0]); i++) {
        good = EVP_DigestUpdate(hash, &all[i]->size, sizeof(all[i]->size)) == 1;
        if (good && all[i]->size > 0)
            good = EVP_DigestUpdate(hash, all[i]->data, all[i]->size) == 1;
    }
    good = good && EVP_DigestFinal_ex(hash, digest, NULL) == 1;
    EVP_MD_CTX_free(hash);
    return good ? 0 : -ENOMEM;
}

/* ---- using ---------------------------------------------------------------------------------- */

static int fail_openssl(struct ut_tls_error *error, const struct ut_tls_pem *pem)
{
    char why[160];
    (void)snprintf(why, sizeof(why), "cannot be used: %s", ut_tls_error_reason(ERR_peek_error()));
    return fail_file(error, pem, why);
}

/* There is nobody to ask for one. */
static int no_passphrase(char *room, int size, int writing, void *arg)
{
    (void)room, (void)size, (void)writing, (void)arg;
    return -1;
}

/* The next certificate of the text, NULL behind the last; *ret_bad: what follows is none. */
static X509 *next_certificate(BIO *text, bool *ret_bad)
{
    ERR_clear_error();
    X509 *certificate = PEM_read_bio_X509(text, NULL, no_passphrase, NULL);
    unsigned long code = ERR_peek_last_error();
    *ret_bad = certificate == NULL &&
               !(ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE);
    return certificate;
}

static int use_chain(const struct ut_tls_pem *pem, BIO *text, SSL_CTX *ssl,
                     struct ut_tls_error *error)
{
    bool bad;
    X509 *certificate = next_certificate(text, &bad);
    if (certificate == NULL)
        return fail_file(error, pem, "has no certificate in PEM form");
    int used = SSL_CTX_use_certificate(ssl, certificate);
    X509_free(certificate);
    if (used != 1)
        return fail_openssl(error, pem);
    while ((certificate = next_certificate(text, &bad)) != NULL) {
        if (SSL_CTX_add0_chain_cert(ssl, certificate) != 1) {
            X509_free(certificate);
            return fail_openssl(error, pem);
        }
    }
    return bad ? fail_file(error, pem, "has a damaged certificate behind the first") : 0;
}

static int use_key(const struct ut_tls_files *files, SSL_CTX *ssl, struct ut_tls_error *error)
{
    const struct ut_tls_pem *pem = &files->key;
    BIO *text = BIO_new_mem_buf(pem->data, (int)pem->size);
    EVP_PKEY *key = text != NULL ? PEM_read_bio_PrivateKey(text, NULL, no_passphrase, NULL) : NULL;
    BIO_free(text);
    if (key == NULL)
        return fail_file(error, pem,
                         "has no private key in PEM form, or one that is encrypted: "
                         "write it without a passphrase");
    int result = 0;
    if (X509_check_private_key(SSL_CTX_get0_certificate(ssl), key) != 1) {
        result = fail_file(error, pem, "is not the key of the certificate in ");
        size_t had = strlen(error->text);
        (void)snprintf(error->text + had, sizeof(error->text) - had, "%s", files->cert.name);
    } else if (SSL_CTX_use_PrivateKey(ssl, key) != 1) {
        result = fail_openssl(error, pem);
    }
    EVP_PKEY_free(key);
    return result;
}

int ut_tls_files_use_certificate(const struct ut_tls_files *files, SSL_CTX *ssl,
                                 struct ut_tls_error *error)
{
    BIO *text = BIO_new_mem_buf(files->cert.data, (int)files->cert.size);
    int result = text != NULL ? use_chain(&files->cert, text, ssl, error) : -ENOMEM;
    BIO_free(text);
    return result == 0 ? use_key(files, ssl, error) : result;
}

static int use_authorities(const struct ut_tls_pem *pem, BIO *text, SSL_CTX *ssl,
                           struct ut_tls_error *error)
{
    X509_STORE *store = SSL_CTX_get_cert_store(ssl);
    X509 *certificate;
    bool bad, any = false;
    while ((certificate = next_certificate(text, &bad)) != NULL) {
        /* The second is the list of names that a server tells its clients. */
        bool used = X509_STORE_add_cert(store, certificate) == 1 &&
                    SSL_CTX_add_client_CA(ssl, certificate) == 1;
        X509_free(certificate);
        if (!used)
            return fail_openssl(error, pem);
        any = true;
    }
    if (bad || !any)
        return fail_file(error, pem,
                         bad ? "has a damaged certificate" : "has no certificate in PEM form");
    return 0;
}

int ut_tls_files_use_ca(const struct ut_tls_files *files, SSL_CTX *ssl, struct ut_tls_error *error)
{
    BIO *text = BIO_new_mem_buf(files->ca.data, (int)files->ca.size);
    int result = text != NULL ? use_authorities(&files->ca, text, ssl, error) : -ENOMEM;
    BIO_free(text);
    /* An intermediate in the file is trusted by itself, as in the Collector. */
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ssl), X509_V_FLAG_PARTIAL_CHAIN);
    return result;
}
