/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "flow/disk/hold_parts.h"

static double read_taken(void *arg)
{
    return (double)((const struct ut_hold *)arg)->figures.taken;
}

static double read_limit(void *arg)
{
    return (double)((const struct ut_hold *)arg)->figures.max_bytes;
}

static double read_commits(void *arg)
{
    return (double)((const struct ut_hold *)arg)->figures.commits;
}

static double read_commit_seconds(void *arg)
{
    return (double)((const struct ut_hold *)arg)->figures.commit_ns / 1e9;
}

static double read_commit_most(void *arg)
{
    return (double)((const struct ut_hold *)arg)->figures.commit_most_ns / 1e9;
}

static double read_silent(void *arg)
{
    struct ut_hold_figures now;
    ut_hold_figures(arg, &now);
    return (double)now.silent_ns / 1e9;
}

static double read_failures(void *arg)
{
    return (double)((const struct ut_hold *)arg)->figures.failures;
}

static double read_refused(void *arg)
{
    return (double)((const struct ut_hold *)arg)->figures.refused;
}

static double read_written(void *arg)
{
    return (double)((const struct ut_hold *)arg)->figures.written;
}

static double read_withdrawn(void *arg)
{
    return (double)((const struct ut_hold *)arg)->figures.withdrawn;
}

static double read_damaged(void *arg)
{
    return (double)((const struct ut_hold *)arg)->figures.damaged;
}

static double read_set_aside(void *arg)
{
    return ((const struct ut_hold *)arg)->figures.set_aside;
}

static const struct {
    const char *name, *help;
    double (*read)(void *arg);
    bool counts;
} figures[] = {
    {"undertrace_hold_bytes", "Bytes of the quota that records take.", read_taken, false},
    {"undertrace_hold_limit_bytes", "The quota: max_bytes.", read_limit, false},
    {"undertrace_hold_commits_total", "Groups that were committed.", read_commits, true},
    {"undertrace_hold_commit_seconds_total", "Time that their commits and syncs took.",
     read_commit_seconds, true},
    {"undertrace_hold_commit_seconds_max", "The longest of them.", read_commit_most, false},
    {"undertrace_hold_silent_seconds",
     "Since the disk was asked for what it has not done yet; 0: it has done all.", read_silent,
     false},
    {"undertrace_hold_failures_total",
     "Groups that the disk did not take; nothing was acknowledged.", read_failures, true},
    {"undertrace_hold_refused_total", "Requests that found no room, and were refused, retryably.",
     read_refused, true},
    {"undertrace_hold_written_total", "Requests that were written and synced.", read_written, true},
    {"undertrace_hold_spared_total",
     "Requests that every exporter had finished before they were to be written.", read_withdrawn,
     true},
    {"undertrace_hold_damaged_total",
     "Records, indexes and names that the disk did not give back as they were written.",
     read_damaged, true},
    {"undertrace_hold_set_aside", "Whether this start moved a damaged file away.", read_set_aside,
     false},
};

void ut_hold_metrics_init(struct ut_hold *hold)
{
    char label[UT_DISK_PATH_MAX + 32];
    size_t size = (size_t)snprintf(label, sizeof(label), "directory=\"");
    for (const char *at = hold->directory.path; *at != '\0' && size + 4 < sizeof(label); at++) {
        if (*at == '"' || *at == '\\')
            label[size++] = '\\';
        label[size++] = (unsigned char)*at < ' ' ? '?' : *at;
    }
    label[size++] = '"';
    label[size] = '\0';
    for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++) {
        if (figures[i].counts)
            ut_metrics_counter_read(hold->worker->metrics, figures[i].name, label, figures[i].help,
                                    figures[i].read, hold);
        else
            ut_metrics_gauge(hold->worker->metrics, figures[i].name, label, figures[i].help,
                             figures[i].read, hold);
    }
}

void ut_hold_metrics_done(struct ut_hold *hold)
{
    ut_metrics_remove(hold->worker->metrics, hold);
}
