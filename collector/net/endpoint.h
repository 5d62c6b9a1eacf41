/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Endpoints as people write them: "host:port", "10.0.0.7:4317", "[::1]:4317", ":4317", each with or
 * without "http://" or "https://" before it and one "/" behind it.
 */
#ifndef UT_NET_ENDPOINT_H
#define UT_NET_ENDPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"

#define UT_ENDPOINT_HOST 254 /* bytes, with the terminator */

enum ut_endpoint_scheme { UT_SCHEME_NONE, UT_SCHEME_HTTP, UT_SCHEME_HTTPS, UT_SCHEME_UNIX };

struct ut_endpoint_text {
    /* Without brackets; "" where only a port was named; of a unix socket the whole text. */
    char host[UT_ENDPOINT_HOST];
    uint16_t port;
    enum ut_endpoint_scheme scheme;
    bool all_addresses; /* of a destination: calls are spread over all that the name has */
};

/* `default_port` stands in where none is named; 0: one must be. 0, or -EINVAL with, in `*ret_error`
 * (may be NULL), what is wrong, a constant text. */
int ut_endpoint_parse(struct ut_endpoint_text *ret, const char *text, uint16_t default_port,
                      const char **ret_error) UT_MUST_USE;

/* Where to send: as above with a host, and, as gRPC has them, "dns:///host:port" or "dns:host:port"
 * for all addresses of a name, and a unix socket (unix_socket.h). */
int ut_destination_parse(struct ut_endpoint_text *ret, const char *text, uint16_t default_port,
                         const char **ret_error) UT_MUST_USE;

#endif
