/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small world in virtual time: cgroups, connections and retransmits go into the sink as records;
 * spans go through the walk and the join; what they gained is read back from their edits. Times are
 * milliseconds from LAB_START.
 */
#ifndef UT_TEST_EVIDENCE_LAB_H
#define UT_TEST_EVIDENCE_LAB_H

#include "evidence/evidence.h"
#include "model/address.h"
#include "model/attributes.h"
#include "otlp_batch.h"

#define LAB_START UINT64_C(1700000000000000000)
#define LAB_OFFSET ((int64_t)(LAB_START - UINT64_C(1000000000000)))

enum { KIND_INTERNAL = 1, KIND_SERVER, KIND_CLIENT, KIND_PRODUCER, KIND_CONSUMER };

struct lab {
    struct ut_metrics *metrics;
    struct ut_evidence *evidence;
    struct ut_pool pool;
    struct ut_join_options options;
    double now_ms;
    uint64_t next_cookie;
    uint32_t next_isn;
    int64_t offset_ns;
    struct otlp_bytes request;
    struct ut_batch *batch; /* the latest */
};

/* One end of a connection, as its socket has it. */
struct lab_end {
    uint64_t cgroup;
    struct ut_record_socket socket;
    uint32_t has;
};

struct lab_pair {
    struct lab_end client, server;
};

static inline uint64_t lab_ns(double ms)
{
    return LAB_START + (uint64_t)(int64_t)(ms * 1e6);
}

static inline void lab_start(struct lab *lab)
{
    *lab = (struct lab){
        .metrics = ut_metrics_new(),
        .options = {.slack_ns = 5000000, .resource_attributes = true},
        .now_ms = 1000,
        .next_cookie = 100,
        .next_isn = 7000,
        .offset_ns = LAB_OFFSET,
    };
    lab->evidence = ut_evidence_new(lab->metrics, NULL);
    if (lab->evidence == NULL)
        abort();
    ut_pool_init(&lab->pool, (size_t)16 << 20);
    struct ut_event_sink *sink = ut_evidence_sink(lab->evidence);
    sink->attached(sink, lab_ns(-600000));
}

static inline void lab_drop_batch(struct lab *lab)
{
    if (lab->batch != NULL)
        ut_batch_unref(lab->batch);
    lab->batch = NULL;
}

static inline void lab_stop(struct lab *lab)
{
    lab_drop_batch(lab);
    otlp_free(&lab->request);
    ut_evidence_free(lab->evidence);
    ut_metrics_free(lab->metrics);
    ut_pool_done(&lab->pool);
}

static inline struct ut_evidence_figures lab_figures(const struct lab *lab)
{
    struct ut_evidence_figures figures;
    ut_evidence_figures(lab->evidence, &figures);
    return figures;
}

/* ---- records ----------------------------------------------------------------------------------
 */

static inline void lab_record(struct lab *lab, const void *record, size_t size)
{
    struct ut_event_sink *sink = ut_evidence_sink(lab->evidence);
    sink->record(sink, record, size, lab->offset_ns);
}

static inline struct ut_record_header lab_header(const struct lab *lab, uint8_t type, size_t size,
                                                 double ms, uint64_t cgroup)
{
    return (struct ut_record_header){
        .size = (uint16_t)size,
        .version = UT_RECORD_VERSION,
        .type = type,
        .boot_ns = lab_ns(ms) - (uint64_t)lab->offset_ns,
        .cgroup_id = cgroup,
    };
}

static inline void lab_cgroup_change(struct lab *lab, uint64_t id, const char *path, double ms,
                                     enum ut_cgroup_change change)
{
    struct ut_record_cgroup record = {
        .header = lab_header(lab, UT_RECORD_CGROUP, sizeof(record), ms, id),
        .change = change,
        .path_size = (uint32_t)strlen(path),
    };
    memcpy(record.path, path, strlen(path));
    lab_record(lab, &record, sizeof(record));
}

static inline void lab_cgroup(struct lab *lab, uint64_t id, const char *path)
{
    lab_cgroup_change(lab, id, path, -500000, UT_CGROUP_CREATED);
}

static inline void lab_set_address(uint8_t out[16], const char *text)
{
    struct ut_address address;
    if (ut_address_parse(&address, ut_slice_str(text)) != 0)
        abort();
    memcpy(out, address.bytes, 16);
}

/* An end that knows itself; ISNs come with lab_pair_up. */
static inline struct lab_end lab_make_end(struct lab *lab, uint64_t cgroup, uint8_t role,
                                          const char *local, uint16_t local_port,
                                          const char *remote, uint16_t remote_port)
{
    struct lab_end end = {.cgroup = cgroup, .has = UT_HAS_COOKIE | UT_HAS_NETNS};
    end.socket.cookie = lab->next_cookie++;
    end.socket.netns_cookie = cgroup;
    end.socket.role = role;
    lab_set_address(end.socket.local_address, local);
    lab_set_address(end.socket.remote_address, remote);
    end.socket.local_port = local_port;
    end.socket.remote_port = remote_port;
    return end;
}

static inline void lab_pair_up(struct lab *lab, struct lab_pair *pair)
{
    pair->client.socket.local_isn = pair->server.socket.remote_isn = lab->next_isn++;
    pair->client.socket.remote_isn = pair->server.socket.local_isn = lab->next_isn++ + 1000000;
    pair->client.has |= UT_HAS_ISN;
    pair->server.has |= UT_HAS_ISN;
}

static inline void lab_change(struct lab *lab, const struct lab_end *end, double ms,
                              enum ut_connection_change change)
{
    struct ut_record_connection record = {
        .header = lab_header(lab, UT_RECORD_CONNECTION, sizeof(record), ms, end->cgroup),
        .socket = end->socket,
        .change = change,
    };
    record.header.has = end->has;
    lab_record(lab, &record, sizeof(record));
}

static inline struct lab_pair lab_pair_of(struct lab *lab, uint64_t client_cgroup,
                                          const char *client, uint16_t client_port,
                                          uint64_t server_cgroup, const char *server,
                                          uint16_t server_port)
{
    struct lab_pair pair = {
        .client = lab_make_end(lab, client_cgroup, UT_ROLE_CONNECT, client, client_port, server,
                               server_port),
        .server = lab_make_end(lab, server_cgroup, UT_ROLE_ACCEPT, server, server_port, client,
                               client_port),
    };
    lab_pair_up(lab, &pair);
    return pair;
}

static inline void lab_open(struct lab *lab, const struct lab_pair *pair, double ms)
{
    lab_change(lab, &pair->client, ms, UT_CONNECTION_OPENED);
    lab_change(lab, &pair->server, ms, UT_CONNECTION_OPENED);
}

static inline void lab_close(struct lab *lab, const struct lab_pair *pair, double ms)
{
    lab_change(lab, &pair->client, ms, UT_CONNECTION_CLOSED);
    lab_change(lab, &pair->server, ms, UT_CONNECTION_CLOSED);
}

struct lab_retransmit {
    enum ut_tcp_cause cause;
    double rto_ms;
    uint32_t bytes, segments;
    int32_t err;
    double since_received_ms; /* 0: not told */
};

static inline void lab_retransmit(struct lab *lab, const struct lab_end *end, double ms,
                                  struct lab_retransmit what)
{
    struct ut_record_retransmit record = {
        .header = lab_header(lab, UT_RECORD_RETRANSMIT, sizeof(record), ms, end->cgroup),
        .socket = end->socket,
        .seq = 1,
        .end_seq = 1 + what.bytes,
        .bytes = what.bytes,
        .segments = what.segments,
        .err = what.err,
        .cause = what.cause,
        .rto_us = (uint32_t)(what.rto_ms * 1000),
        .srtt_us = 300,
        .cwnd = 10,
        .wmem_alloc = 2048,
        .since_received_us = (uint32_t)(what.since_received_ms * 1000),
    };
    record.socket.state = 1;
    record.header.has = end->has | UT_HAS_RTO | UT_HAS_SRTT | UT_HAS_CWND | UT_HAS_WMEM |
                        UT_HAS_ERR | (what.since_received_ms > 0 ? UT_HAS_SINCE_RECEIVED : 0);
    lab_record(lab, &record, sizeof(record));
}

/* A timeout of 204 ms that sends 800 bytes again. */
static inline void lab_timeout(struct lab *lab, const struct lab_end *end, double ms)
{
    lab_retransmit(lab, end, ms, (struct lab_retransmit){UT_CAUSE_TIMEOUT, 204, 800, 1, 0, 0});
}

/* The connection on which a cgroup sends us spans; the cookie of our end. */
static inline uint64_t lab_sender(struct lab *lab, uint64_t cgroup)
{
    struct lab_pair pair =
        lab_pair_of(lab, cgroup, "127.0.0.1", (uint16_t)lab->next_cookie, 99, "127.0.0.1", 4317);
    pair.client.socket.netns_cookie = pair.server.socket.netns_cookie = 1;
    lab_open(lab, &pair, -400000);
    return pair.server.socket.cookie;
}

/* ---- spans ------------------------------------------------------------------------------------
 */

static inline struct otlp_span lab_span(unsigned kind, uint64_t id, double start_ms, double end_ms,
                                        const struct otlp_attribute *attributes)
{
    return (struct otlp_span){
        .trace_id = 1,
        .span_id = id,
        .parent_id = kind == KIND_SERVER ? 77 : 78,
        .name = "span",
        .kind = kind,
        .start_ns = lab_ns(start_ms),
        .end_ns = lab_ns(end_ms),
        .attributes = attributes,
    };
}

static inline void lab_join_of(struct lab *lab, uint64_t cookie,
                               const struct otlp_attribute *resource, const struct otlp_span *spans,
                               size_t count)
{
    lab_drop_batch(lab);
    otlp_free(&lab->request);
    lab->request = (struct otlp_bytes){0};
    otlp_resource_spans(&lab->request, resource, spans, count);
    lab->batch = otlp_batch(&lab->pool, &lab->request);
    lab->batch->first->sender.socket_cookie = cookie;
    ut_evidence_join(lab->evidence, lab->batch, &lab->options, lab_ns(lab->now_ms));
}

static inline void lab_join(struct lab *lab, uint64_t cookie, const struct otlp_span *spans,
                            size_t count)
{
    static const struct otlp_attribute service[] = {{"service.name", "demo", 0}, {0}};
    lab_join_of(lab, cookie, service, spans, count);
}

#define LAB_JOIN(lab, cookie, ...)                                                                 \
    lab_join(lab, cookie, (const struct otlp_span[]){__VA_ARGS__},                                 \
             sizeof((const struct otlp_span[]){__VA_ARGS__}) / sizeof(struct otlp_span))

/* ---- what a span gained -------------------------------------------------------------------------
 */

struct lab_field {
    uint64_t number, value;
    ut_slice content;
};

static inline uint64_t lab_varint(ut_slice *from)
{
    uint64_t value = 0;
    for (unsigned shift = 0; from->size > 0; shift += 7) {
        uint8_t byte = from->data[0];
        *from = ut_slice_of(from->data + 1, from->size - 1);
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            break;
    }
    return value;
}

static inline bool lab_next(ut_slice *from, struct lab_field *field)
{
    if (from->size == 0)
        return false;
    uint64_t tag = lab_varint(from);
    *field = (struct lab_field){.number = tag >> 3};
    size_t used = 0;
    if ((tag & 7) == 0) {
        field->value = lab_varint(from);
    } else if ((tag & 7) == 1) {
        memcpy(&field->value, from->data, 8);
        used = 8;
    } else if ((tag & 7) == 2) {
        size_t size = (size_t)lab_varint(from);
        field->content = ut_slice_of(from->data, size);
        used = size;
    } else {
        abort();
    }
    *from = ut_slice_of(from->data + used, from->size - used);
    return true;
}

/* The value of an attribute among the fields `number` of a message; a number is in `value`, a text
 * in `content`. */
static inline bool lab_find(ut_slice message, uint64_t number, const char *key,
                            struct lab_field *value)
{
    struct lab_field field, part;
    while (lab_next(&message, &field)) {
        ut_slice key_value = field.content, name = {NULL, 0}, any = {NULL, 0};
        while (field.number == number && lab_next(&key_value, &part)) {
            if (part.number == 1)
                name = part.content;
            else
                any = part.content;
        }
        if (ut_slice_equal(name, ut_slice_str(key)))
            return lab_next(&any, value);
    }
    return false;
}

static inline ut_slice lab_added(const struct lab *lab, uint32_t span)
{
    const struct ut_edit *edit = ut_body_edit(lab->batch->first, span);
    return edit != NULL ? edit->added : (ut_slice){NULL, 0};
}

static inline bool lab_gained_nothing(const struct lab *lab, uint32_t span)
{
    return lab_added(lab, span).size == 0;
}

/* -1: it is not there. */
static inline int64_t lab_int_of(ut_slice message, uint64_t number, const char *key)
{
    struct lab_field value;
    return lab_find(message, number, key, &value) ? (int64_t)value.value : -1;
}

static inline const char *lab_text_of(ut_slice message, uint64_t number, const char *key)
{
    static char texts[8][256];
    static unsigned next;
    struct lab_field value;
    char *out = texts[next++ % 8];
    out[0] = '\0';
    if (lab_find(message, number, key, &value) && value.content.size < sizeof(texts[0])) {
        memcpy(out, value.content.data, value.content.size);
        out[value.content.size] = '\0';
    }
    return out;
}

static inline int64_t lab_int(const struct lab *lab, uint32_t span, const char *key)
{
    return lab_int_of(lab_added(lab, span), 9, key);
}

static inline const char *lab_text(const struct lab *lab, uint32_t span, const char *key)
{
    return lab_text_of(lab_added(lab, span), 9, key);
}

/* The span event of that number, its bytes; empty if there is none. */
static inline ut_slice lab_event(const struct lab *lab, uint32_t span, unsigned index)
{
    ut_slice added = lab_added(lab, span);
    struct lab_field field;
    while (lab_next(&added, &field)) {
        if (field.number == 11 && index-- == 0)
            return field.content;
    }
    return (ut_slice){NULL, 0};
}

static inline unsigned lab_events(const struct lab *lab, uint32_t span)
{
    unsigned count = 0;
    while (lab_event(lab, span, count).size > 0)
        count++;
    return count;
}

static inline const char *lab_event_text(const struct lab *lab, uint32_t span, unsigned index,
                                         const char *key)
{
    return lab_text_of(lab_event(lab, span, index), 3, key);
}

static inline int64_t lab_event_int(const struct lab *lab, uint32_t span, unsigned index,
                                    const char *key)
{
    return lab_int_of(lab_event(lab, span, index), 3, key);
}

static inline uint64_t lab_metric(const struct lab *lab, const char *name, const char *labels)
{
    return *ut_metrics_counter(lab->metrics, name, labels, "");
}

#endif
