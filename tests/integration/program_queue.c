/* SPDX-License-Identifier: Apache-2.0 */
/* What is waited for, refused, dropped and left, as `status`, the metrics and the last line say. */
#include "program_client.h"

enum { UNAVAILABLE = 14 };

static struct program program, status;
static char answer[PROGRAM_TEXT], admin[128];

static void setup(void)
{
    program_init(&program);
    program_init(&status);
    program_path(&program, "admin.sock", admin);
}

static void teardown(void)
{
    program_done(&status);
    program_done(&program);
}

TestSuite(program_queue, .init = setup, .fini = teardown, .timeout = 90);

static void start(const char *config)
{
    program_start(&program, "run", "--config", program_config(&program, config), NULL);
    program_await(&program, "event=ready");
}

static void expect_in(const char *text, const char *piece)
{
    cr_expect_not_null(strstr(text, piece), "no \"%s\" in:\n%s", piece, text);
}

static void stop(void)
{
    kill(program.pid, SIGTERM);
    cr_expect_eq(program_wait(&program), 0, "%s", program.err);
    expect_in(program.err, " unaccounted=0\n");
}

/* Nobody listens on port 1. */
static void refuses_in_time(const char *queue)
{
    char config[1024];
    snprintf(config, sizeof(config),
             "receivers: {otlp: {protocols: {grpc: {endpoint: '127.0.0.1:0'}}}}\n"
             "exporters: {otlp_grpc: {endpoint: 'http://127.0.0.1:1', sending_queue: {%s}}}\n"
             "service:\n  telemetry: {metrics: {level: none}}\n"
             "  pipelines: {traces: {receivers: [otlp], exporters: [otlp_grpc], "
             "ack_timeout: 300ms}}\n"
             "undertrace: {admin: '', shutdown_timeout: 300ms}\n",
             queue);
    start(config);
    cr_expect_eq(program_send_spans(program_port(&program, "event=listening"), 3), UNAVAILABLE);
    stop();
    expect_in(program.err, "received=3 accepted=0 refused=3 ");
}

Test(program_queue, wait_for_result_holds_the_answer_until_the_backend_has_given_one)
{
    refuses_in_time("wait_for_result: true");
}

Test(program_queue, without_a_queue_the_answer_is_the_backends)
{
    refuses_in_time("enabled: false");
}

Test(program_queue, a_second_signal_counts_what_the_backend_has_not_answered)
{
    char config[1024];
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);
    int silent = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    cr_assert_eq(bind(silent, (struct sockaddr *)&address, size), 0);
    cr_assert_eq(listen(silent, 8), 0);
    cr_assert_eq(getsockname(silent, (struct sockaddr *)&address, &size), 0);
    snprintf(config, sizeof(config),
             "receivers: {otlp: {protocols: {grpc: {endpoint: '127.0.0.1:0'}}}}\n"
             "exporters: {otlp_grpc: {endpoint: 'http://127.0.0.1:%u', timeout: 60s}}\n"
             "service:\n  telemetry: {metrics: {level: none}}\n"
             "  pipelines: {traces: {receivers: [otlp], exporters: [otlp_grpc]}}\n"
             "undertrace: {admin: '', shutdown_timeout: 300s}\n",
             ntohs(address.sin_port));
    start(config);
    cr_expect_eq(program_send_spans(program_port(&program, "event=listening"), 3), 0);
    kill(program.pid, SIGTERM);
    program_await(&program, "event=stopping ");
    stop();
    expect_in(program.err, "otlp_grpc.accepted=3 otlp_grpc.sent=0 otlp_grpc.dropped_shutdown=3 ");
    close(silent);
}

/* One that refuses when it is full and one that drops, each with room for one request. */
static const char full_queues[] =
    "receivers:\n"
    "  otlp/a: {protocols: {grpc: {endpoint: '127.0.0.1:0'}}}\n"
    "  otlp/b: {protocols: {grpc: {endpoint: '127.0.0.1:0'}}}\n"
    "exporters:\n"
    "  otlp_grpc/a: {endpoint: 'http://127.0.0.1:1', timeout: 100ms, sending_queue: "
    "{queue_size: 1}, retry_on_failure: {initial_interval: 60s, max_interval: 60s}}\n"
    "  otlp_grpc/b: {endpoint: 'http://127.0.0.1:1', timeout: 100ms, sending_queue: "
    "{queue_size: 1, on_full: drop_newest}, retry_on_failure: {initial_interval: 60s, "
    "max_interval: "
    "60s}}\n"
    "service:\n  telemetry: {metrics: {address: '127.0.0.1:0'}}\n"
    "  pipelines:\n"
    "    traces/a: {receivers: [otlp/a], exporters: [otlp_grpc/a]}\n"
    "    traces/b: {receivers: [otlp/b], exporters: [otlp_grpc/b]}\n"
    "undertrace: {admin: 'unix://%s', shutdown_timeout: 300ms}\n";

static void fill_queues(void)
{
    char config[2048];
    snprintf(config, sizeof(config), full_queues, admin);
    start(config);
    uint16_t a = program_port(&program, "receiver=otlp/a");
    uint16_t b = program_port(&program, "receiver=otlp/b");
    cr_expect_eq(program_send_spans(a, 2), 0);
    cr_expect_eq(program_send_spans(a, 3), UNAVAILABLE);
    cr_expect_eq(program_send_spans(b, 2), 0);
    cr_expect_eq(program_send_spans(b, 4), 0, "it takes what it drops");
    program_await(&program, "event=export_retry exporter=otlp_grpc/a");
    program_await(&program, "event=export_retry exporter=otlp_grpc/b");
}

Test(program_queue, status_tells_refusals_and_drops_of_each_exporter)
{
    fill_queues();
    program_start(&status, "status", "--admin", admin, NULL);
    cr_expect_eq(program_wait(&status), 0, "%s", status.err);
    expect_in(status.out, "\notlp_grpc/a\n"
                          "    accepted 2, sent 0, held 2 (in flight 0), dropped 0\n"
                          "    queue 1 of 1 requests, 0.");
    expect_in(status.out, " KiB, the oldest ");
    expect_in(status.out, "    refused for want of room: 3 spans\n    retries: transport 1\n");
    expect_in(status.out, "\notlp_grpc/b\n"
                          "    accepted 6, sent 0, held 2 (in flight 0), dropped 4\n");
    expect_in(status.out, "    dropped: queue_full 4\n    retries: transport 1\n");
    stop();
}

Test(program_queue, metrics_tell_the_same)
{
    static const char *const lines[] = {
        "otelcol_exporter_queue_size{exporter=\"otlp_grpc/a\"} 1\n",
        "otelcol_exporter_queue_capacity{exporter=\"otlp_grpc/a\"} 1\n",
        "otelcol_exporter_enqueue_failed_spans{exporter=\"otlp_grpc/a\"} 3\n",
        "undertrace_exporter_held_spans{exporter=\"otlp_grpc/a\"} 2\n",
        "undertrace_exporter_retries{exporter=\"otlp_grpc/a\",cause=\"transport\"} 1\n",
        "undertrace_exporter_dropped_spans{exporter=\"otlp_grpc/b\",reason=\"queue_full\"} 4\n",
        "undertrace_exporter_queue_bytes{exporter=\"otlp_grpc/a\"} ",
        "undertrace_exporter_queue_oldest_seconds{exporter=\"otlp_grpc/a\"} ",
    };
    fill_queues();
    program_get(program_port(&program, "event=telemetry_listening"), "/metrics", answer);
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        expect_in(answer, lines[i]);
    expect_in(answer, "otelcol_receiver_refused_spans{receiver=\"otlp/a\",transport=\"grpc\"} 3\n");
    stop();
}

Test(program_queue, status_and_metrics_tell_how_the_disk_does)
{
    char config[1024], line[256];
    snprintf(config, sizeof(config),
             "receivers: {otlp: {protocols: {grpc: {endpoint: '127.0.0.1:0'}}}}\n"
             "exporters: {otlp_grpc: {endpoint: 'http://127.0.0.1:1'}}\n"
             "service:\n  telemetry: {metrics: {address: '127.0.0.1:0'}}\n"
             "  pipelines: {traces: {receivers: [otlp], exporters: [otlp_grpc], ack: durable, "
             "storage: {type: disk, directory: '%s/hold', max_bytes: 16MiB}}}\n"
             "undertrace: {admin: 'unix://%s', shutdown_timeout: 100ms}\n",
             program.folder, admin);
    start(config);
    cr_expect_eq(program_send_spans(program_port(&program, "event=listening"), 5), 0);
    program_start(&status, "status", "--admin", admin, NULL);
    cr_expect_eq(program_wait(&status), 0, "%s", status.err);
    snprintf(line, sizeof(line), "\n%s/hold\n    ", program.folder);
    expect_in(status.out, line);
    expect_in(status.out, " of 16.0 MiB; ");
    expect_in(status.out, " us each, ");
    expect_in(status.out, " us at most\n    1 requests were written, 0 were finished before that\n"
                          "    otlp_grpc: 5 spans, ");
    program_get(program_port(&program, "event=telemetry_listening"), "/metrics", answer);
    static const char *const names[] = {
        "limit_bytes",    "commits_total", "commit_seconds_total", "commit_seconds_max",
        "failures_total", "written_total", "spared_total"};
    static const char *const values[] = {"16777216\n", "", "", "", "0\n", "1\n", "0\n"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(line, sizeof(line), "\nundertrace_hold_%s{directory=\"%s/hold\"} %s", names[i],
                 program.folder, values[i]);
        expect_in(answer, line);
    }
    stop();
    expect_in(program.err, "otlp_grpc.accepted=5 otlp_grpc.sent=0 otlp_grpc.on_disk=5 ");
    program_remove_hold(&program);
}
