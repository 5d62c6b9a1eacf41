/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_end.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

enum { TRIES = 8 };

#define TRY_NS (250 * UT_NS_PER_MS)
#define ROTATION_NS (UT_TLS_TICKET_S * UT_NS_PER_S)

/* ---- the files ------------------------------------------------------------------------------- */

static void set_timer(struct ut_tls_end *end, struct ut_timer *timer, uint64_t due_ns)
{
    ut_timer_set(&end->worker->timers, timer, due_ns);
}

static void set_next_look(struct ut_tls_end *end, uint64_t now_ns)
{
    if (end->settings->reload_interval_ns > 0)
        set_timer(end, &end->look, now_ns + end->settings->reload_interval_ns);
}

static void set_rotation(struct ut_tls_end *end, uint64_t now_ns)
{
    if (end->context->role == UT_TLS_SERVER)
        set_timer(end, &end->rotation, now_ns + ROTATION_NS);
}

static void log_certificate(const struct ut_tls_end *end)
{
    int64_t left_s = end->context->not_after_s - time(NULL);
    if (end->context->not_after_s == 0)
        return;
    ut_log_cause(end->worker->log, left_s > 0 ? UT_LOG_INFO : UT_LOG_ERROR,
                 left_s > 0 ? "tls_certificate" : "tls_certificate_expired", end->id,
                 "component=%s cert=%s hours_left=%" PRId64, end->id,
                 end->settings->cert_file != NULL ? end->settings->cert_file : "cert_pem",
                 left_s / 3600);
}

static void take(struct ut_tls_end *end, struct ut_tls_context *fresh, uint64_t now_ns)
{
    ut_tls_context_unref(end->context);
    end->context = fresh;
    ++*end->reloaded;
    log_certificate(end);
    set_rotation(end, now_ns);
}

static void look(struct ut_tls_end *end, uint64_t now_ns)
{
    struct ut_tls_context *fresh;
    struct ut_tls_error error;
    char shown[UT_TLS_ERROR_TEXT + 64];
    int result = ut_tls_context_renew(&fresh, end->settings, end->context, &error);
    if (result == 0)
        take(end, fresh, now_ns);
    if (result == 0 || result == -EALREADY) {
        end->tries = 0;
        set_next_look(end, now_ns);
        return;
    }
    if (error.passing && ++end->tries < TRIES) {
        set_timer(end, &end->look, now_ns + TRY_NS);
        return;
    }
    end->tries = 0;
    ++*end->failed;
    ut_log_cause(
        end->worker->log, UT_LOG_ERROR, "tls_reload_failed", end->id,
        "component=%s setting=%s text=%s advice=\"the certificates from before stay in force; "
        "put the file right, it is read again at the next reload_interval or at SIGHUP\"",
        end->id, error.key, ut_log_quote(shown, sizeof(shown), error.text));
    set_next_look(end, now_ns);
}

static void on_look(struct ut_timer *timer, uint64_t now_ns)
{
    look(UT_CONTAINER_OF(timer, struct ut_tls_end, look), now_ns);
}

static void on_rotation(struct ut_timer *timer, uint64_t now_ns)
{
    struct ut_tls_end *end = UT_CONTAINER_OF(timer, struct ut_tls_end, rotation);
    ut_tls_tickets_rotate(&end->context->tickets);
    set_rotation(end, now_ns);
}

/* ---- metrics --------------------------------------------------------------------------------- */

static double read_not_after(void *arg)
{
    return (double)((const struct ut_tls_end *)arg)->context->not_after_s;
}

enum { NAME_BYTES = 96 };

static const char *name_of(char out[NAME_BYTES], enum ut_tls_role role, const char *what)
{
    (void)snprintf(out, NAME_BYTES, "undertrace_%s_tls_%s",
                   role == UT_TLS_SERVER ? "receiver" : "exporter", what);
    return out;
}

struct family {
    const struct ut_tls_end_config *config;
    const char *what, *help;
};

static uint64_t *counter(const struct family *family, const char *label, const char *value)
{
    char name[NAME_BYTES], labels[320];
    (void)snprintf(labels, sizeof(labels), "%s,%s=\"%s\"", family->config->labels, label, value);
    return ut_metrics_counter(family->config->worker->metrics,
                              name_of(name, family->config->role, family->what), labels,
                              family->help);
}

static void init_metrics(struct ut_tls_end *end, const struct ut_tls_end_config *config)
{
    const struct family handshakes = {config, "handshakes_total",
                                      "TLS handshakes that were completed"};
    const struct family failures = {config, "failures_total", "Connections that TLS ended"};
    const struct family reloads = {config, "reloads_total",
                                   "Certificates, keys or CAs that were replaced"};
    char name[NAME_BYTES];
    end->handshakes[false] = counter(&handshakes, "resumed", "false");
    end->handshakes[true] = counter(&handshakes, "resumed", "true");
    for (int i = UT_TLS_FAILURE_NONE + 1; i < UT_TLS_FAILURES; i++)
        end->failures[i] =
            counter(&failures, "reason", ut_tls_failure_name((enum ut_tls_failure)i));
    end->reloaded = counter(&reloads, "result", "taken");
    end->failed = counter(&reloads, "result", "failed");
    if (end->context->not_after_s != 0)
        ut_metrics_gauge(config->worker->metrics,
                         name_of(name, config->role, "certificate_not_after_timestamp_seconds"),
                         config->labels, "When the own certificate in force expires",
                         read_not_after, end);
}

/* ---- life ------------------------------------------------------------------------------------ */

int ut_tls_end_init(struct ut_tls_end *end, const struct ut_tls_end_config *config,
                    struct ut_tls_error *error)
{
    struct ut_worker *worker = config->worker;
    UT_CHECK(worker->read_buffer_size <= UT_TLS_IN_BYTES);
    *end = (struct ut_tls_end){
        .worker = worker,
        .settings = config->settings,
        .id = config->id,
        .look = {.fire = on_look},
        .rotation = {.fire = on_rotation},
    };
    int result = ut_tls_context_new(&end->context, config->settings, config->role, error);
    if (result != 0)
        return result;
    end->channel = ut_tls_channel_new(&worker->pool);
    if (end->channel == NULL) {
        ut_tls_context_unref(end->context);
        end->context = NULL;
        *error = (struct ut_tls_error){.key = "", .text = "out of memory"};
        return -ENOMEM;
    }
    init_metrics(end, config);
    log_certificate(end);
    set_rotation(end, ut_worker_now(worker));
    set_next_look(end, ut_worker_now(worker));
    return 0;
}

void ut_tls_end_done(struct ut_tls_end *end)
{
    if (end->context == NULL)
        return;
    ut_timer_cancel(&end->worker->timers, &end->look);
    ut_timer_cancel(&end->worker->timers, &end->rotation);
    ut_metrics_remove(end->worker->metrics, end);
    ut_tls_channel_free(end->channel);
    ut_tls_context_unref(end->context);
    end->context = NULL;
}

void ut_tls_end_look(struct ut_tls_end *end)
{
    if (end->context == NULL)
        return;
    end->tries = 0;
    look(end, ut_worker_now(end->worker));
}

void ut_tls_end_inherit(struct ut_tls_end *end, const struct ut_tls_end *from)
{
    struct ut_tls_context *context = end->context;
    const struct ut_tls_context *before = from->context;
    if (memcmp(context->digest, before->digest, sizeof(context->digest)) == 0 &&
        end->settings->client_optional == from->settings->client_optional)
        memcpy(context->tickets.keys, before->tickets.keys, sizeof(context->tickets.keys));
}
