/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The receiver of kernel events: loads the kernel programs, reads their ring and hands each record,
 * with the offset that makes its boot time UNIX time, to the event sink.
 *
 * The ring is read on a timer, at once when the kernel says that it is half full, and whenever
 * somebody asks through the event source because he is about to join. It is read in place; records
 * are borrowed for the call of the sink.
 *
 * 1. Without rights or kernel support start succeeds all the same: what is missing is logged and
 *    shown, and the rest of the program works on.
 * 2. Connections that were open before are handed over by a snapshot, before any record of the
 * ring, so that the end of a connection never comes before it.
 * 3. Of records that were lost, and of runs of the programs that the kernel skipped, the sink hears
 * within one `drain_interval`; that records of a cgroup are held back is told by one in the ring.
 * 4. Where it may have been the opening of a connection, a snapshot is taken again.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <bpf_skeletons/undertrace.skel.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "allocations.h"
#include "base/clock.h"
#include "component.h"
#include "counters.h"
#include "doctor.h"
#include "framing.h"
#include "maps.h"
#include "programs.h"
#include "recording.h"
#include "report.h"
#include "send_times.h"
#include "snapshot.h"
#include "stalls.h"
#include "tc.h"
#include "trace_context.h"
#include "usage.h"

enum {
    /* Of one call; what comes faster than it is read waits for the next turn of the loop. */
    DRAIN_RECORDS_MAX = 1 << 14,
    CGROUPS_PER_SECOND = 200,
    OOM_KILLS_PER_SECOND = 10,
    /* Connections that were not told are looked up after so many nanoseconds at least, and not for
     * more than a hundredth of the time. */
    SNAPSHOT_SHARE = 100,
};
#define SNAPSHOT_INTERVAL_NS (5 * UT_NS_PER_S)
/* The tables of stalls are not changed more often than this. */
#define STALLS_INTERVAL_NS (20 * UT_NS_PER_MS)

enum memory { MEMORY_COUNTERS, MEMORY_EXACT, MEMORY_OFF };
static const char *const memory_words[] = {"counters", "exact", "off", NULL};

const struct ut_receiver_type ut_receiver_ebpf;

struct config {
    uint64_t ring_bytes;
    uint64_t drain_interval_ns;
    uint64_t retransmits_per_second;
    uint64_t connections_per_second;
    int memory; /* enum memory */
    struct ut_trace_context_config trace_context;
    char *capture_file;
};

static const struct ut_field fields[] = {
    /* Room for records between two drains; a power of two. Counts twice in the resident memory. */
    {.key = "ring_size",
     .type = UT_FIELD_BYTES,
     .offset = offsetof(struct config, ring_bytes),
     .fallback = "1MiB",
     .least = 64 << 10,
     .most = 64 << 20},
    {.key = "drain_interval",
     .type = UT_FIELD_DURATION,
     .offset = offsetof(struct config, drain_interval_ns),
     .fallback = "100ms",
     .least = 0.001,
     .most = 1},
    /* Records a second of one cgroup, twice as many at once; 0: no limit. The first is for each of
     * resets, zero windows, drops, overflows and undone recoveries too. */
    {.key = "retransmits_per_second",
     .type = UT_FIELD_UINT,
     .offset = offsetof(struct config, retransmits_per_second),
     .fallback = "500",
     .least = 0,
     .most = 1000000},
    {.key = "connections_per_second",
     .type = UT_FIELD_UINT,
     .offset = offsetof(struct config, connections_per_second),
     .fallback = "2000",
     .least = 0,
     .most = 1000000},
    /* Stalls for want of memory, OOM kills, and what the kernel's counters say is held; `exact`
     * counts what is allocated as well, at some cost for each page. */
    {.key = "memory",
     .type = UT_FIELD_ENUM,
     .offset = offsetof(struct config, memory),
     .fallback = "counters",
     .words = memory_words},
    /* Reads the heads of plain HTTP/1.1 requests for their traceparent. */
    {.key = "trace_context",
     .type = UT_FIELD_MAP,
     .offset = offsetof(struct config, trace_context),
     .fields = ut_trace_context_fields,
     .present = UT_FIELD_NO_PRESENT},
    /* Every record is also written here, to be replayed. */
    {.key = "capture_file",
     .type = UT_FIELD_STRING,
     .offset = offsetof(struct config, capture_file)},
    UT_FIELD_END,
};

static void check(const void *config, struct ut_config_report *report)
{
    const struct config *c = config;
    if (c->ring_bytes != 0 && (c->ring_bytes & (c->ring_bytes - 1)) != 0)
        report->error(report, "ring_size", "must be a power of two");
    ut_trace_context_check(&c->trace_context, report);
}

struct ebpf {
    struct ut_receiver receiver;
    struct ut_event_source source;
    struct ut_worker *worker;
    struct ut_event_sink *sink;
    struct config config; /* a copy: it outlives the configuration */
    struct ut_ebpf_counters counters;

    struct ut_ebpf_programs programs;
    struct ring_buffer *ring;           /* NULL: nothing is watched */
    uint64_t map_bytes;                 /* of the kernel's memory */
    struct ut_kernel_counters *per_cpu; /* room for a reading of all CPUs */
    int cpus;
    struct ut_kernel_counters counted; /* sums as of the last reading */
    struct ut_trace_context trace_context;
    struct ut_send_times send_times;
    uint64_t missed[UT_EBPF_PROGRAMS]; /* likewise */
    bool snapshot_due;                 /* openings may be missing */
    uint64_t snapshot_ns;              /* the earliest time of the next one, monotonic */
    uint64_t stalls_ns;                /* when the tables of stalls were changed, monotonic */
    struct ut_ebpf_allocations allocations;
    struct ut_ebpf_recording recording;

    struct ut_timer timer;
    uv_poll_t high_water;
    bool polled; /* `high_water` is a handle of the loop */
    int edge;    /* the epoll descriptor that `high_water` watches; -1: none */
    void (*stopped)(void *arg);
    void *stopped_arg;

    int64_t unix_offset_ns;
    uint64_t offset_read_ns; /* when, monotonic */
    uint32_t drained;        /* records of the present drain */
};

/* ---- records -------------------------------------------------------------------------------- */

static void hand_over(struct ebpf *ebpf, const void *data, size_t size)
{
    ut_ebpf_recording_add(&ebpf->recording, ut_slice_of(data, size), ebpf->unix_offset_ns);
    ebpf->sink->record(ebpf->sink, data, size, ebpf->unix_offset_ns);
}

static int on_record(void *arg, void *data, size_t size)
{
    struct ebpf *ebpf = arg;
    enum ut_record_type type = ut_ebpf_record_type(data, size);
    if (type == 0) {
        ++*ebpf->counters.bad;
    } else {
        ++*ebpf->counters.records[type];
        hand_over(ebpf, data, size);
    }
    return ++ebpf->drained < DRAIN_RECORDS_MAX ? 0 : -EAGAIN;
}

/* The wall clock may be set; a record goes by what it shows when the record is read. */
static void refresh_offset(struct ebpf *ebpf, uint64_t now_ns)
{
    if (ebpf->offset_read_ns != 0 && now_ns - ebpf->offset_read_ns < UT_NS_PER_S)
        return;
    ebpf->unix_offset_ns = ut_clock_unix_offset_ns();
    ebpf->offset_read_ns = now_ns;
}

/* One that stands in a table and came through no ring. */
static void on_sum(void *arg, const struct ut_record_header *record)
{
    struct ebpf *ebpf = arg;
    ++*ebpf->counters.records[record->type];
    hand_over(ebpf, record, record->size);
}

static void take_stalls(struct ebpf *ebpf, uint64_t now_ns)
{
    if (!ebpf->programs.states[UT_EBPF_LIMIT_STALL_END].works &&
        !ebpf->programs.states[UT_EBPF_GLOBAL_STALL_END].works)
        return;
    if (now_ns - ebpf->stalls_ns < STALLS_INTERVAL_NS)
        return;
    ebpf->stalls_ns = now_ns;
    int error = ut_ebpf_take_stalls(ebpf->programs.skeleton, on_sum, ebpf);
    if (error != 0)
        ut_log(ebpf->worker->log, UT_LOG_WARN, "ebpf_stalls",
               "error=\"%s\" text=\"stalls for want of memory could not be read, and are missing "
               "on spans until they can\"",
               strerror(-error));
}

static void drain(struct ebpf *ebpf)
{
    if (ebpf->ring == NULL)
        return;
    refresh_offset(ebpf, ut_worker_now(ebpf->worker));
    ebpf->drained = 0;
    int result = ring_buffer__consume(ebpf->ring);
    if (result < 0 && result != -EAGAIN)
        ut_log(ebpf->worker->log, UT_LOG_WARN, "ebpf_ring",
               "error=\"%s\" text=\"the kernel's records could not be read; it is tried again "
               "every drain_interval\"",
               strerror(-result));
    /* Behind the ring, in which a stall's cgroup may be told. */
    take_stalls(ebpf, ut_worker_now(ebpf->worker));
    if (ebpf->programs.states[UT_EBPF_ALLOCATIONS].works)
        ut_ebpf_take_allocations(&ebpf->allocations, ebpf->programs.skeleton, on_sum, ebpf);
}

/* ---- what was lost -------------------------------------------------------------------------- */

static void sum_cpus(const struct ebpf *ebpf, struct ut_kernel_counters *sum)
{
    *sum = (struct ut_kernel_counters){.unowned = 0};
    for (int cpu = 0; cpu < ebpf->cpus; cpu++) {
        for (int type = 0; type < UT_RECORD_TYPES; type++) {
            sum->recorded[type] += ebpf->per_cpu[cpu].recorded[type];
            sum->limited[type] += ebpf->per_cpu[cpu].limited[type];
            sum->lost[type] += ebpf->per_cpu[cpu].lost[type];
        }
        sum->unowned += ebpf->per_cpu[cpu].unowned;
    }
}

/* Most runs of these find nothing to tell, so that one that was skipped is no event lost. */
static bool is_mostly_idle(int program)
{
    return program == UT_EBPF_ZERO_WINDOW || program == UT_EBPF_RECEIVE_DROP ||
           program == UT_EBPF_UNDO || program == UT_EBPF_SENT_STAMPS ||
           program == UT_EBPF_SEND_BEGINS || program == UT_EBPF_SEND_ENDS;
}

static void miss_cgroups(struct ebpf *ebpf)
{
    if (ebpf->sink->cgroups_missed != NULL)
        ebpf->sink->cgroups_missed(ebpf->sink);
}

/* Brings the metrics up to the kernel's counters, and adds what casts doubt to `missing`. */
static void take_counters(struct ebpf *ebpf, struct ut_ebpf_missing *missing)
{
    uint32_t zero = 0;
    struct ut_kernel_counters now;
    if (bpf_map_lookup_elem(bpf_map__fd(ebpf->programs.skeleton->maps.counters), &zero,
                            ebpf->per_cpu) != 0)
        return;
    sum_cpus(ebpf, &now);
    for (int type = 1; type < UT_RECORD_TYPES; type++) {
        uint64_t limited = now.limited[type] - ebpf->counted.limited[type];
        uint64_t lost = now.lost[type] - ebpf->counted.lost[type];
        *ebpf->counters.limited[type] += limited;
        *ebpf->counters.lost[type] += lost;
        missing->no_room += lost;
        missing->rate_limited += UT_RECORD_HELD_BACK_IS_TOLD(type) ? limited : 0;
        if (type == UT_RECORD_CONNECTION && limited + lost > 0)
            ebpf->snapshot_due = true;
        if (type == UT_RECORD_CGROUP && limited + lost > 0)
            miss_cgroups(ebpf);
    }
    *ebpf->counters.unowned += now.unowned - ebpf->counted.unowned;
    ebpf->counted = now;
}

/* Likewise of the runs that the kernel skipped. */
static void take_missed(struct ebpf *ebpf, struct ut_ebpf_missing *missing)
{
    uint64_t now[UT_EBPF_PROGRAMS];
    ut_ebpf_programs_missed(&ebpf->programs, now);
    for (int i = 0; i < UT_EBPF_PROGRAMS; i++) {
        uint64_t missed = now[i] - ebpf->missed[i];
        *ebpf->counters.missed[i] += missed;
        /* Of allocations these are pages of interrupts, which do not count. */
        missing->skipped_runs += i == UT_EBPF_ALLOCATIONS || is_mostly_idle(i) ? 0 : missed;
        if (i == UT_EBPF_CONNECTIONS && missed > 0)
            ebpf->snapshot_due = true;
        if ((i == UT_EBPF_CGROUP_CREATED || i == UT_EBPF_CGROUP_REMOVED) && missed > 0)
            miss_cgroups(ebpf);
        ebpf->missed[i] = now[i];
    }
}

static void report_missing(struct ebpf *ebpf)
{
    struct ut_ebpf_missing missing = {0};
    ut_trace_context_count(&ebpf->trace_context, &ebpf->programs);
    ut_send_times_count(&ebpf->send_times, ebpf->programs.skeleton);
    take_counters(ebpf, &missing);
    take_missed(ebpf, &missing);
    uint64_t lost = missing.no_room + missing.skipped_runs;
    if (lost > 0)
        ebpf->sink->lost(ebpf->sink, lost, ut_clock_unix_ns());
    if (lost + missing.rate_limited > 0)
        ut_ebpf_report_missing(ebpf->worker->log, &missing);
}

/* ---- connections that no record told of -------------------------------------------------------
 */

static void on_snapshot(void *arg, const struct ut_record_connection *record)
{
    struct ebpf *ebpf = arg;
    ++*ebpf->counters.snapshot;
    hand_over(ebpf, record, sizeof(*record));
}

static void take_snapshot(struct ebpf *ebpf)
{
    ebpf->snapshot_due = false;
    if (!ebpf->programs.states[UT_EBPF_SNAPSHOT].works)
        return;
    uint64_t began_ns = ut_clock_monotonic_ns();
    int connections = ut_ebpf_snapshot(ebpf->programs.skeleton, on_snapshot, ebpf);
    uint64_t ended_ns = ut_clock_monotonic_ns();
    uint64_t rest_ns = (ended_ns - began_ns) * SNAPSHOT_SHARE;
    ebpf->snapshot_ns =
        ended_ns + (rest_ns > SNAPSHOT_INTERVAL_NS ? rest_ns : SNAPSHOT_INTERVAL_NS);
    if (connections < 0)
        ut_log(ebpf->worker->log, UT_LOG_WARN, "ebpf_snapshot",
               "error=\"%s\" text=\"connections whose opening was not seen stay unknown: spans "
               "over them have no sender, and their retransmits join no connection\"",
               strerror(-connections));
    else
        ut_log(ebpf->worker->log, UT_LOG_DEBUG, "ebpf_snapshot", "connections=%d", connections);
}

/* ---- when the ring is read ------------------------------------------------------------------ */

static void on_source_drain(struct ut_event_source *source)
{
    drain(UT_CONTAINER_OF(source, struct ebpf, source));
}

static void on_source_follow(struct ut_event_source *source, uint64_t cgroup_id, bool follow)
{
    struct ebpf *ebpf = UT_CONTAINER_OF(source, struct ebpf, source);
    if (ebpf->programs.skeleton == NULL)
        return;
    int error = ut_ebpf_follow(ebpf->programs.skeleton, cgroup_id, follow);
    if (error != 0)
        ut_log(ebpf->worker->log, UT_LOG_WARN, "ebpf_senders",
               "cgroup=%llu error=\"%s\" text=\"%s\"", (unsigned long long)cgroup_id,
               strerror(-error),
               follow ? "when its sockets first sent what they send again is known in part, and "
                        "its requests are not read: no exact matches for it"
                      : "its sockets go on being followed, though it sends no spans");
}

static int on_source_watch_usage(struct ut_event_source *source, uint32_t slot, int directory)
{
    struct ebpf *ebpf = UT_CONTAINER_OF(source, struct ebpf, source);
    if (!ebpf->programs.states[UT_EBPF_MEMORY_USAGE].works)
        return -EOPNOTSUPP;
    return ut_ebpf_usage_point(ebpf->programs.skeleton, slot, directory);
}

static const uint64_t *on_source_read_usage(struct ut_event_source *source, uint32_t count)
{
    struct ebpf *ebpf = UT_CONTAINER_OF(source, struct ebpf, source);
    const uint64_t *bytes;
    return ut_ebpf_usage_read(ebpf->programs.skeleton, count, &bytes) == 0 ? bytes : NULL;
}

/* `edge` is ready once for each wake-up by the kernel. The ring itself, watched by level, would be
 * ready as soon as one record has come, and every turn of the loop would read a single one. */
static void on_high_water(uv_poll_t *poll, int status, int events)
{
    struct ebpf *ebpf = UT_CONTAINER_OF(poll, struct ebpf, high_water);
    struct epoll_event event = {.data.ptr = NULL};
    (void)status;
    (void)events;
    epoll_wait(ebpf->edge, &event, 1, 0);
    if (event.data.ptr != NULL)
        ut_tc_read(event.data.ptr);
    drain(ebpf);
    report_missing(ebpf);
}

static void on_tick(struct ut_timer *timer, uint64_t now_ns)
{
    struct ebpf *ebpf = UT_CONTAINER_OF(timer, struct ebpf, timer);
    drain(ebpf);
    report_missing(ebpf);
    if (ebpf->snapshot_due && now_ns >= ebpf->snapshot_ns)
        take_snapshot(ebpf);
    if (ebpf->config.memory != MEMORY_OFF && ebpf->sink->sample != NULL)
        ebpf->sink->sample(ebpf->sink, ut_clock_unix_ns());
    ut_ebpf_recording_flush(&ebpf->recording);
    /* More than one drain's worth was there: the rest at the next turn, sockets in between. */
    bool more = ebpf->drained >= DRAIN_RECORDS_MAX;
    ut_timer_set(&ebpf->worker->timers, timer,
                 more ? now_ns : now_ns + ebpf->config.drain_interval_ns);
}

/* ---- start ---------------------------------------------------------------------------------- */

static int watch_high_water(struct ebpf *ebpf, int ring_fd)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};
    ebpf->edge = epoll_create1(EPOLL_CLOEXEC);
    if (ebpf->edge < 0)
        return -errno;
    if (epoll_ctl(ebpf->edge, EPOLL_CTL_ADD, ring_fd, &event) != 0)
        return -errno;
    int error = ut_tc_watch(ebpf->programs.tc, ebpf->edge);
    if (error == 0)
        error = uv_poll_init(&ebpf->worker->uv, &ebpf->high_water, ebpf->edge);
    if (error != 0)
        return error;
    ebpf->polled = true;
    UT_CHECK(uv_poll_start(&ebpf->high_water, UV_READABLE, on_high_water) == 0);
    return 0;
}

/* The ring and all that reads it. 0 or a negative errno. */
static int open_ring(struct ebpf *ebpf)
{
    ebpf->cpus = libbpf_num_possible_cpus();
    if (ebpf->cpus < 0)
        return ebpf->cpus;
    ebpf->per_cpu = calloc((size_t)ebpf->cpus, sizeof(*ebpf->per_cpu));
    if (ebpf->per_cpu == NULL)
        return -ENOMEM;
    if (ut_ebpf_allocations_init(&ebpf->allocations, ebpf->cpus, ebpf->worker->log) != 0)
        return -ENOMEM;
    int error = ebpf->config.trace_context.enabled
                    ? ut_trace_context_start(&ebpf->trace_context, ebpf->cpus)
                    : 0;
    if (error != 0)
        return error;
    int fd = bpf_map__fd(ebpf->programs.skeleton->maps.ring);
    ebpf->ring = ring_buffer__new(fd, on_record, ebpf, NULL);
    return ebpf->ring != NULL ? watch_high_water(ebpf, fd) : -errno;
}

static double read_works(void *arg)
{
    return ((const struct ut_ebpf_program *)arg)->works;
}

static double read_map_bytes(void *arg)
{
    return (double)((const struct ebpf *)arg)->map_bytes;
}

static void show_programs(struct ebpf *ebpf)
{
    for (int i = 0; i < UT_EBPF_PROGRAMS; i++) {
        char label[64];
        snprintf(label, sizeof(label), "program=\"%s\"", ebpf->programs.states[i].name);
        ut_metrics_gauge(ebpf->worker->metrics, "undertrace_ebpf_program_attached", label,
                         "Whether the kernel program is loaded and attached.", read_works,
                         &ebpf->programs.states[i]);
    }
    if (ebpf->programs.skeleton != NULL)
        ebpf->map_bytes = ut_ebpf_maps_bytes(ebpf->programs.skeleton);
    ut_metrics_gauge(ebpf->worker->metrics, "undertrace_ebpf_map_bytes", "",
                     "Kernel memory of the programs' tables, at the start; what belongs to single "
                     "sockets comes on top.",
                     read_map_bytes, ebpf);
}

static struct ut_ebpf_settings settings_of(const struct config *config)
{
    struct ut_ebpf_settings settings = {
        .ring_bytes = config->ring_bytes,
        .per_second = {[UT_RECORD_RETRANSMIT] = config->retransmits_per_second,
                       [UT_RECORD_CONNECTION] = config->connections_per_second,
                       [UT_RECORD_CGROUP] = CGROUPS_PER_SECOND,
                       [UT_RECORD_OOM_KILL] = OOM_KILLS_PER_SECOND,
                       [UT_RECORD_TRACE_IDS] = config->retransmits_per_second},
        .memory = config->memory != MEMORY_OFF,
        .trace_context = ut_trace_context_ways(&config->trace_context),
        .max_sockets = (uint32_t)config->trace_context.max_sockets,
        .tc = {&config->trace_context.interfaces, &config->trace_context.namespaces},
        .allocations = config->memory == MEMORY_EXACT,
    };
    for (int type = UT_RECORD_RESET; type <= UT_RECORD_UNDO; type++)
        settings.per_second[type] = config->retransmits_per_second;
    return settings;
}

static int start(struct ut_receiver *receiver, char error[UT_ERROR_TEXT])
{
    struct ebpf *ebpf = UT_CONTAINER_OF(receiver, struct ebpf, receiver);
    const struct ut_ebpf_settings settings = settings_of(&ebpf->config);
    ut_ebpf_programs_init(&ebpf->programs, &settings, ebpf->worker->log);
    show_programs(ebpf);
    ut_ebpf_report_programs(ebpf->worker->log, ebpf->programs.states);
    if (ut_ebpf_programs_working(&ebpf->programs) == 0)
        return 0;
    int result = open_ring(ebpf);
    if (result != 0) {
        snprintf(error, UT_ERROR_TEXT, "the ring buffer cannot be mapped: %s", strerror(-result));
        return result;
    }
    ut_ebpf_recording_begin(&ebpf->recording, ebpf->config.capture_file, ebpf->worker->log);
    refresh_offset(ebpf, ut_worker_now(ebpf->worker));
    ebpf->sink->attached(ebpf->sink, ut_clock_unix_ns());
    take_snapshot(ebpf);
    on_tick(&ebpf->timer, ut_worker_now(ebpf->worker));
    return 0;
}

/* ---- life ----------------------------------------------------------------------------------- */

static bool copy_config(struct config *copy, const struct config *config)
{
    *copy = *config;
    if (!ut_trace_context_own(&copy->trace_context))
        return false;
    if (config->capture_file != NULL)
        copy->capture_file = strdup(config->capture_file);
    return (copy->capture_file != NULL) == (config->capture_file != NULL);
}

static int create(struct ut_receiver **ret, const struct ut_build *build,
                  struct ut_push_target *target, struct ut_event_sink *sink)
{
    (void)target; /* kernel events are no batches */
    if (sink == NULL)
        return -EINVAL;
    struct ebpf *ebpf = calloc(1, sizeof(*ebpf));
    if (ebpf == NULL)
        return -ENOMEM;
    ebpf->receiver.type = &ut_receiver_ebpf;
    ebpf->source.drain = on_source_drain;
    ebpf->source.follow = on_source_follow;
    ebpf->source.watch_usage = on_source_watch_usage;
    ebpf->source.read_usage = on_source_read_usage;
    ebpf->worker = build->worker;
    ebpf->sink = sink;
    if (!copy_config(&ebpf->config, build->config)) {
        ut_trace_context_disown(&ebpf->config.trace_context);
        free(ebpf);
        return -ENOMEM;
    }
    ebpf->timer.fire = on_tick;
    ebpf->edge = -1;
    ut_ebpf_counters_init(&ebpf->counters, build->worker->metrics);
    ut_send_times_init(&ebpf->send_times, build->worker->metrics);
    if (ebpf->config.trace_context.enabled)
        ut_trace_context_init(&ebpf->trace_context, &ebpf->config.trace_context,
                              build->worker->metrics);
    *ret = &ebpf->receiver;
    return 0;
}

/* ---- reload ---------------------------------------------------------------------------------- */

/* The programs are loaded with these settings, and the rights to load others are gone. */
static int keep(struct ut_receiver *receiver, const struct ut_build *build,
                char error[UT_ERROR_TEXT])
{
    const struct config *a = &UT_CONTAINER_OF(receiver, struct ebpf, receiver)->config;
    const struct config *b = build->config;
    const char *capture_a = a->capture_file != NULL ? a->capture_file : "";
    const char *capture_b = b->capture_file != NULL ? b->capture_file : "";
    if (a->ring_bytes == b->ring_bytes && a->drain_interval_ns == b->drain_interval_ns &&
        a->retransmits_per_second == b->retransmits_per_second &&
        a->connections_per_second == b->connections_per_second && a->memory == b->memory &&
        ut_trace_context_same(&a->trace_context, &b->trace_context) &&
        strcmp(capture_a, capture_b) == 0)
        return 0;
    snprintf(error, UT_ERROR_TEXT, "restart needed to change its settings");
    return -EBUSY;
}

/* ---- stop ------------------------------------------------------------------------------------ */

static void on_poll_closed(uv_handle_t *handle)
{
    struct ebpf *ebpf = UT_CONTAINER_OF(handle, struct ebpf, high_water);
    ebpf->polled = false;
    ebpf->stopped(ebpf->stopped_arg);
}

static void stop(struct ut_receiver *receiver, void (*stopped)(void *arg), void *arg)
{
    struct ebpf *ebpf = UT_CONTAINER_OF(receiver, struct ebpf, receiver);
    ut_timer_cancel(&ebpf->worker->timers, &ebpf->timer);
    if (ebpf->ring != NULL) {
        drain(ebpf);
        report_missing(ebpf);
    }
    if (!ebpf->polled) {
        stopped(arg);
        return;
    }
    ebpf->stopped = stopped;
    ebpf->stopped_arg = arg;
    uv_close((uv_handle_t *)&ebpf->high_water, on_poll_closed);
}

static void free_receiver(struct ut_receiver *receiver)
{
    if (receiver == NULL)
        return;
    struct ebpf *ebpf = UT_CONTAINER_OF(receiver, struct ebpf, receiver);
    for (int i = 0; i < UT_EBPF_PROGRAMS; i++)
        ut_metrics_remove(ebpf->worker->metrics, &ebpf->programs.states[i]);
    ut_metrics_remove(ebpf->worker->metrics, ebpf);
    if (ebpf->edge >= 0)
        close(ebpf->edge);
    ring_buffer__free(ebpf->ring); /* takes NULL */
    ut_ebpf_recording_end(&ebpf->recording);
    ut_ebpf_programs_done(&ebpf->programs);
    ut_ebpf_allocations_done(&ebpf->allocations);
    free(ebpf->per_cpu);
    ut_trace_context_done(&ebpf->trace_context);
    ut_trace_context_disown(&ebpf->config.trace_context);
    free(ebpf->config.capture_file);
    free(ebpf);
}

static struct ut_event_source *event_source(struct ut_receiver *receiver)
{
    return &UT_CONTAINER_OF(receiver, struct ebpf, receiver)->source;
}

const struct ut_ebpf_program *ut_ebpf_programs_of(const struct ut_receiver *receiver)
{
    return UT_CONTAINER_OF(receiver, struct ebpf, receiver)->programs.states;
}

void ut_ebpf_doctor(const void *config, struct ut_ebpf_program ret[UT_EBPF_PROGRAMS])
{
    const struct config by_default = {.memory = MEMORY_COUNTERS};
    const struct ut_ebpf_settings wanted = settings_of(config != NULL ? config : &by_default);
    ut_ebpf_programs_probe(&wanted, ret);
}

const struct ut_receiver_type ut_receiver_ebpf = {
    .name = "ebpf",
    .fields = fields,
    .config_size = sizeof(struct config),
    .once_per_process = true,
    .check = check,
    .create = create,
    .start = start,
    .keep = keep,
    .stop = stop,
    .free = free_receiver,
    .event_source = event_source,
};
