/* SPDX-License-Identifier: Apache-2.0 */
/* A quick test of attribute keys: the walk marks the spans that may name a network end. */
#ifndef UT_OTLP_END_KEYS_H
#define UT_OTLP_END_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UT_SIZE_BIT(key) (UINT32_C(1) << (sizeof(key) - 1))

/* Whether a key may be one of those that name a network end (span_reader.c holds the list): its
 * first letter and its length rule out nearly all others; url.path, which is common, is told from
 * url.full by one letter more. */
static inline bool ut_end_key_may_be(const uint8_t *key, size_t size)
{
    static const uint32_t sizes_by_letter['u' + 1] = {
        ['c'] = UT_SIZE_BIT("client.address") | UT_SIZE_BIT("client.port"),
        ['h'] = UT_SIZE_BIT("http.url"),
        ['n'] = UT_SIZE_BIT("network.peer.address") | UT_SIZE_BIT("network.peer.port") |
                UT_SIZE_BIT("net.sock.peer.addr") | UT_SIZE_BIT("net.peer.ip") |
                UT_SIZE_BIT("net.peer.port") | UT_SIZE_BIT("network.local.address") |
                UT_SIZE_BIT("network.local.port"),
        ['s'] = UT_SIZE_BIT("server.address") | UT_SIZE_BIT("server.port"),
        ['u'] = UT_SIZE_BIT("url.full"),
    };
    return size - 1 < 31 && key[0] <= 'u' && (sizes_by_letter[key[0]] >> size & 1) != 0 &&
           (key[0] != 'u' || key[4] == 'f');
}

#endif
