/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Second looks at walked spans, for the few that need one: the network ends that a span names, and
 * the ranges of attributes and events that only Undertrace may write. All bytes were checked by the
 * walk.
 */
#ifndef UT_OTLP_SPAN_READER_H
#define UT_OTLP_SPAN_READER_H

#include "model/address.h"
#include "model/batch.h"

/* What was said about one end, by one group of keys. */
struct ut_named_end {
    struct ut_endpoint endpoint; /* port 0: not named */
    bool has_address;            /* numeric address named */
    bool has_name;               /* a host name (or anything not numeric) named instead */
};

/* DESIGN: socket-level keys (network.peer.*, network.local.*, net.sock.peer.*, net.sock.host.*,
 * net.peer.ip, net.peer.port, net.host.ip) confirm and contradict; logical keys (CLIENT, PRODUCER,
 * CONSUMER: server.*, net.peer.name, url.full, http.url; SERVER: client.*) confirm only. */
struct ut_span_ends {
    struct ut_named_end remote;  /* socket level */
    struct ut_named_end local;   /* socket level */
    struct ut_named_end logical; /* of the remote end */
};

void ut_span_read_ends(const struct ut_body *body, const struct ut_span *span,
                       struct ut_span_ends *ret);

/* Ranges (whole fields) of attributes `undertrace.*` and of evidence events in a span that is
 * flagged UT_SPAN_FORGED, or of attributes of the Resource message. Allocated in the body's arena.
 * Returns their number, or -ENOMEM. */
int ut_span_forged_ranges(struct ut_body *body, const struct ut_span *span,
                          struct ut_range **ret) UT_MUST_USE;
/* Attributes of the Resource message whose key is one of `keys` (count) or starts with
 * `undertrace.`; as above. */
int ut_resource_ranges(struct ut_body *body, const struct ut_resource *resource,
                       const ut_slice *keys, size_t key_count, struct ut_range **ret) UT_MUST_USE;

#endif
