/* SPDX-License-Identifier: Apache-2.0 */
/* The names of a peer's certificate (RFC 5280 4.1.2.6 and 4.2.1.6). */
#include <openssl/x509v3.h>
#include <string.h>

#include "net/tls.h"

struct search {
    bool (*visit)(void *arg, enum ut_tls_name kind, ut_slice name);
    void *arg;
};

static bool show(const struct search *search, enum ut_tls_name kind, const void *data, int size)
{
    if (size <= 0 || memchr(data, 0, (size_t)size) != NULL)
        return false;
    return search->visit(search->arg, kind, ut_slice_of(data, (size_t)size));
}

static bool show_common(const struct search *search, X509 *certificate)
{
    X509_NAME *subject = X509_get_subject_name(certificate);
    bool found = false;
    for (int at = -1;
         !found && (at = X509_NAME_get_index_by_NID(subject, NID_commonName, at)) >= 0;) {
        unsigned char *text;
        int size =
            ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
        if (size < 0)
            continue;
        found = show(search, UT_TLS_NAME_COMMON, text, size);
        OPENSSL_free(text);
    }
    return found;
}

static bool show_alternative(const struct search *search, const GENERAL_NAME *name)
{
    static const struct {
        int type;
        enum ut_tls_name kind;
    } kinds[] = {
        {GEN_DNS, UT_TLS_NAME_DNS}, {GEN_URI, UT_TLS_NAME_URI}, {GEN_EMAIL, UT_TLS_NAME_EMAIL}};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (name->type == kinds[i].type)
            return show(search, kinds[i].kind, ASN1_STRING_get0_data(name->d.ia5),
                        ASN1_STRING_length(name->d.ia5));
    }
    return false;
}

bool ut_tls_find_name(const struct ut_tls *tls,
                      bool (*visit)(void *arg, enum ut_tls_name kind, ut_slice name), void *arg)
{
    const struct search search = {visit, arg};
    X509 *certificate = SSL_get0_peer_certificate(tls->ssl);
    if (certificate == NULL)
        return false;
    bool found = show_common(&search, certificate);
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; !found && i < sk_GENERAL_NAME_num(names); i++)
        found = show_alternative(&search, sk_GENERAL_NAME_value(names, i));
    GENERAL_NAMES_free(names);
    return found;
}
