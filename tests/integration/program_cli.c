/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: what is printed, where, and the exit code. */
#include "program_harness.h"

#define VALID                                                                                      \
    "receivers: {otlp: {protocols: {grpc: {endpoint: '127.0.0.1:0'}}}}\n"                          \
    "processors: {correlate: , batch: }\n"                                                         \
    "exporters: {debug: }\n"                                                                       \
    "service: {pipelines: {traces: {receivers: [otlp], processors: [correlate, batch], "           \
    "exporters: [debug]}}}\n"

static struct program program;

static void setup(void)
{
    program_init(&program);
}

static void teardown(void)
{
    program_done(&program);
}

TestSuite(program_cli, .init = setup, .fini = teardown, .timeout = 60);

Test(program_cli, version_is_one_line_on_stdout)
{
    cr_expect_eq(program_run(&program, "--version", NULL, NULL), 0);
    cr_expect_str_eq(program.out, "undertrace " UT_VERSION "\n");
    cr_expect_str_empty(program.err);
}

Test(program_cli, help_names_every_command_and_option)
{
    static const char *const words[] = {"run",     "validate", "doctor",    "--config",
                                        "--admin", "--help",   "--version", "Usage:"};
    cr_expect_eq(program_run(&program, "--help", NULL, NULL), 0);
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        cr_expect_not_null(strstr(program.out, words[i]), "%s", words[i]);
    cr_expect_str_empty(program.err);
}

static void expect_usage(const char *a, const char *b, const char *c, const char *said)
{
    cr_expect_eq(program_run(&program, a, b, c), 2);
    cr_expect_str_empty(program.out);
    cr_expect_not_null(strstr(program.err, said), "%s", program.err);
    cr_expect_not_null(strstr(program.err, "\nUsage: undertrace "), "%s", program.err);
}

Test(program_cli, a_wrong_command_line_shows_the_usage_on_stderr)
{
    expect_usage("frobnicate", NULL, NULL, "undertrace: unknown command \"frobnicate\"");
    expect_usage("run", "extra", NULL, "undertrace: unexpected argument \"extra\"");
    expect_usage("validate", NULL, NULL, "undertrace: validate needs a file");
    expect_usage("--confg", "x", NULL, "unrecognized option '--confg'");
    expect_usage("--config", NULL, NULL, "requires an argument");
}

Test(program_cli, a_valid_file_is_valid)
{
    cr_expect_eq(program_run(&program, "validate", program_config(&program, VALID), NULL), 0, "%s",
                 program.err);
    cr_expect_not_null(strstr(program.out, "config.yaml: valid, 1 pipeline\n"));
    cr_expect_str_empty(program.err);
}

Test(program_cli, every_error_of_a_file_is_said_at_once)
{
    const char *path = program_config(&program, "receivers: {otlp: {protocls: }}\n"
                                                "exporters: {debug: {verbosity: loud}}\n"
                                                "service: {pipelines: {traces: {receivers: "
                                                "[otlp], exporters: [debg]}}}\n");
    cr_expect_eq(program_run(&program, "validate", path, NULL), 1);
    cr_expect_str_empty(program.out);
    cr_expect_not_null(strstr(program.err, "config.yaml:1:20: receivers.otlp.protocls: unknown "
                                           "key; did you mean \"protocols\"?\n"),
                       "%s", program.err);
    cr_expect_not_null(strstr(program.err, "config.yaml:2:32: exporters.debug.verbosity: expected "
                                           "basic, normal or detailed, found loud\n"),
                       "%s", program.err);
    cr_expect_not_null(strstr(program.err, "config.yaml:3:63: service.pipelines.traces.exporters: "
                                           "debg is not defined under \"exporters:\"; did you mean "
                                           "\"debug\"?\n"),
                       "%s", program.err);
    cr_expect_eq(program_run(&program, "run", "--config", path), 1, "run refuses it as well");
}

Test(program_cli, the_collectors_name_of_the_exporter_is_understood)
{
    const char *path = program_config(
        &program, "receivers: {otlp: {protocols: {grpc: }}}\n"
                  "exporters: {otlp: {endpoint: 'backend:4317', tls: {insecure: true}}}\n"
                  "service: {pipelines: {traces: {receivers: [otlp], exporters: [otlp]}}}\n");
    cr_expect_eq(program_run(&program, "validate", path, NULL), 0, "%s", program.err);
    cr_expect_str_empty(program.err);
}

Test(program_cli, tls_is_the_default_and_a_file_that_it_lacks_is_named)
{
    const char *path = program_config(
        &program, "receivers: {otlp: {protocols: {grpc: }}}\n"
                  "exporters:\n  otlp_grpc:\n    endpoint: backend:4317\n"
                  "    tls: {ca_file: /no/such}\n"
                  "service: {pipelines: {traces: {receivers: [otlp], exporters: [otlp_grpc]}}}\n");
    cr_expect_eq(program_run(&program, "validate", path, NULL), 1);
    cr_expect_not_null(strstr(program.err, "config.yaml:5:20: exporters.otlp_grpc.tls.ca_file: "
                                           "/no/such cannot be read: No such file"),
                       "%s", program.err);
}

Test(program_cli, a_refused_setting_does_not_hide_what_else_is_wrong_with_its_component)
{
    const char *path = program_config(
        &program, "receivers: {otlp: {protocols: {grpc: }}}\n"
                  "exporters: {otlp_grpc: {endpoint: 'backend:4317', timeout: 5,\n"
                  "    tls: {min_version: 1.3, max_version: 1.2}}}\n"
                  "service: {pipelines: {traces: {receivers: [otlp], exporters: [otlp_grpc]}}}\n");
    cr_expect_eq(program_run(&program, "validate", path, NULL), 1);
    cr_expect_not_null(strstr(program.err, "exporters.otlp_grpc.timeout: "), "%s", program.err);
    cr_expect_not_null(strstr(program.err, "exporters.otlp_grpc.tls.min_version: "), "%s",
                       program.err);
}

Test(program_cli, a_file_that_cannot_be_read_says_why)
{
    cr_expect_eq(program_run(&program, "validate", "/nonexistent/x.yaml", NULL), 1);
    cr_expect_str_eq(program.err,
                     "/nonexistent/x.yaml: cannot be read: No such file or directory\n");
    cr_expect_eq(program_run(&program, "validate", "/", NULL), 1);
    cr_expect_str_eq(program.err, "/: cannot be read: Is a directory\n");
}

Test(program_cli, the_example_files_are_valid)
{
    static const char *const files[] = {"sidecar.yaml", "node.yaml"};
    /* The node's needs the kernel side. */
    size_t count = UT_WITH_BPF ? 2 : 1;
    for (size_t i = 0; i < count && i < sizeof(files) / sizeof(files[0]); i++) {
        char path[512];
        snprintf(path, sizeof(path), "%s/%s", UT_DEPLOY, files[i]);
        int code = program_run(&program, "validate", path, NULL);
        cr_expect_eq(code, 0, "%s", program.err);
        cr_expect_str_empty(program.err, "an example needs no notice: %s", program.err);
    }
}

static void expect_env_refused(const char *name, const char *value, const char *said)
{
    setenv(name, value, 1);
    cr_expect_eq(program_run(&program, "run", NULL, NULL), 1, "%s=%s", name, value);
    cr_expect_not_null(strstr(program.err, said), "%s=%s said:\n%s", name, value, program.err);
    unsetenv(name);
}

Test(program_cli, the_environment_is_honoured_or_refused_with_a_reason)
{
    setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1", 1);
    expect_env_refused("OTEL_EXPORTER_OTLP_PROTOCOL", "http",
                       "OTEL_EXPORTER_OTLP_PROTOCOL: http is refused: expected grpc, "
                       "http/protobuf or http/json");
    expect_env_refused("OTEL_EXPORTER_OTLP_COMPRESSION", "snappy",
                       "OTEL_EXPORTER_OTLP_COMPRESSION: snappy is refused: expected none, gzip or "
                       "zstd");
    expect_env_refused("OTEL_EXPORTER_OTLP_TIMEOUT", "10s",
                       "OTEL_EXPORTER_OTLP_TIMEOUT: 10s is refused: expected milliseconds");
    expect_env_refused("OTEL_EXPORTER_OTLP_HEADERS", "novalue",
                       "OTEL_EXPORTER_OTLP_HEADERS: expected key=value");
    setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://h:4317", 1);
    expect_env_refused("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "/no/such",
                       "exporters.otlp_grpc.tls.ca_file: /no/such cannot be read");
    unsetenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    expect_env_refused("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4317",
                       "would send to http://localhost:4317, where receiver \"otlp\" of this same "
                       "program listens");
    setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", 1);
    expect_env_refused("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "ftp://h/",
                       "exporters.otlp_http.traces_endpoint");
    expect_env_refused("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318",
                       "would send to http://localhost:4318");
    setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "https://127.0.0.1:1", 1);
    expect_env_refused("OTEL_EXPORTER_OTLP_CERTIFICATE", "/no/such",
                       "exporters.otlp_http.tls.ca_file: /no/such cannot be read");
}
