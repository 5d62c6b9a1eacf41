/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arithmetic of memory. The limit that the user sets is for the process; the budget, which the
 * data path keeps to, is what is left of it beside the regions of fixed size:
 *
 *   program and libraries, their tables and the first pages of the heap       6 MiB
 *   the loop's read buffer, connections' own buffers, metrics and config      2 MiB
 *   free blocks that the pool retains for the next requests                   8 MiB
 *   with the kernel side: event store, folds, connections, workloads         14 MiB
 *   with disk holds: the group that is being written (8 MiB, and as much of the library's), what is
 *   being read back; the mapped pages of their files are the system's to take back     16 MiB
 *   with the kernel side: the ring buffer (a mapped ring counts twice)        2 MiB
 */
#include "app_parts.h"
#include "app_types.h"

#include <stdio.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

size_t ut_app_budget_bytes(const struct ut_config *config, bool kernel)
{
    size_t fixed = UT_APP_FIXED_MIB + (kernel ? UT_APP_FIXED_KERNEL_MIB : 0);
    bool stores = false;
    for (size_t i = 0; i < config->pipeline_count; i++)
        stores = stores || config->pipelines[i].storage.present;
    fixed += stores ? UT_APP_FIXED_STORAGE_MIB : 0;
    /* The config layer has refused a limit that leaves less than UT_APP_BUDGET_LEAST_MIB. */
    UT_CHECK(config->program.memory.limit_mib > fixed);
    return ((size_t)config->program.memory.limit_mib - fixed) * MIB;
}

/* Resident bytes: the second number of /proc/self/statm, in pages. */
static double read_rss(void *arg)
{
    (void)arg;
    unsigned long long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL)
        return 0;
    int fields = fscanf(file, "%llu %llu", &size, &resident);
    fclose(file);
    return fields == 2 ? (double)resident * (double)sysconf(_SC_PAGESIZE) : 0;
}

static double read_one(void *arg)
{
    (void)arg;
    return 1;
}

static double read_uptime(void *arg)
{
    const struct ut_app *app = arg;
    return (double)(ut_worker_now(&app->worker) - app->started_ns) / 1e9;
}

static double read_used(void *arg)
{
    return (double)((const struct ut_app *)arg)->worker.budget.used;
}

static double read_limit(void *arg)
{
    return (double)((const struct ut_app *)arg)->worker.budget.limit;
}

static double read_evictions(void *arg)
{
    return (double)((const struct ut_app *)arg)->worker.budget.evictions;
}

static double read_system_calls(void *arg)
{
    return (double)((const struct ut_app *)arg)->worker.pool.system_calls;
}

static double read_reloads(void *arg)
{
    return (double)((const struct ut_app *)arg)->reloads.done;
}

static double read_failed_reloads(void *arg)
{
    return (double)((const struct ut_app *)arg)->reloads.failed;
}

void ut_app_memory_metrics(struct ut_app *app)
{
    struct ut_metrics *metrics = app->metrics;
    ut_metrics_gauge(metrics, "undertrace_build_info", "version=\"" UT_VERSION "\"",
                     "The version of this program; always 1.", read_one, app);
    ut_metrics_gauge(metrics, "otelcol_process_memory_rss", "", "Resident memory in bytes.",
                     read_rss, app);
    ut_metrics_counter_read(metrics, "otelcol_process_uptime", "", "Seconds since the start.",
                            read_uptime, app);
    ut_metrics_gauge(metrics, "undertrace_budget_used_bytes", "",
                     "Bytes in flight, charged as they arrive.", read_used, app);
    ut_metrics_gauge(metrics, "undertrace_budget_limit_bytes", "",
                     "What may be in flight: the memory limit less the fixed regions.", read_limit,
                     app);
    ut_metrics_counter_read(metrics, "undertrace_budget_evictions_total", "",
                            "Requests refused to make room for connections below their share.",
                            read_evictions, app);
    ut_metrics_counter_read(metrics, "undertrace_pool_system_calls_total", "",
                            "Times that the pool of the data path asked the system for memory.",
                            read_system_calls, app);
    static const char reloads[] = "Times that the configuration was to be read again.";
    ut_metrics_counter_read(metrics, "undertrace_reloads_total", "result=\"loaded\"", reloads,
                            read_reloads, app);
    ut_metrics_counter_read(metrics, "undertrace_reloads_total", "result=\"failed\"", reloads,
                            read_failed_reloads, app);
}
