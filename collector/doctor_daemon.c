/* SPDX-License-Identifier: Apache-2.0 */
/* Asks a running program over its admin socket. What comes back is JSON of our own making, and read
 * as if it were not: any field may be absent. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "admin_client.h"
#include "base/log.h"
#include "doctor.h"

static uint64_t count_of(const json_t *object, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(object, key));
    return value > 0 ? (uint64_t)value : 0;
}

static const char *text_of(const json_t *object, const char *key, char out[128])
{
    const char *text = json_string_value(json_object_get(object, key));
    return ut_log_quote(out, 128, text != NULL ? text : "?");
}

/* All counts of an object that are not zero, "known 12, remote 3". */
static void print_counts(const char *name, const json_t *object)
{
    char text[512] = "";
    size_t size = 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        if (json_integer_value(value) == 0 || size >= sizeof(text))
            continue;
        char shown[64];
        size += (size_t)snprintf(text + size, sizeof(text) - size, "%s%s %" JSON_INTEGER_FORMAT,
                                 size == 0 ? "" : ", ", ut_log_quote(shown, sizeof(shown), key),
                                 json_integer_value(value));
    }
    ut_doctor_line("", name, size != 0 ? text : "none yet");
}

static void print_programs(const json_t *programs)
{
    size_t works = 0, i;
    json_t *program;
    char name[128], reason[128], text[160];
    json_array_foreach((json_t *)programs, i, program)
    {
        works += json_is_true(json_object_get(program, "works"));
    }
    snprintf(text, sizeof(text), "%zu of %zu attached", works, json_array_size(programs));
    ut_doctor_line("", "kernel programs", text);
    json_array_foreach((json_t *)programs, i, program)
    {
        if (!json_is_true(json_object_get(program, "works")))
            ut_doctor_line("missing", text_of(program, "name", name),
                           text_of(program, "reason", reason));
    }
}

static void print_records(const json_t *kernel)
{
    char text[256];
    snprintf(text, sizeof(text),
             "%" PRIu64 " read, %" PRIu64 " of them malformed; not recorded: %" PRIu64
             " for want of room, %" PRIu64 " over a rate limit, %" PRIu64 " in runs that were "
             "skipped",
             count_of(kernel, "records"), count_of(kernel, "bad_records"),
             count_of(kernel, "no_room"), count_of(kernel, "rate_limited"),
             count_of(kernel, "skipped_runs"));
    ut_doctor_line("", "kernel records", text);
    snprintf(text, sizeof(text), "%" PRIu64 " KiB in the kernel, besides what belongs to sockets",
             count_of(kernel, "map_bytes") >> 10);
    ut_doctor_line("", "kernel tables", text);
    snprintf(text, sizeof(text),
             "%" PRIu64 " bytes on spans; over max_bytes_per_hour: %" PRIu64 " events, %" PRIu64
             " spans without counts",
             count_of(kernel, "added_bytes"), count_of(kernel, "withheld_events"),
             count_of(kernel, "withheld_counts"));
    ut_doctor_line("", "evidence", text);
    snprintf(text, sizeof(text), "%" PRIu64 " open, %" PRIu64 " workloads known",
             count_of(kernel, "connections_open"), count_of(kernel, "workloads"));
    ut_doctor_line("", "connections", text);
    snprintf(text, sizeof(text), "%" PRIu64 ", of sockets and tasks that are in no workload",
             count_of(kernel, "unowned_events"));
    ut_doctor_line("", "events of nobody", text);
    print_counts("no room in tables", json_object_get(kernel, "no_room_in_tables"));
    print_counts("spans in doubt", json_object_get(kernel, "spans_in_doubt"));
}

/* That a span of one connection meets an event of another happens wherever a workload has two. */
static void print_contradictions(const json_t *kernel)
{
    const json_t *unmatched = json_object_get(kernel, "unmatched");
    uint64_t pairs = count_of(kernel, "contradicted"), spans = count_of(unmatched, "spans");
    char text[768], workload[128], named[128], socket[128];
    snprintf(text, sizeof(text),
             "%" PRIu64 " pairs of a span and an event, of another connection than the span names",
             pairs);
    if (pairs > 0)
        ut_doctor_line("", "not joined", text);
    snprintf(text, sizeof(text),
             "%" PRIu64 " spans name an end that no connection of their workload leads to; the "
             "latest, of %s: %s, where its socket leads to %s. A balancer in the kernel does that "
             "(Cilium's), and their evidence is at the other end's spans alone",
             spans, text_of(unmatched, "workload", workload), text_of(unmatched, "named", named),
             text_of(unmatched, "socket", socket));
    if (spans > 0)
        ut_doctor_line("note", "ends not found", text);
}

static void print_containerd(const json_t *containerd)
{
    char first[128], text[400];
    if (containerd == NULL)
        return;
    if (!json_is_true(json_object_get(containerd, "connected"))) {
        ut_doctor_line("note", "containerd", text_of(containerd, "trouble", first));
        return;
    }
    snprintf(text, sizeof(text),
             "version %s; containers asked for: %" PRIu64 " found, %" PRIu64 " absent, %" PRIu64
             " without an answer",
             text_of(containerd, "version", first), count_of(containerd, "found"),
             count_of(containerd, "absent"), count_of(containerd, "failed"));
    ut_doctor_line("ok", "containerd", text);
}

static void print_exporters(const json_t *exporters)
{
    size_t i;
    json_t *exporter;
    json_array_foreach((json_t *)exporters, i, exporter)
    {
        char id[128], text[160];
        snprintf(text, sizeof(text), "%" PRIu64 " sent, %" PRIu64 " held, %" PRIu64 " dropped",
                 count_of(exporter, "sent"), count_of(exporter, "held"),
                 count_of(exporter, "dropped"));
        ut_doctor_line("", text_of(exporter, "id", id), text);
    }
}

static void print_daemon(const json_t *root)
{
    char version[128], state[128], text[512];
    snprintf(text, sizeof(text), "pid %" PRIu64 ", version %s, %s, up %" PRIu64 " s",
             count_of(root, "pid"), text_of(root, "version", version),
             text_of(root, "state", state), count_of(root, "uptime_s"));
    ut_doctor_line("ok", "running", text);
    snprintf(text, sizeof(text), "%" PRIu64 " of %" PRIu64 " MiB in flight",
             count_of(root, "budget_used_bytes") >> 20, count_of(root, "budget_limit_bytes") >> 20);
    ut_doctor_line("", "memory", text);
    print_counts("spans", json_object_get(root, "spans"));
    print_exporters(json_object_get(root, "exporters"));
    const json_t *kernel = json_object_get(root, "kernel");
    if (kernel == NULL) {
        ut_doctor_line("", "kernel programs", "not in use: no pipeline names the receiver ebpf");
        return;
    }
    print_programs(json_object_get(kernel, "programs"));
    print_records(kernel);
    print_containerd(json_object_get(root, "containerd"));
    print_counts("spans by sender", json_object_get(root, "senders"));
    snprintf(text, sizeof(text),
             "%" PRIu64 " resources claim another container or pod than the kernel knows, %" PRIu64
             " spans and resources came with keys undertrace.*",
             count_of(kernel, "claims_contradicted"), count_of(kernel, "forged_removed"));
    ut_doctor_line("", "claims", text);
    const json_t *trace_context = json_object_get(root, "trace_context");
    if (json_object_size(trace_context) > 0)
        print_counts("trace context", trace_context);
    print_counts("spans joined", json_object_get(root, "joins"));
    print_contradictions(kernel);
}

void ut_doctor_daemon(const char *admin)
{
    char text[256];
    ut_doctor_heading("running program");
    if (admin[0] == '\0') {
        ut_doctor_line("note", "cannot be asked", "undertrace.admin is empty");
        return;
    }
    char *answer;
    int status = ut_admin_ask(admin, "GET", "/doctor", &answer);
    if (status == -ENOENT || status == -ECONNREFUSED) {
        snprintf(text, sizeof(text), "no program answers at %.150s", admin);
        ut_doctor_line("note", "not running", text);
        return;
    }
    if (status < 0) {
        snprintf(text, sizeof(text), "%.150s: %s%s", admin, strerror(-status),
                 status == -EACCES ? " (run doctor as the same user, or as root)" : "");
        ut_doctor_line("note", "cannot be asked", text);
        return;
    }
    json_t *root = status == 200 ? json_loads(answer, 0, NULL) : NULL;
    free(answer);
    if (root == NULL)
        ut_doctor_line("note", "no answer", "what came back is not understood");
    else
        print_daemon(root);
    json_decref(root);
}
