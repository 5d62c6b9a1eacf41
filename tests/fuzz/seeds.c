/* SPDX-License-Identifier: Apache-2.0 */
/* Writes the seed corpora of fuzz_walk and fuzz_splice: the table of malformed bodies and a few
 * sound ones. usage: fuzz_seeds WALK_FOLDER SPLICE_FOLDER */
#include <inttypes.h>
#include <stdio.h>

#include "malformed.h"

enum { SEED_MAX = 4096 }; /* larger bodies teach the fuzzer little and slow it down */

static int write_seed(const char *folder, size_t index, const struct otlp_bytes *body,
                      const char *prefix)
{
    char path[512];
    if (snprintf(path, sizeof(path), "%s/%03zu", folder, index) >= (int)sizeof(path))
        return -1;
    FILE *file = fopen(path, "wb");
    if (file == NULL)
        return -1;
    size_t want = strlen(prefix) + body->size;
    size_t done = fwrite(prefix, 1, strlen(prefix), file) + fwrite(body->data, 1, body->size, file);
    return fclose(file) == 0 && done == want ? 0 : -1;
}

static void build_large(struct otlp_bytes *out)
{
    struct otlp_attribute attributes[] = {{"http.url", "http://10.0.0.1:80/x", 0},
                                          {"undertrace.tcp.match", "forged", 0},
                                          {"net.peer.port", NULL, 5432},
                                          {0}};
    struct otlp_bytes event = {0};
    otlp_event(&event, "tcp.retransmit", 5, attributes);
    struct otlp_span spans[5];
    for (unsigned i = 0; i < 5; i++)
        spans[i] = (struct otlp_span){.trace_id = 7,
                                      .span_id = i % 4, /* the first and last one are bad */
                                      .parent_id = i,
                                      .name = "span",
                                      .kind = i,
                                      .start_ns = i + 1,
                                      .end_ns = i + 2,
                                      .status = i % 3,
                                      .attributes = attributes,
                                      .more = event.data,
                                      .more_size = i % 2 == 0 ? event.size : 0};
    out->size = 0;
    otlp_resource_spans(out, attributes, spans, 5);
    otlp_uint(out, 50, 1);
    otlp_data(out, 1, NULL, 0);
    otlp_resource_spans(out, NULL, spans + 1, 2);
    otlp_free(&event);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    struct otlp_bytes body = {0};
    int failed = 0;
    for (size_t i = 0; i <= MALFORMED_COUNT; i++) {
        if (i < MALFORMED_COUNT)
            malformed_build(&body, &MALFORMED[i]);
        else
            build_large(&body);
        if (body.size > SEED_MAX)
            continue;
        failed |= write_seed(argv[1], i, &body, "");
        failed |= write_seed(argv[2], i, &body, "\x1e\x37\x79\x0b\x7f\x4a\x7c\x15");
    }
    otlp_free(&body);
    return failed == 0 ? 0 : 1;
}
