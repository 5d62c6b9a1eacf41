/* SPDX-License-Identifier: Apache-2.0 */
/* Network addresses, normalised to 16 bytes at every door: IPv4 as ::ffff:a.b.c.d. */
#ifndef UT_MODEL_ADDRESS_H
#define UT_MODEL_ADDRESS_H

#include <stdbool.h>

#include "base/check.h"
#include "base/slice.h"

struct ut_address {
    uint8_t bytes[16];
};

struct ut_endpoint {
    struct ut_address address;
    uint16_t port; /* host order; 0: unknown */
};

#define UT_ADDRESS_TEXT 48 /* bytes, with the terminator */

/* Numeric text to an address: IPv4, IPv6 in brackets or bare, with or without a zone; v4-mapped
 * becomes IPv4. 0, or -EINVAL for a host name or anything else. */
int ut_address_parse(struct ut_address *ret, ut_slice text) UT_MUST_USE;
/* "10.0.0.7" or "2001:db8::1"; returns `out`. */
const char *ut_address_text(char out[UT_ADDRESS_TEXT], const struct ut_address *address);
struct ut_address ut_address_v4(const uint8_t bytes[4]);
bool ut_address_is_v4(const struct ut_address *address);
static inline bool ut_address_equal(const struct ut_address *a, const struct ut_address *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

#endif
