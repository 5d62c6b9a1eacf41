/* SPDX-License-Identifier: Apache-2.0 */
/* The program takes another configuration into use while spans come in. */
#include <sys/resource.h>

#include "program_client.h"

#define CONFIG(batch, exporters, names, more)                                                      \
    "receivers: {otlp: {protocols: {grpc: {endpoint: '127.0.0.1:0'}}}}\n"                          \
    "processors: {batch: {timeout: " batch "}}\n"                                                  \
    "exporters: {" exporters "}\n"                                                                 \
    "service:\n"                                                                                   \
    "  telemetry: {metrics: {level: none}}\n"                                                      \
    "  pipelines: {traces: {receivers: [otlp], processors: [batch], exporters: [" names "]}}\n"    \
    "undertrace: {" more "}\n"
#define QUIET "admin: ''"
/* Nobody listens on port 1. */
#define NOWHERE "otlp_grpc: {endpoint: 'http://127.0.0.1:1'}"

static struct program program;

static void setup(void)
{
    program_init(&program);
}

static void teardown(void)
{
    program_done(&program);
}

TestSuite(program_reload, .init = setup, .fini = teardown, .timeout = 90);

static void start(const char *config)
{
    program_start(&program, "run", "--config", program_config(&program, config), NULL);
    program_await(&program, "event=ready");
}

static void expect_in(const char *text, const char *piece)
{
    cr_expect_not_null(strstr(text, piece), "no \"%s\" in:\n%s", piece, text);
}

static int count_in(const char *text, const char *piece)
{
    int count = 0;
    for (; (text = strstr(text, piece)) != NULL; text++)
        count++;
    return count;
}

static void reload(const char *config, const char *event)
{
    program_listen_to(&program);
    int before = count_in(program.err, event);
    program_config(&program, config);
    kill(program.pid, SIGHUP);
    for (int ms = 0; ms < PROGRAM_PATIENCE_MS && count_in(program.err, event) == before; ms += 20) {
        program_sleep(20);
        program_listen_to(&program);
    }
    cr_assert_eq(count_in(program.err, event), before + 1, "%s", program.err);
}

static void stop(void)
{
    kill(program.pid, SIGTERM);
    cr_expect_eq(program_wait(&program), 0, "%s", program.err);
}

Test(program_reload, a_connection_that_is_open_goes_on_into_the_new_pipeline)
{
    struct program_client client;
    start(CONFIG("10ms", "debug: ", "debug", QUIET));
    program_client_open(&client, program_port(&program, "event=listening"));
    cr_expect_eq(program_client_send(&client, 3), 0);
    reload(CONFIG("20ms", "debug/second: , debug: ", "debug, debug/second", QUIET),
           "event=reloaded ");
    cr_expect_eq(program_client_send(&client, 5), 0);
    reload(CONFIG("10ms", "debug/second: ", "debug/second", QUIET), "event=reloaded ");
    cr_expect_eq(program_client_send(&client, 7), 0);
    program_client_close(&client);
    stop();
    expect_in(program.err, "received=15 accepted=15 refused=0 rejected=0 debug/second.accepted=12 "
                           "debug/second.sent=12 debug.accepted=8 debug.sent=8 unaccounted=0\n");
}

Test(program_reload, a_bad_file_changes_nothing_and_says_why)
{
    start(CONFIG("10ms", "debug: ", "debug", QUIET));
    reload(CONFIG("10ms", "debug: ", "bug", QUIET), "event=reload_failed ");
    expect_in(program.err, "config.yaml:6:");
    expect_in(program.err, "effect=\"the configuration before stays in force\"");
    cr_expect_eq(program_send_spans(program_port(&program, "event=listening"), 2), 0);
    stop();
    expect_in(program.err, "debug.accepted=2 debug.sent=2 unaccounted=0\n");
}

/* The address space that the program may have beyond what it has; below 0: no limit. */
static void limit_memory(long more_bytes)
{
    char path[64];
    unsigned long pages = 0;
    snprintf(path, sizeof(path), "/proc/%d/statm", (int)program.pid);
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file);
    cr_assert_eq(fscanf(file, "%lu", &pages), 1);
    fclose(file);
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    if (more_bytes >= 0)
        limit.rlim_cur = pages * (unsigned long)sysconf(_SC_PAGESIZE) + (unsigned long)more_bytes;
    cr_assert_eq(prlimit(program.pid, RLIMIT_AS, &limit, NULL), 0);
}

#if defined(__SANITIZE_ADDRESS__)
#define NO_LIMIT_OF_MEMORY 1 /* the sanitizer takes address space as it likes */
#else
#define NO_LIMIT_OF_MEMORY 0
#endif

Test(program_reload, without_memory_the_configuration_before_stays, .disabled = NO_LIMIT_OF_MEMORY)
{
    char many[4096] = "debug: ", names[1024] = "debug";
    for (int i = 0; i < 15; i++) {
        size_t size = strlen(many);
        snprintf(many + size, sizeof(many) - size,
                 ", otlp_grpc/%d: {endpoint: 'http://127.0.0.1:1', headers: {name: value-%d}}", i,
                 i);
        size = strlen(names);
        snprintf(names + size, sizeof(names) - size, ", otlp_grpc/%d", i);
    }
    char config[8192];
    snprintf(config, sizeof(config), CONFIG("10ms", "%s", "%s", QUIET ", shutdown_timeout: 100ms"),
             many, names);
    start(CONFIG("10ms", "debug: ", "debug", QUIET));
    uint16_t port = program_port(&program, "event=listening");
    cr_expect_eq(program_send_spans(port, 2), 0);
    limit_memory(2 << 20);
    reload(config, "event=reload_failed ");
    expect_in(program.err, "text=\"out of memory: let the process have 5 MiB more ");
    cr_expect_eq(program_send_spans(port, 2), 0);
    /* With what it asks for it has enough. */
    limit_memory(5 << 20);
    reload(config, "event=reloaded ");
    limit_memory(-1);
    cr_expect_eq(program_send_spans(port, 2), 0);
    stop();
    expect_in(program.err, " debug.accepted=6 debug.sent=6 ");
}

Test(program_reload, an_exporter_that_cannot_start_changes_nothing)
{
    start(CONFIG("10ms", "debug: ", "debug", QUIET));
    reload(CONFIG("10ms", "debug: , file: {path: /nonexistent/spans}", "debug, file", QUIET),
           "event=reload_failed ");
    expect_in(program.err, "/nonexistent/spans");
    cr_expect_eq(program_send_spans(program_port(&program, "event=listening"), 2), 0);
    stop();
    expect_in(program.err, "received=2 accepted=2 refused=0 rejected=0 debug.accepted=2 "
                           "debug.sent=2 ");
}

Test(program_reload, what_holds_for_the_life_of_the_process_is_refused_by_name)
{
    start(CONFIG("10ms", "debug: ", "debug", QUIET));
    reload(CONFIG("10ms", "debug: ", "debug", QUIET ", memory: {limit_mib: 128}"),
           "event=reload_failed ");
    expect_in(program.err, "undertrace.memory.limit_mib: restart needed to change it");
    stop();
}

Test(program_reload, what_an_exporter_that_goes_still_holds_is_counted_at_the_deadline)
{
    start(CONFIG("10ms", NOWHERE, "otlp_grpc", QUIET ", shutdown_timeout: 300ms"));
    uint16_t port = program_port(&program, "event=listening");
    cr_expect_eq(program_send_spans(port, 9), 0);
    reload(CONFIG("10ms", "debug: ", "debug", QUIET ", shutdown_timeout: 300ms"),
           "event=reloaded ");
    cr_expect_eq(program_send_spans(port, 4), 0);
    program_sleep(600);
    stop();
    expect_in(program.err, "received=13 accepted=13 refused=0 rejected=0 debug.accepted=4 "
                           "debug.sent=4 otlp_grpc.accepted=9 otlp_grpc.sent=0 "
                           "otlp_grpc.dropped_shutdown=9 unaccounted=0\n");
}

Test(program_reload, a_stop_does_not_forget_what_still_retires)
{
    start(CONFIG("10ms", NOWHERE, "otlp_grpc", QUIET ", shutdown_timeout: 300s"));
    cr_expect_eq(program_send_spans(program_port(&program, "event=listening"), 9), 0);
    reload(CONFIG("10ms", "debug: ", "debug", QUIET ", shutdown_timeout: 300ms"),
           "event=reloaded ");
    stop();
    expect_in(program.err, "otlp_grpc.accepted=9 otlp_grpc.sent=0 otlp_grpc.dropped_shutdown=9 "
                           "unaccounted=0\n");
}

Test(program_reload, the_command_says_how_it_went)
{
    char socket[128], admin[160], config[1024];
    struct program command;
    program_path(&program, "admin.sock", socket);
    snprintf(admin, sizeof(admin), "admin: 'unix://%s'", socket);
    snprintf(config, sizeof(config), CONFIG("10ms", "debug: ", "debug", "%s"), admin);
    start(config);
    program_init(&command);
    program_start(&command, "reload", "--admin", socket, NULL);
    cr_expect_eq(program_wait(&command), 0, "%s", command.err);
    cr_expect_str_eq(command.out, "reloaded\n");

    snprintf(config, sizeof(config), CONFIG("10ms", "debug: ", "bug", "%s"), admin);
    program_config(&program, config);
    program_start(&command, "reload", "--admin", socket, NULL);
    cr_expect_eq(program_wait(&command), 1);
    expect_in(command.err, "config.yaml:6:");
    expect_in(command.err, "not reloaded: ");

    program_start(&command, "reload", "--admin", "/nonexistent/socket", NULL);
    cr_expect_eq(program_wait(&command), 1);
    expect_in(command.err, "undertrace: /nonexistent/socket: No such file or directory: is "
                           "undertrace running, and is this its admin socket? ");

    program_start(&command, "status", "--admin", socket, NULL);
    cr_expect_eq(program_wait(&command), 0);
    expect_in(command.out, "\nconfiguration: reloaded 1 times, in vain 1 times\n"
                           "    the one before stays in force, until a reload succeeds\n"
                           "    last failure, ");
    expect_in(command.out, " ago: \"the file has errors, which `undertrace validate` lists\"\n");
    snprintf(config, sizeof(config), CONFIG("10ms", "debug: ", "debug", "%s"), admin);
    program_config(&program, config);
    program_start(&command, "reload", "--admin", socket, NULL);
    cr_expect_eq(program_wait(&command), 0, "%s", command.err);
    program_start(&command, "status", "--admin", socket, NULL);
    cr_expect_eq(program_wait(&command), 0);
    expect_in(command.out, "\nconfiguration: reloaded 2 times, in vain 1 times\n\ndebug\n");
    program_done(&command);
    stop();
}

/* The port of the newest listener. */
static uint16_t newest_port(void)
{
    const char *line = program.err, *newest = NULL;
    while ((line = strstr(line, "event=listening ")) != NULL)
        newest = line++;
    const char *port = newest != NULL ? strstr(newest, " port=") : NULL;
    unsigned number = 0;
    cr_assert(port != NULL && sscanf(port, " port=%u", &number) == 1);
    return (uint16_t)number;
}

Test(program_reload, a_listener_whose_address_stays_keeps_its_socket)
{
    start(CONFIG("10ms", "debug: ", "debug", QUIET));
    uint16_t port = program_port(&program, "event=listening");
    reload(CONFIG("20ms", "debug: ", "debug", QUIET), "event=reloaded ");
    cr_expect_eq(newest_port(), port, "port 0 is the port that it has");
    cr_expect_eq(program_send_spans(port, 2), 0);
    stop();
}

/* The status of an empty request over HTTP with that token. */
static int post_as(uint16_t port, const char *token)
{
    char text[256] = "";
    int fd = program_connect(port), status = 0;
    int size = snprintf(text, sizeof(text),
                        "POST /v1/traces HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                        "Content-Type: application/json\r\nAuthorization: Bearer %s\r\n\r\n",
                        token);
    cr_assert_eq(send(fd, text, (size_t)size, MSG_NOSIGNAL), size);
    cr_assert_gt(recv(fd, text, sizeof(text) - 1, MSG_WAITALL), 0);
    cr_assert_eq(sscanf(text, "HTTP/1.1 %d", &status), 1, "%s", text);
    close(fd);
    return status;
}

static void write_tokens(const char *text, char path[128])
{
    program_path(&program, "tokens", path);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
}

Test(program_reload, a_token_that_went_with_the_reload_is_good_for_a_while)
{
    char path[128], config[1024];
    write_tokens("one\n", path);
    snprintf(config, sizeof(config),
             "receivers: {otlp: {protocols: {http: {endpoint: '127.0.0.1:0', "
             "auth: {bearer: {token_file: %s}}}}}}\n"
             "exporters: {debug: }\n"
             "service:\n"
             "  telemetry: {metrics: {level: none}}\n"
             "  pipelines: {traces: {receivers: [otlp], exporters: [debug]}}\n"
             "undertrace: {admin: ''}\n",
             path);
    start(config);
    uint16_t port = program_port(&program, "event=listening");
    cr_expect_eq(post_as(port, "two"), 401);
    write_tokens("two\n", path);
    reload(config, "event=reloaded ");
    cr_expect_eq(post_as(port, "two"), 200);
    cr_expect_eq(post_as(port, "one"), 200);
    cr_expect_eq(post_as(port, "three"), 401);
    stop();
    unlink(path);
}

#define WITH_TOKEN(token, batch)                                                                   \
    "extensions: {bearertokenauth: {token: " token "}}\n"                                          \
    "receivers: {otlp: {protocols: {http: {endpoint: '127.0.0.1:0', "                              \
    "auth: {authenticator: bearertokenauth}}}}}\n"                                                 \
    "processors: {batch: {timeout: " batch "}}\n"                                                  \
    "exporters: {debug: }\n"                                                                       \
    "service:\n"                                                                                   \
    "  extensions: [bearertokenauth]\n"                                                            \
    "  telemetry: {metrics: {level: none}}\n"                                                      \
    "  pipelines: {traces: {receivers: [otlp], processors: [batch], exporters: [debug]}}\n"        \
    "undertrace: {admin: ''}\n"

/* The status of a request on a connection that is kept; 0: it has ended. */
static int ask_with_token(int fd)
{
    static const char request[] =
        "POST /v1/traces HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-protobuf\r\n"
        "Authorization: Bearer one\r\n\r\n";
    char text[256] = "";
    int status = 0;
    (void)send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL);
    if (recv(fd, text, sizeof(text) - 1, 0) > 0)
        cr_assert_eq(sscanf(text, "HTTP/1.1 %d", &status), 1, "%s", text);
    return status;
}

Test(program_reload, who_was_let_in_under_other_rules_has_to_come_again)
{
    start(WITH_TOKEN("one", "10ms"));
    uint16_t port = program_port(&program, "event=listening");
    int fd = program_connect(port);
    cr_expect_eq(ask_with_token(fd), 200);
    reload(WITH_TOKEN("one", "20ms"), "event=reloaded ");
    cr_expect_eq(ask_with_token(fd), 200, "nothing has changed for it");
    reload(WITH_TOKEN("two", "20ms"), "event=reloaded ");
    cr_expect_eq(ask_with_token(fd), 0);
    close(fd);
    cr_expect_eq(post_as(port, "two"), 200);
    cr_expect_eq(post_as(port, "one"), 200, "for a minute yet");
    stop();
}

#define AT(endpoint)                                                                               \
    "receivers: {otlp: {protocols: {grpc: {endpoint: '" endpoint "'}}}}\n"                         \
    "exporters: {debug: }\n"                                                                       \
    "service:\n"                                                                                   \
    "  telemetry: {metrics: {level: none}}\n"                                                      \
    "  pipelines: {traces: {receivers: [otlp], exporters: [debug]}}\n"                             \
    "undertrace: {admin: ''}\n"

Test(program_reload, an_address_that_changes_is_opened_before_the_other_is_closed)
{
    struct program_client client;
    start(AT("127.0.0.1:0"));
    uint16_t port = program_port(&program, "event=listening");
    program_client_open(&client, port);
    cr_expect_eq(program_client_send(&client, 1), 0);
    reload(AT("localhost:0"), "event=reloaded ");
    cr_expect_neq(newest_port(), port);
    cr_expect_eq(program_send_spans(newest_port(), 2), 0);
    cr_expect_eq(program_client_send(&client, 4), 0, "what is open stays open");
    program_client_close(&client);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    cr_expect_neq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(fd);
    stop();
    expect_in(program.err, "received=7 accepted=7 ");
}

#define NAMED(name, port)                                                                          \
    "receivers: {" name ": {protocols: {grpc: {endpoint: '127.0.0.1:" port "'}}}}\n"               \
    "exporters: {debug/" name ": }\n"                                                              \
    "service:\n"                                                                                   \
    "  telemetry: {metrics: {level: none}}\n"                                                      \
    "  pipelines: {traces: {receivers: [" name "], exporters: [debug/" name "]}}\n"                \
    "undertrace: {admin: ''}\n"

Test(program_reload, an_address_goes_to_the_receiver_that_has_it_under_another_name)
{
    struct program_client oldest, older;
    start(NAMED("otlp", "0"));
    uint16_t port = program_port(&program, "event=listening");
    program_client_open(&oldest, port);
    cr_expect_eq(program_client_send(&oldest, 1), 0);
    reload(NAMED("otlp/b", "0"), "event=reloaded ");
    cr_expect_eq(newest_port(), port);
    program_client_open(&older, port);
    cr_expect_eq(program_client_send(&older, 2), 0);
    cr_expect_eq(program_client_send(&oldest, 4), 0, "what is open goes on");
    reload(NAMED("otlp/c", "0"), "event=reloaded ");
    cr_expect_eq(program_client_send(&older, 8), 0);
    program_client_close(&older);
    program_sleep(200);
    reload(NAMED("otlp/d", "0"), "event=reloaded ");
    cr_expect_eq(program_client_send(&oldest, 16), 0);
    cr_expect_eq(program_send_spans(port, 32), 0);
    program_client_close(&oldest);
    stop();
    expect_in(program.err, "received=63 accepted=63 refused=0 rejected=0 debug/otlp/d.accepted=48 "
                           "debug/otlp/d.sent=48 ");
    expect_in(program.err, "debug/otlp/b.sent=6 ");
    expect_in(program.err, "debug/otlp/c.sent=8 ");
    expect_in(program.err, " unaccounted=0\n");
}

Test(program_reload, an_address_that_cannot_be_had_changes_nothing)
{
    struct program other;
    char config[1024];
    start(AT("127.0.0.1:0"));
    program_init(&other);
    program_start(&other, "run", "--config", program_config(&other, AT("127.0.0.1:0")), NULL);
    program_await(&other, "event=ready");
    snprintf(config, sizeof(config), AT("127.0.0.1:%u"), program_port(&other, "event=listening"));
    reload(config, "event=reload_failed ");
    expect_in(program.err, "otlp: cannot listen on 127.0.0.1:");
    cr_expect_eq(program_send_spans(program_port(&program, "event=listening"), 3), 0);
    stop();
    kill(other.pid, SIGTERM);
    cr_expect_eq(program_wait(&other), 0);
    program_done(&other);
}

Test(program_reload, the_file_of_a_unix_socket_outlives_the_reload_and_goes_at_the_stop)
{
    char socket[128], config[1024];
    program_path(&program, "otlp.sock", socket);
    snprintf(config, sizeof(config), AT("unix://%s"), socket);
    start(config);
    reload(config, "event=reloaded ");
    cr_expect_eq(access(socket, F_OK), 0);
    stop();
    cr_expect_neq(access(socket, F_OK), 0);
}

Test(program_reload, kernel_events_go_on_unless_their_settings_change, .disabled = !UT_WITH_BPF)
{
    static const char config[] =
        "receivers: {otlp: {protocols: {grpc: {endpoint: '127.0.0.1:0'}}}, ebpf: {%s}}\n"
        "processors: {correlate: }\n"
        "exporters: {debug: }\n"
        "service:\n"
        "  telemetry: {metrics: {level: none}}\n"
        "  pipelines: {traces: {receivers: [otlp, ebpf], processors: [correlate], "
        "exporters: [debug]}}\n"
        "undertrace: {admin: ''}\n";
    char text[1024];
    snprintf(text, sizeof(text), config, "");
    start(text);
    reload(text, "event=reloaded ");
    cr_expect_eq(program_send_spans(program_port(&program, "event=listening"), 2), 0);
    snprintf(text, sizeof(text), config, "drain_interval: 50ms");
    reload(text, "event=reload_failed ");
    expect_in(program.err, "ebpf: restart needed to change its settings");
    stop();
    expect_in(program.err, "debug.sent=2 unaccounted=0\n");
}

Test(program_reload, a_file_goes_from_one_exporter_to_the_next)
{
    char path[128], config[1024], exporter[256];
    program_path(&program, "spans", path);
    snprintf(exporter, sizeof(exporter),
             "file: {path: '%s', append: false, retry_on_failure: {initial_interval: 50ms}}", path);
    snprintf(config, sizeof(config), CONFIG("10ms", "%s", "file", QUIET), exporter);
    start(config);
    uint16_t port = program_port(&program, "event=listening");
    cr_expect_eq(program_send_spans(port, 3), 0);
    program_sleep(300);
    reload(config, "event=reloaded ");
    cr_expect_eq(program_send_spans(port, 2), 0);
    stop();
    expect_in(program.err, "file.accepted=5 file.sent=5 unaccounted=0\n");
    static char text[PROGRAM_TEXT];
    program_read_file(&program, "spans", text);
    cr_expect_eq(count_in(text, "\"a span\""), 5, "%s", text);
    program_remove(&program, "spans");
}

/* A pipeline that keeps what it accepts on disk, with these exporters beside debug. */
static void configure_kept(const char *exporters, const char *names, char config[1024])
{
    int size =
        snprintf(config, 1024,
                 "receivers: {otlp: {protocols: {grpc: {endpoint: '127.0.0.1:0'}}}}\n"
                 "exporters: {debug: %s}\n"
                 "service:\n"
                 "  telemetry: {metrics: {level: none}}\n"
                 "  pipelines: {traces: {receivers: [otlp], exporters: [debug%s], storage: {type: "
                 "disk, directory: '%s/hold', max_bytes: 16MiB}}}\n"
                 "undertrace: {admin: 'unix://%s/admin.sock', shutdown_timeout: 300ms}\n",
                 exporters, names, program.folder, program.folder);
    cr_assert_lt(size, 1024);
}

/* What `undertrace status` says once `piece` is in it. */
static void await_status(struct program *status, const char *piece)
{
    char socket[128];
    program_path(&program, "admin.sock", socket);
    for (int ms = 0; ms < PROGRAM_PATIENCE_MS; ms += 50, program_sleep(50)) {
        program_start(status, "status", "--admin", socket, NULL);
        cr_assert_eq(program_wait(status), 0, "%s", status->err);
        if (strstr(status->out, piece) != NULL)
            return;
    }
    cr_assert_fail("\"%s\" never came in:\n%s", piece, status->out);
}

Test(program_reload, what_an_exporter_that_goes_has_on_disk_waits_for_its_name)
{
    struct program backend, status;
    char config[1024], exporter[128];
    program_init(&backend);
    program_init(&status);
    program_start(&backend, "run", "--config",
                  program_config(&backend, CONFIG("10ms", "debug: ", "debug", QUIET)), NULL);
    program_await(&backend, "event=ready");
    configure_kept(", " NOWHERE, ", otlp_grpc", config);
    start(config);
    uint16_t port = program_port(&program, "event=listening");
    cr_expect_eq(program_send_spans(port, 9), 0);
    await_status(&status, "\notlp_grpc\n    accepted 9, sent 0, held 9 ");

    configure_kept("", "", config);
    reload(config, "event=reloaded ");
    await_status(&status, "\notlp_grpc, configured no more\n    accepted 9, sent 0, held 9 ");
    await_status(&status, "    otlp_grpc: 9 spans, ");
    await_status(&status, ", orphan: no exporter of that name is configured\n");
    expect_in(status.out, "\notlp_grpc, configured no more\n"
                          "    accepted 9, sent 0, held 9 (in flight 0), dropped 0\n");
    cr_expect_eq(program_send_spans(port, 4), 0);

    snprintf(exporter, sizeof(exporter), ", otlp_grpc: {endpoint: 'http://127.0.0.1:%u'}",
             program_port(&backend, "event=listening"));
    configure_kept(exporter, ", otlp_grpc", config);
    reload(config, "event=reloaded ");
    await_status(&status, "    otlp_grpc: 0 spans, 0.0 KiB\n");
    expect_in(status.out, "    accepted 9, sent 9, held 0 (in flight 0), dropped 0\n");
    expect_in(status.out, ", sent 13, held 0 (in flight 0), dropped 0\n");
    stop();
    expect_in(program.err, " unaccounted=0\n");
    kill(backend.pid, SIGTERM);
    cr_expect_eq(program_wait(&backend), 0, "%s", backend.err);
    expect_in(backend.err, "event=stopped received=9 accepted=9 ");
    program_remove_hold(&program);
    program_done(&backend);
    program_done(&status);
}
