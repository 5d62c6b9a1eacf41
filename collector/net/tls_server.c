/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_server.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

enum { TRIES = 8 };

#define TRY_NS (250 * UT_NS_PER_MS)
#define ROTATION_NS (UT_TLS_TICKET_S * UT_NS_PER_S)

static void set_timer(struct ut_tls_server *server, struct ut_timer *timer, uint64_t due_ns)
{
    ut_timer_set(&server->worker->timers, timer, due_ns);
}

static void set_next_look(struct ut_tls_server *server, uint64_t now_ns)
{
    if (server->settings->reload_interval_ns > 0)
        set_timer(server, &server->look, now_ns + server->settings->reload_interval_ns);
}

static void log_certificate(const struct ut_tls_server *server)
{
    int64_t now_s = time(NULL), left_s = server->context->not_after_s - now_s;
    ut_log(server->worker->log, left_s > 0 ? UT_LOG_INFO : UT_LOG_ERROR,
           left_s > 0 ? "tls_certificate" : "tls_certificate_expired",
           "component=%s cert=%s hours_left=%" PRId64, server->id,
           server->settings->cert_file != NULL ? server->settings->cert_file : "cert_pem",
           left_s / 3600);
}

static void take(struct ut_tls_server *server, struct ut_tls_context *fresh, uint64_t now_ns)
{
    ut_tls_context_unref(server->context);
    server->context = fresh;
    ++*server->reloaded;
    log_certificate(server);
    set_timer(server, &server->rotation, now_ns + ROTATION_NS);
}

static void look(struct ut_tls_server *server, uint64_t now_ns)
{
    struct ut_tls_context *fresh;
    struct ut_tls_error error;
    char shown[UT_TLS_ERROR_TEXT + 64];
    int result = ut_tls_context_renew(&fresh, server->settings, server->context, &error);
    if (result == 0)
        take(server, fresh, now_ns);
    if (result == 0 || result == -EALREADY) {
        server->tries = 0;
        set_next_look(server, now_ns);
        return;
    }
    if (error.passing && ++server->tries < TRIES) {
        set_timer(server, &server->look, now_ns + TRY_NS);
        return;
    }
    server->tries = 0;
    ++*server->failed;
    ut_log(server->worker->log, UT_LOG_ERROR, "tls_reload_failed",
           "component=%s setting=%s text=%s advice=\"the certificate from before stays in force; "
           "put the file right, it is read again at the next reload_interval or at SIGHUP\"",
           server->id, error.key, ut_log_quote(shown, sizeof(shown), error.text));
    set_next_look(server, now_ns);
}

static void on_look(struct ut_timer *timer, uint64_t now_ns)
{
    look(UT_CONTAINER_OF(timer, struct ut_tls_server, look), now_ns);
}

static void on_rotation(struct ut_timer *timer, uint64_t now_ns)
{
    struct ut_tls_server *server = UT_CONTAINER_OF(timer, struct ut_tls_server, rotation);
    ut_tls_context_rotate(server->context);
    set_timer(server, &server->rotation, now_ns + ROTATION_NS);
}

static double read_not_after(void *arg)
{
    return (double)((const struct ut_tls_server *)arg)->context->not_after_s;
}

static uint64_t *counter(struct ut_tls_server *server, const char *name, const char *labels,
                         const char *extra, const char *help)
{
    char all[320];
    (void)snprintf(all, sizeof(all), "%s,%s", labels, extra);
    return ut_metrics_counter(server->worker->metrics, name, all, help);
}

static void init_metrics(struct ut_tls_server *server, const char *labels)
{
    static const char *const resumed[] = {"resumed=\"false\"", "resumed=\"true\""};
    for (int i = 0; i < 2; i++)
        server->handshakes[i] = counter(server, "undertrace_receiver_tls_handshakes_total", labels,
                                        resumed[i], "TLS handshakes that were completed");
    for (int i = 1; i < UT_TLS_FAILURES; i++) {
        char reason[64];
        (void)snprintf(reason, sizeof(reason), "reason=\"%s\"",
                       ut_tls_failure_name((enum ut_tls_failure)i));
        server->failures[i] = counter(server, "undertrace_receiver_tls_failures_total", labels,
                                      reason, "Connections that TLS ended");
    }
    server->reloaded = counter(server, "undertrace_receiver_tls_reloads_total", labels,
                               "result=\"taken\"", "Certificates, keys or CAs that were replaced");
    server->failed = counter(server, "undertrace_receiver_tls_reloads_total", labels,
                             "result=\"failed\"", "Certificates, keys or CAs that were replaced");
    ut_metrics_gauge(server->worker->metrics,
                     "undertrace_receiver_tls_certificate_not_after_timestamp_seconds", labels,
                     "When the certificate in force expires", read_not_after, server);
}

int ut_tls_server_init(struct ut_tls_server *server, const struct ut_tls_server_config *config,
                       struct ut_tls_error *error)
{
    struct ut_worker *worker = config->worker;
    UT_CHECK(worker->read_buffer_size <= UT_TLS_IN_BYTES);
    *server = (struct ut_tls_server){
        .settings = config->settings,
        .worker = worker,
        .id = config->id,
        .look = {.fire = on_look},
        .rotation = {.fire = on_rotation},
    };
    int result = ut_tls_context_new(&server->context, config->settings, error);
    if (result != 0)
        return result;
    server->channel = ut_tls_channel_new(&worker->pool);
    if (server->channel == NULL) {
        ut_tls_context_unref(server->context);
        server->context = NULL;
        *error = (struct ut_tls_error){.key = "", .text = "out of memory"};
        return -ENOMEM;
    }
    init_metrics(server, config->labels);
    log_certificate(server);
    set_timer(server, &server->rotation, ut_worker_now(worker) + ROTATION_NS);
    set_next_look(server, ut_worker_now(worker));
    return 0;
}

void ut_tls_server_done(struct ut_tls_server *server)
{
    struct ut_worker *worker = server->worker;
    if (server->context == NULL)
        return;
    ut_timer_cancel(&worker->timers, &server->look);
    ut_timer_cancel(&worker->timers, &server->rotation);
    ut_metrics_remove(worker->metrics, server);
    ut_tls_channel_free(server->channel);
    ut_tls_context_unref(server->context);
    server->context = NULL;
}

void ut_tls_server_look(struct ut_tls_server *server)
{
    server->tries = 0;
    look(server, ut_worker_now(server->worker));
}

void ut_tls_server_inherit(struct ut_tls_server *server, const struct ut_tls_server *from)
{
    struct ut_tls_context *context = server->context, *before = from->context;
    if (memcmp(context->digest, before->digest, sizeof(context->digest)) == 0 &&
        server->settings->client_optional == from->settings->client_optional)
        memcpy(context->ticket_keys, before->ticket_keys, sizeof(context->ticket_keys));
}
