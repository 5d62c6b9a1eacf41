/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence/tally.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "evidence/evidence.h"

_Static_assert((int)UT_TALLY_CLASSES == (int)UT_MATCH_CLASSES, "a count for each class");

enum { ROW_NOBODY, ROW_OTHERS, ROW_FIRST, ROWS = ROW_FIRST + UT_TALLY_ROWS };

_Static_assert(ROWS <= UINT8_MAX + 1, "a row is told in a byte");

int ut_tally_init(struct ut_tally *t, const struct ut_workloads *workloads,
                  const struct ut_held *held)
{
    *t = (struct ut_tally){.workloads = workloads, .held = held};
    t->rows = calloc(ROWS, sizeof(t->rows[0]));
    t->row_of = calloc(UT_WORKLOADS_MAX, sizeof(t->row_of[0]));
    if (t->rows == NULL || t->row_of == NULL) {
        ut_tally_done(t);
        return -ENOMEM;
    }
    snprintf(t->rows[ROW_NOBODY].path, sizeof(t->rows[0].path), "unowned");
    snprintf(t->rows[ROW_OTHERS].path, sizeof(t->rows[0].path), "other");
    return 0;
}

void ut_tally_done(struct ut_tally *t)
{
    free(t->rows);
    free(t->row_of);
    t->rows = NULL;
    t->row_of = NULL;
}

/* The row of that path; else one that was never used, or whose workloads are all forgotten. */
static int find_row(const struct ut_tally *t, const char *path)
{
    int found = ROW_OTHERS;
    bool unused = false;
    for (int i = ROW_FIRST; i < ROWS; i++) {
        const struct ut_tally_row *row = &t->rows[i];
        if (strcmp(row->path, path) == 0)
            return i;
        if (row->slots > 0 || unused)
            continue;
        unused = row->path[0] == '\0';
        found = i;
    }
    return found;
}

static struct ut_tally_row *row_of(struct ut_tally *t, uint32_t id)
{
    const struct ut_workload *workload = id != 0 ? ut_workloads_get(t->workloads, id) : NULL;
    if (workload == NULL)
        return &t->rows[ROW_NOBODY];
    uint8_t *of_slot = &t->row_of[UT_WORKLOAD_SLOT(id)];
    if (*of_slot != 0)
        return &t->rows[*of_slot];
    int index = find_row(t, workload->shown_path);
    struct ut_tally_row *row = &t->rows[index];
    *of_slot = (uint8_t)index;
    if (index == ROW_OTHERS)
        return row;
    if (strcmp(row->path, workload->shown_path) != 0) {
        *row = (struct ut_tally_row){.slots = 0};
        memcpy(row->path, workload->shown_path, sizeof(row->path));
    }
    row->slots++;
    return row;
}

void ut_tally_add(struct ut_tally *t, uint32_t workload, int figure, uint64_t amount)
{
    UT_CHECK(figure >= 0 && figure < UT_TALLY_FIGURES);
    struct ut_tally_row *row = row_of(t, workload);
    row->counts[figure] += amount;
    t->unowned_events += row == &t->rows[ROW_NOBODY];
}

void ut_tally_forget_workload(struct ut_tally *t, uint32_t slot)
{
    if (t->row_of[slot] >= ROW_FIRST)
        t->rows[t->row_of[slot]].slots--;
    t->row_of[slot] = 0;
}

/* ---- metrics -------------------------------------------------------------------------------- */

struct family {
    const char *name, *help;
    const char *label; /* NULL: the workload's is the only one */
    const char *const *values;
    int first, figures;
    double unit;
};

static const char *const classes[] = {"none", "workload", "peer", "connection", "exact"};
static const char *const causes[] = {"unknown",         "fast", "timeout",
                                     "tail_loss_probe", "syn",  "syn_ack"};
static const char *const resets[] = {"unknown", "sent", "received"};
static const char *const scopes[] = {"own", "ancestor", "global"};

static const struct family families[UT_TALLY_FAMILIES] = {
    {"undertrace_workload_spans_total", "Spans by the workload that is known to have sent them.",
     NULL, NULL, UT_TALLY_SPANS, 1, 1},
    {"undertrace_workload_joined_spans_total", "Spans that gained evidence, by workload.", "match",
     classes, UT_TALLY_JOINED, UT_MATCH_CLASSES, 1},
    {"undertrace_workload_tcp_retransmits_total",
     "Segments sent again by the sockets of a workload.", "cause", causes, UT_TALLY_RETRANSMITS,
     UT_CAUSE_SYN_ACK + 1, 1},
    {"undertrace_workload_tcp_resets_total", "Connections of a workload that were reset.", "type",
     resets, UT_TALLY_RESETS, UT_RESET_RECEIVED + 1, 1},
    {"undertrace_workload_tcp_zero_window_seconds_total",
     "Time that sockets of a workload waited for the other end's window.", NULL, NULL,
     UT_TALLY_ZERO_WINDOW_NS, 1, 1e9},
    {"undertrace_workload_tcp_receive_drops_total",
     "Segments that found no room in the sockets of a workload.", NULL, NULL,
     UT_TALLY_RECEIVE_DROPS, 1, 1},
    {"undertrace_workload_tcp_listen_overflows_total",
     "Finished handshakes that found no room with the listeners of a workload.", NULL, NULL,
     UT_TALLY_LISTEN_OVERFLOWS, 1, 1},
    {"undertrace_workload_memory_stall_seconds_total",
     "Task time that a workload spent on reclaiming memory, by whose limit was met.", "scope",
     scopes, UT_TALLY_STALLED_NS, UT_SCOPES, 1e9},
    {"undertrace_workload_oom_kills_total",
     "Processes of a workload that the kernel killed for want of memory.", NULL, NULL,
     UT_TALLY_OOM_KILLS, 1, 1},
};

static void tell(const struct family *family, const struct ut_tally_row *row, int figure,
                 struct ut_metrics_out *out)
{
    char path[2 * sizeof(row->path)], labels[UT_TALLY_LABEL];
    uint64_t count = row->counts[family->first + figure];
    if (count == 0)
        return;
    (void)ut_metrics_escape(path, sizeof(path), row->path);
    if (family->label != NULL)
        snprintf(labels, sizeof(labels), "workload=\"%s\",%s=\"%s\"", path, family->label,
                 family->values[figure]);
    else
        snprintf(labels, sizeof(labels), "workload=\"%s\"", path);
    ut_metrics_tell(out, labels, (double)count / family->unit);
}

static void write_family(void *arg, struct ut_metrics_out *out)
{
    const struct ut_tally_family *of = arg;
    const struct family *family = &families[of->index];
    for (int row = 0; row < ROWS; row++) {
        for (int figure = 0; figure < family->figures; figure++)
            tell(family, &of->tally->rows[row], figure, out);
    }
}

/* The sums of what was read last, of workloads that are read. */
static void write_held(void *arg, struct ut_metrics_out *out)
{
    struct ut_tally *t = arg;
    bool known[ROWS] = {false};
    char path[2 * sizeof(t->rows[0].path)], labels[UT_TALLY_LABEL];
    uint64_t bytes[ROWS] = {0}, latest;
    for (uint32_t i = 0; i < t->held->slots; i++) {
        const struct ut_held_watch *watch = &t->held->watches[i];
        if (!ut_held_latest(watch, &latest))
            continue;
        ptrdiff_t row = row_of(t, watch->workload) - t->rows;
        bytes[row] += latest;
        known[row] = true;
    }
    for (int row = 0; row < ROWS; row++) {
        if (!known[row])
            continue;
        (void)ut_metrics_escape(path, sizeof(path), t->rows[row].path);
        snprintf(labels, sizeof(labels), "workload=\"%s\"", path);
        ut_metrics_tell(out, labels, (double)bytes[row]);
    }
}

static double read_unowned(void *arg)
{
    return (double)((const struct ut_tally *)arg)->unowned_events;
}

void ut_tally_show(struct ut_tally *t, struct ut_metrics *metrics)
{
    for (int i = 0; i < UT_TALLY_FAMILIES; i++) {
        t->families[i] = (struct ut_tally_family){t, i};
        ut_metrics_family(metrics, families[i].name, families[i].help, write_family,
                          &t->families[i]);
    }
    ut_metrics_gauge_family(metrics, "undertrace_workload_memory_held_bytes",
                            "What a workload holds, of those that send spans and are read.",
                            write_held, t);
    ut_metrics_counter_read(metrics, "undertrace_unowned_events_total", "",
                            "Kernel events that belong to no workload.", read_unowned, t);
}

void ut_tally_hide(struct ut_tally *t, struct ut_metrics *metrics)
{
    for (int i = 0; i < UT_TALLY_FAMILIES; i++)
        ut_metrics_remove(metrics, &t->families[i]);
    ut_metrics_remove(metrics, t);
}
