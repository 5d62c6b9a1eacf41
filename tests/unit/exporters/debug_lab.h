/* SPDX-License-Identifier: Apache-2.0 */
/* The debug exporter on a pipe or a terminal, in virtual time, fed with requests that the test
 * builds. */
#ifndef UT_TEST_DEBUG_LAB_H
#define UT_TEST_DEBUG_LAB_H

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "debug_exporter/debug.h"
#include "model/attributes.h"
#include "otlp/encode.h"
#include "otlp_batch.h"
#include "virtual_worker.h"

#define MS UT_NS_PER_MS
/* When every test trace begins; any time will do. */
#define T0 UINT64_C(1700000000000000000)

struct lab {
    struct ut_worker worker;
    struct debug_config config;
    struct ut_exporter *exporter;
    int read_fd, write_fd;
    char text[1 << 22];
    size_t size;
    unsigned answers;
    struct ut_outcome outcome;
};

/* The exporter prints to fds[1], and fds[0] is where that is read. */
static inline void lab_open_on(struct lab *lab, enum debug_verbosity verbosity, const int fds[2])
{
    char error[UT_ERROR_TEXT];
    memset(lab, 0, sizeof(*lab));
    (void)signal(SIGPIPE, SIG_IGN); /* as the program does */
    cr_assert_eq(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    lab->read_fd = fds[0];
    lab->write_fd = fds[1];
    lab->config.verbosity = verbosity;
    virtual_worker_init(&lab->worker);
    struct ut_build build = {.id = "debug", .config = &lab->config, .worker = &lab->worker};
    cr_assert_eq(debug_create(&lab->exporter, &build, lab->write_fd), 0);
    cr_assert_eq(lab->exporter->type->start(lab->exporter, error), 0);
}

static inline void lab_open(struct lab *lab, enum debug_verbosity verbosity)
{
    int fds[2];
    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    (void)fcntl(fds[0], F_SETPIPE_SZ, 1 << 20);
    lab_open_on(lab, verbosity, fds);
}

static inline void lab_close(struct lab *lab)
{
    lab->exporter->type->free(lab->exporter);
    (void)close(lab->read_fd);
    (void)close(lab->write_fd);
    cr_assert_eq(lab->worker.timers.count, 0);
    virtual_worker_done(&lab->worker);
}

/* All that was printed since the last call, as a string. */
static inline const char *lab_read(struct lab *lab)
{
    lab->size = 0;
    for (;;) {
        ssize_t n = read(lab->read_fd, lab->text + lab->size, sizeof(lab->text) - 1 - lab->size);
        if (n <= 0)
            break;
        lab->size += (size_t)n;
    }
    lab->text[lab->size] = '\0';
    return lab->text;
}

static inline unsigned count_of(const char *text, const char *what)
{
    unsigned count = 0;
    for (const char *p = text; (p = strstr(p, what)) != NULL; p += strlen(what))
        count++;
    return count;
}

struct lab_item {
    struct ut_item item;
    struct lab *lab;
};

static inline void lab_done(struct ut_item *item, const struct ut_outcome *outcome)
{
    struct lab *lab = UT_CONTAINER_OF(item, struct lab_item, item)->lab;
    lab->answers++;
    lab->outcome = *outcome;
}

/* Sends spans first … first + count - 1 of the batch and checks that they were taken. */
static inline void lab_send_part(struct lab *lab, const struct ut_batch *batch, uint32_t first,
                                 uint32_t count)
{
    struct lab_item item = {
        .item = {.batch = batch, .first_span = first, .span_count = count, .done = lab_done},
        .lab = lab,
    };
    unsigned before = lab->answers;
    lab->exporter->type->send(lab->exporter, &item.item);
    cr_assert_eq(lab->answers, before + 1);
    cr_assert_eq(lab->outcome.result, UT_SENT);
    cr_assert_eq(lab->outcome.rejected_spans, 0);
}

static inline void lab_send(struct lab *lab, struct ut_batch *batch)
{
    lab_send_part(lab, batch, 0, batch->spans);
    ut_batch_unref(batch);
}

static inline void lab_resource(struct otlp_bytes *request, const char *service,
                                const struct otlp_span *spans, size_t count)
{
    const struct otlp_attribute attributes[] = {{.key = "service.name", .text = service}, {0}};
    otlp_resource_spans(request, attributes, spans, count);
}

/* The batch of a request; the builder's bytes are freed. */
static inline struct ut_batch *lab_batch(struct lab *lab, struct otlp_bytes *request)
{
    struct ut_batch *batch = otlp_batch(&lab->worker.pool, request);
    otlp_free(request);
    return batch;
}

/* ---- evidence, as correlate writes it ---------------------------------------------------------
 */

struct lab_evidence {
    const char *match, *side, *type, *local, *peer;
    int64_t local_port, peer_port, seq, bytes, segments, waited_ns;
    int64_t omitted; /* the closing event, with nothing else in it */
    uint64_t time_ns;
};

static inline void lab_encode(struct ut_encoder *encoder, const struct lab_evidence *e)
{
    size_t event = ut_encode_event_begin(encoder, UT_EVENT_TCP_RETRANSMIT, e->time_ns);
    const int f = UT_FIELD_EVENT_ATTRIBUTES;
    if (e->omitted > 0) {
        ut_encode_int(encoder, f, UT_ATTR_OMITTED, e->omitted);
        ut_encode_event_end(encoder, event);
        return;
    }
    ut_encode_string(encoder, f, UT_ATTR_MATCH, ut_slice_str(e->match));
    ut_encode_string(encoder, f, UT_ATTR_SIDE, ut_slice_str(e->side));
    if (e->local != NULL)
        ut_encode_string(encoder, f, UT_ATTR_LOCAL_ADDRESS, ut_slice_str(e->local));
    if (e->peer != NULL)
        ut_encode_string(encoder, f, UT_ATTR_PEER_ADDRESS, ut_slice_str(e->peer));
    ut_encode_int(encoder, f, UT_ATTR_LOCAL_PORT, e->local_port);
    ut_encode_int(encoder, f, UT_ATTR_PEER_PORT, e->peer_port);
    ut_encode_string(encoder, f, UT_ATTR_TCP_TYPE, ut_slice_str(e->type));
    ut_encode_int(encoder, f, UT_ATTR_TCP_SEQ, e->seq);
    ut_encode_int(encoder, f, UT_ATTR_TCP_BYTES, e->bytes);
    ut_encode_int(encoder, f, UT_ATTR_TCP_SEGMENTS, e->segments > 0 ? e->segments : 1);
    if (e->waited_ns > 0)
        ut_encode_int(encoder, f, UT_ATTR_TCP_WAITED_MIN_NS, e->waited_ns);
    ut_encode_event_end(encoder, event);
}

/* Gives span `index` of the first body the evidence, and the attributes that go with it. */
static inline void lab_enrich(struct ut_batch *batch, uint32_t index,
                              const struct lab_evidence *evidence, size_t count)
{
    struct ut_body *body = batch->first;
    struct ut_encoder encoder;
    ut_encoder_init(&encoder, &body->arena);
    ut_encode_string(&encoder, UT_FIELD_SPAN_ATTRIBUTES, UT_ATTR_TCP_MATCH,
                     ut_slice_str(evidence[0].match));
    ut_encode_string(&encoder, UT_FIELD_SPAN_ATTRIBUTES, UT_ATTR_TCP_SIDE,
                     ut_slice_str(evidence[0].side));
    ut_encode_int(&encoder, UT_FIELD_SPAN_ATTRIBUTES, UT_ATTR_TCP_RETRANSMITS, (int64_t)count);
    for (size_t i = 0; i < count; i++)
        lab_encode(&encoder, &evidence[i]);
    struct ut_edit *edit = ut_arena_alloc(&body->arena, sizeof(*edit));
    cr_assert_not_null(edit);
    *edit = (struct ut_edit){.added = ut_encoder_bytes(&encoder)};
    cr_assert_gt(edit->added.size, 0);
    cr_assert_eq(ut_body_set_edit(body, index, edit), 0);
}

#endif
