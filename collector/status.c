/* SPDX-License-Identifier: Apache-2.0 */
/* The answer is JSON of our own making, and read as if it were not: any field may be absent. */
#include "status.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin_client.h"
#include "base/log.h"

static uint64_t count_of(const json_t *object, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(object, key));
    return value > 0 ? (uint64_t)value : 0;
}

static const char *text_of(const json_t *object, const char *key, char out[160])
{
    const char *text = json_string_value(json_object_get(object, key));
    return ut_log_quote(out, 160, text != NULL ? text : "?");
}

/* "1.2 s", "3.4 MiB": a figure that one reads at a glance. */
static const char *show_ms(uint64_t ms, char out[32])
{
    if (ms < 1000)
        (void)snprintf(out, 32, "%" PRIu64 " ms", ms);
    else if (ms < 120000)
        (void)snprintf(out, 32, "%.1f s", (double)ms / 1e3);
    else if (ms < 7200000)
        (void)snprintf(out, 32, "%.0f min", (double)ms / 6e4);
    else
        (void)snprintf(out, 32, "%.1f h", (double)ms / 3.6e6);
    return out;
}

static const char *show_bytes(uint64_t bytes, char out[32])
{
    if (bytes < 1 << 20)
        (void)snprintf(out, 32, "%.1f KiB", (double)bytes / (1 << 10));
    else
        (void)snprintf(out, 32, "%.1f MiB", (double)bytes / (1 << 20));
    return out;
}

/* The counts that are not zero, "transport 12, throttled 3"; nothing where all are. */
static void print_counts(const char *title, const json_t *object)
{
    const char *key;
    json_t *value;
    bool first = true;
    json_object_foreach((json_t *)object, key, value)
    {
        char shown[64];
        if (json_integer_value(value) == 0)
            continue;
        printf("%s%s %" JSON_INTEGER_FORMAT, first ? title : ", ",
               ut_log_quote(shown, sizeof(shown), key), json_integer_value(value));
        first = false;
    }
    if (!first)
        printf("\n");
}

/* What went wrong last, and when; nothing where nothing did. Uncut: what to do comes last. */
static void print_last(const json_t *object, const char *key, const char *age_key)
{
    char shown[512], time[32];
    const char *text = json_string_value(json_object_get(object, key));
    if (text != NULL && text[0] != '\0')
        printf("    last failure, %s ago: %s\n", show_ms(count_of(object, age_key), time),
               ut_log_quote(shown, sizeof(shown), text));
}

static void print_trouble(const json_t *endpoints)
{
    char time[32];
    uint64_t failing = count_of(endpoints, "failing_spans");
    uint64_t wait_ms = count_of(endpoints, "next_try_ms");
    if (count_of(endpoints, "down") > 0)
        printf("    %" PRIu64 " of %" PRIu64 " endpoints down\n", count_of(endpoints, "down"),
               count_of(endpoints, "count"));
    if (wait_ms > 0)
        printf("    nothing is sent for %s\n", show_ms(wait_ms, time));
    if (failing > 0)
        printf("    %" PRIu64 " spans tried in vain for %s\n", failing,
               show_ms(count_of(endpoints, "failing_ms"), time));
    print_last(endpoints, "last_failure", "last_failure_ms");
}

static void print_queue(const json_t *exporter)
{
    char sizer[160], bytes[32], age[32];
    const json_t *queue = json_object_get(exporter, "queue");
    printf("    queue %" PRIu64 " of %" PRIu64 " %s, %s, the oldest %s\n", count_of(queue, "size"),
           count_of(queue, "capacity"), text_of(queue, "sizer", sizer),
           show_bytes(count_of(queue, "bytes"), bytes), show_ms(count_of(queue, "oldest_ms"), age));
    if (count_of(queue, "refused_spans") > 0)
        printf("    refused for want of room: %" PRIu64 " spans\n",
               count_of(queue, "refused_spans"));
}

static void print_exporter(const json_t *exporter)
{
    char id[160];
    bool removed = json_is_true(json_object_get(exporter, "removed"));
    printf("\n%s%s\n", text_of(exporter, "id", id), removed ? ", configured no more" : "");
    if (count_of(exporter, "recovered") > 0)
        printf("    recovered from the disk %" PRIu64 "\n", count_of(exporter, "recovered"));
    printf("    accepted %" PRIu64 ", sent %" PRIu64 ", held %" PRIu64 " (in flight %" PRIu64
           "), dropped %" PRIu64 "\n",
           count_of(exporter, "accepted"), count_of(exporter, "sent"), count_of(exporter, "held"),
           count_of(exporter, "in_flight"), count_of(exporter, "dropped"));
    if (!removed)
        print_queue(exporter);
    print_counts("    dropped: ", json_object_get(exporter, "dropped_by_reason"));
    print_counts("    retries: ", json_object_get(exporter, "retries_by_cause"));
    print_trouble(json_object_get(exporter, "endpoints"));
}

static void print_cursor(const json_t *cursor)
{
    char id[160], bytes[32];
    bool orphan = json_is_true(json_object_get(cursor, "orphan"));
    printf("    %s: %" PRIu64 " spans, %s%s\n", text_of(cursor, "exporter", id),
           count_of(cursor, "spans"), show_bytes(count_of(cursor, "bytes"), bytes),
           orphan ? ", orphan: no exporter of that name is configured" : "");
}

static void print_storage(const json_t *storage)
{
    char directory[160], bytes[32], most[32];
    size_t i;
    json_t *cursor;
    printf("\n%s\n", text_of(storage, "directory", directory));
    printf("    %s of %s; %" PRIu64 " commits, %" PRIu64 " us each, %" PRIu64 " us at most\n",
           show_bytes(count_of(storage, "bytes"), bytes),
           show_bytes(count_of(storage, "max_bytes"), most), count_of(storage, "commits"),
           count_of(storage, "commit_mean_us"), count_of(storage, "commit_most_us"));
    printf("    %" PRIu64 " requests were written, %" PRIu64 " were finished before that\n",
           count_of(storage, "written"), count_of(storage, "spared"));
    if (count_of(storage, "failures") + count_of(storage, "refused") + count_of(storage, "damaged"))
        printf("    failed commits %" PRIu64 ", refused for want of room %" PRIu64
               ", damaged %" PRIu64 "\n",
               count_of(storage, "failures"), count_of(storage, "refused"),
               count_of(storage, "damaged"));
    if (json_is_true(json_object_get(storage, "set_aside")))
        printf("    the file that was found at the start was damaged, and is set aside\n");
    if (count_of(storage, "silent_ms") >= 1000)
        printf("    the disk has not answered for %s: look at it, and at the kernel's log\n",
               show_ms(count_of(storage, "silent_ms"), bytes));
    print_last(storage, "last_trouble", "last_trouble_ms");
    json_array_foreach(json_object_get(storage, "cursors"), i, cursor)
    {
        print_cursor(cursor);
    }
}

static void print_reloads(const json_t *reloads)
{
    if (count_of(reloads, "done") + count_of(reloads, "failed") == 0)
        return;
    printf("configuration: reloaded %" PRIu64 " times, in vain %" PRIu64 " times\n",
           count_of(reloads, "done"), count_of(reloads, "failed"));
    if (json_object_get(reloads, "last_failure") != NULL)
        printf("    the one before stays in force, until a reload succeeds\n");
    print_last(reloads, "last_failure", "last_failure_ms");
}

static void print_table(const json_t *root)
{
    char version[160], state[160], used[32], limit[32], up[32];
    printf("undertrace %s, pid %" PRIu64 ", %s, up %s\n", text_of(root, "version", version),
           count_of(root, "pid"), text_of(root, "state", state),
           show_ms(count_of(root, "uptime_s") * 1000, up));
    printf("memory for spans: %s of %s\n", show_bytes(count_of(root, "budget_used_bytes"), used),
           show_bytes(count_of(root, "budget_limit_bytes"), limit));
    print_reloads(json_object_get(root, "reloads"));
    print_counts("spans: ", json_object_get(root, "spans"));
    size_t i;
    json_t *exporter;
    json_array_foreach(json_object_get(root, "exporters"), i, exporter)
    {
        print_exporter(exporter);
    }
    json_t *storage;
    json_array_foreach(json_object_get(root, "storage"), i, storage)
    {
        print_storage(storage);
    }
}

int ut_status(const char *admin, bool json)
{
    char *answer;
    int status = ut_admin_ask(admin, "GET", "/status", &answer);
    if (status < 0) {
        ut_admin_complain(admin, status);
        return 1;
    }
    json_t *root = status == 200 ? json_loads(answer, 0, NULL) : NULL;
    if (root == NULL)
        fprintf(stderr, "undertrace: %s: what came back is not understood\n", admin);
    else if (json)
        puts(answer);
    else
        print_table(root);
    int code = root != NULL ? 0 : 1;
    json_decref(root);
    free(answer);
    return code;
}
