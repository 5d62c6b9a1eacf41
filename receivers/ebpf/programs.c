/* SPDX-License-Identifier: Apache-2.0 */
#include "programs.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <bpf_skeletons/undertrace.skel.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "attach.h"
#include "base/clock.h"
#include "catalogue.h"
#include "reason.h"
#include "usage.h"

enum { VERIFIER_LOG_BYTES = 64 << 10, BURST_SECONDS = 2 };

/* Where the skeleton keeps a program and its link. */
static const struct bpf_prog_skeleton *slot_of(const struct ut_bpf *skeleton, int index)
{
    const struct bpf_object_skeleton *all = skeleton->skeleton;
    int i = 0;
    while (i < all->prog_cnt && strcmp(all->progs[i].name, ut_ebpf_program_name(index)) != 0)
        i++;
    UT_CHECK(i < all->prog_cnt);
    return &all->progs[i];
}

static struct bpf_program *program_of(const struct ut_bpf *skeleton, int index)
{
    return *slot_of(skeleton, index)->prog;
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

/* Programs of tracepoints are raw ones in the object. */
static int choose_types(struct ut_bpf *skeleton, const struct ut_ebpf_features *features,
                        int wanted)
{
    int error = 0;
    for (int i = 0; i < UT_EBPF_PROGRAMS && error == 0; i++) {
        struct bpf_program *program = program_of(skeleton, i);
        bpf_program__set_autoload(program, ut_ebpf_is_one_of(i, wanted));
        if (features->typed_arguments && ut_ebpf_is_one_of(i, wanted & UT_EBPF_RAW_PROGRAMS))
            error = ut_ebpf_make_typed(program);
    }
    skeleton->rodata->typed_arguments = features->typed_arguments;
    return error;
}

/* Opens the object with the programs of `wanted` alone. 0 or a negative errno. */
static int open_object(struct ut_bpf **ret, const struct ut_ebpf_settings *settings,
                       const struct ut_ebpf_features *features, int wanted)
{
    struct ut_bpf *skeleton = ut_bpf__open();
    if (skeleton == NULL)
        return errno != 0 ? -errno : -ENOMEM;
    for (int type = 0; type < UT_RECORD_TYPES; type++) {
        uint64_t rate = settings->per_second[type];
        skeleton->rodata->limit_interval_ns[type] = rate != 0 ? UT_NS_PER_S / rate : 0;
        skeleton->rodata->limit_burst_ns[type] = BURST_SECONDS * UT_NS_PER_S;
    }
    skeleton->rodata->ring_high_water = settings->ring_bytes / 2;
    skeleton->rodata->tick_ns = tick_length_ns();
    skeleton->rodata->page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    skeleton->rodata->max_streams = settings->max_sockets;
    skeleton->rodata->max_kept = settings->max_sockets;
    skeleton->rodata->messages_followed = ut_ebpf_is_one_of(UT_EBPF_TRACE_SOCKETS, wanted);
    skeleton->rodata->answers_followed = ut_ebpf_is_one_of(UT_EBPF_TRACE_READER, wanted);
    skeleton->rodata->charged_flags = features->charged_flags;
    int error = choose_types(skeleton, features, wanted);
    if (error == 0)
        error = bpf_map__set_max_entries(skeleton->maps.ring, (uint32_t)settings->ring_bytes);
    if (error == 0)
        error =
            leave_out_tables(skeleton, features, ut_ebpf_is_one_of(UT_EBPF_ALLOCATIONS, wanted));
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
    if (error == -EPERM && ut_ebpf_is_one_of(index, UT_EBPF_NET_ADMIN_PROGRAMS) &&
        (circumstances->capabilities & net_admin) == 0) {
        snprintf(state->reason, sizeof(state->reason), "not permitted: CAP_NET_ADMIN missing");
        return;
    }
    ut_ebpf_reason(state->reason, sizeof(state->reason), -error, text, circumstances);
}

/* Which programs of `wanted` can be loaded, as bits; the reason of each other one is written down.
 */
static int find_loadable(struct ut_ebpf_programs *programs, const struct ut_ebpf_settings *settings,
                         const struct ut_ebpf_circumstances *circumstances, int wanted,
                         struct ut_log *log)
{
    int loadable = 0;
    char *text = calloc(1, VERIFIER_LOG_BYTES);
    UT_CHECK_MEMORY(text != NULL);
    for (int i = 0; i < UT_EBPF_PROGRAMS; i++) {
        if (!ut_ebpf_is_one_of(i, wanted))
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
    for (int i = 0; i < UT_EBPF_PROGRAMS; i++) {
        if (!ut_ebpf_is_one_of(i, loaded) || i == UT_EBPF_TRACE_TC || i == UT_EBPF_MEMORY_USAGE)
            continue;
        const struct bpf_prog_skeleton *slot = slot_of(programs->skeleton, i);
        struct ut_ebpf_program *state = &programs->states[i];
        *slot->link = ut_ebpf_is_one_of(i, UT_EBPF_ROOT_PROGRAMS)
                          ? ut_ebpf_attach_to_root(*slot->prog, state->reason)
                          : ut_ebpf_attach(*slot->prog);
        if (*slot->link != NULL)
            state->works = true;
        else if (state->reason[0] == '\0')
            refuse(programs, i, -errno, "", circumstances);
    }
}

/* What a program that works cannot tell on this kernel, behind what is said of it already. */
static void note(struct ut_ebpf_program *state, const char *text)
{
    size_t used = strlen(state->reason);
    if (state->works)
        snprintf(state->reason + used, sizeof(state->reason) - used, "%s%s", used > 0 ? "; " : "",
                 text);
}

static void note_losses(struct ut_ebpf_programs *programs)
{
    const struct ut_ebpf_features *features = &programs->features;
    char lost[UT_EBPF_REASON];
    uint32_t most = bpf_map__max_entries(programs->skeleton->maps.connections_by_address);
    for (int i = 0; i < UT_EBPF_PROGRAMS; i++) {
        if (!features->typed_arguments && ut_ebpf_is_one_of(i, UT_EBPF_RAW_PROGRAMS))
            note(&programs->states[i], "as a raw tracepoint");
    }
    snprintf(lost, sizeof(lost), "%swho began a connection, and how, is known of the latest %u",
             features->typed_arguments ? "before Linux 5.11 " : "", most);
    if (!features->socket_storage)
        note(&programs->states[UT_EBPF_CONNECTIONS], lost);
    if (!features->victims)
        note(&programs->states[UT_EBPF_OOM_KILL],
             "before Linux 6.9 kills are counted, but not whose, and on no spans");
}

/* Forgets what became of the programs. Returns those to be tried, as bits. */
static int begin(struct ut_ebpf_programs *programs, const struct ut_ebpf_settings *settings)
{
    const struct ut_ebpf_features *features = &programs->features;
    int wanted = ut_ebpf_catalogue_wanted(settings, features);
    ut_ebpf_catalogue_read(programs->states);
    for (int i = 0; i < UT_EBPF_PROGRAMS; i++) {
        if (ut_ebpf_is_one_of(i, wanted))
            continue;
        programs->states[i].unwanted = true;
        snprintf(programs->states[i].reason, UT_EBPF_REASON, "not wanted");
    }
    if (!features->sends) {
        snprintf(programs->states[UT_EBPF_SEND_ENDS].reason, UT_EBPF_REASON,
                 "of no use without send_begins");
        wanted &= ~(1 << UT_EBPF_SEND_ENDS);
    }
    if (features->typed_arguments || features->droppers)
        return wanted;
    /* It would load all the same, and take whatever lies there for the socket. */
    snprintf(programs->states[UT_EBPF_RECEIVE_DROP].reason, UT_EBPF_REASON,
             "the tracepoint does not tell whose segment it was");
    return wanted & ~(1 << UT_EBPF_RECEIVE_DROP);
}

/* Loads what can be loaded; which that is goes to `ret`. 0 or a negative errno. */
static int load(struct ut_ebpf_programs *programs, const struct ut_ebpf_settings *settings,
                const struct ut_ebpf_circumstances *circumstances, struct ut_log *log, int *ret)
{
    int wanted = begin(programs, settings);
    *ret = wanted;
    if (load_object(&programs->skeleton, settings, &programs->features, wanted) == 0)
        return 0;
    *ret = find_loadable(programs, settings, circumstances, wanted, log);
    return *ret != 0 ? load_object(&programs->skeleton, settings, &programs->features, *ret) : 0;
}

void ut_ebpf_programs_init(struct ut_ebpf_programs *programs,
                           const struct ut_ebpf_settings *settings, struct ut_log *log)
{
    struct ut_ebpf_circumstances circumstances;
    int loaded;
    ut_ebpf_circumstances_read(&circumstances);
    *programs = (struct ut_ebpf_programs){.skeleton = NULL};

    /* libbpf would write to stderr; what it knows reaches us as errno and as the verifier's log. */
    libbpf_set_print(NULL);
    ut_ebpf_features_read(&programs->features);
    int error = load(programs, settings, &circumstances, log, &loaded);
    if ((loaded & UT_EBPF_RAW_PROGRAMS) == 0 && programs->features.typed_arguments &&
        circumstances.btf && ut_ebpf_is_able(&circumstances)) {
        ut_bpf__destroy(programs->skeleton); /* takes NULL */
        programs->skeleton = NULL;
        ut_ebpf_features_untyped(&programs->features);
        error = load(programs, settings, &circumstances, log, &loaded);
    }
    if (programs->skeleton != NULL) {
        attach(programs, loaded, &circumstances);
        if (ut_ebpf_is_one_of(UT_EBPF_MEMORY_USAGE, loaded))
            try_usage(programs, &circumstances);
        if (ut_ebpf_is_one_of(UT_EBPF_TRACE_TC, loaded))
            attach_to_interfaces(programs, &settings->tc, log);
        note_losses(programs);
        return;
    }
    /* Each alone, but not together: memory, or something that changed meanwhile. */
    for (int i = 0; i < UT_EBPF_PROGRAMS; i++) {
        if (ut_ebpf_is_one_of(i, loaded))
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
        int asked_for = ut_ebpf_catalogue_wanted(wanted, &programs.features);
        ret[i].option = ut_ebpf_is_one_of(i, asked_for) ? NULL : ut_ebpf_catalogue_option(i);
        ret[i].net_admin = ut_ebpf_is_one_of(i, UT_EBPF_NET_ADMIN_PROGRAMS);
    }
    ut_ebpf_programs_done(&programs);
}
