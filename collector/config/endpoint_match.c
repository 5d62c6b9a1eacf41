/* SPDX-License-Identifier: Apache-2.0 */
#include "config/endpoint_match.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/slice.h"
#include "config/scalar.h"
#include "model/address.h"

struct place {
    char host[256];
    uint64_t port;
    bool is_local; /* loopback or wildcard */
    bool is_numeric;
    struct ut_address address;
};

/* ::, ::1, 0.0.0.0 and 127.0.0.0/8 */
static bool is_local_address(const struct ut_address *address)
{
    static const uint8_t zero[15];
    const uint8_t *bytes = address->bytes;
    if (ut_address_is_v4(address))
        return bytes[12] == 127 || memcmp(bytes + 12, zero, 4) == 0;
    return memcmp(bytes, zero, 15) == 0 && bytes[15] <= 1;
}

/* Splits "scheme://host:port/path"; false where there is no port. */
static bool split(struct place *ret, const char *text)
{
    const char *scheme = strstr(text, "://");
    if (scheme != NULL)
        text = scheme + 3;
    size_t size = strcspn(text, "/");
    const char *colon = memrchr(text, ':', size);
    char port[8];
    if (colon == NULL || (size_t)(colon - text) >= sizeof(ret->host))
        return false;
    size_t port_size = (size_t)(text + size - colon - 1);
    if (port_size >= sizeof(port))
        return false;
    memcpy(port, colon + 1, port_size);
    port[port_size] = '\0';
    if (ut_scalar_uint(&ret->port, port) != NULL || ret->port == 0)
        return false;
    memcpy(ret->host, text, (size_t)(colon - text));
    ret->host[colon - text] = '\0';
    return true;
}

static bool read_place(struct place *ret, const char *text)
{
    if (!split(ret, text))
        return false;
    ret->is_numeric = ut_address_parse(&ret->address, ut_slice_str(ret->host)) == 0;
    ret->is_local = ret->host[0] == '\0' || strcasecmp(ret->host, "localhost") == 0 ||
                    (ret->is_numeric && is_local_address(&ret->address));
    return true;
}

bool ut_config_same_endpoint(const char *listener, const char *destination)
{
    struct place a, b;
    if (!read_place(&a, listener) || !read_place(&b, destination) || a.port != b.port)
        return false;
    if (a.is_local && b.is_local)
        return true;
    if (a.is_numeric && b.is_numeric)
        return ut_address_equal(&a.address, &b.address);
    return strcasecmp(a.host, b.host) == 0;
}
