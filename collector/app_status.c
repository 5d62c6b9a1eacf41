/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one can look at from outside: /metrics, /healthz and /readyz on the telemetry address, and
 * /doctor and /status, as JSON, on the admin socket beside them. Neither is needed for the data to
 * flow: where an address is taken, that is a warning.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app_kernel.h"
#include "app_parts.h"
#include "base/clock.h"

static void serve_text(struct ut_http_response *response, int status, const char *text)
{
    response->status = status;
    response->body = strdup(text);
    response->size = strlen(text);
}

static void serve_metrics(void *arg, struct ut_http_response *response)
{
    struct ut_app *app = arg;
    response->content_type = "text/plain; version=0.0.4; charset=utf-8";
    response->body = ut_metrics_text(app->metrics, &response->size);
}

/* Whoever answers turns, and that is what is asked. */
static void serve_health(void *arg, struct ut_http_response *response)
{
    (void)arg;
    serve_text(response, 200, "ok\n");
}

static void serve_ready(void *arg, struct ut_http_response *response)
{
    const struct ut_health *health = &((struct ut_app *)arg)->health;
    char text[32];
    snprintf(text, sizeof(text), "%s\n", ut_health_text(health));
    serve_text(response, ut_health_is_ready(health) ? 200 : 503, text);
}

/* ---- /doctor --------------------------------------------------------------------------------- */

static void set_count(json_t *object, const char *key, uint64_t value)
{
    json_object_set_new(object, key, json_integer((json_int_t)value));
}

static json_t *describe_programs(const struct ut_app *app)
{
    json_t *list = json_array();
    struct ut_kernel_program programs[UT_KERNEL_PROGRAMS_MAX];
    for (const struct ut_app_receiver *part = app->receivers; part != NULL; part = part->next) {
        if (!part->watches_kernel || !part->started)
            continue;
        size_t count = ut_kernel_programs_of(part->receiver, programs);
        for (size_t j = 0; j < count; j++) {
            if (programs[j].unwanted)
                continue;
            json_array_append_new(list,
                                  json_pack("{s:s, s:b, s:s, s:s}", "name", programs[j].name,
                                            "works", (int)programs[j].works, "reason",
                                            programs[j].reason, "without", programs[j].without));
        }
    }
    return list;
}

struct total {
    const char *key, *metric;
};

/* Those that are not zero, each summed over its labels; metrics tell more. */
static json_t *describe_totals(const struct ut_app *app, const struct total *totals, size_t count)
{
    json_t *object = json_object();
    for (size_t i = 0; i < count; i++) {
        uint64_t sum = (uint64_t)ut_metrics_sum(app->metrics, totals[i].metric);
        if (sum > 0)
            set_count(object, totals[i].key, sum);
    }
    return object;
}

/* How far the reading of requests for their ids has come. Empty where it is off. */
static json_t *describe_trace_context(const struct ut_app *app)
{
    static const struct total rows[] = {
        {"followed", "undertrace_trace_context_sockets_total"},
        {"requests", "undertrace_trace_context_requests_total"},
        {"answers", "undertrace_trace_context_answers_total"},
        {"lost", "undertrace_trace_context_lost_total"},
        {"displaced", "undertrace_trace_context_displaced_total"},
        {"untrusted", "undertrace_trace_context_untrusted_total"},
        {"refused", "undertrace_trace_context_refused_total"},
        {"untold", "undertrace_trace_context_untold_total"},
        {"interfaces", "undertrace_trace_context_interfaces"},
        {"interfaces refused", "undertrace_trace_context_interfaces_refused_total"},
    };
    return describe_totals(app, rows, sizeof(rows) / sizeof(rows[0]));
}

/* What tables had no room for, or no room left. */
static json_t *describe_no_room(const struct ut_app *app)
{
    static const struct total rows[] = {
        {"connections", "undertrace_connections_evicted_total"},
        {"events", "undertrace_kernel_events_evicted_total"},
        {"stalls", "undertrace_memory_stalls_evicted_total"},
        {"workloads and cgroups", "undertrace_workloads_overflow_total"},
        {"requests of workloads whose memory is not read",
         "undertrace_memory_unwatched_requests_total"},
        {"readings of memory", "undertrace_memory_readings_evicted_total"},
        {"containers to ask for", "undertrace_containerd_refused_total"},
        {"ids from the wire", "undertrace_trace_context_refused_total"},
        {"times of first sending", "undertrace_ebpf_send_times_refused_total"},
        {"sends and their threads", "undertrace_ebpf_sends_refused_total"},
    };
    return describe_totals(app, rows, sizeof(rows) / sizeof(rows[0]));
}

/* Spans that may have less evidence than there was, or none. */
static json_t *describe_doubts(const struct ut_app *app)
{
    static const struct total rows[] = {
        {"unsettled", "undertrace_correlate_unsettled_spans_total"},
        {"late", "undertrace_join_late_spans_total"},
        {"of impossible times", "undertrace_unjoined_spans_total"},
        {"without room for it", "undertrace_evidence_dropped_spans_total"},
        {"in requests of too many events", "undertrace_join_events_exceeded_total"},
    };
    return describe_totals(app, rows, sizeof(rows) / sizeof(rows[0]));
}

static json_t *describe_containerd(const struct ut_containerd *containerd)
{
    struct ut_containerd_figures figures;
    ut_containerd_figures(containerd, &figures);
    json_t *object =
        json_pack("{s:s, s:s, s:s, s:b}", "socket", figures.socket, "version", figures.version,
                  "trouble", figures.trouble, "connected", (int)figures.connected);
    set_count(object, "found", figures.found);
    set_count(object, "absent", figures.absent);
    set_count(object, "failed", figures.failed);
    set_count(object, "refused", figures.refused);
    set_count(object, "waiting", figures.waiting);
    return object;
}

/* Records that were read, and events that left none. What the receiver refuses at sight never comes
 * to the evidence. */
static void describe_records(const struct ut_app *app, const struct ut_evidence_figures *figures,
                             json_t *kernel)
{
    static const char *const missing[][2] = {
        {"no_room", "undertrace_ebpf_lost_total"},
        {"rate_limited", "undertrace_ebpf_rate_limited_total"},
        {"skipped_runs", "undertrace_ebpf_missed_runs_total"},
    };
    uint64_t refused = (uint64_t)ut_metrics_sum(app->metrics, "undertrace_ebpf_bad_records_total");
    set_count(kernel, "records", figures->records + refused);
    set_count(kernel, "bad_records", figures->bad_records + refused);
    for (size_t i = 0; i < sizeof(missing) / sizeof(missing[0]); i++)
        set_count(kernel, missing[i][0], (uint64_t)ut_metrics_sum(app->metrics, missing[i][1]));
}

static json_t *describe_end(const struct ut_endpoint *end)
{
    char address[UT_ADDRESS_TEXT];
    const char *form = ut_address_is_v4(&end->address) ? "%s:%d" : "[%s]:%d";
    return json_sprintf(form, ut_address_text(address, &end->address), (int)end->port);
}

static json_t *describe_unmatched(const struct ut_unmatched_ends *unmatched)
{
    json_t *object = json_object();
    set_count(object, "spans", unmatched->spans);
    if (unmatched->spans > 0) {
        json_object_set_new(object, "workload", json_string(unmatched->workload));
        json_object_set_new(object, "named", describe_end(&unmatched->named));
        json_object_set_new(object, "socket", describe_end(&unmatched->socket));
    }
    return object;
}

static void describe_evidence(const struct ut_app *app, json_t *root)
{
    struct ut_evidence_figures figures;
    json_t *kernel = json_object(), *senders = json_object(), *joins = json_object();
    ut_evidence_figures(app->evidence, &figures);
    json_object_set_new(kernel, "programs", describe_programs(app));
    set_count(kernel, "attached_unix_ns", figures.attached_unix_ns);
    set_count(kernel, "map_bytes",
              (uint64_t)ut_metrics_sum(app->metrics, "undertrace_ebpf_map_bytes"));
    describe_records(app, &figures, kernel);
    set_count(kernel, "added_bytes", figures.added_bytes);
    set_count(kernel, "withheld_events", figures.withheld_events);
    set_count(kernel, "withheld_counts", figures.withheld_counts);
    set_count(kernel, "events", figures.events);
    set_count(kernel, "unowned_events",
              (uint64_t)ut_metrics_sum(app->metrics, "undertrace_unowned_events_total"));
    json_object_set_new(kernel, "no_room_in_tables", describe_no_room(app));
    json_object_set_new(kernel, "spans_in_doubt", describe_doubts(app));
    set_count(kernel, "connections_open", figures.connections_open);
    set_count(kernel, "connections_closed", figures.connections_closed);
    set_count(kernel, "workloads", figures.workloads);
    set_count(kernel, "claims_contradicted", figures.claims_contradicted);
    set_count(kernel, "forged_removed", figures.forged_removed);
    if (app->containerd != NULL)
        json_object_set_new(root, "containerd", describe_containerd(app->containerd));
    for (int i = 0; i < UT_SENDER_KNOWLEDGE; i++)
        set_count(senders, ut_sender_knowledge_name((enum ut_sender_knowledge)i),
                  figures.sender_spans[i]);
    for (int i = UT_MATCH_WORKLOAD; i < UT_MATCH_CLASSES; i++)
        set_count(joins, ut_match_class_name((enum ut_match_class)i), figures.joined_spans[i]);
    set_count(kernel, "contradicted", figures.contradicted);
    json_object_set_new(kernel, "unmatched", describe_unmatched(&figures.unmatched));
    json_object_set_new(root, "kernel", kernel);
    json_object_set_new(root, "trace_context", describe_trace_context(app));
    json_object_set_new(root, "senders", senders);
    json_object_set_new(root, "joins", joins);
}

static json_t *describe_receivers(const struct ut_app *app)
{
    static const char *const names[][2] = {
        {"received", "undertrace_receiver_received_spans"},
        {"accepted", "otelcol_receiver_accepted_spans"},
        {"refused", "otelcol_receiver_refused_spans"},
        {"rejected", "undertrace_receiver_rejected_spans"},
    };
    json_t *object = json_object();
    for (int i = 0; i < 4; i++)
        set_count(object, names[i][0], (uint64_t)ut_metrics_sum(app->metrics, names[i][1]));
    uint64_t pending = 0;
    for (size_t i = 0; i < app->current->config->pipeline_count; i++)
        pending += ut_pipeline_pending_spans(app->current->pipelines[i]);
    set_count(object, "in_processors", pending);
    return object;
}

static json_t *describe_reloads(const struct ut_app *app)
{
    const struct ut_app_reloads *reloads = &app->reloads;
    json_t *object = json_object();
    set_count(object, "done", reloads->done);
    set_count(object, "failed", reloads->failed);
    if (reloads->trouble[0] == '\0')
        return object;
    char quoted[UT_APP_ERROR + 64];
    json_t *text = json_string(reloads->trouble);
    if (text == NULL) /* a name in the file may be no UTF-8 */
        text = json_string(ut_log_quote(quoted, sizeof(quoted), reloads->trouble));
    json_object_set_new(object, "last_failure", text);
    set_count(object, "last_failure_ms",
              (ut_worker_now(&app->worker) - reloads->trouble_at_ns) / UT_NS_PER_MS);
    return object;
}

static void serve_doctor(void *arg, struct ut_http_response *response)
{
    const struct ut_app *app = arg;
    json_t *root = json_object();
    json_object_set_new(root, "version", json_string(UT_VERSION));
    set_count(root, "pid", (uint64_t)getpid());
    json_object_set_new(root, "state", json_string(ut_health_text(&app->health)));
    set_count(root, "uptime_s", (ut_worker_now(&app->worker) - app->started_ns) / 1000000000);
    set_count(root, "budget_used_bytes", app->worker.budget.used);
    set_count(root, "budget_limit_bytes", app->worker.budget.limit);
    json_object_set_new(root, "reloads", describe_reloads(app));
    if (app->evidence != NULL)
        describe_evidence(app, root);
    json_object_set_new(root, "spans", describe_receivers(app));
    json_object_set_new(root, "exporters", ut_app_describe_exporters(app));
    json_object_set_new(root, "storage", ut_app_describe_holds(app));
    response->content_type = "application/json";
    response->body = json_dumps(root, JSON_INDENT(2));
    response->size = response->body != NULL ? strlen(response->body) : 0;
    json_decref(root);
}

static void serve_reload(void *arg, struct ut_http_response *response)
{
    FILE *out = open_memstream(&response->body, &response->size);
    if (out == NULL)
        return; /* without a body it is an error 500 */
    if (!ut_app_reload(arg, out))
        response->status = 409;
    (void)fclose(out);
}

/* ---- where ----------------------------------------------------------------------------------- */

static const struct ut_http_route web_routes[] = {
    {"/metrics", serve_metrics, false},
    {"/healthz", serve_health, false},
    {"/readyz", serve_ready, false},
    {NULL, NULL, false},
};

static const struct ut_http_route admin_routes[] = {
    {"/status", serve_doctor, false},
    {"/doctor", serve_doctor, false},
    {"/metrics", serve_metrics, false},
    {"/healthz", serve_health, false},
    {"/readyz", serve_ready, false},
    {"/reload", serve_reload, true},
    {NULL, NULL, false},
};

static void open_web(struct ut_app *app, const char *address)
{
    char error[UT_ERROR_TEXT] = "", shown[UT_ERROR_TEXT + 16];
    app->web = ut_http_server_new(&app->worker, web_routes, app);
    UT_CHECK_MEMORY(app->web != NULL);
    if (ut_http_server_listen(app->web, address, error, sizeof(error)) == 0) {
        ut_log(app->log, UT_LOG_INFO, "telemetry_listening", "address=%s port=%u", address,
               ut_http_server_port(app->web));
        return;
    }
    ut_log(app->log, UT_LOG_WARN, "telemetry_unavailable",
           "address=%s error=%s text=\"going on without /metrics, /healthz and /readyz; another "
           "address can be set in service.telemetry.metrics.address\"",
           address, ut_log_quote(shown, sizeof(shown), error));
    ut_http_server_close(app->web);
    app->web = NULL;
}

static void open_admin(struct ut_app *app, const char *endpoint)
{
    char error[UT_ERROR_TEXT] = "", shown[UT_ERROR_TEXT + 16];
    app->admin = ut_http_server_new(&app->worker, admin_routes, app);
    UT_CHECK_MEMORY(app->admin != NULL);
    if (ut_http_server_listen(app->admin, endpoint, error, sizeof(error)) == 0)
        return;
    ut_log(app->log, UT_LOG_WARN, "admin_unavailable",
           "error=%s text=\"going on without the admin socket; another path can be set in "
           "undertrace.admin\"",
           ut_log_quote(shown, sizeof(shown), error));
    ut_http_server_close(app->admin);
    app->admin = NULL;
}

void ut_app_status_open(struct ut_app *app)
{
    const char *address = app->current->config->telemetry.metrics.address;
    const char *admin = app->current->config->program.admin;
    if (app->current->config->telemetry.metrics.level != 0 && address[0] != '\0')
        open_web(app, address);
    if (admin[0] != '\0')
        open_admin(app, admin);
}

void ut_app_status_close(struct ut_app *app)
{
    ut_http_server_close(app->web);
    ut_http_server_close(app->admin);
    app->web = app->admin = NULL;
}
