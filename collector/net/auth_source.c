/* SPDX-License-Identifier: Apache-2.0 */
#include "net/auth_source.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"

/* ---- the file ------------------------------------------------------------------------------- */

static bool is_same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* Also two that are not there: both cleared. */
static bool is_same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           is_same_time(&a->st_mtim, &b->st_mtim) && is_same_time(&a->st_ctim, &b->st_ctim);
}

/* Reads until the end; -EFBIG above `room`. */
static ssize_t read_all(int fd, char *out, size_t room)
{
    size_t size = 0;
    for (;;) {
        ssize_t got = read(fd, out + size, room - size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        size += (size_t)got;
        if (got == 0)
            return (ssize_t)size;
        if (size == room)
            return -EFBIG;
    }
}

/* The bytes of the file, and what it is, in `ret`. -EAGAIN: it has changed meanwhile. */
static ssize_t read_file(const char *path, char *out, size_t room, struct stat *ret)
{
    struct stat after;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return -errno;
    ssize_t size = fstat(fd, ret) == 0 ? 0 : -errno;
    if (size == 0)
        size = S_ISREG(ret->st_mode) ? read_all(fd, out, room) : -EINVAL;
    if (size >= 0 && (fstat(fd, &after) != 0 || !is_same_file(ret, &after)))
        size = -EAGAIN;
    close(fd);
    return size;
}

/* ---- all of it ------------------------------------------------------------------------------ */

static const char *text_of(ssize_t error)
{
    switch (error) {
    case -EAGAIN:
        return "it is being written";
    case -EINVAL:
        return "it is not a file";
    default:
        return strerror((int)-error);
    }
}

/* 0, or a negative errno with what is wrong. */
static int add_file(struct ut_auth_source *source, struct ut_auth_list *list,
                    const char **ret_reason)
{
    struct stat now;
    size_t before = list->count;
    char *text = malloc(UT_AUTH_FILE_MAX);
    ssize_t size = text != NULL ? read_file(source->file, text, UT_AUTH_FILE_MAX, &now) : -ENOMEM;
    *ret_reason = size < 0 ? text_of(size)
                           : ut_auth_list_add(list, source->auth, ut_slice_of(text, (size_t)size));
    if (*ret_reason == NULL && list->count == before)
        *ret_reason = "it holds no credentials";
    if (*ret_reason == NULL)
        source->used = source->seen = now;
    if (text != NULL)
        OPENSSL_cleanse(text, UT_AUTH_FILE_MAX);
    free(text);
    return *ret_reason == NULL ? 0 : size < 0 ? (int)size : -EINVAL;
}

/* Reads everything anew; where that is not possible nothing changes. 0, or a negative errno with
 * what is wrong; -EAGAIN: it is to be tried again. */
static int load(struct ut_auth_source *source, const char **ret_reason)
{
    struct ut_auth_list *list = calloc(1, sizeof(*list));
    int code = 0;
    *ret_reason = list == NULL ? "out of memory" : NULL;
    for (size_t i = 0; i < source->text_count && *ret_reason == NULL; i++)
        *ret_reason = ut_auth_list_add(list, source->auth, ut_slice_str(source->texts[i]));
    if (*ret_reason == NULL && source->file != NULL)
        code = add_file(source, list, ret_reason);
    if (*ret_reason == NULL && list->count == 0)
        *ret_reason = "there are no credentials";
    if (*ret_reason == NULL)
        ut_auth_replace(source->auth, list, ut_worker_now(source->worker));
    if (list != NULL)
        OPENSSL_cleanse(list, sizeof(*list));
    free(list);
    return *ret_reason == NULL ? 0 : code != 0 ? code : -EINVAL;
}

/* ---- looking again -------------------------------------------------------------------------- */

static void set_timer(struct ut_auth_source *source)
{
    uint64_t due_ns = ut_auth_expire(source->auth, ut_worker_now(source->worker));
    if (source->file != NULL && source->next_look_ns < due_ns)
        due_ns = source->next_look_ns;
    if (due_ns != UINT64_MAX)
        ut_timer_set(&source->worker->timers, &source->look, due_ns);
}

/* Of a file that is `now` so; a state that was refused is not tried again. */
static void reload(struct ut_auth_source *source, const struct stat *now)
{
    char shown[512];
    const char *reason;
    int error = load(source, &reason);
    if (error == 0) {
        ++*source->reloads;
        ut_log(source->worker->log, UT_LOG_INFO, "credentials_replaced", "receiver=%s file=%s",
               source->id, ut_log_quote(shown, sizeof(shown), source->file));
        return;
    }
    source->seen = *now;
    if (error == -EAGAIN)
        return;
    source->used = *now;
    ++*source->failures;
    ut_log(source->worker->log, UT_LOG_ERROR, "credentials_refused",
           "receiver=%s file=%s reason=\"%s\" text=\"the former ones stay in force\"", source->id,
           ut_log_quote(shown, sizeof(shown), source->file), reason);
}

/* A file that is not there is one that has changed, too. */
static void look_at(struct ut_auth_source *source, bool believe)
{
    struct stat now;
    if (stat(source->file, &now) != 0)
        memset(&now, 0, sizeof(now));
    bool changed = !is_same_file(&now, &source->used);
    if (believe || (changed && is_same_file(&now, &source->seen)))
        reload(source, &now);
    else
        source->seen = now;
    source->next_look_ns = ut_worker_now(source->worker) + UT_AUTH_LOOK_NS;
}

static void on_look(struct ut_timer *timer, uint64_t now_ns)
{
    struct ut_auth_source *source = UT_CONTAINER_OF(timer, struct ut_auth_source, look);
    if (source->file != NULL && now_ns >= source->next_look_ns)
        look_at(source, false);
    set_timer(source);
}

int ut_auth_source_start(struct ut_auth_source *source, const char *labels, char *error,
                         size_t error_size)
{
    source->look = (struct ut_timer){.fire = on_look};
    source->next_look_ns = ut_worker_now(source->worker) + UT_AUTH_LOOK_NS;
    source->reloads =
        ut_metrics_counter(source->worker->metrics, "undertrace_receiver_auth_file_reloads_total",
                           labels, "Times that a changed file of credentials was read");
    source->failures =
        ut_metrics_counter(source->worker->metrics, "undertrace_receiver_auth_file_failures_total",
                           labels, "Times that a changed file of credentials could not be used");
    const char *reason;
    int code = load(source, &reason);
    if (code != 0) {
        (void)snprintf(error, error_size, "%s: %s",
                       source->file != NULL ? source->file : "credentials", reason);
        return code;
    }
    set_timer(source);
    return 0;
}

void ut_auth_source_stop(struct ut_auth_source *source)
{
    if (source->worker != NULL)
        ut_timer_cancel(&source->worker->timers, &source->look);
}

void ut_auth_source_inherit(struct ut_auth_source *source, const struct ut_auth_source *from)
{
    ut_auth_inherit(source->auth, from->auth, ut_worker_now(source->worker));
    set_timer(source);
}

void ut_auth_source_reread(struct ut_auth_source *source)
{
    if (source->file == NULL)
        return;
    look_at(source, true);
    set_timer(source);
}
