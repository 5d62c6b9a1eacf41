/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server's session tickets hold the session itself, encrypted (RFC 5077 4, RFC 8446 4.6.1); the
 * server keeps nothing per session. A ticket's key is found by its name; an unknown name is a full
 * handshake.
 */
#include "net/tls_tickets.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/rand.h>
#include <stdbool.h>
#include <string.h>

static bool make_key(struct ut_tls_ticket_key *key)
{
    return RAND_bytes(key->name, sizeof(key->name)) == 1 &&
           RAND_priv_bytes(key->cipher, sizeof(key->cipher)) == 1 &&
           RAND_priv_bytes(key->mac, sizeof(key->mac)) == 1;
}

void ut_tls_tickets_rotate(struct ut_tls_tickets *tickets)
{
    struct ut_tls_ticket_key fresh;
    if (make_key(&fresh)) { /* else the old one serves on */
        tickets->keys[1] = tickets->keys[0];
        tickets->keys[0] = fresh;
    }
    OPENSSL_cleanse(&fresh, sizeof(fresh));
}

/* Index of the key of that name, or -1. */
static int find_key(const struct ut_tls_tickets *tickets, const uint8_t name[16])
{
    for (int i = 0; i < 2; i++) {
        if (memcmp(tickets->keys[i].name, name, 16) == 0)
            return i;
    }
    return -1;
}

static bool init_ticket(const struct ut_tls_tickets *tickets, const struct ut_tls_ticket_key *key,
                        EVP_CIPHER_CTX *cipher, const uint8_t *iv, EVP_MAC_CTX *mac, int encrypt)
{
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)(uintptr_t)key->mac,
                                          sizeof(key->mac)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_CipherInit_ex2(cipher, tickets->cipher, key->cipher, iv, encrypt, NULL) == 1 &&
           EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* NOLINTNEXTLINE(readability-function-size): OpenSSL's signature. Answers -1: no ticket; 0: an
 * unknown one; 1: good; 2: good, and to be replaced. */
static int on_ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                         EVP_MAC_CTX *mac, int encrypt)
{
    const struct ut_tls_tickets *tickets = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    int index = 0;
    if (encrypt) {
        memcpy(name, tickets->keys[0].name, sizeof(tickets->keys[0].name));
        if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(tickets->cipher)) != 1)
            return -1;
    } else {
        index = find_key(tickets, name);
        if (index < 0)
            return 0;
    }
    if (!init_ticket(tickets, &tickets->keys[index], cipher, iv, mac, encrypt))
        return -1;
    /* A ticket of TLS 1.3 is used once (RFC 8446 C.4). */
    return index == 0 && (encrypt || SSL_version(ssl) < TLS1_3_VERSION) ? 1 : 2;
}

/* Whether the certificate that the session was opened with is still valid. */
static bool is_peer_valid(SSL_SESSION *session)
{
    const X509 *peer = SSL_SESSION_get0_peer(session);
    return peer == NULL || X509_cmp_current_time(X509_get0_notAfter(peer)) > 0;
}

/* NOLINTNEXTLINE(readability-function-size): OpenSSL's signature. */
static SSL_TICKET_RETURN on_ticket_opened(SSL *ssl, SSL_SESSION *session, const unsigned char *name,
                                          size_t name_size, SSL_TICKET_STATUS status, void *arg)
{
    (void)ssl, (void)name, (void)name_size, (void)arg;
    switch (status) {
    case SSL_TICKET_EMPTY:
    case SSL_TICKET_NO_DECRYPT:
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    case SSL_TICKET_SUCCESS:
    case SSL_TICKET_SUCCESS_RENEW:
        if (!is_peer_valid(session))
            return SSL_TICKET_RETURN_IGNORE_RENEW;
        return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
    default:
        return SSL_TICKET_RETURN_ABORT;
    }
}

int ut_tls_tickets_init(struct ut_tls_tickets *tickets, SSL_CTX *ssl)
{
    static const unsigned char id[] = "undertrace";
    tickets->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    if (tickets->cipher == NULL || !make_key(&tickets->keys[0]) || !make_key(&tickets->keys[1]))
        return -ENOMEM;
    SSL_CTX_set_app_data(ssl, tickets);
    SSL_CTX_set_session_id_context(ssl, id, sizeof(id) - 1);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_timeout(ssl, UT_TLS_TICKET_S);
    SSL_CTX_set_num_tickets(ssl, 1);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ssl, on_ticket_key);
    SSL_CTX_set_session_ticket_cb(ssl, NULL, on_ticket_opened, NULL);
    return 0;
}

void ut_tls_tickets_done(struct ut_tls_tickets *tickets)
{
    EVP_CIPHER_free(tickets->cipher);
    OPENSSL_cleanse(tickets->keys, sizeof(tickets->keys));
}
