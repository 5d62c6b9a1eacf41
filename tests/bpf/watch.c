/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ebpf receiver alone, for tests: writes each record as a line of JSON to standard output.
 *
 *   watch YAML           runs the receiver with these settings until SIGTERM; SIGUSR1 drains at
 *                      once
 *   watch --doctor       what works here, one program a line
 *   watch --replay FILE  the records of a capture
 *
 * What refuse.c makes the kernel refuse is asked for in the environment.
 *
 * WATCH_FOLLOW="ID ID …" are cgroups whose workloads send spans. WATCH_USAGE="DIRECTORY DIRECTORY
 * …" are cgroups whose memory is read at each SIGUSR1, in a line each.
 *
 * Numbers that the record does not tell (UT_HAS_… clear) are left out. Ends with the metrics, one
 * {"metric": name, "value": number} a line.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "component.h"
#include "config/fill.h"
#include "config/yaml.h"
#include "ebpf_receiver/capture.h"
#include "ebpf_receiver/doctor.h"
#include "ebpf_receiver/framing.h"
#include "model/address.h"

extern const struct ut_receiver_type ut_receiver_ebpf;

static void print_socket(const struct ut_record_header *header,
                         const struct ut_record_socket *socket)
{
    static const char *const roles[] = {"unknown", "connect", "accept"};
    char local[UT_ADDRESS_TEXT], remote[UT_ADDRESS_TEXT];
    struct ut_address address;
    memcpy(address.bytes, socket->local_address, sizeof(address.bytes));
    ut_address_text(local, &address);
    memcpy(address.bytes, socket->remote_address, sizeof(address.bytes));
    ut_address_text(remote, &address);
    printf(",\"local\":[\"%s\",%u],\"remote\":[\"%s\",%u],\"role\":\"%s\",\"state\":%u", local,
           socket->local_port, remote, socket->remote_port,
           socket->role < 3 ? roles[socket->role] : "?", socket->state);
    if (header->has & UT_HAS_COOKIE)
        printf(",\"cookie\":%" PRIu64, socket->cookie);
    if (header->has & UT_HAS_NETNS)
        printf(",\"netns\":%" PRIu64, socket->netns_cookie);
    if (header->has & UT_HAS_ISN)
        printf(",\"isn\":[%u,%u]", socket->local_isn, socket->remote_isn);
}

static void print_path(const struct ut_record_header *header, const struct ut_record_path *path)
{
    if (header->has & UT_HAS_SRTT)
        printf(",\"srtt_us\":%u", path->srtt_us);
    if (header->has & UT_HAS_MIN_RTT)
        printf(",\"min_rtt_us\":%u", path->min_rtt_us);
    if (header->has & UT_HAS_DELIVERY_RATE)
        printf(",\"delivery_rate\":%u", path->delivery_rate);
    if (header->has & UT_HAS_CWND)
        printf(",\"cwnd\":%u", path->cwnd);
    if (header->has & UT_HAS_WMEM)
        printf(",\"wmem\":%u", path->wmem_alloc);
}

static void print_retransmit(const void *data)
{
    static const char *const causes[] = {"unknown",         "fast", "timeout",
                                         "tail_loss_probe", "syn",  "syn_ack"};
    struct ut_record_retransmit record;
    memcpy(&record, data, sizeof(record));
    print_socket(&record.header, &record.socket);
    printf(",\"cause\":\"%s\",\"seq\":%u,\"end_seq\":%u,\"bytes\":%u,\"segments\":%u",
           record.cause < 6 ? causes[record.cause] : "?", record.seq, record.end_seq, record.bytes,
           record.segments);
    if (record.header.has & UT_HAS_ERR)
        printf(",\"err\":%d", record.err);
    if (record.header.has & UT_HAS_RTO)
        printf(",\"rto_us\":%u", record.rto_us);
    print_path(&record.header, &record.path);
    if (record.header.has & UT_HAS_SINCE_RECEIVED)
        printf(",\"since_received_us\":%u", record.since_received_us);
    if (record.header.has & UT_HAS_SINCE_SENT)
        printf(",\"since_sent_us\":%u,\"sent_exact\":%s,\"sent_within_us\":%u",
               record.since_sent_us, record.header.has & UT_HAS_SENT_EXACT ? "true" : "false",
               record.sent_within_us);
    if (record.thread != 0)
        printf(",\"thread\":%u", record.thread);
}

static void print_tcp(const void *data)
{
    struct ut_record_tcp record;
    memcpy(&record, data, sizeof(record));
    print_socket(&record.header, &record.socket);
    printf(",\"ns\":%llu,\"bytes\":%u,\"detail\":%u", (unsigned long long)record.ns, record.bytes,
           record.detail);
    print_path(&record.header, &record.path);
}

static void print_connection(const void *data)
{
    static const char *const changes[] = {"?",          "opened", "closed",
                                          "connecting", "failed", "snapshot"};
    struct ut_record_connection record;
    memcpy(&record, data, sizeof(record));
    printf(",\"change\":\"%s\"", record.change < 6 ? changes[record.change] : "?");
    print_socket(&record.header, &record.socket);
}

/* The tests name their cgroups without characters that JSON escapes. */
static void print_cgroup(const void *data)
{
    struct ut_record_cgroup record;
    memcpy(&record, data, sizeof(record));
    printf(",\"change\":\"%s\",\"path\":\"%.*s\"",
           record.change == UT_CGROUP_CREATED ? "created" : "removed",
           record.path_size < UT_CGROUP_PATH_MAX ? (int)record.path_size : 0, record.path);
}

static void print_oom_kill(const void *data)
{
    struct ut_record_oom_kill record;
    memcpy(&record, data, sizeof(record));
    printf(",\"pid\":%u", record.pid);
    if (record.header.has & UT_HAS_SIZE)
        printf(",\"bytes\":%llu", (unsigned long long)record.bytes);
}

static void print_stall(const void *data)
{
    struct ut_record_stall record;
    memcpy(&record, data, sizeof(record));
    printf(",\"ns\":%llu,\"window\":[%u,%u]", (unsigned long long)record.ns, record.first_ns,
           record.last_ns);
    if (record.level != UT_STALL_GLOBAL)
        printf(",\"level\":%u", record.level);
}

static void print_hex(const ut_u8 *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        printf("%02x", bytes[i]);
}

static void print_trace_ids(const void *data)
{
    struct ut_record_trace_ids record;
    memcpy(&record, data, sizeof(record));
    printf(",\"cookie\":%llu,\"seq\":%u,\"bytes\":%u,\"more\":%u,\"ids\":[",
           (unsigned long long)record.cookie, record.seq, record.bytes, record.more);
    for (uint32_t i = 0; i < record.count && i < UT_TRACE_IDS_MAX; i++) {
        printf("%s[\"", i > 0 ? "," : "");
        print_hex(record.ids[i].trace_id, sizeof(record.ids[i].trace_id));
        printf("\",\"");
        print_hex(record.ids[i].span_id, sizeof(record.ids[i].span_id));
        printf("\",%u]", record.ids[i].bytes);
    }
    printf("]");
}

static void print_allocated(const void *data)
{
    struct ut_record_allocated record;
    memcpy(&record, data, sizeof(record));
    printf(",\"bytes\":%llu,\"window_ns\":%llu", (unsigned long long)record.bytes,
           (unsigned long long)record.window_ns);
}

static void print_held_back(const void *data)
{
    struct ut_record_held_back record;
    memcpy(&record, data, sizeof(record));
    printf(",\"of\":%u", record.type);
}

static void on_record(struct ut_event_sink *sink, const void *data, size_t size,
                      int64_t unix_offset_ns)
{
    static const struct {
        const char *name;
        void (*print)(const void *data);
    } types[UT_RECORD_TYPES] = {
        [UT_RECORD_RETRANSMIT] = {"retransmit", print_retransmit},
        [UT_RECORD_CONNECTION] = {"connection", print_connection},
        [UT_RECORD_CGROUP] = {"cgroup", print_cgroup},
        [UT_RECORD_OOM_KILL] = {"oom_kill", print_oom_kill},
        [UT_RECORD_STALL] = {"stall", print_stall},
        [UT_RECORD_TRACE_IDS] = {"trace_ids", print_trace_ids},
        [UT_RECORD_RESET] = {"reset", print_tcp},
        [UT_RECORD_ZERO_WINDOW] = {"zero_window", print_tcp},
        [UT_RECORD_RECEIVE_DROP] = {"receive_drop", print_tcp},
        [UT_RECORD_LISTEN_OVERFLOW] = {"listen_overflow", print_tcp},
        [UT_RECORD_UNDO] = {"undo", print_tcp},
        [UT_RECORD_ALLOCATED] = {"allocated", print_allocated},
        [UT_RECORD_HELD_BACK] = {"held_back", print_held_back},
    };
    struct ut_record_header header;
    enum ut_record_type type = ut_ebpf_record_type(data, size);
    (void)sink;
    if (type == 0) {
        puts("{\"type\":\"bad\"}");
        return;
    }
    memcpy(&header, data, sizeof(header));
    printf("{\"type\":\"%s\",\"boot_ns\":%llu,\"unix_ns\":%" PRIu64 ",\"cgroup\":%" PRIu64,
           types[type].name, (unsigned long long)header.boot_ns,
           header.boot_ns + (uint64_t)unix_offset_ns, header.cgroup_id);
    types[type].print(data);
    puts("}");
}

static void on_lost(struct ut_event_sink *sink, uint64_t records, uint64_t unix_ns)
{
    (void)sink;
    printf("{\"type\":\"lost\",\"records\":%" PRIu64 ",\"unix_ns\":%" PRIu64 "}\n", records,
           unix_ns);
}

static void on_attached(struct ut_event_sink *sink, uint64_t unix_ns)
{
    (void)sink;
    printf("{\"type\":\"attached\",\"unix_ns\":%" PRIu64 "}\n", unix_ns);
}

/* ---- the receiver --------------------------------------------------------------------------- */

struct watch {
    struct ut_worker worker;
    struct ut_receiver *receiver;
    uv_signal_t term, usr1;
    uint32_t usage_slots;
};

static void on_stopped(void *arg)
{
    struct watch *watch = arg;
    ut_worker_stop(&watch->worker);
}

static void on_term(uv_signal_t *signal, int number)
{
    struct watch *watch = signal->data;
    (void)number;
    ut_receiver_ebpf.stop(watch->receiver, on_stopped, watch);
}

static void print_usage(const struct watch *watch, struct ut_event_source *source)
{
    const uint64_t *bytes = source->read_usage(source, watch->usage_slots);
    UT_CHECK(bytes != NULL);
    for (uint32_t i = 0; i < watch->usage_slots; i++)
        printf("{\"type\":\"usage\",\"slot\":%u,\"bytes\":%" PRIu64 "}\n", i, bytes[i]);
}

static void on_usr1(uv_signal_t *signal, int number)
{
    struct watch *watch = signal->data;
    struct ut_event_source *source = ut_receiver_ebpf.event_source(watch->receiver);
    (void)number;
    source->drain(source);
    if (watch->usage_slots > 0)
        print_usage(watch, source);
}

static void print_metrics(struct ut_metrics *metrics)
{
    size_t size;
    char *text = ut_metrics_text(metrics, &size);
    UT_CHECK(text != NULL);
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        char *value = strrchr(line, ' ');
        if (line[0] == '#' || value == NULL)
            continue;
        *value++ = '\0';
        for (char *at = line; *at != '\0'; at++)
            *at = *at == '"' ? '\'' : *at;
        printf("{\"type\":\"metric\",\"name\":\"%s\",\"value\":%s}\n", line, value);
    }
    free(text);
}

static void follow_cgroups(struct ut_receiver *receiver)
{
    struct ut_event_source *source = ut_receiver_ebpf.event_source(receiver);
    const char *at = getenv("WATCH_FOLLOW");
    for (uint64_t id; at != NULL && (id = strtoull(at, (char **)&at, 10)) != 0;)
        source->follow(source, id, true);
}

static void watch_usage(struct watch *watch)
{
    struct ut_event_source *source = ut_receiver_ebpf.event_source(watch->receiver);
    const char *wanted = getenv("WATCH_USAGE");
    char *names = strdup(wanted != NULL ? wanted : ""), *rest = names;
    for (char *name; (name = strsep(&rest, " ")) != NULL && name[0] != '\0';) {
        int directory = open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);
        UT_CHECK(directory >= 0);
        int error = source->watch_usage(source, watch->usage_slots, directory);
        printf("{\"type\":\"usage_watched\",\"slot\":%u,\"error\":%d}\n", watch->usage_slots++,
               -error);
        close(directory);
    }
    free(names);
}

static bool read_settings(const char *yaml, void *config, struct ut_config_messages *messages)
{
    struct ut_config_fill fill = {.memory = &messages->memory, .messages = messages};
    struct ut_config_node *root =
        yaml[0] != '\0' ? ut_yaml_read(ut_slice_str(yaml), &messages->memory, messages) : NULL;
    ut_config_fill(&fill, ut_receiver_ebpf.fields, config, root);
    ut_config_messages_print(messages, stderr);
    return messages->errors == 0;
}

static int run(const char *yaml)
{
    struct watch watch = {.receiver = NULL};
    struct ut_event_sink sink = {.record = on_record, .lost = on_lost, .attached = on_attached};
    struct ut_config_messages messages;
    char error[UT_ERROR_TEXT] = "";
    ut_config_messages_init(&messages, "settings");
    void *config = calloc(1, ut_receiver_ebpf.config_size);
    if (config == NULL || !read_settings(yaml, config, &messages))
        return 2;
    struct ut_log *log = ut_log_new(2, UT_LOG_DEBUG);
    struct ut_metrics *metrics = ut_metrics_new();
    struct ut_build build = {.id = "ebpf", .config = config, .worker = &watch.worker};
    if (ut_worker_init(&watch.worker, 1 << 20, log, metrics) != 0 ||
        ut_receiver_ebpf.create(&watch.receiver, &build, NULL, &sink) != 0)
        return 2;
    int result = ut_receiver_ebpf.start(watch.receiver, error);
    if (result != 0) {
        fprintf(stderr, "%s: %s\n", strerror(-result), error);
        return 2;
    }
    follow_cgroups(watch.receiver);
    watch_usage(&watch);
    uv_signal_init(&watch.worker.uv, &watch.term);
    uv_signal_init(&watch.worker.uv, &watch.usr1);
    watch.term.data = watch.usr1.data = &watch;
    uv_signal_start(&watch.term, on_term, SIGTERM);
    uv_signal_start(&watch.usr1, on_usr1, SIGUSR1);
    puts("{\"type\":\"ready\"}");
    ut_worker_run(&watch.worker);

    uv_close((uv_handle_t *)&watch.term, NULL);
    uv_close((uv_handle_t *)&watch.usr1, NULL);
    print_metrics(metrics);
    ut_receiver_ebpf.free(watch.receiver);
    ut_worker_done(&watch.worker);
    ut_metrics_free(metrics);
    ut_log_free(log);
    ut_config_messages_done(&messages);
    free(config);
    return 0;
}

/* ---- the other modes ------------------------------------------------------------------------ */

static int doctor(void)
{
    struct ut_ebpf_program programs[UT_EBPF_PROGRAMS];
    ut_ebpf_doctor(NULL, programs);
    for (int i = 0; i < UT_EBPF_PROGRAMS; i++) {
        if (!programs[i].unwanted)
            printf("{\"type\":\"program\",\"name\":\"%s\",\"works\":%s,\"without\":\"%s\","
                   "\"reason\":\"%s\"}\n",
                   programs[i].name, programs[i].works ? "true" : "false", programs[i].without,
                   programs[i].reason);
    }
    return 0;
}

static int replay(const char *path)
{
    enum { FILE_MAX = 1 << 24 };
    uint8_t *bytes = malloc(FILE_MAX);
    FILE *file = fopen(path, "rb");
    if (bytes == NULL || file == NULL)
        return 2;
    size_t size = fread(bytes, 1, FILE_MAX, file);
    fclose(file);
    struct ut_capture_reader reader;
    ut_slice record;
    int64_t offset_ns;
    int result = ut_capture_open(&reader, ut_slice_of(bytes, size));
    while (result >= 0 && (result = ut_capture_next(&reader, &record, &offset_ns)) == 1)
        on_record(NULL, record.data, record.size, offset_ns);
    free(bytes);
    return result == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 1 << 16);
    if (argc == 2 && strcmp(argv[1], "--doctor") == 0)
        return doctor();
    if (argc == 3 && strcmp(argv[1], "--replay") == 0)
        return replay(argv[2]);
    if (argc == 2)
        return run(argv[1]);
    fprintf(stderr, "usage: watch YAML | --doctor | --replay FILE\n");
    return 2;
}
