/* SPDX-License-Identifier: Apache-2.0 */
#include "net/grpc_client.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "net/compress.h"
#include "net/credentials.h"
#include "net/resolver.h"
#include "net/tls_end.h"

enum { RESENDS_MAX = 8 };

struct ut_grpc_client_lane {
    struct ut_grpc_client *client;
    struct ut_link link;
    struct ut_grpc_client_call *waiting_first, *waiting_last;
};

struct ut_grpc_client {
    struct ut_worker *worker;
    struct ut_grpc_client_options options;
    struct ut_link_options link_options;
    struct ut_tls_end tls; /* cleared: cleartext */
    struct ut_grpc_client_headers headers;
    struct ut_credentials credentials; /* not started: none are shown */
    struct ut_h2_header *shown;        /* their field among the headers */
    struct ut_compressor *compressor;  /* NULL: messages go as they are */
    struct ut_resolver resolver;       /* of a name with "dns:" */
    struct ut_grpc_client_lane lanes[UT_GRPC_CLIENT_LANES];
    uint32_t lanes_open; /* whose link is there */
    uint32_t lanes_used; /* … and takes new calls */
    uint32_t turn;       /* counts calls */
    uint32_t calls;      /* not done */
    uint32_t stopping_links;
    bool stopping;
    void (*stopped)(void *arg);
    void *stopped_arg;
};

/* ---- the message ---------------------------------------------------------------------------- */

static void write_prefix(struct ut_grpc_client_call *call, size_t bytes)
{
    call->prefix[0] = call->packed != NULL; /* compressed */
    for (int i = 0; i < 4; i++)
        call->prefix[1 + i] = (uint8_t)(bytes >> (24 - 8 * i));
}

/* The message in one compressed run. */
static int compress(struct ut_grpc_client *client, struct ut_grpc_client_call *call)
{
    call->packed =
        ut_compress(client->compressor, call->runs + 1, call->run_count - 1, call->bytes);
    if (call->packed == NULL)
        return -ENOMEM;
    call->packed_runs[1] = (struct iovec){call->packed->data, call->packed->size};
    call->runs = call->packed_runs;
    call->run_count = 2;
    call->bytes = call->packed->size;
    return 0;
}

int ut_grpc_client_pack(struct ut_grpc_client *client, struct ut_grpc_client_call *call)
{
    call->client = client;
    call->packed = NULL;
    if (call->bytes > client->options.settings->max_message_bytes)
        return -EMSGSIZE;
    int error = client->compressor != NULL ? compress(client, call) : 0;
    if (error != 0)
        return error;
    write_prefix(call, call->bytes);
    call->runs[0] = (struct iovec){call->prefix, UT_GRPC_CLIENT_PREFIX};
    return 0;
}

/* ---- finishing a call ----------------------------------------------------------------------- */

static void finish(struct ut_grpc_client_call *call, const struct ut_outcome *outcome)
{
    struct ut_grpc_client *client = call->client;
    struct ut_segment *packed = call->packed;
    ut_patience_cancel(&call->deadline);
    ut_response_done(&call->response);
    client->calls--;
    call->done(call, outcome);
    ut_segment_unref(packed);
}

static void finish_retry(struct ut_grpc_client_call *call, enum ut_setback cause, const char *text)
{
    finish(call, &(struct ut_outcome){.result = UT_RETRY, .cause = cause, .text = text});
}

static void finish_stopping(struct ut_grpc_client_call *call)
{
    finish_retry(call, UT_SETBACK_LOCAL, "stopping");
}

/* ---- waiting for a connection --------------------------------------------------------------- */

/* Nobody waits for an address that is down while there are others: the queue knows better. */
static bool sends_away(const struct ut_grpc_client_lane *lane)
{
    return ut_grpc_client_endpoints(lane->client) > 1 && ut_link_rests(&lane->link);
}

static void wait_for_connection(struct ut_grpc_client_call *call)
{
    struct ut_grpc_client_lane *lane = call->lane;
    ut_link_connect(&lane->link);
    if (sends_away(lane)) {
        finish_retry(call, UT_SETBACK_TRANSPORT, lane->link.trouble);
        return;
    }
    call->previous = lane->waiting_last;
    call->next = NULL;
    *(lane->waiting_last != NULL ? &lane->waiting_last->next : &lane->waiting_first) = call;
    lane->waiting_last = call;
}

static void stop_waiting(struct ut_grpc_client_call *call)
{
    struct ut_grpc_client_lane *lane = call->lane;
    *(call->previous != NULL ? &call->previous->next : &lane->waiting_first) = call->next;
    *(call->next != NULL ? &call->next->previous : &lane->waiting_last) = call->previous;
}

static void on_link_ready(struct ut_link *link)
{
    struct ut_grpc_client_lane *lane = UT_CONTAINER_OF(link, struct ut_grpc_client_lane, link);
    while (lane->waiting_first != NULL &&
           ut_link_submit(link, &lane->waiting_first->link_call) == 0)
        stop_waiting(lane->waiting_first);
    if (lane->waiting_first != NULL)
        ut_link_connect(link);
    while (lane->waiting_first != NULL && sends_away(lane)) {
        struct ut_grpc_client_call *call = lane->waiting_first;
        stop_waiting(call);
        finish_retry(call, UT_SETBACK_TRANSPORT, link->trouble);
    }
    if (link->current == NULL)
        ut_resolver_doubt(&lane->client->resolver);
}

/* By the call's endpoint where there are several, else in turn. */
static struct ut_grpc_client_lane *choose_lane(struct ut_grpc_client *client,
                                               const struct ut_grpc_client_call *call)
{
    bool named = client->link_options.endpoint.all_addresses;
    return &client->lanes[(named ? call->endpoint : client->turn++) % client->lanes_used];
}

static void dispatch(struct ut_grpc_client_call *call)
{
    call->lane = choose_lane(call->client, call);
    if (ut_link_submit(&call->lane->link, &call->link_call) != 0)
        wait_for_connection(call);
}

static void on_deadline(struct ut_patience *patience, uint64_t now_ns)
{
    (void)now_ns;
    struct ut_grpc_client_call *call =
        UT_CONTAINER_OF(patience, struct ut_grpc_client_call, deadline);
    struct ut_link *link = &call->lane->link;
    const char *trouble = link->trouble;
    if (call->link_call.connection == NULL) {
        stop_waiting(call);
        finish_retry(call, UT_SETBACK_TRANSPORT,
                     trouble[0] != '\0' ? trouble : "no connection within the timeout");
        return;
    }
    call->timed_out = true;
    ut_link_cancel(link, &call->link_call);
}

/* ---- the call ------------------------------------------------------------------------------- */

static struct ut_grpc_client_call *call_of(struct ut_h2_call *call)
{
    return UT_CONTAINER_OF(call, struct ut_grpc_client_call, link_call.call);
}

static void on_header(struct ut_h2_call *call, ut_slice name, ut_slice value)
{
    ut_response_header(&call_of(call)->response, name, value);
}

static void on_data(struct ut_h2_call *call, ut_slice bytes)
{
    ut_response_data(&call_of(call)->response, bytes);
}

static void finish_answered(struct ut_grpc_client_call *call)
{
    struct ut_outcome outcome;
    char text[UT_RESPONSE_TEXT];
    ut_response_outcome(&call->response, call->span_count, &outcome, text);
    finish(call, &outcome);
}

static void finish_timed_out(struct ut_grpc_client_call *call)
{
    char text[96];
    (void)snprintf(text, sizeof(text), "the backend did not answer within %" PRIu64 " ms",
                   call->client->options.settings->timeout_ns / UT_NS_PER_MS);
    finish_retry(call, UT_SETBACK_TIMEOUT, text);
}

/* A reset says nothing about the spans, so they are kept; the backend may get them twice. */
static void finish_reset(struct ut_grpc_client_call *call)
{
    char text[96];
    (void)snprintf(text, sizeof(text), "the backend reset the stream: %s",
                   ut_h2_error_name(call->link_call.call.error_code));
    finish_retry(call, UT_SETBACK_TRANSPORT, text);
}

static void finish_refused(struct ut_grpc_client_call *call)
{
    if (call->client->stopping) {
        finish_stopping(call);
    } else if (call->timed_out) {
        finish_timed_out(call);
    } else if (call->resends++ == RESENDS_MAX) {
        finish_retry(call, UT_SETBACK_TRANSPORT, "the backend refuses streams");
    } else {
        ut_response_done(&call->response);
        ut_response_init(&call->response, &call->client->worker->pool);
        dispatch(call);
    }
}

static void on_done(struct ut_h2_call *h2_call)
{
    struct ut_grpc_client_call *call = call_of(h2_call);
    struct ut_link *link = &call->lane->link;
    if (h2_call->end == UT_H2_COMPLETE)
        ut_link_praise(link, &call->link_call);
    call->link_call.connection = NULL;
    switch (h2_call->end) {
    case UT_H2_COMPLETE:
        finish_answered(call);
        break;
    case UT_H2_REFUSED:
        finish_refused(call);
        break;
    case UT_H2_RESET:
        finish_reset(call);
        break;
    case UT_H2_CANCELLED:
        finish_timed_out(call);
        break;
    case UT_H2_LOST:
        if (call->client->stopping)
            finish_stopping(call);
        else
            finish_retry(call, UT_SETBACK_TRANSPORT, link->trouble);
        break;
    }
}

static const struct ut_h2_call_ops call_ops = {on_header, on_data, on_done};

/* ---- sending -------------------------------------------------------------------------------- */

void ut_grpc_client_send(struct ut_grpc_client_call *call)
{
    struct ut_grpc_client *client = call->client;
    struct ut_worker *worker = client->worker;
    call->resends = 0;
    call->timed_out = false;
    call->deadline = (struct ut_patience){.over = on_deadline};
    call->link_call =
        (struct ut_link_call){.call = {.ops = &call_ops,
                                       .runs = call->runs,
                                       .run_count = call->run_count,
                                       .body_bytes = call->bytes + UT_GRPC_CLIENT_PREFIX}};
    ut_response_init(&call->response, &worker->pool);
    client->calls++;
    if (client->stopping) {
        finish_stopping(call);
        return;
    }
    ut_patience_begin(&call->deadline, &worker->timers, ut_worker_now(worker),
                      client->options.settings->timeout_ns);
    dispatch(call);
}

/* ---- life ----------------------------------------------------------------------------------- */

static void on_link_stopped(struct ut_link *link)
{
    struct ut_grpc_client *client = UT_CONTAINER_OF(link, struct ut_grpc_client_lane, link)->client;
    if (--client->stopping_links == 0)
        client->stopped(client->stopped_arg);
}

/* Sees to it that there are `count` lanes, and that new calls go to these alone. */
static void use_lanes(struct ut_grpc_client *client, uint32_t count)
{
    bool several =
        client->link_options.endpoint.all_addresses || client->options.settings->connections > 1;
    for (; client->lanes_open < count; client->lanes_open++) {
        struct ut_grpc_client_lane *lane = &client->lanes[client->lanes_open];
        *lane = (struct ut_grpc_client_lane){.client = client};
        client->link_options.number = several ? (int)client->lanes_open : -1;
        ut_link_init(&lane->link, client->worker, &client->link_options);
    }
    client->lanes_used = count;
}

/* The lane is used no more: what waits on it goes elsewhere. */
static void leave_lane(struct ut_grpc_client_lane *lane)
{
    ut_link_renew(&lane->link);
    while (lane->waiting_first != NULL) {
        struct ut_grpc_client_call *call = lane->waiting_first;
        stop_waiting(call);
        dispatch(call);
    }
}

static void on_addresses(struct ut_resolver *resolver)
{
    struct ut_grpc_client *client = UT_CONTAINER_OF(resolver, struct ut_grpc_client, resolver);
    uint32_t before = client->lanes_used;
    use_lanes(client, (uint32_t)resolver->count);
    for (uint32_t i = 0; i < client->lanes_used; i++) {
        ut_link_move(&client->lanes[i].link, resolver->addresses[i]);
        ut_link_connect(&client->lanes[i].link);
    }
    for (uint32_t i = client->lanes_used; i < before; i++)
        leave_lane(&client->lanes[i]);
}

uint32_t ut_grpc_client_endpoints(const struct ut_grpc_client *client)
{
    return client->link_options.endpoint.all_addresses ? client->lanes_used : 1;
}

static int prepare(struct ut_grpc_client *client)
{
    const struct ut_grpc_client_settings *settings = client->options.settings;
    struct ut_link_options *options = &client->link_options;
    enum ut_coding coding = ut_grpc_client_coding(settings, &options->endpoint);
    if (coding != UT_CODING_IDENTITY) {
        client->compressor = ut_compressor_new(&client->worker->pool, coding);
        if (client->compressor == NULL)
            return -ENOMEM;
    }
    ut_grpc_client_headers_init(&client->headers, settings, &options->endpoint,
                                client->options.path);
    if (client->options.auth.type != NULL) {
        /* It has its value before anything connects. */
        UT_CHECK(client->headers.count < UT_H2_CLIENT_HEADERS_MAX);
        client->shown = &client->headers.fields[client->headers.count++];
    }
    options->headers = client->headers.fields;
    options->header_count = client->headers.count;
    options->connect_timeout_ns = settings->timeout_ns;
    options->keepalive = settings->keepalive;
    if (ut_grpc_client_is_secure(settings, &options->endpoint))
        options->tls = &client->tls;
    use_lanes(client, settings->connections > 1 ? (uint32_t)settings->connections : 1);
    return 0;
}

int ut_grpc_client_new(struct ut_grpc_client **ret, struct ut_worker *worker,
                       const struct ut_grpc_client_options *options)
{
    struct ut_link_options link = {
        .id = options->id, .on_ready = on_link_ready, .on_stopped = on_link_stopped};
    int error = ut_destination_parse(&link.endpoint, options->settings->endpoint,
                                     options->default_port, NULL);
    if (error != 0)
        return error;
    struct ut_grpc_client *client = ut_pool_alloc(&worker->pool, sizeof(*client));
    if (client == NULL)
        return -ENOMEM;
    *client = (struct ut_grpc_client){.worker = worker,
                                      .options = *options,
                                      .link_options = link,
                                      .resolver = {.changed = on_addresses}};
    error = prepare(client);
    if (error != 0) {
        ut_pool_free(&worker->pool, client);
        return error;
    }
    *ret = client;
    return 0;
}

static int open_tls(struct ut_grpc_client *client, char error[UT_GRPC_CLIENT_ERROR])
{
    char labels[160];
    struct ut_tls_error why;
    if (client->link_options.tls == NULL)
        return 0;
    (void)snprintf(labels, sizeof(labels), "exporter=\"%s\"", client->options.id);
    const struct ut_tls_end_config config = {
        .worker = client->worker,
        .role = UT_TLS_CLIENT,
        .settings = &client->options.settings->tls,
        .id = client->options.id,
        .labels = labels,
    };
    int result = ut_tls_end_init(&client->tls, &config, &why);
    if (result != 0)
        (void)snprintf(error, UT_GRPC_CLIENT_ERROR, "tls.%.16s: %.*s", why.key,
                       UT_GRPC_CLIENT_ERROR - 32, why.text);
    return result;
}

/* Requests on connections that are open keep the former value. */
static void on_credentials(struct ut_credentials *credentials)
{
    struct ut_grpc_client *client =
        UT_CONTAINER_OF(credentials, struct ut_grpc_client, credentials);
    client->shown->value = ut_slice_str(credentials->value);
    for (uint32_t i = 0; i < client->lanes_open; i++)
        ut_link_renew(&client->lanes[i].link);
}

static int open_credentials(struct ut_grpc_client *client, char error[UT_GRPC_CLIENT_ERROR])
{
    char why[UT_CREDENTIALS_ERROR];
    struct ut_credentials *credentials = &client->credentials;
    if (client->shown == NULL)
        return 0;
    credentials->changed = on_credentials;
    int result = ut_credentials_start(credentials, client->worker, client->options.id,
                                      &client->options.auth, why);
    if (result != 0) {
        (void)snprintf(error, UT_GRPC_CLIENT_ERROR, "auth.authenticator: %s", why);
        return result;
    }
    *client->shown =
        (struct ut_h2_header){ut_slice_str(credentials->name), ut_slice_str(credentials->value)};
    return 0;
}

int ut_grpc_client_start(struct ut_grpc_client *client, char error[UT_GRPC_CLIENT_ERROR])
{
    int result = open_tls(client, error);
    if (result == 0)
        result = open_credentials(client, error);
    if (result != 0)
        return result;
    if (client->link_options.endpoint.all_addresses)
        ut_resolver_start(&client->resolver, client->worker, client->link_options.endpoint.host);
    for (uint32_t i = 0; i < client->lanes_used; i++)
        ut_link_connect(&client->lanes[i].link);
    return 0;
}

void ut_grpc_client_reread_files(struct ut_grpc_client *client)
{
    ut_tls_end_look(&client->tls);
    ut_credentials_reread(&client->credentials);
}

static void stop_lane(struct ut_grpc_client_lane *lane)
{
    while (lane->waiting_first != NULL) {
        struct ut_grpc_client_call *call = lane->waiting_first;
        stop_waiting(call);
        finish_stopping(call);
    }
    ut_link_stop(&lane->link);
}

void ut_grpc_client_stop(struct ut_grpc_client *client, void (*stopped)(void *arg), void *arg)
{
    client->stopping = true;
    client->stopped = stopped;
    client->stopped_arg = arg;
    client->stopping_links = client->lanes_open;
    ut_resolver_stop(&client->resolver);
    ut_credentials_stop(&client->credentials);
    for (uint32_t i = 0; i < client->lanes_open; i++)
        stop_lane(&client->lanes[i]);
}

void ut_grpc_client_free(struct ut_grpc_client *client)
{
    if (client == NULL)
        return;
    UT_CHECK(client->calls == 0);
    ut_resolver_stop(&client->resolver);
    ut_credentials_stop(&client->credentials);
    for (uint32_t i = 0; i < client->lanes_open; i++)
        ut_link_done(&client->lanes[i].link);
    ut_tls_end_done(&client->tls);
    ut_compressor_free(client->compressor);
    ut_pool_free(&client->worker->pool, client);
}
