/* SPDX-License-Identifier: Apache-2.0 */
/* Whether two addresses of a configuration lead to the same socket on this host. */
#ifndef UT_CONFIG_ENDPOINT_MATCH_H
#define UT_CONFIG_ENDPOINT_MATCH_H

#include <stdbool.h>

/* Texts as in a configuration: "host:port", "[v6]:port", ":port", with or without "http://" and a
 * path. localhost, every loopback address and the wildcards count as one host. Texts without a port
 * match nothing, and so does port 0. */
bool ut_config_same_endpoint(const char *listener, const char *destination);

#endif
