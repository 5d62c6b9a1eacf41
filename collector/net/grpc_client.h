/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls of one unary gRPC method of one backend: what exporters over gRPC share. It connects, puts
 * messages into frames (compressed, if wanted), waits for connections and answers for no longer
 * than the settings' timeout, and says what an answer means.
 *
 * A call is one message, given as a list of runs, and its outcome. Its states: waiting (no
 * connection takes calls) ⇄ called → done. Invariants: 1. `done` comes exactly once for each call
 * that was sent, maybe from inside send; 2. only when nothing refers to its runs any more (see
 * net/h2_client.h); 3. what the backend certainly did not process (GOAWAY, REFUSED_STREAM) is sent
 * again from here, a few times at most, and is no failed attempt.
 *
 * A lane is one link (net/link.h) with the calls that wait for it. There are as many as
 * `connections` says, which calls take in turn; or, for a name with "dns:", one for each address.
 */
#ifndef UT_NET_GRPC_CLIENT_H
#define UT_NET_GRPC_CLIENT_H

#include "base/segment.h"
#include "loop/patience.h"
#include "net/grpc_client_settings.h"
#include "net/link.h"
#include "net/response.h"

enum {
    UT_GRPC_CLIENT_PREFIX = 5,
    UT_GRPC_CLIENT_ERROR = 256,
    UT_GRPC_CLIENT_LANES = UT_GRPC_CLIENT_CONNECTIONS,
};

struct ut_grpc_client;
struct ut_grpc_client_lane;

struct ut_grpc_client_call {
    /* The owner's, set before pack. */
    void (*done)(struct ut_grpc_client_call *call, const struct ut_outcome *outcome);
    struct iovec *runs; /* the first is left free for the client */
    size_t run_count;   /* with it */
    size_t bytes;       /* of the others */
    uint32_t span_count;
    uint32_t endpoint; /* below ut_grpc_client_endpoints; a number that is gone is another's */

    /* The client's. */
    struct ut_link_call link_call;
    struct ut_grpc_client *client;
    struct ut_grpc_client_lane *lane; /* that it goes or waits on */
    struct ut_segment *packed;        /* the compressed message, in place of the runs; or NULL */
    struct iovec packed_runs[2];
    uint8_t prefix[UT_GRPC_CLIENT_PREFIX];
    uint8_t resends;
    bool timed_out;
    struct ut_patience deadline;
    struct ut_grpc_client_call *previous, *next; /* among the waiting ones */
    struct ut_response response;
};

struct ut_grpc_client_options {
    const char *id;                                 /* the exporter's, for metrics and the log */
    const char *path;                               /* of the method; a constant */
    uint16_t default_port;                          /* of an endpoint that names none */
    const struct ut_grpc_client_settings *settings; /* checked; borrowed for the client's life */
    struct ut_client_extension auth;                /* what settings->auth names */
};

/* Opens nothing. 0, -EINVAL or -ENOMEM. */
int ut_grpc_client_new(struct ut_grpc_client **ret, struct ut_worker *worker,
                       const struct ut_grpc_client_options *options) UT_MUST_USE;
/* Reads certificates and tokens and connects at once, so that an address that is wrong shows in the
 * log before the first span. 0, or a negative errno with the reason in `error`. */
int ut_grpc_client_start(struct ut_grpc_client *client,
                         char error[UT_GRPC_CLIENT_ERROR]) UT_MUST_USE;
/* Certificates and tokens may have changed. */
void ut_grpc_client_reread_files(struct ut_grpc_client *client);
/* Gives everything in flight back at once; stopped(arg) comes when nothing is in use any more. */
void ut_grpc_client_stop(struct ut_grpc_client *client, void (*stopped)(void *arg), void *arg);
/* Never started, or stopped. NULL is fine. */
void ut_grpc_client_free(struct ut_grpc_client *client);

/* Places that calls can go to, each of which may fail alone: the addresses of a name with "dns:",
 * else one. */
uint32_t ut_grpc_client_endpoints(const struct ut_grpc_client *client);

/* Makes the message ready to be sent. 0, and where call->packed is set now its runs may go;
 * -EMSGSIZE: it is above max_message_bytes; -ENOMEM. After an error the call is not sent. */
int ut_grpc_client_pack(struct ut_grpc_client *client,
                        struct ut_grpc_client_call *call) UT_MUST_USE;
/* Sends a call that was packed. */
void ut_grpc_client_send(struct ut_grpc_client_call *call);

#endif
