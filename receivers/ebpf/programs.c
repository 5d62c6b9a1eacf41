/* SPDX-License-Identifier: Apache-2.0 */
#include "programs.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <bpf_skeletons/undertrace.skel.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cgroup_mount.h"
#include "base/clock.h"
#include "features.h"
#include "reason.h"
#include "usage.h"

enum {
    VERIFIER_LOG_BYTES = 64 << 10,
    ALL_PROGRAMS = (1 << UT_EBPF_PROGRAMS) - 1,
    MEMORY_PROGRAMS = 1 << UT_EBPF_OOM_KILL | 1 << UT_EBPF_LIMIT_STALL_BEGIN |
                      1 << UT_EBPF_LIMIT_STALL_END | 1 << UT_EBPF_GLOBAL_STALL_BEGIN |
                      1 << UT_EBPF_GLOBAL_STALL_END | 1 << UT_EBPF_MEMORY_USAGE,
    TRACE_PROGRAMS = 1 << UT_EBPF_TRACE_SOCKETS | 1 << UT_EBPF_TRACE_RETRANSMIT |
                     1 << UT_EBPF_TRACE_EGRESS | 1 << UT_EBPF_TRACE_TC | 1 << UT_EBPF_TRACE_READER,
    COOKIE_PROGRAMS = 1 << UT_EBPF_COOKIE_MADE | 1 << UT_EBPF_COOKIE_ACCEPTED,
    /* Those that go to the root of the cgroups. */
    ROOT_PROGRAMS = 1 << UT_EBPF_TRACE_EGRESS | COOKIE_PROGRAMS,
    NET_ADMIN_PROGRAMS = ROOT_PROGRAMS | 1 << UT_EBPF_TRACE_TC,
    CGROUP_ROOT_ID = 1, /* of the whole hierarchy; no other cgroup has it */
    BURST_SECONDS = 2,
};

static const struct ut_ebpf_program descriptions[UT_EBPF_PROGRAMS] = {
    [UT_EBPF_RETRANSMIT] = {.name = "tcp_retransmit_skb",
                            .since = "5.9",
                            .without = "no retransmits on spans"},
    [UT_EBPF_SYNACK] = {.name = "tcp_retransmit_synack",
                        .since = "5.8",
                        .without = "no SYN-ACK retransmits on spans"},
    [UT_EBPF_CONNECTIONS] = {.name = "inet_sock_set_state",
                             .since = "5.9",
                             .without = "senders of spans stay unknown, retransmits join no "
                                        "connection"},
    [UT_EBPF_CGROUP_CREATED] = {.name = "cgroup_mkdir",
                                .since = "5.8",
                                .without = "new containers are found late, by reading the cgroup "
                                           "tree"},
    [UT_EBPF_CGROUP_REMOVED] = {.name = "cgroup_rmdir",
                                .since = "5.8",
                                .without = "containers that are gone are noticed late"},
    [UT_EBPF_SNAPSHOT] = {.name = "snapshot",
                          .since = "5.11",
                          .without = "connections that were open before the start are unknown"},
    [UT_EBPF_OOM_KILL] = {.name = "mark_victim",
                          .since = "5.8",
                          .without = "no OOM kills on spans"},
    [UT_EBPF_LIMIT_STALL_BEGIN] = {.name = "memcg_reclaim_begin",
                                   .since = "5.8",
                                   .without = "no stalls at memory limits on spans"},
    [UT_EBPF_LIMIT_STALL_END] = {.name = "memcg_reclaim_end",
                                 .since = "5.8",
                                 .without = "no stalls at memory limits on spans"},
    [UT_EBPF_GLOBAL_STALL_BEGIN] = {.name = "direct_reclaim_begin",
                                    .since = "5.8",
                                    .without = "no stalls for want of memory of the machine"},
    [UT_EBPF_GLOBAL_STALL_END] = {.name = "direct_reclaim_end",
                                  .since = "5.8",
                                  .without = "no stalls for want of memory of the machine"},
    [UT_EBPF_MEMORY_USAGE] = {.name = "memory_usage",
                              .since = "5.10",
                              .without = "what workloads hold is read from files, which costs more "
                                         "CPU"},
    [UT_EBPF_RESET_SENT] = {.name = "tcp_send_reset",
                            .since = "5.9",
                            .without = "no sent resets on spans"},
    [UT_EBPF_RESET_RECEIVED] = {.name = "tcp_receive_reset",
                                .since = "5.9",
                                .without = "no received resets on spans"},
    [UT_EBPF_ZERO_WINDOW] = {.name = "tcp_probe",
                             .since = "5.9",
                             .without = "no stalls at the other end's shut window on spans"},
    [UT_EBPF_RECEIVE_DROP] = {.name = "kfree_skb",
                              .since = "6.11",
                              .without = "no segments that found a full receive queue on spans"},
    [UT_EBPF_UNDO] = {.name = "tcp_cong_state_set",
                      .since = "5.18",
                      .without = "needless retransmits are not marked as spurious"},
    [UT_EBPF_SENT_STAMPS] = {.name = "sent_stamps",
                             .since = "5.18",
                             .without = "of most retransmits it is known only within bounds when "
                                        "their bytes were first sent"},
    [UT_EBPF_TRACE_SOCKETS] = {.name = "trace_sockets",
                               .since = "5.17",
                               .without = "no exact matches"},
    [UT_EBPF_TRACE_RETRANSMIT] = {.name = "trace_retransmit",
                                  .since = "5.17",
                                  .without = "no exact matches"},
    [UT_EBPF_TRACE_EGRESS] = {.name = "trace_egress",
                              .since = "5.17",
                              .without = "no exact matches with attach: cgroup"},
    [UT_EBPF_TRACE_TC] = {.name = "trace_tc",
                          .since = "5.17",
                          .without = "no exact matches with attach: tc"},
    [UT_EBPF_TRACE_READER] = {.name = "trace_reader",
                              .since = "6.12",
                              .without = "no exact matches of answers"},
    [UT_EBPF_ALLOCATIONS] = {.name = "page_alloc",
                             .since = "5.8",
                             .without = "no allocated bytes on spans"},
    [UT_EBPF_COOKIE_MADE] = {.name = "cookie_when_made",
                             .since = "5.8",
                             .without = "senders of spans over TCP stay unknown"},
    [UT_EBPF_COOKIE_ACCEPTED] = {.name = "cookie_when_accepted",
                                 .since = "5.8",
                                 .without = "senders of spans over TCP stay unknown"},
};

const char *ut_ebpf_program_name(int index)
{
    return descriptions[index].name;
}

/* Where the skeleton keeps a program and its link. */
static void find_slots(struct ut_bpf *skeleton, int index, struct bpf_program **program,
                       struct bpf_link ***link)
{
#define SLOTS(name)                                                                                \
    {                                                                                              \
        &skeleton->progs.name, &skeleton->links.name                                               \
    }
    struct {
        struct bpf_program **program;
        struct bpf_link **link;
    } slots[UT_EBPF_PROGRAMS] = {
        [UT_EBPF_RETRANSMIT] = SLOTS(tcp_retransmit_skb),
        [UT_EBPF_SYNACK] = SLOTS(tcp_retransmit_synack),
        [UT_EBPF_CONNECTIONS] = SLOTS(inet_sock_set_state),
        [UT_EBPF_CGROUP_CREATED] = SLOTS(cgroup_mkdir),
        [UT_EBPF_CGROUP_REMOVED] = SLOTS(cgroup_rmdir),
        [UT_EBPF_SNAPSHOT] = SLOTS(snapshot),
        [UT_EBPF_OOM_KILL] = SLOTS(mark_victim),
        [UT_EBPF_LIMIT_STALL_BEGIN] = SLOTS(memcg_reclaim_begin),
        [UT_EBPF_LIMIT_STALL_END] = SLOTS(memcg_reclaim_end),
        [UT_EBPF_GLOBAL_STALL_BEGIN] = SLOTS(direct_reclaim_begin),
        [UT_EBPF_GLOBAL_STALL_END] = SLOTS(direct_reclaim_end),
        [UT_EBPF_MEMORY_USAGE] = SLOTS(memory_usage),
        [UT_EBPF_RESET_SENT] = SLOTS(tcp_send_reset),
        [UT_EBPF_RESET_RECEIVED] = SLOTS(tcp_receive_reset),
        [UT_EBPF_ZERO_WINDOW] = SLOTS(tcp_probe),
        [UT_EBPF_RECEIVE_DROP] = SLOTS(kfree_skb),
        [UT_EBPF_UNDO] = SLOTS(tcp_cong_state_set),
        [UT_EBPF_SENT_STAMPS] = SLOTS(sent_stamps),
        [UT_EBPF_TRACE_SOCKETS] = SLOTS(trace_sockets),
        [UT_EBPF_TRACE_RETRANSMIT] = SLOTS(trace_retransmit),
        [UT_EBPF_TRACE_EGRESS] = SLOTS(trace_egress),
        [UT_EBPF_TRACE_TC] = SLOTS(trace_tc),
        [UT_EBPF_TRACE_READER] = SLOTS(trace_reader),
        [UT_EBPF_ALLOCATIONS] = SLOTS(page_alloc),
        [UT_EBPF_COOKIE_MADE] = SLOTS(cookie_when_made),
        [UT_EBPF_COOKIE_ACCEPTED] = SLOTS(cookie_when_accepted),
    };
#undef SLOTS
    *program = *slots[index].program;
    *link = slots[index].link;
}

static struct bpf_program *program_of(struct ut_bpf *skeleton, int index)
{
    struct bpf_program *program;
    struct bpf_link **link;
    find_slots(skeleton, index, &program, &link);
    return program;
}

static int wanted_programs(const struct ut_ebpf_settings *settings,
                           const struct ut_ebpf_features *features)
{
    int wanted = features->socket_cookies ? ALL_PROGRAMS & ~COOKIE_PROGRAMS : ALL_PROGRAMS;
    if (!settings->memory)
        wanted &= ~MEMORY_PROGRAMS;
    if (!settings->allocations)
        wanted &= ~(1 << UT_EBPF_ALLOCATIONS);
    if ((settings->trace_context & UT_EBPF_BY_CGROUP) == 0)
        wanted &= ~(1 << UT_EBPF_TRACE_EGRESS);
    if ((settings->trace_context & UT_EBPF_BY_TC) == 0)
        wanted &= ~(1 << UT_EBPF_TRACE_TC);
    return settings->trace_context != 0 ? wanted : wanted & ~TRACE_PROGRAMS;
}

/* The kernel's timeouts are in timer ticks, and the coarse clock moves once a tick. */
static uint64_t tick_length_ns(void)
{
    struct timespec tick;
    if (clock_getres(CLOCK_MONOTONIC_COARSE, &tick) != 0)
        return 4 * UT_NS_PER_MS;
    return (uint64_t)tick.tv_sec * UT_NS_PER_S + (uint64_t)tick.tv_nsec;
}

/* Tables that no program writes to take no memory. */
static int leave_out_tables(struct ut_bpf *skeleton, const struct ut_ebpf_features *features,
                            bool allocations)
{
    int error = 0;
    if (!allocations)
        error = bpf_map__set_max_entries(skeleton->maps.allocated_even, 1);
    if (error == 0 && !allocations)
        error = bpf_map__set_max_entries(skeleton->maps.allocated_odd, 1);
    if (error == 0 && features->socket_storage)
        error = bpf_map__set_max_entries(skeleton->maps.connections_by_address, 1);
    return error;
}

/* Opens the object with the programs of `wanted` alone. 0 or a negative errno. */
static int open_object(struct ut_bpf **ret, const struct ut_ebpf_settings *settings,
                       const struct ut_ebpf_features *features, int wanted)
{
    struct ut_bpf *skeleton = ut_bpf__open();
    if (skeleton == NULL)
        return errno != 0 ? -errno : -ENOMEM;
    for (int i = 0; i < UT_EBPF_PROGRAMS; i++)
        bpf_program__set_autoload(program_of(skeleton, i), (wanted >> i & 1) != 0);
    for (int type = 0; type < UT_RECORD_TYPES; type++) {
        uint64_t rate = settings->per_second[type];
        skeleton->rodata->limit_interval_ns[type] = rate != 0 ? UT_NS_PER_S / rate : 0;
        skeleton->rodata->limit_burst_ns[type] = BURST_SECONDS * UT_NS_PER_S;
    }
    skeleton->rodata->ring_high_water = settings->ring_bytes / 2;
    skeleton->rodata->tick_ns = tick_length_ns();
    skeleton->rodata->page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    skeleton->rodata->max_streams = settings->max_sockets;
    skeleton->rodata->max_sent_rings = settings->max_sockets;
    skeleton->rodata->answers_followed = (wanted >> UT_EBPF_TRACE_READER & 1) != 0;
    skeleton->rodata->charged_flags = features->charged_flags;
    int error = bpf_map__set_max_entries(skeleton->maps.ring, (uint32_t)settings->ring_bytes);
    if (error == 0)
        error = leave_out_tables(skeleton, features, (wanted >> UT_EBPF_ALLOCATIONS & 1) != 0);
    if (error != 0) {
        ut_bpf__destroy(skeleton);
        return error;
    }
    *ret = skeleton;
    return 0;
}

static int load_object(struct ut_bpf **ret, const struct ut_ebpf_settings *settings,
                       const struct ut_ebpf_features *features, int wanted)
{
    struct ut_bpf *skeleton;
    int error = open_object(&skeleton, settings, features, wanted);
    if (error != 0)
        return error;
    error = ut_bpf__load(skeleton);
    if (error != 0) {
        ut_bpf__destroy(skeleton);
        return error;
    }
    *ret = skeleton;
    return 0;
}

/* Loads program `index` alone, with the verifier's words into `log`, and lets it go again. */
static int try_alone(const struct ut_ebpf_settings *settings,
                     const struct ut_ebpf_features *features, int index, char *log)
{
    struct ut_bpf *skeleton;
    log[0] = '\0';
    int error = open_object(&skeleton, settings, features, 1 << index);
    if (error != 0)
        return error;
    bpf_program__set_log_buf(program_of(skeleton, index), log, VERIFIER_LOG_BYTES);
    error = ut_bpf__load(skeleton);
    ut_bpf__destroy(skeleton);
    return error;
}

static void refuse(struct ut_ebpf_programs *programs, int index, int error, const char *text,
                   const struct ut_ebpf_circumstances *circumstances)
{
    const uint64_t net_admin = UINT64_C(1) << CAP_NET_ADMIN | UINT64_C(1) << CAP_SYS_ADMIN;
    struct ut_ebpf_program *state = &programs->states[index];
    state->works = false;
    if (error == -EPERM && (NET_ADMIN_PROGRAMS >> index & 1) != 0 &&
        (circumstances->capabilities & net_admin) == 0) {
        snprintf(state->reason, sizeof(state->reason), "not permitted: CAP_NET_ADMIN missing");
        return;
    }
    ut_ebpf_reason(state->reason, sizeof(state->reason), -error, text, circumstances);
}

/* Which programs can be loaded, as bits; the reason of each other one is written down. */
static int find_loadable(struct ut_ebpf_programs *programs, const struct ut_ebpf_settings *settings,
                         const struct ut_ebpf_circumstances *circumstances, struct ut_log *log)
{
    int loadable = 0;
    char *text = calloc(1, VERIFIER_LOG_BYTES);
    UT_CHECK_MEMORY(text != NULL);
    for (int i = 0; i < UT_EBPF_PROGRAMS; i++) {
        if (programs->states[i].unwanted)
            continue;
        int error = try_alone(settings, &programs->features, i, text);
        if (error == 0) {
            loadable |= 1 << i;
            continue;
        }
        refuse(programs, i, error, text, circumstances);
        if (text[0] != '\0') {
            char quoted[1024];
            size_t size = strlen(text);
            const char *tail = text + (size > 900 ? size - 900 : 0);
            ut_log(log, UT_LOG_DEBUG, "ebpf_verifier", "program=%s text=%s",
                   programs->states[i].name, ut_log_quote(quoted, sizeof(quoted), tail));
        }
    }
    free(text);
    return loadable;
}

/* To the sockets of every cgroup; other programs there go on. NULL and errno, and in `reason` why
 * if errno does not tell. */
static struct bpf_link *attach_to_root(struct bpf_program *program, char reason[UT_EBPF_REASON])
{
    struct ut_cgroup_mount mount;
    struct stat status;
    int error = ut_cgroup_mount_read(&mount);
    if (error != 0) {
        snprintf(reason, UT_EBPF_REASON, "no cgroup v2 hierarchy is mounted");
        errno = -error;
        return NULL;
    }
    int fd = open(mount.point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    struct bpf_link *link = NULL;
    if (fstat(fd, &status) == 0 && status.st_ino != CGROUP_ROOT_ID) {
        snprintf(reason, UT_EBPF_REASON,
                 "the root of the cgroup v2 hierarchy is not to be seen from here, only that of "
                 "our own cgroup namespace: mount the host's /sys/fs/cgroup and use its namespace");
        errno = EXDEV;
    } else {
        link = bpf_program__attach_cgroup(program, fd);
    }
    error = errno;
    close(fd);
    errno = error;
    return link;
}

/* To the interfaces of `tc`; there may be none so far. */
static void attach_to_interfaces(struct ut_ebpf_programs *programs, const struct ut_tc_settings *tc,
                                 struct ut_log *log)
{
    struct ut_ebpf_program *state = &programs->states[UT_EBPF_TRACE_TC];
    if (tc->namespaces != NULL)
        programs->tc = ut_tc_start(tc, bpf_program__fd(programs->skeleton->progs.trace_tc), log,
                                   state->reason, sizeof(state->reason));
    state->works = state->reason[0] == '\0';
}

static void try_usage(struct ut_ebpf_programs *programs,
                      const struct ut_ebpf_circumstances *circumstances)
{
    const uint64_t *none;
    int error = ut_ebpf_usage_read(programs->skeleton, 0, &none);
    if (error != 0)
        refuse(programs, UT_EBPF_MEMORY_USAGE, error, "", circumstances);
    else
        programs->states[UT_EBPF_MEMORY_USAGE].works = true;
}

static void attach(struct ut_ebpf_programs *programs, int loaded,
                   const struct ut_ebpf_circumstances *circumstances)
{
    struct bpf_program *program;
    struct bpf_link **link;
    for (int i = 0; i < UT_EBPF_PROGRAMS; i++) {
        if ((loaded >> i & 1) == 0 || i == UT_EBPF_TRACE_TC || i == UT_EBPF_MEMORY_USAGE)
            continue;
        find_slots(programs->skeleton, i, &program, &link);
        struct ut_ebpf_program *state = &programs->states[i];
        *link = (ROOT_PROGRAMS >> i & 1) != 0 ? attach_to_root(program, state->reason)
                                              : bpf_program__attach(program);
        if (*link != NULL)
            state->works = true;
        else if (state->reason[0] == '\0')
            refuse(programs, i, -errno, "", circumstances);
    }
}

static void note_lost(struct ut_ebpf_program *state, const char *lost)
{
    if (state->works)
        snprintf(state->reason, sizeof(state->reason), "%s", lost);
}

/* What programs that work cannot tell on this kernel. */
static void note_losses(struct ut_ebpf_programs *programs)
{
    char lost[UT_EBPF_REASON];
    uint32_t most = bpf_map__max_entries(programs->skeleton->maps.connections_by_address);
    snprintf(lost, sizeof(lost),
             "before Linux 5.11 who began a connection, and how, is known of the latest %u", most);
    if (!programs->features.socket_storage)
        note_lost(&programs->states[UT_EBPF_CONNECTIONS], lost);
    if (!programs->features.victims)
        note_lost(&programs->states[UT_EBPF_OOM_KILL],
                  "before Linux 6.9 kills are counted, but not whose, and on no spans");
}

void ut_ebpf_programs_init(struct ut_ebpf_programs *programs,
                           const struct ut_ebpf_settings *settings, struct ut_log *log)
{
    struct ut_ebpf_circumstances circumstances;
    ut_ebpf_circumstances_read(&circumstances);
    *programs = (struct ut_ebpf_programs){.skeleton = NULL};
    memcpy(programs->states, descriptions, sizeof(descriptions));

    /* libbpf would write to stderr; what it knows reaches us as errno and as the verifier's log. */
    libbpf_set_print(NULL);
    ut_ebpf_features_read(&programs->features);
    int loaded = wanted_programs(settings, &programs->features);
    for (int i = 0; i < UT_EBPF_PROGRAMS; i++) {
        if ((loaded >> i & 1) != 0)
            continue;
        programs->states[i].unwanted = true;
        snprintf(programs->states[i].reason, UT_EBPF_REASON, "not wanted");
    }
    int error = load_object(&programs->skeleton, settings, &programs->features, loaded);
    if (error != 0) {
        loaded = find_loadable(programs, settings, &circumstances, log);
        error = loaded != 0
                    ? load_object(&programs->skeleton, settings, &programs->features, loaded)
                    : 0;
    }
    if (programs->skeleton != NULL) {
        attach(programs, loaded, &circumstances);
        if ((loaded >> UT_EBPF_MEMORY_USAGE & 1) != 0)
            try_usage(programs, &circumstances);
        if ((loaded >> UT_EBPF_TRACE_TC & 1) != 0)
            attach_to_interfaces(programs, &settings->tc, log);
        note_losses(programs);
        return;
    }
    /* Each alone, but not together: memory, or something that changed meanwhile. */
    for (int i = 0; i < UT_EBPF_PROGRAMS; i++) {
        if ((loaded >> i & 1) != 0)
            refuse(programs, i, error, "", &circumstances);
    }
}

void ut_ebpf_programs_done(struct ut_ebpf_programs *programs)
{
    ut_tc_stop(programs->tc);
    programs->tc = NULL;
    ut_bpf__destroy(programs->skeleton); /* takes NULL */
    programs->skeleton = NULL;
}

void ut_ebpf_programs_missed(const struct ut_ebpf_programs *programs,
                             uint64_t ret[UT_EBPF_PROGRAMS])
{
    for (int i = 0; i < UT_EBPF_PROGRAMS; i++) {
        struct bpf_prog_info info = {.type = 0};
        uint32_t size = sizeof(info);
        bool told = programs->states[i].works &&
                    bpf_obj_get_info_by_fd(bpf_program__fd(program_of(programs->skeleton, i)),
                                           &info, &size) == 0;
        ret[i] = told ? info.recursion_misses : 0;
    }
}

int ut_ebpf_programs_working(const struct ut_ebpf_programs *programs)
{
    int working = 0;
    for (int i = 0; i < UT_EBPF_PROGRAMS; i++)
        working += programs->states[i].works;
    return working;
}

/* The setting that asks for a program; NULL: it is always asked for. */
static const char *option_of(int index)
{
    if (index == UT_EBPF_TRACE_EGRESS)
        return "receivers.ebpf.trace_context: {enabled: true, attach: cgroup}";
    if (index == UT_EBPF_TRACE_TC)
        return "receivers.ebpf.trace_context: {enabled: true, attach: tc}";
    if ((TRACE_PROGRAMS >> index & 1) != 0)
        return "receivers.ebpf.trace_context.enabled: true";
    if (index == UT_EBPF_ALLOCATIONS)
        return "receivers.ebpf.memory: exact";
    return (MEMORY_PROGRAMS >> index & 1) != 0 ? "receivers.ebpf.memory: counters" : NULL;
}

void ut_ebpf_programs_probe(const struct ut_ebpf_settings *wanted,
                            struct ut_ebpf_program ret[UT_EBPF_PROGRAMS])
{
    const struct ut_ebpf_settings settings = {
        .ring_bytes = 64 << 10,
        .memory = true,
        .allocations = true,
        .trace_context = UT_EBPF_BY_CGROUP | UT_EBPF_BY_TC,
        .max_sockets = 1,
    };
    struct ut_ebpf_programs programs;
    ut_ebpf_programs_init(&programs, &settings, NULL);
    memcpy(ret, programs.states, sizeof(programs.states));
    for (int i = 0; i < UT_EBPF_PROGRAMS; i++) {
        bool asked_for = (wanted_programs(wanted, &programs.features) >> i & 1) != 0;
        ret[i].option = asked_for ? NULL : option_of(i);
        ret[i].net_admin = (NET_ADMIN_PROGRAMS >> i & 1) != 0;
    }
    ut_ebpf_programs_done(&programs);
}
