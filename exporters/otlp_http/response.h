/* SPDX-License-Identifier: Apache-2.0 */
/* The partial_success of a backend's answer over OTLP/HTTP. Pure; nothing in it is trusted. */
#ifndef UT_OTLP_HTTP_RESPONSE_H
#define UT_OTLP_HTTP_RESPONSE_H

#include "net/http_outcome.h"

/* Reads the body of an answer 2xx to `span_count` spans, in the encoding that its Content-Type
 * names: how many of them were rejected goes to `ret`, the words to `text`. */
void ut_otlp_http_read_success(const char *type, ut_slice body, uint32_t span_count,
                               struct ut_outcome *ret, char text[UT_HTTP_OUTCOME_TEXT]);

#endif
