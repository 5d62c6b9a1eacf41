/* SPDX-License-Identifier: Apache-2.0 */
/* The whole reader: what one writes, and every line that one gets to see for it. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config_types.h"

static const char *test_env(const char *name)
{
    if (strcmp(name, "HOST") == 0)
        return "backend";
    if (strcmp(name, "DOLLAR") == 0)
        return "${env:HOST}";
    return strcmp(name, "EMPTY") == 0 ? "" : NULL;
}

/* Reads `text`; in `said` the messages as the user sees them. */
static struct ut_config *read_text(const char *text, size_t size, char **said)
{
    struct ut_config_messages messages;
    size_t said_size;
    FILE *out = open_memstream(said, &said_size);
    cr_assert_not_null(out);
    ut_config_messages_init(&messages, "c.yaml");
    struct ut_config_source source = {.text = ut_slice_of(text, size), .env = test_env};
    struct ut_config *config = ut_config_read(&source, &test_types, &messages);
    cr_assert_eq(config == NULL, messages.errors != 0);
    ut_config_messages_print(&messages, out);
    fclose(out);
    ut_config_messages_done(&messages);
    return config;
}

static void expect_said(const char *text, bool valid, const char *expected)
{
    char *said;
    struct ut_config *config = read_text(text, strlen(text), &said);
    cr_expect_str_eq(said, expected, "said:\n%s\nexpected:\n%s", said, expected);
    cr_expect_eq(config != NULL, valid);
    ut_config_free(config);
    free(said);
}

static void expect_errors(const char *text, const char *expected)
{
    expect_said(text, false, expected);
}

static struct ut_config *read_valid(const char *text)
{
    char *said;
    struct ut_config *config = read_text(text, strlen(text), &said);
    cr_assert_not_null(config, "said:\n%s", said);
    free(said);
    return config;
}

/* A valid rest for texts that are about one exporter. */
#define AROUND                                                                                     \
    "\nreceivers: {otlp: {grpc: }}\n"                                                              \
    "service: {pipelines: {traces: {receivers: [otlp], exporters: [otlp_grpc]}}}\n"
#define EXPORTER(settings) "exporters: {otlp_grpc: {endpoint: 'h:1', " settings "}}" AROUND

static const struct test_exporter *exporter_of(const struct ut_config *config)
{
    return config->exporters.items[0].config;
}

/* ---- values ---------------------------------------------------------------------------------- */

Test(config, defaults_stand_where_nothing_is_written)
{
    struct ut_config *config = read_valid(EXPORTER(""));
    const struct test_receiver *receiver = config->receivers.items[0].config;
    cr_expect(receiver->has_grpc, "a key without a value is present");
    cr_expect_str_eq(receiver->grpc.endpoint, "localhost:4317");
    cr_expect_eq(receiver->grpc.max_mib, 64);
    cr_expect_eq(receiver->grpc.idle_ns, UINT64_C(90000000000));
    cr_expect_eq(exporter_of(config)->size, 4 << 20);
    cr_expect_eq(exporter_of(config)->verbosity, 1);
    cr_expect_float_eq(exporter_of(config)->factor, 1.5, 1e-9);
    cr_expect_eq(config->program.memory.limit_mib, 256);
    cr_expect_eq(config->program.shutdown_timeout_ns, UINT64_C(10000000000));
    cr_expect_str_eq(config->program.admin, "unix:///run/undertrace/admin.sock");
    cr_expect_eq(config->program.max_bytes_per_hour, 18000000);
    cr_expect_str_eq(config->telemetry.metrics.address, "localhost:8888");
    cr_expect_eq(config->telemetry.logs.level, UT_LOG_INFO);
    ut_config_free(config);
}

Test(config, each_kind_of_value_is_read)
{
    struct ut_config *config =
        read_valid(EXPORTER("insecure: true, size: 64KiB, factor: 2, verbosity: Detailed, names: "
                            "[a, b], headers: {k: v, '1': 2}"));
    const struct test_exporter *exporter = exporter_of(config);
    cr_expect(exporter->insecure);
    cr_expect_eq(exporter->size, 64 << 10);
    cr_expect_float_eq(exporter->factor, 2, 1e-9);
    cr_expect_eq(exporter->verbosity, 2);
    cr_assert_eq(exporter->names.count, 2);
    cr_expect_str_eq(exporter->names.items[1], "b");
    cr_assert_eq(exporter->headers.count, 2);
    cr_expect_str_eq(exporter->headers.items[1].key, "1");
    cr_expect_str_eq(exporter->headers.items[1].value, "2");
    ut_config_free(config);
}

Test(config, pipelines_name_their_components_in_order)
{
    struct ut_config *config =
        read_valid("receivers: {otlp: {grpc: }, ebpf: }\n"
                   "processors: {batch: , correlate: }\n"
                   "exporters: {debug: , debug/two: }\n"
                   "service: {pipelines: {traces/x: {receivers: [otlp, ebpf], processors: "
                   "[correlate, batch], exporters: [debug/two, debug]}}}\n");
    cr_assert_eq(config->pipeline_count, 1);
    const struct ut_config_pipeline *pipeline = &config->pipelines[0];
    cr_expect_str_eq(pipeline->id, "traces/x");
    cr_assert_eq(pipeline->receiver_count, 2);
    cr_assert_eq(pipeline->processor_count, 2);
    cr_expect_str_eq(pipeline->processors[0]->id, "correlate");
    cr_assert_eq(pipeline->exporter_count, 2);
    cr_expect_str_eq(pipeline->exporters[0]->id, "debug/two");
    cr_expect_eq(pipeline->exporters[0]->uses, 1);
    ut_config_free(config);
}

Test(config, undertrace_and_telemetry_sections_are_read)
{
    struct ut_config *config =
        read_valid("undertrace: {memory: {limit_mib: 64}, admin: '', shutdown_timeout: 0, "
                   "max_bytes_per_hour: 0}\n"
                   "receivers: {otlp: {grpc: }}\nexporters: {debug: }\n"
                   "service: {telemetry: {logs: {level: WARN}, metrics: {level: none, address: "
                   "'[::1]:9'}}, pipelines: {traces: {receivers: [otlp], exporters: [debug]}}}\n");
    cr_expect_eq(config->program.memory.limit_mib, 64);
    cr_expect_str_eq(config->program.admin, "");
    cr_expect_eq(config->program.shutdown_timeout_ns, 0);
    cr_expect_eq(config->program.max_bytes_per_hour, 0);
    cr_expect_eq(config->telemetry.logs.level, UT_LOG_WARN);
    cr_expect_eq(config->telemetry.metrics.level, 0);
    cr_expect_str_eq(config->telemetry.metrics.address, "[::1]:9");
    ut_config_free(config);
}

/* ---- the environment ---------------------------------------------------------------------------
 */

Test(config, environment_is_expanded_as_the_collector_does)
{
    struct ut_config *config = read_valid(EXPORTER(
        "names: ['${env:HOST}:1', '${HOST}', '${env:NONE:-dflt}', '$$x', 'a$b', '${env:DOLLAR}', "
        "'${env:EMPTY:-e}', '$${env:HOST}']"));
    const struct ut_strings *names = &exporter_of(config)->names;
    static const char *const expected[] = {"backend:1", "backend",     "dflt", "$x",
                                           "a$b",       "${env:HOST}", "e",    "${env:HOST}"};
    cr_assert_eq(names->count, 8);
    for (int i = 0; i < 8; i++)
        cr_expect_str_eq(names->items[i], expected[i]);
    ut_config_free(config);
}

Test(config, environment_gives_typed_values)
{
    struct ut_config *config = read_valid(EXPORTER("size: '${env:NONE:-2MiB}', insecure: "
                                                   "'${env:NONE:-true}'"));
    cr_expect_eq(exporter_of(config)->size, 2 << 20);
    cr_expect(exporter_of(config)->insecure);
    ut_config_free(config);
}

Test(config, environment_that_is_not_set_is_noted)
{
    expect_said("exporters: {otlp_grpc: {endpoint: 'h:1', names: ['${env:NONE}']}}" AROUND, true,
                "c.yaml:1:50: notice: exporters.otlp_grpc.names: the environment variable NONE is "
                "not set; an empty text takes its place\n");
}

Test(config, other_substitutions_are_refused)
{
    expect_errors(EXPORTER("names: ['${file:/etc/passwd}', '${', '${1A}']"),
                  "c.yaml:1:50: exporters.otlp_grpc.names: ${file:/etc/passwd} is not understood: "
                  "write ${env:NAME} or ${env:NAME:-default}, and $$ for a plain $\n"
                  "c.yaml:1:73: exporters.otlp_grpc.names: \"${\" without \"}\"; write $$ for a "
                  "plain $\n"
                  "c.yaml:1:79: exporters.otlp_grpc.names: ${1A} is not understood: write "
                  "${env:NAME} or ${env:NAME:-default}, and $$ for a plain $\n");
}

/* ---- wrong values ------------------------------------------------------------------------------
 */

Test(config, wrong_values_say_what_to_write)
{
    expect_errors(
        "exporters:\n"
        "  otlp_grpc:\n"
        "    endpoint: h:1\n"
        "    insecure: yes\n"
        "    size: 4 megabytes\n"
        "    factor: many\n"
        "    verbosity: loud\n"
        "    names: a\n"
        "    headers: [a]\n" AROUND,
        "c.yaml:4:15: exporters.otlp_grpc.insecure: expected true or false, found yes\n"
        "c.yaml:5:11: exporters.otlp_grpc.size: expected a size such as 64MiB, 512KiB or "
        "a number of bytes, found \"4 megabytes\"\n"
        "c.yaml:6:13: exporters.otlp_grpc.factor: expected a number such as 1.5, found "
        "many\n"
        "c.yaml:7:16: exporters.otlp_grpc.verbosity: expected basic, normal or detailed, "
        "found loud\n"
        "c.yaml:8:12: exporters.otlp_grpc.names: expected a list: [a, b]\n"
        "c.yaml:9:14: exporters.otlp_grpc.headers: expected a mapping of names to texts\n");
}

Test(config, ranges_are_shown_in_the_unit_of_the_field)
{
    expect_errors("receivers:\n"
                  "  otlp:\n"
                  "    grpc:\n"
                  "      max_recv_msg_size_mib: 0\n"
                  "      idle: 100ms\n"
                  "exporters: {otlp_grpc: {endpoint: 'h:1', size: 1B, factor: 0.5}}\n"
                  "service: {pipelines: {traces: {receivers: [otlp], exporters: [otlp_grpc]}}}\n",
                  "c.yaml:4:30: receivers.otlp.grpc.max_recv_msg_size_mib: must be between 1 and "
                  "1024\n"
                  "c.yaml:5:13: receivers.otlp.grpc.idle: must be at least 500ms\n"
                  "c.yaml:6:48: exporters.otlp_grpc.size: must be between 1KiB and 64MiB\n"
                  "c.yaml:6:60: exporters.otlp_grpc.factor: must be between 1 and 10\n");
}

Test(config, bare_numbers_are_no_durations)
{
    expect_errors("receivers: {otlp: {grpc: {idle: 5}}}\nexporters: {debug: }\n"
                  "service: {pipelines: {traces: {receivers: [otlp], exporters: [debug]}}}\n",
                  "c.yaml:1:33: receivers.otlp.grpc.idle: a duration needs a unit: write for "
                  "example 5s or 300ms, found 5\n");
}

Test(config, a_component_may_refuse_at_the_place_that_it_names)
{
    expect_errors("exporters:\n  otlp_grpc:\n    headers:\n      a: ''\n    endpoint: ''\n" AROUND,
                  "c.yaml:3:5: exporters.otlp_grpc.headers: empty value of a\n"
                  "c.yaml:5:15: exporters.otlp_grpc.endpoint: missing; write host:port\n");
}

/* ---- wrong keys ------------------------------------------------------------------------------ */

Test(config, mistyped_keys_name_the_nearest)
{
    expect_errors("recievers: {otlp: }\n"
                  "receivers: {otlp: {grcp: }}\n"
                  "exporters: {otlp_grpc: {endpont: 'h:1', something: 1, endpoint: 'h:1'}}\n"
                  "service: {pipeline: , pipelines: {traces: {receivers: [otlp], processor: [], "
                  "exporters: [otlp_grpc]}}}\n"
                  "undertrace: {worker: 2}\n",
                  "c.yaml:1:1: recievers: unknown key; did you mean \"receivers\"?\n"
                  "c.yaml:2:20: receivers.otlp.grcp: unknown key; did you mean \"grpc\"?\n"
                  "c.yaml:3:25: exporters.otlp_grpc.endpont: unknown key; did you mean "
                  "\"endpoint\"?\n"
                  "c.yaml:3:41: exporters.otlp_grpc.something: unknown key; valid here: endpoint, "
                  "insecure, size, factor, verbosity, names, headers, storage\n"
                  "c.yaml:4:11: service.pipeline: unknown key; did you mean \"pipelines\"?\n"
                  "c.yaml:4:63: service.pipelines.traces.processor: unknown key; did you mean "
                  "\"processors\"?\n"
                  "c.yaml:5:14: undertrace.worker: unknown key; valid here: memory, admin, "
                  "shutdown_timeout, max_bytes_per_hour, "
                  "identity\n");
}

Test(config, too_few_bytes_of_evidence_an_hour_are_refused)
{
    expect_errors(
        "undertrace: {max_bytes_per_hour: 5KiB}\n"
        "receivers: {otlp: {grpc: }}\nexporters: {debug: }\nservice: {pipelines: {traces: "
        "{receivers: [otlp], exporters: [debug]}}}\n",
        "c.yaml:1:34: undertrace.max_bytes_per_hour: must be at least 1MiB, or 0 for no "
        "limit\n");
}

#define FORWARDERS(more)                                                                           \
    "undertrace:\n  identity:\n    trust_claims: remote\n    forwarders:\n" more                   \
    "receivers: {otlp: {grpc: }, ebpf: }\nprocessors: {correlate: }\nexporters: {debug: }\n"       \
    "service: {pipelines: {traces: {receivers: [otlp, ebpf], processors: [correlate], exporters: " \
    "[debug]}}}\n"

Test(config, trusted_forwarders_are_read)
{
    struct ut_config *config =
        read_valid(FORWARDERS("      uids: [otelcol, 65532]\n      cert_names: [agent]\n"
                              "      workloads: [/system.slice/otelcol.service]\n"));
    const struct ut_config_identity *identity = &config->program.identity;
    cr_expect_eq(identity->trust_claims, UT_TRUST_REMOTE_CLAIMS);
    cr_expect_eq(identity->forwarders.uids.count, 2);
    cr_expect_str_eq(identity->forwarders.uids.items[1], "65532");
    cr_expect_str_eq(identity->forwarders.cert_names.items[0], "agent");
    cr_expect_str_eq(identity->forwarders.workloads.items[0], "/system.slice/otelcol.service");
    ut_config_free(config);
}

Test(config, nobody_is_trusted_unless_it_is_said)
{
    struct ut_config *config = read_valid(EXPORTER(""));
    cr_expect_eq(config->program.identity.trust_claims, UT_TRUST_NO_CLAIMS);
    cr_expect_eq(config->program.identity.forwarders.uids.count, 0);
    cr_expect_str_eq(config->program.identity.containerd, "auto");
    ut_config_free(config);
}

Test(config, forwarders_that_would_be_everybody_or_nobody_are_errors)
{
    expect_errors(FORWARDERS("      uids: [\"*\"]\n      cert_names: [a, \"\"]\n"
                             "      workloads: [otelcol.service, /]\n      uid: [1]\n"),
                  "c.yaml:5:14: undertrace.identity.forwarders.uids: expected a user's number or "
                  "name; nobody may speak for everybody\n"
                  "c.yaml:6:23: undertrace.identity.forwarders.cert_names: expected a name in a "
                  "certificate; nobody may speak for everybody\n"
                  "c.yaml:7:19: undertrace.identity.forwarders.workloads: expected the path of a "
                  "cgroup: \"/system.slice/otelcol.service\"\n"
                  "c.yaml:7:36: undertrace.identity.forwarders.workloads: expected the path of a "
                  "cgroup: \"/system.slice/otelcol.service\"\n"
                  "c.yaml:8:7: undertrace.identity.forwarders.uid: unknown key; did you mean "
                  "\"uids\"?\n");
    expect_errors("undertrace: {identity: {containerd: /run/c.sock}}\n" EXPORTER(""),
                  "c.yaml:1:37: undertrace.identity.containerd: expected auto, off, or its socket "
                  "as unix:///absolute/path (shorter than 100 bytes)\n");
    expect_errors("undertrace: {identity: {trust_claims: all}}\n" EXPORTER(""),
                  "c.yaml:1:39: undertrace.identity.trust_claims: expected none, forwarders or "
                  "remote, found all\n");
}

Test(config, trust_that_changes_nothing_without_the_kernel_is_noticed)
{
    expect_said("undertrace:\n  identity: {trust_claims: remote, forwarders: {workloads: [/a]}}\n"
                "receivers: {otlp: {grpc: }}\nexporters: {debug: }\n"
                "service: {pipelines: {traces: {receivers: [otlp], exporters: [debug]}}}\n",
                true,
                "c.yaml:2:3: notice: undertrace.identity.forwarders.workloads: nobody is trusted "
                "by it: workloads are known only to a program that watches the kernel, and no "
                "pipeline does\n"
                "c.yaml:2:3: notice: undertrace.identity.trust_claims: it changes nothing: there "
                "is no evidence to join without a pipeline that watches the kernel\n");
}

Test(config, keys_with_odd_characters_are_shown_escaped)
{
    expect_errors("\"a\\tb\\e[31m\": 1\n" EXPORTER(""),
                  "c.yaml:1:1: \"a\\tb\\x1b[31m\": unknown key; valid here: receivers, processors, "
                  "exporters, extensions, service, undertrace\n");
}

Test(config, unknown_components_name_the_nearest_or_the_list)
{
    expect_errors(
        "receivers: {oltp: , zipkin: , 'a b': }\n"
        "exporters: {jaeger: , logging: }\n"
        "processors: {correlat: }\n"
        "extensions: {health_chck: }\n"
        "connectors: {}\n"
        "service: {pipelines: {traces: {receivers: [oltp], exporters: [logging]}}}\n",
        "c.yaml:1:13: receivers.oltp: unknown type; did you mean \"otlp\"?\n"
        "c.yaml:1:21: receivers.zipkin: unknown type; this build has: otlp, ebpf, "
        "absent\n"
        "c.yaml:1:31: receivers.\"a b\": not a component id: write its type, or type/name "
        "without blanks\n"
        "c.yaml:2:13: exporters.jaeger: not known here: use otlp_grpc with port 4317, or "
        "jaeger_grpc\n"
        "c.yaml:2:23: exporters.logging: not known here: it is called debug\n"
        "c.yaml:3:14: processors.correlat: unknown type; did you mean \"correlate\"?\n"
        "c.yaml:4:14: extensions.health_chck: unknown type\n"
        "c.yaml:5:1: connectors: unknown key; valid here: receivers, processors, "
        "exporters, extensions, service, undertrace\n");
}

Test(config, what_the_collector_needs_and_we_do_not_is_noted)
{
    expect_said("receivers: {otlp: {grpc: }}\n"
                "processors: {memory_limiter: {check_interval: 1s, limit_mib: 400}}\n"
                "exporters: {debug: }\n"
                "extensions: {health_check: }\n"
                "service: {extensions: [health_check], pipelines: {traces: {receivers: [otlp], "
                "processors: [memory_limiter], exporters: [debug]}}}\n",
                true,
                "c.yaml:2:14: notice: processors.memory_limiter: not needed: "
                "undertrace.memory.limit_mib is a hard budget for everything that is in flight\n"
                "c.yaml:4:14: notice: extensions.health_check: not needed: /healthz and /readyz "
                "are served beside /metrics (service.telemetry.metrics)\n");
}

/* ---- pipelines ------------------------------------------------------------------------------- */

Test(config, pipelines_are_checked_against_what_is_defined)
{
    expect_errors(
        "receivers: {otlp: {grpc: }}\nexporters: {debug: }\n"
        "service:\n"
        "  extensions: [pprof]\n"
        "  pipelines:\n"
        "    traces: {receivers: [otpl, otlp, otlp], exporters: [kafka]}\n"
        "    traces/b: {receivers: otlp, exporters: []}\n"
        "    traces/c:\n"
        "    metrics: {receivers: [otlp], exporters: [debug]}\n"
        "    trace: {}\n",
        "c.yaml:4:16: service.extensions: not defined under \"extensions:\"\n"
        "c.yaml:6:26: service.pipelines.traces.receivers: otpl is not defined under "
        "\"receivers:\"; did you mean \"otlp\"?\n"
        "c.yaml:6:38: service.pipelines.traces.receivers: \"otlp\" stands twice in this "
        "list\n"
        "c.yaml:6:57: service.pipelines.traces.exporters: kafka is not defined under "
        "\"exporters:\"; add it there (\"kafka:\" alone takes the defaults)\n"
        "c.yaml:7:27: service.pipelines.traces/b.receivers: expected a list of component "
        "ids: [otlp]\n"
        "c.yaml:7:33: service.pipelines.traces/b.exporters: at least one is needed\n"
        "c.yaml:8:5: service.pipelines.traces/c.receivers: at least one is needed\n"
        "c.yaml:8:5: service.pipelines.traces/c.exporters: at least one is needed\n"
        "c.yaml:9:5: service.pipelines.metrics: Undertrace carries traces only; remove "
        "this pipeline\n"
        "c.yaml:10:5: service.pipelines.trace: unknown signal; did you mean \"traces\"?\n");
}

Test(config, a_file_without_pipelines_is_refused)
{
    expect_errors("receivers: {otlp: }\n",
                  "c.yaml: service: missing; nothing runs without service.pipelines\n");
    expect_errors("service:\n", "c.yaml:1:1: service.pipelines: no pipeline; write traces: "
                                "{receivers: […], processors: […], exporters: […]}\n");
    expect_errors("service: {pipelines: }\n",
                  "c.yaml:1:11: service.pipelines: no pipeline; write traces: {receivers: […], "
                  "processors: […], exporters: […]}\n");
}

Test(config, ebpf_needs_correlate_in_its_pipeline)
{
    expect_errors("receivers: {otlp: {grpc: }, ebpf: }\nexporters: {debug: }\n"
                  "service:\n  pipelines:\n"
                  "    traces: {receivers: [otlp, ebpf], exporters: [debug]}\n",
                  "c.yaml:5:5: service.pipelines.traces: the receiver \"ebpf\" needs the processor "
                  "\"correlate\" in its pipeline: add it under \"processors:\" and to this "
                  "pipeline's list\n");
}

Test(config, ebpf_runs_once_per_process)
{
    expect_errors("receivers:\n  ebpf:\n  ebpf/b:\nprocessors: {correlate: }\n"
                  "exporters: {debug: }\n"
                  "service: {pipelines: {traces: {receivers: [ebpf, ebpf/b], processors: "
                  "[correlate], exporters: [debug]}}}\n",
                  "c.yaml:3:3: receivers.ebpf/b: \"ebpf\" runs once per process, and \"ebpf\" "
                  "(line 2) is in use\n");
}

Test(config, ebpf_may_serve_several_pipelines_and_a_receiver_of_spans_one)
{
    expect_errors("receivers: {otlp: {grpc: }, ebpf: }\nprocessors: {correlate: }\n"
                  "exporters: {debug: }\n"
                  "service: {pipelines: {traces: {receivers: [otlp, ebpf], processors: "
                  "[correlate], exporters: [debug]}, traces/b: {receivers: [otlp, ebpf], "
                  "processors: [correlate], exporters: [debug]}}}\n",
                  "c.yaml:1:13: receivers.otlp: 2 pipelines name it, and a receiver of spans feeds "
                  "one: give the others a receiver of their own (\"otlp/name\" on another "
                  "endpoint), or name several exporters in one pipeline\n");
}

Test(config, a_component_that_this_build_lacks_is_an_error_only_where_it_is_used)
{
    expect_said("receivers: {absent: {any: thing}, otlp: {grpc: }}\nexporters: {debug: }\n"
                "service: {pipelines: {traces: {receivers: [otlp], exporters: [debug]}}}\n",
                true,
                "c.yaml:1:13: notice: receivers.absent: no pipeline names it; it is not started\n");
    expect_errors("receivers: {absent: }\nexporters: {debug: }\n"
                  "service: {pipelines: {traces: {receivers: [absent], exporters: [debug]}}}\n",
                  "c.yaml:3:44: service.pipelines.traces.receivers: \"absent\" is not available: "
                  "this build has none\n");
}

Test(config, an_exporter_never_sends_to_our_own_listener)
{
    expect_errors("receivers: {otlp: {grpc: {endpoint: '0.0.0.0:4317'}}}\n"
                  "exporters: {otlp_grpc: {endpoint: 'http://localhost:4317'}}\n"
                  "service: {pipelines: {traces: {receivers: [otlp], exporters: [otlp_grpc]}}}\n",
                  "c.yaml:2:13: exporters.otlp_grpc: would send to http://localhost:4317, where "
                  "receiver \"otlp\" of this same program listens: every span would go round for "
                  "ever\n");
}

Test(config, unused_components_are_noted)
{
    expect_said("receivers: {otlp: {grpc: }}\nprocessors: {batch: }\n"
                "exporters: {debug: , debug/b: }\n"
                "service: {pipelines: {traces: {receivers: [otlp], exporters: [debug]}}}\n",
                true,
                "c.yaml:2:14: notice: processors.batch: no pipeline names it; it is not started\n"
                "c.yaml:3:22: notice: exporters.debug/b: no pipeline names it; it is not "
                "started\n");
}

Test(config, the_memory_limit_leaves_room_for_spans)
{
    expect_errors("receivers: {otlp: {grpc: }, ebpf: }\nprocessors: {correlate: }\n"
                  "exporters: {debug: }\n"
                  "service: {pipelines: {traces: {receivers: [otlp, ebpf], processors: "
                  "[correlate], exporters: [debug]}}}\n"
                  "undertrace: {memory: {limit_mib: 39}}\n",
                  "c.yaml:5:34: undertrace.memory.limit_mib: too little: with these components 32 "
                  "MiB are of fixed size, and spans in flight need 8 MiB at least; write 40 or "
                  "more\n");
    struct ut_config *config = read_valid(EXPORTER("") "undertrace: {memory: {limit_mib: 32}}\n");
    cr_expect_eq(config->program.memory.limit_mib, 32);
    ut_config_free(config);
}

#define ACK(exporter, keys)                                                                        \
    "exporters: {otlp_grpc: {endpoint: 'h:1', " exporter "}}\n"                                    \
    "receivers: {otlp: {grpc: }}\n"                                                                \
    "service: {pipelines: {traces: {receivers: [otlp], exporters: [otlp_grpc], " keys "}}}\n"

Test(config, a_pipeline_says_what_its_answers_promise)
{
    struct ut_config *config = read_valid(ACK("", ""));
    cr_expect_eq(config->pipelines[0].ack, UT_ACK_QUEUED);
    cr_expect_eq(config->pipelines[0].ack_timeout_ns, UINT64_C(10000000000));
    ut_config_free(config);
    config = read_valid(ACK("", "ack: delivered, ack_timeout: 2s"));
    cr_expect_eq(config->pipelines[0].ack, UT_ACK_DELIVERED);
    cr_expect_eq(config->pipelines[0].ack_timeout_ns, UINT64_C(2000000000));
    ut_config_free(config);
    config = read_valid(ACK("insecure: true", "ack: queued"));
    cr_expect_eq(config->pipelines[0].ack, UT_ACK_DELIVERED, "its exporter waits for the result");
    ut_config_free(config);
}

Test(config, a_promise_that_cannot_be_kept_is_refused)
{
    expect_errors(ACK("", "ack: sent"),
                  "c.yaml:3:80: service.pipelines.traces.ack: expected queued, durable or "
                  "delivered, found sent\n");
    expect_errors(ACK("", "ack: durable"),
                  "c.yaml:3:75: service.pipelines.traces.ack: durable needs a disk: add storage: "
                  "{type: disk, directory: /var/lib/undertrace}\n");
    expect_errors(ACK("", "ack: durable, storage: {directory: /d, sync: none}"),
                  "c.yaml:3:75: service.pipelines.traces.ack: durable cannot be promised with "
                  "`sync: none`: a power cut may lose what was acknowledged; write sync: group, or "
                  "ack: queued\n");
    expect_errors(ACK("insecure: true, verbosity: basic", ""),
                  "c.yaml:3:23: service.pipelines.traces.ack: delivered cannot be promised "
                  "with the exporter \"otlp_grpc\": it cannot\n");
    expect_errors(ACK("", "ack_timeout: 0"),
                  "c.yaml:3:88: service.pipelines.traces.ack_timeout: must be between 10ms "
                  "and 3600s\n");
    expect_errors(ACK("", "acks: queued"),
                  "c.yaml:3:75: service.pipelines.traces.acks: unknown key; did you mean "
                  "\"ack\"?\n");
}

Test(config, admin_is_a_unix_socket_or_nothing)
{
    expect_errors(EXPORTER("") "undertrace: {admin: 'localhost:99'}\n",
                  "c.yaml:4:21: undertrace.admin: expected unix:///absolute/path (shorter than 100 "
                  "bytes), or \"\" for none\n");
}

Test(config, messages_are_bounded_and_the_rest_is_counted)
{
    char *text = NULL, *said;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    for (int i = 0; i < 300; i++)
        fprintf(out, "unknown_%d: 1\n", i);
    fclose(out);
    struct ut_config *config = read_text(text, size, &said);
    cr_expect_null(config);
    cr_expect_not_null(strstr(said, "c.yaml: … and 201 more\n"));
    free(said);
    free(text);
}
