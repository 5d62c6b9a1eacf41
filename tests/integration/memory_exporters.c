/* SPDX-License-Identifier: Apache-2.0 */
/* Memory runs out under each exporter, which sends to a backend in the same process: each of its
 * allocations fails in turn. Every item is finished once, as sent, in which case the backend has
 * it, or to be sent again; and all is sent when there is memory again. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>

#include "base/clock.h"
#include "debug_exporter/debug.h"
#include "disk_scratch.h"
#include "file_exporter/settings.h"
#include "grpc_backend.h"
#include "grpc_exporter.h"
#include "http_backend.h"
#include "memory_faults.h"
#include "otlp_batch.h"
#include "otlp_http_exporter/settings.h"
#include "zipkin_exporter/settings.h"

TestSuite(memory, .timeout = 1500);

extern const struct ut_exporter_type ut_exporter_file, ut_exporter_jaeger_grpc,
    ut_exporter_otlp_grpc, ut_exporter_otlp_http, ut_exporter_zipkin;

enum { ITEMS = 4, SPANS = 10 };

/* What cannot be sent for want of memory waits so long; a busy machine may need several. */
#define TIMEOUT_NS (300 * UT_NS_PER_MS)

struct lab {
    struct ut_worker worker;
    struct backend grpc;
    struct http_backend http;
    struct disk_scratch scratch;
    struct otlp_bytes request;
    struct ut_exporter *exporter;
    struct ut_item item;
    struct ut_batch *batch;
    unsigned done, sent;
    enum ut_result result;
    bool stopped;
    union {
        struct ut_grpc_exporter_config grpc;
        struct ut_otlp_http_config otlp_http;
        struct ut_zipkin_config zipkin;
        struct ut_file_config file;
        struct debug_config debug;
    } config;
    char endpoint[64], path[PATH_MAX], gzip[8];
};

/* What is played with: the exporter, its config, and how many items have reached its backend. */
static const struct subject {
    const struct ut_exporter_type *type;
    void (*configure)(struct lab *lab);
    unsigned (*reached)(struct lab *lab);
} * subject;

/* ---- the lab --------------------------------------------------------------------------------- */

static void open_lab(struct lab *lab)
{
    struct otlp_attribute attributes[] = {{"note", "what is written here is of no account", 0},
                                          {0}};
    struct otlp_span spans[SPANS];
    (void)signal(SIGPIPE, SIG_IGN); /* as the program does */
    MEMORY_EXPECT(ut_worker_init(&lab->worker, 64 << 20, NULL, ut_metrics_new()) == 0);
    backend_start(&lab->grpc, &lab->worker.uv);
    http_backend_start(&lab->http, &lab->worker.uv);
    disk_scratch_init(&lab->scratch);
    (void)snprintf(lab->gzip, sizeof(lab->gzip), "gzip");
    for (size_t i = 0; i < SPANS; i++)
        spans[i] = (struct otlp_span){.trace_id = 1,
                                      .span_id = i + 1,
                                      .name = "GET /",
                                      .start_ns = 1,
                                      .end_ns = 2,
                                      .attributes = attributes};
    otlp_resource_spans(&lab->request, NULL, spans, SPANS);
    subject->configure(lab);
}

static void close_lab(struct lab *lab)
{
    backend_stop(&lab->grpc);
    http_backend_stop(&lab->http);
    struct ut_metrics *metrics = lab->worker.metrics;
    ut_worker_done(&lab->worker);
    ut_metrics_free(metrics);
    disk_scratch_done(&lab->scratch);
    otlp_free(&lab->request);
    free(lab->grpc.last_body);
    free(lab->http.body);
    free(lab);
}

#define WAIT_FOR(lab, condition)                                                                   \
    do {                                                                                           \
        uint64_t wait_end = ut_clock_monotonic_ns() + 30 * UT_NS_PER_S;                            \
        while (!(condition) && ut_clock_monotonic_ns() < wait_end) {                               \
            (void)uv_run(&(lab)->worker.uv, UV_RUN_NOWAIT);                                        \
            (void)usleep(200);                                                                     \
        }                                                                                          \
        MEMORY_EXPECT(condition);                                                                  \
    } while (0)

static void on_done(struct ut_item *item, const struct ut_outcome *outcome)
{
    struct lab *lab = UT_CONTAINER_OF(item, struct lab, item);
    MEMORY_EXPECT(++lab->done == 1);
    lab->result = outcome->result;
    MEMORY_EXPECT(lab->result == UT_SENT || lab->result == UT_RETRY, "%d: %s", (int)lab->result,
                  outcome->text != NULL ? outcome->text : "");
    MEMORY_EXPECT(lab->result == UT_SENT || outcome->text != NULL);
    lab->sent += lab->result == UT_SENT;
    ut_batch_unref(lab->batch);
}

/* Whether it was sent. */
static bool send_one(struct lab *lab)
{
    memory_spares(true);
    lab->batch = otlp_batch(&lab->worker.pool, &lab->request);
    memory_spares(false);
    lab->done = 0;
    lab->item = (struct ut_item){.batch = lab->batch, .span_count = SPANS, .done = on_done};
    subject->type->send(lab->exporter, &lab->item);
    WAIT_FOR(lab, lab->done > 0);
    return lab->result == UT_SENT;
}

static bool create(struct lab *lab)
{
    const struct ut_build build = {.id = "it", .config = &lab->config, .worker = &lab->worker};
    char error[UT_ERROR_TEXT] = "";
    int code = subject->type->create(&lab->exporter, &build);
    MEMORY_EXPECT(code == 0 || code == -ENOMEM, "%d", code);
    if (code != 0)
        return false;
    code = subject->type->start(lab->exporter, error);
    MEMORY_EXPECT(code == 0 || error[0] != '\0', "%d without a word", code);
    if (code != 0)
        subject->type->free(lab->exporter);
    return code == 0;
}

static void on_stopped(void *arg)
{
    ((struct lab *)arg)->stopped = true;
}

static void play(void)
{
    struct lab *lab = calloc(1, sizeof(*lab));
    open_lab(lab);
    memory_begins();
    bool created = create(lab);
    if (created) {
        memory_runs();
        for (int i = 0; i < ITEMS; i++)
            (void)send_one(lab);
    }
    memory_is_back();
    if (created || create(lab)) {
        for (int i = 0; i < 100 && !send_one(lab); i++)
            (void)usleep(10000);
        MEMORY_EXPECT(lab->result == UT_SENT);
        MEMORY_EXPECT(subject->reached(lab) >= lab->sent, "%u of %u", subject->reached(lab),
                      lab->sent);
        if (subject->type->stop != NULL) {
            subject->type->stop(lab->exporter, on_stopped, lab);
            WAIT_FOR(lab, lab->stopped);
        }
        subject->type->free(lab->exporter);
    }
    close_lab(lab);
    memory_passed();
}

static void sweep_over(const struct subject *of)
{
    subject = of;
    memory_sweep(of->type->name, play);
}

/* ---- the exporters --------------------------------------------------------------------------- */

static void configure_grpc(struct lab *lab, struct ut_grpc_client_settings *settings)
{
    (void)snprintf(lab->endpoint, sizeof(lab->endpoint), "http://127.0.0.1:%d", lab->grpc.port);
    settings->endpoint = lab->endpoint;
    settings->timeout_ns = TIMEOUT_NS;
    settings->max_message_bytes = 4 << 20;
    settings->compression = lab->gzip;
}

static unsigned reached_grpc(struct lab *lab)
{
    return lab->grpc.answered;
}

static void configure_otlp_grpc(struct lab *lab)
{
    configure_grpc(lab, &lab->config.grpc.grpc);
}

Test(memory, otlp_grpc_sends_what_it_calls_sent)
{
    sweep_over(&(struct subject){&ut_exporter_otlp_grpc, configure_otlp_grpc, reached_grpc});
}

static void configure_jaeger_grpc(struct lab *lab)
{
    configure_grpc(lab, &lab->config.grpc.grpc);
}

Test(memory, jaeger_grpc_sends_what_it_calls_sent)
{
    sweep_over(&(struct subject){&ut_exporter_jaeger_grpc, configure_jaeger_grpc, reached_grpc});
}

static unsigned reached_http(struct lab *lab)
{
    return lab->http.requests;
}

static void configure_otlp_http(struct lab *lab)
{
    struct ut_otlp_http_config *config = &lab->config.otlp_http;
    (void)snprintf(lab->endpoint, sizeof(lab->endpoint), "http://127.0.0.1:%d", lab->http.port);
    config->endpoint = lab->endpoint;
    config->max_message_bytes = 4 << 20;
    config->http.timeout_ns = TIMEOUT_NS;
    config->http.compression = lab->gzip;
}

Test(memory, otlp_http_sends_what_it_calls_sent)
{
    sweep_over(&(struct subject){&ut_exporter_otlp_http, configure_otlp_http, reached_http});
}

static void configure_zipkin(struct lab *lab)
{
    struct ut_zipkin_config *config = &lab->config.zipkin;
    (void)snprintf(lab->endpoint, sizeof(lab->endpoint), "http://127.0.0.1:%d/api/v2/spans",
                   lab->http.port);
    config->endpoint = lab->endpoint;
    config->default_service_name = lab->gzip; /* any */
    config->max_message_bytes = 4 << 20;
    config->http.timeout_ns = TIMEOUT_NS;
}

Test(memory, zipkin_sends_what_it_calls_sent)
{
    sweep_over(&(struct subject){&ut_exporter_zipkin, configure_zipkin, reached_http});
}

static void configure_file(struct lab *lab)
{
    lab->config.file = (struct ut_file_config){
        .path = lab->path,
        .append = true,
        .rotation = {.present = true, .max_megabytes = 1},
    };
    (void)disk_scratch_file(&lab->scratch, "spans.json", lab->path);
}

static unsigned reached_file(struct lab *lab)
{
    unsigned lines = 0;
    FILE *file = fopen(lab->path, "r");
    for (int c; file != NULL && (c = getc(file)) != EOF;)
        lines += c == '\n';
    if (file != NULL)
        (void)fclose(file);
    return lines;
}

Test(memory, file_has_what_it_calls_sent)
{
    sweep_over(&(struct subject){&ut_exporter_file, configure_file, reached_file});
}

static int create_debug(struct ut_exporter **ret, const struct ut_build *build)
{
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    return debug_create(ret, build, fd);
}

static void configure_debug(struct lab *lab)
{
    lab->config.debug = (struct debug_config){.verbosity = DEBUG_NORMAL};
}

/* It prints what it can, and counts the rest. */
static unsigned reached_debug(struct lab *lab)
{
    return lab->sent;
}

Test(memory, debug_finishes_what_it_gets)
{
    struct ut_exporter_type type = ut_exporter_debug;
    type.create = create_debug;
    sweep_over(&(struct subject){&type, configure_debug, reached_debug});
}
