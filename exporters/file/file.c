/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file exporter: each item becomes one record (record.h) that is appended to a file (target.h).
 * An item is done when write(2) has taken all of it; what fails is UT_RETRY, so that a full disk
 * loses nothing.
 *
 * The disk is waited for on libuv's threads, never on the loop: a job takes all items that wait and
 * writes them in the order in which they came. One job runs at a time. While it does, `target`,
 * `pool`, `writing_as` and the sends in it belong to its thread; the batch of an item is not
 * changed by anybody before the item is done.
 *
 * States: idle ⇄ writing; any → stopping → stopped.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "file_exporter/record.h"
#include "file_exporter/target.h"

enum { POOL_RETAIN = 1 << 20 };

extern const struct ut_exporter_type ut_exporter_file;

struct file;

struct send {
    struct send *next;
    struct ut_item *item;
    struct ut_splice splice;
    enum ut_result result;
    enum ut_setback cause;
    size_t written; /* bytes */
    char text[UT_FILE_TEXT];
};

struct send_list {
    struct send *first, **last;
};

struct file {
    struct ut_exporter base;
    struct ut_worker *worker;
    const struct ut_file_config *config;
    const char *id;
    uv_work_t job;
    bool writing, reload;
    struct send_list waiting, in_job;
    struct ut_pool pool; /* of the job */
    struct ut_file_writing writing_as;
    struct ut_file_target target;
    atomic_bool stopping;
    void (*stopped)(void *arg);
    void *stopped_arg;
    uint64_t *sent_bytes, *rotations;
};

static struct file *file_of(struct ut_exporter *base)
{
    return UT_CONTAINER_OF(base, struct file, base);
}

static void clear(struct send_list *list)
{
    *list = (struct send_list){.last = &list->first};
}

/* ---- on a thread of libuv's ------------------------------------------------------------------ */

static void write_send(struct file *file, struct send *send)
{
    struct ut_file_record record;
    int error = ut_file_record_make(&record, &send->splice, &file->writing_as);
    if (error == 0) {
        error = ut_file_target_write(&file->target, record.runs, record.count, record.bytes,
                                     send->text);
        send->result = error == 0 ? UT_SENT : UT_RETRY;
        send->cause = UT_SETBACK_TRANSPORT;
        send->written = error == 0 ? record.bytes : 0;
    } else {
        send->result = error == -ENOMEM ? UT_RETRY : UT_PERMANENT;
        send->cause = UT_SETBACK_LOCAL;
        (void)snprintf(send->text, sizeof(send->text), "%s",
                       error == -ENOMEM ? "out of memory" : "the spans cannot be written as JSON");
    }
    ut_file_record_done(&record);
}

static void run_job(uv_work_t *job)
{
    struct file *file = UT_CONTAINER_OF(job, struct file, job);
    for (struct send *send = file->in_job.first; send != NULL; send = send->next)
        write_send(file, send);
}

/* ---- on the loop ----------------------------------------------------------------------------- */

static void finish(struct file *file, struct send *send)
{
    struct ut_item *item = send->item;
    struct ut_outcome outcome = {.result = send->result, .cause = send->cause};
    char text[UT_FILE_TEXT];
    if (send->result != UT_SENT) {
        memcpy(text, send->text, sizeof(text));
        outcome.text = text;
    }
    *file->sent_bytes += send->written;
    ut_splice_done(&send->splice);
    ut_pool_free(&file->worker->pool, send);
    item->done(item, &outcome);
}

static void finish_all(struct file *file, struct send_list list)
{
    while (list.first != NULL) {
        struct send *send = list.first;
        list.first = send->next;
        finish(file, send);
    }
}

static void on_job_done(uv_work_t *job, int status);

/* The file is whoever's that waits for it from now on. */
static void end(struct file *file)
{
    ut_file_target_close(&file->target);
    file->stopped(file->stopped_arg);
}

static void begin_job(struct file *file)
{
    if (file->writing || file->waiting.first == NULL)
        return;
    file->in_job = file->waiting;
    clear(&file->waiting);
    file->writing = true;
    UT_CHECK(uv_queue_work(&file->worker->uv, &file->job, run_job, on_job_done) == 0);
}

static void on_job_done(uv_work_t *job, int status)
{
    struct file *file = UT_CONTAINER_OF(job, struct file, job);
    (void)status; /* it is never cancelled */
    struct send_list done = file->in_job;
    clear(&file->in_job);
    *file->rotations = file->target.rotations;
    file->writing = false;
    finish_all(file, done);
    if (file->stopped != NULL)
        end(file);
    else
        begin_job(file);
}

static void refuse(struct ut_item *item, const char *text)
{
    item->done(item,
               &(struct ut_outcome){.result = UT_RETRY, .cause = UT_SETBACK_LOCAL, .text = text});
}

static void send_item(struct ut_exporter *base, struct ut_item *item)
{
    struct file *file = file_of(base);
    if (file->stopped != NULL) {
        refuse(item, "stopping");
        return;
    }
    struct send *send = ut_pool_alloc(&file->worker->pool, sizeof(*send));
    if (send == NULL) {
        refuse(item, "out of memory");
        return;
    }
    send->next = NULL;
    send->item = item;
    send->written = 0;
    if (ut_splice_batch(&send->splice, item->batch, item->first_span, item->span_count) != 0) {
        ut_pool_free(&file->worker->pool, send);
        refuse(item, "out of memory");
        return;
    }
    *file->waiting.last = send;
    file->waiting.last = &send->next;
    begin_job(file);
}

/* ---- life ------------------------------------------------------------------------------------ */

/* false: there is no memory for the compressor. */
static bool open_writing(struct file *file)
{
    const struct ut_file_config *config = file->config;
    file->writing_as = (struct ut_file_writing){.format = (enum ut_file_format)config->format,
                                                .pool = &file->pool};
    if (config->compression == UT_FILE_PLAIN)
        return true;
    file->writing_as.compressor = ut_compressor_new(
        &file->pool, config->compression == UT_FILE_ZSTD ? UT_CODING_ZSTD : UT_CODING_GZIP);
    return file->writing_as.compressor != NULL;
}

static int create(struct ut_exporter **ret, const struct ut_build *build)
{
    struct file *file = calloc(1, sizeof(*file));
    char label[160];
    if (file == NULL)
        return -ENOMEM;
    file->base.type = &ut_exporter_file;
    file->worker = build->worker;
    file->config = build->config;
    file->id = build->id;
    file->reload = build->reload;
    clear(&file->waiting);
    clear(&file->in_job);
    ut_pool_init(&file->pool, POOL_RETAIN);
    ut_file_target_init(&file->target, file->config, &file->stopping);
    if (!open_writing(file)) {
        ut_pool_done(&file->pool);
        free(file);
        return -ENOMEM;
    }
    (void)snprintf(label, sizeof(label), "exporter=\"%s\"", build->id);
    file->sent_bytes = ut_metrics_counter(build->worker->metrics, "undertrace_exporter_sent_bytes",
                                          label, "Bytes written to the backend.");
    file->rotations = ut_metrics_counter(build->worker->metrics, "undertrace_file_rotations", label,
                                         "Times that the file was given a backup's name.");
    *ret = &file->base;
    return 0;
}

static int start(struct ut_exporter *base, char error[UT_ERROR_TEXT])
{
    char text[UT_FILE_TEXT];
    struct file *file = file_of(base);
    /* What the one before has written stays, and the file is opened when that lets go of it: each
     * write tries to. */
    file->target.truncated = file->reload;
    int code = ut_file_target_open(&file->target, text);
    if (code == -EBUSY && file->reload)
        return 0;
    if (code != 0)
        (void)snprintf(error, UT_ERROR_TEXT, "%.*s", UT_ERROR_TEXT - 1, text);
    return code;
}

static void stop(struct ut_exporter *base, void (*stopped)(void *arg), void *arg)
{
    struct file *file = file_of(base);
    atomic_store(&file->stopping, true);
    file->stopped = stopped;
    file->stopped_arg = arg;
    struct send_list waiting = file->waiting;
    clear(&file->waiting);
    for (struct send *send = waiting.first; send != NULL; send = send->next) {
        send->result = UT_RETRY;
        send->cause = UT_SETBACK_LOCAL;
        (void)snprintf(send->text, sizeof(send->text), "stopping");
    }
    finish_all(file, waiting);
    if (!file->writing)
        end(file);
}

static void free_exporter(struct ut_exporter *base)
{
    struct file *file = file_of(base);
    UT_CHECK(!file->writing && file->waiting.first == NULL);
    ut_file_target_close(&file->target);
    ut_compressor_free(file->writing_as.compressor);
    ut_pool_done(&file->pool);
    free(file);
}

static const struct ut_exporter_settings *settings_of(const void *config)
{
    return &((const struct ut_file_config *)config)->settings;
}

const struct ut_exporter_type ut_exporter_file = {
    .name = "file",
    .fields = ut_file_fields,
    .config_size = sizeof(struct ut_file_config),
    .check = ut_file_check,
    .settings = settings_of,
    .create = create,
    .start = start,
    .send = send_item,
    .stop = stop,
    .free = free_exporter,
};
