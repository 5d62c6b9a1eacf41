/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcurl says which sockets it waits for and when it wants to be called; it is called for that
 * from the loop's callbacks (`drive`), and never from inside its own. A call's easy handle keeps
 * all options for the next call, so only the body's size is set anew.
 *
 * States of the client: open → stopping → stopped. A poll handle outlives libcurl's interest in its
 * socket until libuv has closed it; the client is stopped when the last one is gone.
 */
#include "net/http_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "net/compress.h"
#include "net/credentials.h"
#include "net/http_easy.h"

enum {
    IDLE_MAX = 32, /* easy handles that wait for a call */
};

struct ut_http_client {
    struct ut_worker *worker;
    struct ut_http_client_options options;
    CURLM *multi;
    struct ut_http_easy easy;
    struct ut_compressor *compressor;  /* NULL: bodies go as they are */
    struct ut_credentials credentials; /* not started: none are shown */
    bool outdated;                     /* their field is an older one still */
    CURL *idle[IDLE_MAX];
    size_t idle_count;
    struct ut_http_call *calls;
    struct ut_timer timer;
    struct ut_deferred finish;
    struct ut_deferred blind; /* there is a socket that could not be watched */
    uint32_t sockets;         /* poll handles that are not closed */
    bool stopping;
    void (*stopped)(void *arg);
    void *stopped_arg;
    uint64_t *connects, *connect_failures, *sent_bytes;
};

struct watched {
    uv_poll_t poll;
    struct ut_http_client *client;
    curl_socket_t fd;
};

/* ---- ends of calls --------------------------------------------------------------------------- */

static void link_call(struct ut_http_client *client, struct ut_http_call *call)
{
    call->previous = NULL;
    call->next = client->calls;
    if (client->calls != NULL)
        client->calls->previous = call;
    client->calls = call;
}

static void unlink_call(struct ut_http_client *client, struct ut_http_call *call)
{
    *(call->previous != NULL ? &call->previous->next : &client->calls) = call->next;
    if (call->next != NULL)
        call->next->previous = call->previous;
}

static void put_easy(struct ut_http_client *client, CURL *easy)
{
    if (client->idle_count < IDLE_MAX && !client->stopping)
        client->idle[client->idle_count++] = easy;
    else
        curl_easy_cleanup(easy);
}

static void count_transfer(struct ut_http_client *client, CURL *easy, CURLcode code)
{
    curl_off_t body = 0;
    long head = 0, connects = 0;
    (void)curl_easy_getinfo(easy, CURLINFO_SIZE_UPLOAD_T, &body);
    (void)curl_easy_getinfo(easy, CURLINFO_REQUEST_SIZE, &head);
    (void)curl_easy_getinfo(easy, CURLINFO_NUM_CONNECTS, &connects);
    *client->sent_bytes += (uint64_t)body + (uint64_t)head;
    *client->connects += (uint64_t)connects;
    *client->connect_failures +=
        code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST ||
        code == CURLE_COULDNT_RESOLVE_PROXY ||
        (code == CURLE_OPERATION_TIMEDOUT && !ut_http_easy_connected(easy));
}

static void end_call(struct ut_http_call *call)
{
    struct ut_http_client *client = call->client;
    uint8_t *kept = call->kept;
    struct ut_segment *packed = call->packed;
    ut_patience_cancel(&call->deadline);
    unlink_call(client, call);
    call->handle = NULL;
    call->done(call);
    ut_pool_free(&client->worker->pool, kept);
    ut_segment_unref(packed);
}

static void end_transfer(struct ut_http_client *client, CURL *easy, CURLcode code)
{
    struct ut_http_call *call = NULL;
    (void)curl_easy_getinfo(easy, CURLINFO_PRIVATE, &call);
    count_transfer(client, easy, code);
    ut_http_easy_end(&client->easy, easy, call, code);
    (void)curl_multi_remove_handle(client->multi, easy);
    put_easy(client, easy);
    end_call(call);
}

static void on_deadline(struct ut_patience *patience, uint64_t now_ns)
{
    struct ut_http_call *call = UT_CONTAINER_OF(patience, struct ut_http_call, deadline);
    (void)now_ns;
    end_transfer(call->client, call->handle, CURLE_OPERATION_TIMEDOUT);
}

/* ---- the loop -------------------------------------------------------------------------------- */

static void drive(struct ut_http_client *client, curl_socket_t fd, int events)
{
    int running, left;
    (void)curl_multi_socket_action(client->multi, fd, events, &running);
    for (;;) {
        CURLMsg *message =
            client->multi != NULL ? curl_multi_info_read(client->multi, &left) : NULL;
        if (message == NULL)
            return;
        if (message->msg == CURLMSG_DONE)
            end_transfer(client, message->easy_handle, message->data.result);
    }
}

static void on_timer(struct ut_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    drive(UT_CONTAINER_OF(timer, struct ut_http_client, timer), CURL_SOCKET_TIMEOUT, 0);
}

static int on_timer_wanted(CURLM *multi, long after_ms, void *arg)
{
    struct ut_http_client *client = arg;
    struct ut_worker *worker = client->worker;
    (void)multi;
    if (after_ms < 0)
        ut_timer_cancel(&worker->timers, &client->timer);
    else
        ut_timer_set(&worker->timers, &client->timer,
                     ut_worker_now(worker) + (uint64_t)after_ms * UT_NS_PER_MS);
    return 0;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct watched *watched = UT_CONTAINER_OF(poll, struct watched, poll);
    int mask = status < 0 ? CURL_CSELECT_ERR : 0;
    mask |= (events & UV_READABLE) != 0 ? CURL_CSELECT_IN : 0;
    mask |= (events & UV_WRITABLE) != 0 ? CURL_CSELECT_OUT : 0;
    drive(watched->client, watched->fd, mask);
}

static void on_finish(struct ut_deferred *deferred)
{
    struct ut_http_client *client = UT_CONTAINER_OF(deferred, struct ut_http_client, finish);
    client->stopped(client->stopped_arg);
}

static void check_stopped(struct ut_http_client *client)
{
    if (client->stopping && client->sockets == 0)
        ut_worker_defer(client->worker, &client->finish);
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct watched *watched = UT_CONTAINER_OF((uv_poll_t *)handle, struct watched, poll);
    struct ut_http_client *client = watched->client;
    client->sockets--;
    ut_pool_free(&client->worker->pool, watched);
    check_stopped(client);
}

static struct watched *watch(struct ut_http_client *client, curl_socket_t fd)
{
    struct watched *watched = ut_pool_alloc(&client->worker->pool, sizeof(*watched));
    if (watched == NULL)
        return NULL;
    *watched = (struct watched){.client = client, .fd = fd};
    if (uv_poll_init(&client->worker->uv, &watched->poll, fd) != 0) {
        ut_pool_free(&client->worker->pool, watched);
        return NULL;
    }
    client->sockets++;
    return watched;
}

/* What waits for a socket that nobody watches would wait for ever: all that is under way is ended,
 * to be sent again. Called later, for libcurl must not be called from its own callbacks; answering
 * those with an error would make it deaf to all other transfers as well. */
static void on_blind(struct ut_deferred *deferred)
{
    struct ut_http_client *client = UT_CONTAINER_OF(deferred, struct ut_http_client, blind);
    size_t count = 0;
    for (const struct ut_http_call *call = client->calls; call != NULL; call = call->next)
        count++;
    /* From the oldest on: who is told may send the next at once, which comes in front. */
    for (; count > 0 && client->calls != NULL; count--) {
        struct ut_http_call *call = client->calls;
        while (call->next != NULL)
            call = call->next;
        end_transfer(client, call->handle, CURLE_OUT_OF_MEMORY);
    }
}

static int on_socket_wanted(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct ut_http_client *client = arg;
    struct watched *watched = socket_arg;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (watched != NULL) {
            (void)uv_poll_stop(&watched->poll);
            uv_close((uv_handle_t *)&watched->poll, on_poll_closed);
        }
        return 0;
    }
    if (watched == NULL) {
        watched = watch(client, fd);
        if (watched == NULL) {
            ut_worker_defer(client->worker, &client->blind);
            return 0;
        }
        (void)curl_multi_assign(client->multi, fd, watched);
    }
    int events = (what & CURL_POLL_IN) != 0 ? UV_READABLE : 0;
    events |= (what & CURL_POLL_OUT) != 0 ? UV_WRITABLE : 0;
    if (uv_poll_start(&watched->poll, events, on_poll) != 0)
        ut_worker_defer(client->worker, &client->blind);
    return 0;
}

/* ---- calls ----------------------------------------------------------------------------------- */

/* Puts the newest credentials into all requests from now on. */
static int show(struct ut_http_client *client)
{
    if (client->calls == NULL)
        ut_http_easy_settle(&client->easy);
    int error =
        ut_http_easy_show(&client->easy, client->credentials.name, client->credentials.value);
    client->outdated = error != 0;
    return error;
}

static void on_credentials(struct ut_credentials *credentials)
{
    (void)show(UT_CONTAINER_OF(credentials, struct ut_http_client, credentials));
}

int ut_http_client_start(struct ut_http_client *client, char error[UT_HTTP_CLIENT_ERROR])
{
    char why[UT_CREDENTIALS_ERROR];
    if (client->options.auth.type == NULL)
        return 0;
    client->credentials.changed = on_credentials;
    int result = ut_credentials_start(&client->credentials, client->worker, client->options.id,
                                      &client->options.auth, why);
    if (result != 0)
        (void)snprintf(error, UT_HTTP_CLIENT_ERROR, "auth.authenticator: %s", why);
    return result != 0 ? result : show(client);
}

void ut_http_client_reread_files(struct ut_http_client *client)
{
    ut_credentials_reread(&client->credentials);
}

/* Puts the compressed body in place of the runs. */
static bool pack(struct ut_http_client *client, struct ut_http_call *call)
{
    call->packed = NULL;
    if (client->compressor == NULL)
        return true;
    call->packed = ut_compress(client->compressor, call->runs, call->run_count, call->bytes);
    if (call->packed == NULL)
        return false;
    call->packed_run = (struct iovec){call->packed->data, call->packed->size};
    call->runs = &call->packed_run;
    call->run_count = 1;
    call->bytes = call->packed->size;
    return true;
}

int ut_http_client_submit(struct ut_http_client *client, struct ut_http_call *call)
{
    UT_CHECK(!client->stopping);
    if (client->outdated)
        (void)show(client);
    CURL *handle = client->idle_count > 0 ? client->idle[--client->idle_count]
                                          : ut_http_easy_new(&client->easy);
    if (handle == NULL)
        return -ENOMEM;
    call->client = client;
    call->pool = &client->worker->pool;
    call->handle = handle;
    if (pack(client, call) && ut_http_easy_begin(&client->easy, handle, call) == 0 &&
        curl_multi_add_handle(client->multi, handle) == CURLM_OK) {
        link_call(client, call);
        call->deadline = (struct ut_patience){.over = on_deadline};
        ut_patience_begin(&call->deadline, &client->worker->timers, ut_worker_now(client->worker),
                          client->options.settings->timeout_ns);
        return 0;
    }
    ut_segment_unref(call->packed);
    curl_easy_cleanup(handle);
    return -ENOMEM;
}

void ut_http_client_stop(struct ut_http_client *client, void (*stopped)(void *arg), void *arg)
{
    client->stopping = true;
    client->stopped = stopped;
    client->stopped_arg = arg;
    ut_credentials_stop(&client->credentials);
    while (client->calls != NULL) {
        struct ut_http_call *call = client->calls;
        (void)curl_multi_remove_handle(client->multi, call->handle);
        curl_easy_cleanup(call->handle);
        (void)snprintf(call->error, sizeof(call->error), "stopping");
        call->cause = UT_SETBACK_LOCAL;
        end_call(call);
    }
    while (client->idle_count > 0)
        curl_easy_cleanup(client->idle[--client->idle_count]);
    /* Closes the connections, and lets go of their sockets by the callback. */
    (void)curl_multi_cleanup(client->multi);
    client->multi = NULL;
    ut_timer_cancel(&client->worker->timers, &client->timer);
    ut_worker_undefer(client->worker, &client->blind);
    check_stopped(client);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void register_metrics(struct ut_http_client *client)
{
    struct ut_metrics *metrics = client->worker->metrics;
    char label[160];
    (void)snprintf(label, sizeof(label), "exporter=\"%s\"", client->options.id);
    client->connects = ut_metrics_counter(metrics, "undertrace_exporter_connects", label,
                                          "Connections opened to the backend.");
    client->connect_failures = ut_metrics_counter(metrics, "undertrace_exporter_connect_failures",
                                                  label, "Attempts to connect that failed.");
    client->sent_bytes = ut_metrics_counter(metrics, "undertrace_exporter_sent_bytes", label,
                                            "Bytes written to the backend.");
}

static bool open_multi(struct ut_http_client *client)
{
    client->multi = curl_multi_init();
    return client->multi != NULL &&
           curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, on_socket_wanted) ==
               CURLM_OK &&
           curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client) == CURLM_OK &&
           curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted) == CURLM_OK &&
           curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client) == CURLM_OK;
}

int ut_http_client_new(struct ut_http_client **ret, struct ut_worker *worker,
                       const struct ut_http_client_options *options)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return -ENOMEM;
    struct ut_http_client *client = calloc(1, sizeof(*client));
    if (client == NULL) {
        curl_global_cleanup();
        return -ENOMEM;
    }
    client->worker = worker;
    client->options = *options;
    client->timer.fire = on_timer;
    client->finish.run = on_finish;
    client->blind.run = on_blind;
    register_metrics(client);
    int error = ut_http_easy_init(&client->easy, &client->options);
    enum ut_coding coding = ut_http_client_coding(options->settings, options->url);
    if (error == 0 && coding != UT_CODING_IDENTITY)
        client->compressor = ut_compressor_new(&worker->pool, coding);
    if (error == 0 &&
        (!open_multi(client) || (coding != UT_CODING_IDENTITY && client->compressor == NULL)))
        error = -ENOMEM;
    if (error == 0) {
        /* The first handle tells at once whether libcurl takes all options. */
        client->idle[0] = ut_http_easy_new(&client->easy);
        client->idle_count = client->idle[0] != NULL;
        error = client->idle[0] != NULL ? 0 : -EINVAL;
    }
    if (error != 0) {
        ut_http_client_free(client);
        return error;
    }
    *ret = client;
    return 0;
}

void ut_http_client_free(struct ut_http_client *client)
{
    if (client == NULL)
        return;
    UT_CHECK(client->calls == NULL && client->sockets == 0);
    while (client->idle_count > 0)
        curl_easy_cleanup(client->idle[--client->idle_count]);
    (void)curl_multi_cleanup(client->multi);
    ut_timer_cancel(&client->worker->timers, &client->timer);
    ut_credentials_stop(&client->credentials);
    ut_worker_undefer(client->worker, &client->finish);
    ut_worker_undefer(client->worker, &client->blind);
    ut_http_easy_done(&client->easy);
    ut_compressor_free(client->compressor);
    free(client);
    curl_global_cleanup();
}
