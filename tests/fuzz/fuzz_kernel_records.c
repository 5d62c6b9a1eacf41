/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel records from nowhere: the input is a run of commands, each a record that is mutated from a
 * plausible one or taken as it is, or time that passes. Then spans are joined. Whatever comes, the
 * tables stay consistent and the join ends.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/cgroup_mount.h"
#include "evidence/evidence.h"
#include "otlp_batch.h"
#include "tables_check.h"

#define START UINT64_C(1700000000000000000)
#define OFFSET ((int64_t)(START - UINT64_C(1000000000000)))

struct input {
    const uint8_t *data;
    size_t size;
};

static uint64_t take(struct input *in, size_t bytes)
{
    uint64_t value = 0;
    for (; bytes > 0 && in->size > 0; bytes--, in->data++, in->size--)
        value = value << 8 | *in->data;
    return value;
}

/* Few distinct values, so that records meet each other. */
static void fill_socket(struct ut_record_socket *socket, struct input *in)
{
    *socket = (struct ut_record_socket){
        .cookie = take(in, 1) % 24,
        .netns_cookie = take(in, 1) % 3,
        .local_port = (uint16_t)(take(in, 1) % 6),
        .remote_port = (uint16_t)(take(in, 1) % 6),
        .role = (uint8_t)(take(in, 1) % 4),
        .state = (uint8_t)(take(in, 1) % 14),
        .local_isn = (uint32_t)(take(in, 1) % 6),
        .remote_isn = (uint32_t)(take(in, 1) % 6),
    };
    socket->local_address[15] = (uint8_t)(take(in, 1) % 3);
    socket->remote_address[15] = (uint8_t)(take(in, 1) % 3);
}

static struct ut_record_header header_of(struct input *in, uint8_t type, size_t size,
                                         uint64_t now_ns)
{
    return (struct ut_record_header){
        .size = (uint16_t)size,
        .version = UT_RECORD_VERSION,
        .type = type,
        .has = (uint32_t)take(in, 2),
        .boot_ns = now_ns - (uint64_t)OFFSET - take(in, 2) * 100000,
        .cgroup_id = take(in, 1) % 8,
    };
}

static void send_record(struct ut_event_sink *sink, struct input *in, unsigned type,
                        uint64_t now_ns)
{
    static const char *const paths[] = {"/a", "/a/b", "/x.service", "/x.service/y", "/", "nopath"};
    union {
        struct ut_record_retransmit retransmit;
        struct ut_record_connection connection;
        struct ut_record_cgroup cgroup;
        struct ut_record_oom_kill oom_kill;
        struct ut_record_stall stall;
        struct ut_record_tcp tcp;
        struct ut_record_trace_ids trace_ids;
        struct ut_record_allocated allocated;
        struct ut_record_held_back held_back;
    } r = {0};
    size_t size;
    if (type == UT_RECORD_RETRANSMIT) {
        size = sizeof(r.retransmit);
        r.retransmit.header = header_of(in, UT_RECORD_RETRANSMIT, size, now_ns);
        fill_socket(&r.retransmit.socket, in);
        r.retransmit.bytes = (uint32_t)take(in, 2);
        r.retransmit.segments = (uint32_t)take(in, 1);
        r.retransmit.cause = (uint32_t)(take(in, 1) % 7);
        r.retransmit.rto_us = (uint32_t)take(in, 3);
        r.retransmit.since_received_us = (uint32_t)take(in, 3);
    } else if (type == UT_RECORD_CONNECTION) {
        size = sizeof(r.connection);
        r.connection.header = header_of(in, UT_RECORD_CONNECTION, size, now_ns);
        fill_socket(&r.connection.socket, in);
        r.connection.change = (uint32_t)(take(in, 1) % 7);
    } else if (type == UT_RECORD_OOM_KILL) {
        size = sizeof(r.oom_kill);
        r.oom_kill.header = header_of(in, UT_RECORD_OOM_KILL, size, now_ns);
        r.oom_kill.pid = (uint32_t)take(in, 1);
    } else if (type == UT_RECORD_STALL) {
        size = sizeof(r.stall);
        r.stall.header = header_of(in, UT_RECORD_STALL, size, now_ns);
        r.stall.ns = take(in, 4);
        r.stall.first_ns = (uint32_t)take(in, 3);
        r.stall.last_ns = (uint32_t)take(in, 3);
        r.stall.level = take(in, 1) % 4 != 3 ? (uint32_t)take(in, 1) % 3 : UT_STALL_GLOBAL;
    } else if (type == UT_RECORD_TRACE_IDS) {
        size = sizeof(r.trace_ids);
        r.trace_ids.header = header_of(in, UT_RECORD_TRACE_IDS, size, now_ns);
        r.trace_ids.cookie = take(in, 1) % 24;
        r.trace_ids.bytes = (uint32_t)take(in, 2);
        r.trace_ids.count = (uint32_t)take(in, 1) % 10;
        for (uint32_t i = 0; i < UT_TRACE_IDS_MAX; i++) {
            r.trace_ids.ids[i].trace_id[15] = (uint8_t)(take(in, 1) % 3);
            r.trace_ids.ids[i].span_id[7] = 1;
            r.trace_ids.ids[i].bytes = (uint32_t)take(in, 1);
            r.trace_ids.ids[i].offset = (uint32_t)take(in, 1);
        }
    } else if (type == UT_RECORD_ALLOCATED) {
        size = sizeof(r.allocated);
        r.allocated.header = header_of(in, UT_RECORD_ALLOCATED, size, now_ns);
        r.allocated.bytes = take(in, 4);
        r.allocated.window_ns = take(in, 5);
        if (take(in, 1) % 2 == 0)
            r.allocated.header.cgroup_id = 0;
    } else if (type == UT_RECORD_HELD_BACK) {
        size = sizeof(r.held_back);
        r.held_back.header = header_of(in, UT_RECORD_HELD_BACK, size, now_ns);
        r.held_back.type = (uint32_t)take(in, 1) % UT_RECORD_TYPES;
    } else if (type >= UT_RECORD_RESET) {
        size = sizeof(r.tcp);
        r.tcp.header = header_of(in, (uint8_t)type, size, now_ns);
        fill_socket(&r.tcp.socket, in);
        r.tcp.ns = take(in, 4);
        r.tcp.bytes = (uint32_t)take(in, 2);
        r.tcp.detail = (uint32_t)(take(in, 1) % 4);
    } else {
        const char *path = paths[take(in, 1) % 6];
        size = sizeof(r.cgroup);
        r.cgroup.header = header_of(in, UT_RECORD_CGROUP, size, now_ns);
        r.cgroup.change = (uint32_t)(take(in, 1) % 4);
        r.cgroup.path_size = (uint32_t)strlen(path);
        memcpy(r.cgroup.path, path, strlen(path));
    }
    sink->record(sink, &r, size, OFFSET);
}

static void send_raw(struct ut_event_sink *sink, struct input *in)
{
    size_t size = take(in, 2);
    size = size < in->size ? size : in->size;
    sink->record(sink, in->data, size, (int64_t)take(&(struct input){in->data, size}, 8));
    in->data += size;
    in->size -= size;
}

static void join(struct ut_evidence *evidence, struct ut_pool *pool, struct input *in,
                 uint64_t now_ns)
{
    const struct otlp_attribute ends[] = {
        {"network.peer.address", take(in, 1) % 2 != 0 ? "::1" : "::2", 0},
        {"network.peer.port", NULL, (int64_t)(take(in, 1) % 6)},
        {0}};
    struct otlp_span spans[4];
    for (int i = 0; i < 4; i++) {
        uint64_t start_ns = now_ns - take(in, 3) * 10000;
        spans[i] = (struct otlp_span){.trace_id = 1,
                                      .span_id = 1,
                                      .parent_id = take(in, 1) % 2,
                                      .kind = (unsigned)(take(in, 1) % 7),
                                      .start_ns = start_ns,
                                      .end_ns = start_ns + take(in, 3) * 10000,
                                      .attributes = take(in, 1) % 2 != 0 ? ends : NULL};
    }
    const struct ut_join_options options = {.slack_ns = 5000000, .resource_attributes = true};
    struct otlp_bytes request = {0};
    otlp_resource_spans(&request, NULL, spans, 4);
    struct ut_batch *batch = otlp_batch(pool, &request);
    batch->first->sender.socket_cookie = take(in, 1) % 24;
    ut_evidence_join(evidence, batch, &options, now_ns);
    ut_batch_unref(batch);
    otlp_free(&request);
}

/* What the layer asks instead of /proc, so that an input does the same everywhere; and where it
 * shows its figures, which takes longer than most inputs do. */
int find_no_mount(struct ut_cgroup_mount *ret);
int find_no_memory_mount(struct ut_cgroup_mount *ret, bool *v1);
void show_nothing(struct ut_metrics *metrics, const char *name, const char *labels,
                  const char *help, double (*read)(void *arg), void *arg);

int find_no_mount(struct ut_cgroup_mount *ret)
{
    (void)ret;
    return -ENOENT;
}

int find_no_memory_mount(struct ut_cgroup_mount *ret, bool *v1)
{
    *v1 = false;
    return find_no_mount(ret);
}

void show_nothing(struct ut_metrics *metrics, const char *name, const char *labels,
                  const char *help, double (*read)(void *arg), void *arg)
{
    (void)metrics, (void)name, (void)labels, (void)help, (void)read, (void)arg;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    uint64_t now_ns = START;
    struct ut_pool pool;
    /* Of all inputs, for the same reason. */
    static struct ut_metrics *metrics;
    if (metrics == NULL)
        metrics = ut_metrics_new();
    struct ut_evidence *evidence = ut_evidence_new(metrics, NULL);
    struct ut_event_sink *sink = ut_evidence_sink(evidence);
    static const unsigned memory[] = {UT_RECORD_OOM_KILL, UT_RECORD_STALL, UT_RECORD_STALL,
                                      UT_RECORD_ALLOCATED};
    ut_pool_init(&pool, (size_t)1 << 20);
    while (in.size > 0) {
        uint64_t command = take(&in, 1) % 16;
        if (command < 4)
            send_record(sink, &in, UT_RECORD_CONNECTION, now_ns);
        else if (command < 7)
            send_record(sink, &in, UT_RECORD_RETRANSMIT, now_ns);
        else if (command < 8)
            send_record(sink, &in, UT_RECORD_TRACE_IDS, now_ns);
        else if (command < 9)
            send_record(sink, &in, UT_RECORD_RESET + take(&in, 1) % 5, now_ns);
        else if (command < 10)
            send_record(sink, &in, UT_RECORD_CGROUP, now_ns);
        else if (command < 11)
            send_record(sink, &in, memory[take(&in, 1) % 4], now_ns);
        else if (command < 12)
            send_raw(sink, &in);
        else if (command < 14)
            join(evidence, &pool, &in, now_ns);
        else if (command < 15 && take(&in, 1) % 2 == 0)
            sink->lost(sink, 1, now_ns);
        else if (command < 15)
            send_record(sink, &in, UT_RECORD_HELD_BACK, now_ns);
        else
            ut_evidence_tick(evidence, now_ns += take(&in, 1) * UINT64_C(10000000000));
        now_ns += 1000000;
        tables_check(ut_evidence_tables(evidence));
    }
    ut_pool_done(&pool);
    ut_evidence_free(evidence);
    return 0;
}
