/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small world in virtual time: cgroups, connections and retransmits go into the sink as records.
 * Times are milliseconds from LAB_START.
 */
#ifndef UT_TEST_EVIDENCE_LAB_WORLD_H
#define UT_TEST_EVIDENCE_LAB_WORLD_H

#include "evidence/evidence.h"
#include "model/address.h"
#include "model/attributes.h"
#include "otlp_batch.h"

#define LAB_START UINT64_C(1700000000000000000)
#define LAB_OFFSET ((int64_t)(LAB_START - UINT64_C(1000000000000)))

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
    struct ut_batch *batch;       /* the latest */
    struct ut_event_sink *divert; /* where records go instead; NULL: into the evidence */
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
    struct ut_event_sink *sink =
        lab->divert != NULL ? lab->divert : ut_evidence_sink(lab->evidence);
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
        .path = {.srtt_us = 300,
                 .min_rtt_us = 90,
                 .cwnd = 10,
                 .wmem_alloc = 2048,
                 .delivery_rate = 7000000},
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

#endif
