/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of one URL over HTTP/1.1 or HTTP/2, on the worker's loop: libcurl's multi interface,
 * driven by the loop's poll handles and the worker's timers. It keeps connections open and opens as
 * many as there are calls; names are resolved on threads of libcurl's, both address families tried;
 * redirects are not followed. Only http_*.c here know of libcurl.
 *
 * A call is one POST with a body given as a list of runs, and its response. Invariants: 1. `done`
 * comes exactly once for each submitted call, never from inside submit; 2. until then the call, its
 * runs and their bytes stay as they are; 3. of a response no more than UT_HTTP_CLIENT_BODY bytes
 * are kept, and no more than UT_HTTP_CLIENT_BODY_READ are read. With `compression` the body is
 * compressed in submit, and its runs are not looked at any more after it.
 */
#ifndef UT_NET_HTTP_CLIENT_H
#define UT_NET_HTTP_CLIENT_H

#include <sys/uio.h>

#include "base/segment.h"
#include "base/slice.h"
#include "loop/patience.h"
#include "loop/worker.h"
#include "model/verdict.h"
#include "net/http_client_settings.h"

enum {
    UT_HTTP_CLIENT_BODY = 16 << 10,
    UT_HTTP_CLIENT_BODY_READ = 1 << 20,
    UT_HTTP_CLIENT_HEAD_READ = 64 << 10, /* bytes of header fields */
    UT_HTTP_CLIENT_ERROR = 256,          /* what libcurl may write at most */
    UT_HTTP_CALL_ERROR = 448,            /* … with what to do about it */
    UT_HTTP_CLIENT_FIELD_ROOM = 128,
};

struct ut_http_client;

struct ut_http_call {
    /* The owner's, set before submit. */
    void (*done)(struct ut_http_call *call);
    const struct iovec *runs; /* the body */
    size_t run_count;
    uint64_t bytes; /* Σ runs */

    /* Valid in `done`. */
    int status;                             /* 0: no answer came, and `error` says why */
    char error[UT_HTTP_CALL_ERROR];         /* for people */
    enum ut_setback cause;                  /* where no answer came */
    uint32_t retry_after_ms;                /* what Retry-After asked for; 0: nothing */
    char type[UT_HTTP_CLIENT_FIELD_ROOM];   /* Content-Type of the answer */
    char target[UT_HTTP_CLIENT_FIELD_ROOM]; /* Location */
    ut_slice body;                          /* its first bytes, at most UT_HTTP_CLIENT_BODY */

    /* The client's. */
    struct ut_http_client *client;
    struct ut_pool *pool;
    void *handle; /* libcurl's */
    struct ut_patience deadline;
    struct ut_segment *packed; /* the compressed body; NULL: it goes as it is */
    struct iovec packed_run;
    struct ut_http_call *previous, *next;
    size_t run, offset; /* of the first byte that was not given to libcurl */
    uint8_t *kept;      /* a block of the pool, or NULL */
    size_t kept_size, head_read, body_read;
};

struct ut_http_client_options {
    const char *id;                                 /* the exporter's, for metrics */
    const char *url;                                /* has passed ut_http_url_wrong */
    const char *content_type;                       /* of all bodies */
    const char *encoding;                           /* Content-Encoding of all bodies; NULL: none */
    const struct ut_http_client_settings *settings; /* borrowed for the client's life */
    struct ut_client_extension auth;                /* what settings->auth names */
};

/* Opens nothing. 0, -ENOMEM, or -EINVAL where libcurl refuses an option. */
int ut_http_client_new(struct ut_http_client **ret, struct ut_worker *worker,
                       const struct ut_http_client_options *options) UT_MUST_USE;
/* Reads a token's file. 0, or a negative errno with the reason in `error`. */
int ut_http_client_start(struct ut_http_client *client,
                         char error[UT_HTTP_CLIENT_ERROR]) UT_MUST_USE;
/* The file may have changed. */
void ut_http_client_reread_files(struct ut_http_client *client);
/* After it has stopped, or where nothing was ever submitted. NULL is fine. */
void ut_http_client_free(struct ut_http_client *client);

/* Takes the call. 0, or -ENOMEM. Where call->packed is set now, the runs may go. */
int ut_http_client_submit(struct ut_http_client *client, struct ut_http_call *call) UT_MUST_USE;
/* Ends all calls (`done` comes in here, with status 0 and the error "stopping") and closes all
 * connections. stopped(arg) comes from the loop, when nothing of the client is in use. */
void ut_http_client_stop(struct ut_http_client *client, void (*stopped)(void *arg), void *arg);

#endif
