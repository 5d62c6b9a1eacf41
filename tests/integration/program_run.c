/* SPDX-License-Identifier: Apache-2.0 */
/* The program from its start to its last line, over real sockets. */
#include "program_client.h"

#define HEAD                                                                                       \
    "receivers: {otlp: {protocols: {grpc: {endpoint: '127.0.0.1:0'}}}, ebpf: }\n"                  \
    "processors: {correlate: , batch: }\n"
#define PIPELINE(receivers, exporter)                                                              \
    "  pipelines: {traces: {receivers: [" receivers "], processors: [correlate, batch], "          \
    "exporters: [" exporter "]}}\n"
#define SERVICE                                                                                    \
    "service:\n"                                                                                   \
    "  telemetry: {metrics: {address: '127.0.0.1:0'}}\n"
#define TO_TERMINAL HEAD "exporters: {debug: }\n" SERVICE PIPELINE("otlp", "debug")
/* Nobody listens on port 1. */
#define TO_NOWHERE                                                                                 \
    HEAD "exporters: {otlp_grpc: {endpoint: 'http://127.0.0.1:1'}}\n" SERVICE PIPELINE(            \
        "otlp", "otlp_grpc")

static struct program program;
static char answer[PROGRAM_TEXT];

static void setup(void)
{
    program_init(&program);
}

static void teardown(void)
{
    program_done(&program);
}

TestSuite(program_run, .init = setup, .fini = teardown, .timeout = 90);

static void start(const char *config)
{
    program_start(&program, "run", "--config", program_config(&program, config), NULL);
    program_await(&program, "event=ready");
}

/* The line that accounts for every span. */
static const char *last_line(void)
{
    const char *line = strstr(program.err, "event=stopped ");
    cr_assert_not_null(line, "%s", program.err);
    cr_expect_null(strstr(line + 1, "event=stopped "), "it is said once");
    return line;
}

static void expect_in(const char *text, const char *piece)
{
    cr_expect_not_null(strstr(text, piece), "no \"%s\" in:\n%s", piece, text);
}

Test(program_run, spans_go_through_and_are_accounted_for)
{
    start(TO_TERMINAL "undertrace: {admin: ''}\n");
    cr_expect_eq(program_send_spans(program_port(&program, "event=listening"), 7), 0);
    program_await(&program, "a span");
    kill(program.pid, SIGTERM);
    cr_expect_eq(program_wait(&program), 0, "%s", program.err);
    expect_in(last_line(), "received=7 accepted=7 refused=0 rejected=0 debug.accepted=7 "
                           "debug.sent=7 unaccounted=0\n");
}

Test(program_run, the_limits_in_force_are_said_at_the_start)
{
    start("receivers: {otlp: {protocols: {\n"
          "  grpc: {endpoint: '127.0.0.1:0', max_connections: 70, "
          "max_connections_per_address: 30},\n"
          "  http: {endpoint: '127.0.0.1:0', max_connections: 9}}}}\n"
          "exporters: {debug: }\n"
          "service: {telemetry: {metrics: {level: none}}, pipelines: {traces: {receivers: [otlp], "
          "exporters: [debug]}}}\nundertrace: {admin: ''}\n");
    expect_in(program.err, "event=limits receiver=otlp protocol=grpc connections=70 "
                           "connections_per_address=30\n");
    expect_in(program.err, "event=limits receiver=otlp protocol=http connections=9 "
                           "connections_per_address=5\n");
}

/* The log lets five lines of a cause through at once. */
Test(program_run, of_many_receivers_and_pipelines_each_is_named_at_the_start)
{
    enum { MANY = 7 };
    char config[4096] = "receivers:\n", line[64];
    size_t size = strlen(config);
    for (int i = 0; i < MANY; i++)
        size += (size_t)snprintf(config + size, sizeof(config) - size,
                                 "  otlp/%d: {protocols: {grpc: {endpoint: '127.0.0.1:0'}}}\n", i);
    size += (size_t)snprintf(config + size, sizeof(config) - size,
                             "exporters: {debug: }\n"
                             "service:\n  telemetry: {metrics: {level: none}}\n  pipelines:\n");
    for (int i = 0; i < MANY; i++)
        size +=
            (size_t)snprintf(config + size, sizeof(config) - size,
                             "    traces/%d: {receivers: [otlp/%d], exporters: [debug]}\n", i, i);
    (void)snprintf(config + size, sizeof(config) - size, "undertrace: {admin: ''}\n");
    start(config);
    program_await(&program, " event=ready pipeline=traces/6 ");
    for (int i = 0; i < MANY; i++) {
        snprintf(line, sizeof(line), " event=listening receiver=otlp/%d ", i);
        expect_in(program.err, line);
        snprintf(line, sizeof(line), " event=ready pipeline=traces/%d ", i);
        expect_in(program.err, line);
    }
    kill(program.pid, SIGINT);
    cr_expect_eq(program_wait(&program), 0);
}

Test(program_run, metrics_and_health_can_be_asked)
{
    start(TO_TERMINAL "undertrace: {admin: ''}\n");
    uint16_t port = program_port(&program, "event=telemetry_listening");
    cr_expect_eq(program_send_spans(program_port(&program, "event=listening"), 3), 0);
    program_get(port, "/metrics", answer);
    expect_in(answer, "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4");
    expect_in(answer,
              "\notelcol_receiver_accepted_spans{receiver=\"otlp\",transport=\"grpc\"} 3\n");
    expect_in(answer, "\nundertrace_budget_limit_bytes ");
    expect_in(answer, "\nundertrace_reloads_total{result=\"failed\"} 0\n");
    expect_in(answer, "\notelcol_exporter_queue_capacity{exporter=\"debug\"} ");
    program_get(port, "/healthz", answer);
    expect_in(answer, "\r\n\r\nok\n");
    program_get(port, "/readyz", answer);
    expect_in(answer, "HTTP/1.1 200 OK\r\n");
    expect_in(answer, "\r\n\r\nready\n");
    kill(program.pid, SIGINT);
    cr_expect_eq(program_wait(&program), 0);
}

Test(program_run, what_cannot_be_delivered_is_counted_at_the_deadline)
{
    start(TO_NOWHERE "undertrace: {admin: '', shutdown_timeout: 500ms}\n");
    cr_expect_eq(program_send_spans(program_port(&program, "event=listening"), 9), 0);
    kill(program.pid, SIGTERM);
    cr_expect_eq(program_wait(&program), 0, "%s", program.err);
    expect_in(last_line(), "received=9 accepted=9 refused=0 rejected=0 otlp_grpc.accepted=9 "
                           "otlp_grpc.sent=0 otlp_grpc.dropped_shutdown=9 unaccounted=0\n");
}

Test(program_run, what_is_to_be_delivered_and_cannot_be_is_refused_in_time)
{
    start(HEAD "exporters: {otlp_grpc: {endpoint: 'http://127.0.0.1:1'}}\n" SERVICE
               "  pipelines: {traces: {receivers: [otlp], processors: [correlate, batch], "
               "exporters: [otlp_grpc], ack: delivered, ack_timeout: 400ms}}\n"
               "undertrace: {admin: '', shutdown_timeout: 500ms}\n");
    cr_expect_eq(program_send_spans(program_port(&program, "event=listening"), 9), 14,
                 "UNAVAILABLE");
    kill(program.pid, SIGTERM);
    cr_expect_eq(program_wait(&program), 0, "%s", program.err);
    expect_in(last_line(), "received=9 accepted=0 refused=9 rejected=0 otlp_grpc.accepted=9 "
                           "otlp_grpc.sent=0 otlp_grpc.dropped_");
    expect_in(last_line(), "=9 unaccounted=0\n");
}

Test(program_run, what_is_to_be_delivered_is_answered_when_it_is)
{
    start(HEAD "exporters: {debug: }\n" SERVICE
               "  pipelines: {traces: {receivers: [otlp], processors: [correlate, batch], "
               "exporters: [debug], ack: delivered}}\n"
               "undertrace: {admin: ''}\n");
    cr_expect_eq(program_send_spans(program_port(&program, "event=listening"), 7), 0);
    program_await(&program, "a span");
    kill(program.pid, SIGTERM);
    cr_expect_eq(program_wait(&program), 0, "%s", program.err);
    expect_in(last_line(), "received=7 accepted=7 refused=0 rejected=0 debug.accepted=7 "
                           "debug.sent=7 unaccounted=0\n");
}

Test(program_run, a_second_signal_ends_the_waiting)
{
    start(TO_NOWHERE "undertrace: {admin: '', shutdown_timeout: 300s}\n");
    uint16_t port = program_port(&program, "event=telemetry_listening");
    cr_expect_eq(program_send_spans(program_port(&program, "event=listening"), 2), 0);
    kill(program.pid, SIGTERM);
    program_await(&program, "event=stopping ");
    program_get(port, "/readyz", answer);
    expect_in(answer, "HTTP/1.1 503 ");
    expect_in(answer, "\r\n\r\nstopping\n");
    program_get(port, "/healthz", answer);
    expect_in(answer, "HTTP/1.1 200 OK\r\n");
    kill(program.pid, SIGTERM);
    cr_expect_eq(program_wait(&program), 0, "%s", program.err);
    expect_in(program.err, "event=stopping_now ");
    expect_in(last_line(), "otlp_grpc.dropped_shutdown=2 unaccounted=0\n");
}

Test(program_run, a_port_that_is_taken_is_an_error_for_spans_and_a_warning_for_metrics)
{
    struct program second;
    char config[1024];
    start(TO_TERMINAL "undertrace: {admin: ''}\n");
    program_init(&second);
    snprintf(config, sizeof(config),
             "receivers: {otlp: {protocols: {grpc: {endpoint: '127.0.0.1:0'}}}}\n"
             "exporters: {debug: }\n"
             "service:\n  telemetry: {metrics: {address: '127.0.0.1:%u'}}\n"
             "  pipelines: {traces: {receivers: [otlp], exporters: [debug]}}\n"
             "undertrace: {admin: ''}\n",
             program_port(&program, "event=telemetry_listening"));
    program_start(&second, "run", "--config", program_config(&second, config), NULL);
    program_await(&second, "event=ready");
    expect_in(second.err, "level=warn event=telemetry_unavailable ");
    kill(second.pid, SIGTERM);
    cr_expect_eq(program_wait(&second), 0);

    snprintf(config, sizeof(config),
             "receivers: {otlp: {protocols: {grpc: {endpoint: '127.0.0.1:%u'}}}}\n"
             "exporters: {debug: }\n"
             "service: {telemetry: {metrics: {level: none}}, pipelines: {traces: {receivers: "
             "[otlp], exporters: [debug]}}}\nundertrace: {admin: ''}\n",
             program_port(&program, "event=listening"));
    cr_expect_eq(program_run(&second, "run", "--config", program_config(&second, config)), 1);
    expect_in(second.err, "level=error event=start_failed text=\"otlp: ");
    program_done(&second);
}

Test(program_run, the_admin_socket_tells_doctor_how_it_goes)
{
    char config[1024], socket[128];
    program_path(&program, "admin.sock", socket);
    snprintf(config, sizeof(config), TO_TERMINAL "undertrace: {admin: 'unix://%s'}\n", socket);
    start(config);
    cr_expect_eq(program_send_spans(program_port(&program, "event=listening"), 4), 0);
    program_await(&program, "a span");

    struct program doctor;
    program_init(&doctor);
    program_start(&doctor, "doctor", "--admin", socket, NULL);
    cr_expect_leq(program_wait(&doctor), 1);
    expect_in(doctor.out, "  ok       running ");
    expect_in(doctor.out, "received 4, accepted 4\n");
    expect_in(doctor.out, "4 sent, 0 held, 0 dropped\n");
    cr_expect_str_empty(doctor.err);
    program_done(&doctor);

    kill(program.pid, SIGTERM);
    cr_expect_eq(program_wait(&program), 0);
    cr_expect_neq(access(socket, F_OK), 0, "its file is removed");
}

Test(program_run, status_shows_what_cannot_be_sent_and_why)
{
    char config[1024], socket[128];
    program_path(&program, "admin.sock", socket);
    snprintf(config, sizeof(config),
             HEAD
             "exporters: {otlp_grpc: {endpoint: 'http://127.0.0.1:1', timeout: 200ms}}\n" SERVICE
                 PIPELINE("otlp", "otlp_grpc") "undertrace: {admin: 'unix://%s'}\n",
             socket);
    start(config);
    cr_expect_eq(program_send_spans(program_port(&program, "event=listening"), 4), 0);
    program_await(&program, "event=export_retry");

    struct program status;
    program_init(&status);
    program_start(&status, "status", "--admin", socket, NULL);
    cr_expect_eq(program_wait(&status), 0);
    expect_in(status.out, ", ready, up ");
    expect_in(status.out, "\nspans: received 4, accepted 4\n");
    expect_in(status.out, "\notlp_grpc\n    accepted 4, sent 0, held 4 (in flight 0), dropped 0\n"
                          "    queue 1 of 1000 requests, ");
    expect_in(status.out, "    retries: transport 1\n    4 spans tried in vain for ");
    expect_in(status.out, "    last failure, ");
    expect_in(status.out,
              " ago: \"cannot connect to 127.0.0.1:1: connection refused: nobody listens there: "
              "is the backend running, and is the port right?\"\n");
    cr_expect_str_empty(status.err);
    program_done(&status);
    program_init(&status);
    snprintf(config, sizeof(config), "--admin=%s", socket);
    program_start(&status, "status", "--json", config, NULL);
    cr_expect_eq(program_wait(&status), 0);
    expect_in(status.out, "\"retries_by_cause\": {\n");
    expect_in(status.out, "\"failing_spans\": 4,\n");
    program_done(&status);
    kill(program.pid, SIGTERM);
    kill(program.pid, SIGTERM);
    cr_expect_eq(program_wait(&program), 0);
    cr_expect_eq(program_run(&program, "status", "--admin", "/nonexistent/admin.sock"), 1);
    expect_in(program.err, "No such file or directory: is undertrace running, and is this its ");
}

static void expect_asked(struct program *asking, const char *option, const char *value)
{
    program_start(asking, "status", option, value, NULL);
    cr_expect_eq(program_wait(asking), 0, "%s %s: %s", option, value, asking->err);
    expect_in(asking->out, ", ready, up ");
}

Test(program_run, status_finds_the_program_by_its_own_configuration)
{
    char config[1024], address[160], socket[128];
    struct program asking;
    program_path(&program, "other.sock", socket);
    snprintf(address, sizeof(address), "unix://%s", socket);
    snprintf(config, sizeof(config), TO_TERMINAL "undertrace: {admin: '%s'}\n", address);
    start(config);
    program_init(&asking);
    expect_asked(&asking, "--admin", socket);
    expect_asked(&asking, "--admin", address);
    expect_asked(&asking, "--config", program_config(&program, config));
    const char *none = program_config(&asking, TO_TERMINAL "undertrace: {admin: ''}\n");
    cr_expect_eq(program_run(&asking, "reload", "--config", none), 1);
    expect_in(asking.err, ": undertrace.admin is empty, so nobody can be asked\n");
    cr_expect_eq(program_run(&asking, "doctor", "--config", "/nonexistent/x.yaml"), 1);
    expect_in(asking.err, "/nonexistent/x.yaml: cannot be read: No such file or directory\n");
    program_done(&asking);
    kill(program.pid, SIGTERM);
    cr_expect_eq(program_wait(&program), 0);
}

Test(program_run, doctor_says_what_is_missing_without_rights)
{
    program.unprivileged = true;
    cr_expect_eq(program_run(&program, "doctor", "--admin", "/nonexistent/admin.sock"), 1);
    expect_in(program.out, "undertrace " UT_VERSION " on Linux ");
    expect_in(program.out, "\nkernel programs\n  missing  ");
    expect_in(program.out, "  missing  CAP_BPF ");
    expect_in(program.out, "\ncgroups\n");
    expect_in(program.out, "\nclock\n  ok       real time ");
    expect_in(program.out, "  note     not running            no program answers at "
                           "/nonexistent/admin.sock\n");
    expect_in(program.out, " missing; spans are received and forwarded all the same.\n");
    cr_expect_str_empty(program.err);
}

#if UT_WITH_BPF
Test(program_run, without_rights_one_line_says_what_is_missing_and_spans_go_on)
{
    program.unprivileged = true;
    start(HEAD "exporters: {debug: }\n" SERVICE PIPELINE("otlp, ebpf",
                                                         "debug") "undertrace: {admin: ''}\n");
    cr_expect_eq(program_send_spans(program_port(&program, "event=listening"), 5), 0);
    program_await(&program, "a span");
    expect_in(program.err, "level=warn event=ebpf_");
    expect_in(program.err, "CAP_BPF");
    kill(program.pid, SIGTERM);
    cr_expect_eq(program_wait(&program), 0, "%s", program.err);
    expect_in(last_line(), "received=5 accepted=5 refused=0 rejected=0 debug.accepted=5 "
                           "debug.sent=5 unaccounted=0\n");
}

Test(program_run, only_the_capabilities_for_kernel_events_are_kept)
{
    char path[64], line[128];
    unsigned long long effective = 0, bounding = 1;
    if (geteuid() != 0)
        cr_skip_test("not root: there is nothing to drop");
    start(HEAD "exporters: {debug: }\n" SERVICE PIPELINE("otlp, ebpf",
                                                         "debug") "undertrace: {admin: ''}\n");
    expect_in(program.err, "event=capabilities_dropped kept=cap_bpf,cap_perfmon\n");
    snprintf(path, sizeof(path), "/proc/%d/status", (int)program.pid);
    FILE *status = fopen(path, "r");
    cr_assert_not_null(status);
    while (fgets(line, sizeof(line), status) != NULL) {
        (void)sscanf(line, "CapEff: %llx", &effective);
        (void)sscanf(line, "CapBnd: %llx", &bounding);
    }
    fclose(status);
    cr_expect_eq(effective, (1ULL << 38 | 1ULL << 39), "CAP_PERFMON and CAP_BPF: %llx", effective);
    cr_expect_eq(bounding, 0, "%llx", bounding);
    kill(program.pid, SIGTERM);
    cr_expect_eq(program_wait(&program), 0);
}
#else
Test(program_run, ebpf_in_a_build_without_it_is_an_error_that_says_so)
{
    const char *path = program_config(
        &program, HEAD "exporters: {debug: }\n" SERVICE PIPELINE("otlp, ebpf", "debug"));
    cr_expect_eq(program_run(&program, "validate", path, NULL), 1);
    expect_in(program.err, "\"ebpf\" is not available: this program was built without eBPF");
}
#endif

static void write_token(const char *path, const char *token)
{
    FILE *file = fopen(path, "we");
    cr_assert_not_null(file);
    cr_assert_geq(fputs(token, file), 0);
    cr_assert_eq(fclose(file), 0);
}

Test(program_run, senders_are_asked_for_tokens_that_a_signal_rereads)
{
    char config[1024], path[128];
    program_path(&program, "tokens", path);
    write_token(path, "first");
    snprintf(config, sizeof(config),
             "extensions: {bearertokenauth/own: {filename: '%s'}}\n"
             "receivers: {otlp: {protocols: {grpc: {endpoint: '127.0.0.1:0', auth: {authenticator: "
             "bearertokenauth/own}}, http: {endpoint: '0.0.0.0:0'}}}}\n"
             "exporters: {debug: }\n"
             "service:\n  extensions: [bearertokenauth/own]\n"
             "  telemetry: {metrics: {level: none}}\n"
             "  pipelines: {traces: {receivers: [otlp], exporters: [debug]}}\n"
             "undertrace: {admin: ''}\n",
             path);
    start(config);
    enum { UNAUTHENTICATED = 16 };
    cr_expect_eq(program_send_spans(program_port(&program, "protocol=grpc"), 1), UNAUTHENTICATED);
    expect_in(program.err, "event=listening_open receiver=otlp protocol=http ");
    cr_expect_null(strstr(program.err, "event=listening_open receiver=otlp protocol=grpc "));
    write_token(path, "second");
    kill(program.pid, SIGHUP);
    program_await(&program, "event=credentials_replaced ");
    kill(program.pid, SIGTERM);
    cr_expect_eq(program_wait(&program), 0);
    program_remove(&program, "tokens");
    expect_in(last_line(), " received=0 ");
}
