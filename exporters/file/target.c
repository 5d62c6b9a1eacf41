/* SPDX-License-Identifier: Apache-2.0 */
#include "file_exporter/target.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/clock.h"
#include "file_exporter/backups.h"

enum {
    FILE_MODE = 0644,
    RUNS_AT_ONCE = 1024, /* what writev takes */
    STREAM_PIECE = 4096, /* what a pipe that polls writable takes without blocking */
    PATIENCE_MS = 5000,
    PATIENCE_STEP_MS = 100, /* after which somebody may have said to give up */
    MEGABYTE = 1 << 20,
};

static int fail(int error, const char *what, const char *path, char text[UT_FILE_TEXT])
{
    char reason[96];
    (void)snprintf(text, UT_FILE_TEXT, "cannot %s %.160s: %s", what, path,
                   strerror_r(-error, reason, sizeof(reason)));
    return error;
}

/* ---- opening --------------------------------------------------------------------------------- */

static int make_directories(const char *path, unsigned mode)
{
    char folder[PATH_MAX];
    if (strlen(path) >= sizeof(folder))
        return -ENAMETOOLONG;
    for (const char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        size_t size = (size_t)(slash - path);
        memcpy(folder, path, size);
        folder[size] = '\0';
        if (mkdir(folder, mode) != 0 && errno != EEXIST)
            return -errno;
    }
    return 0;
}

/* Standard output anew, so that it can be non-blocking for us alone. What is neither pipe nor
 * terminal does not block for long and is shared. */
static int open_standard_output(void)
{
    struct stat status;
    if (fstat(STDOUT_FILENO, &status) != 0)
        return -errno;
    int fd = -1;
    if (S_ISFIFO(status.st_mode) || isatty(STDOUT_FILENO))
        fd = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

/* Non-blocking: the open of a pipe that nobody reads would wait. */
static int open_path(struct ut_file_target *target)
{
    const struct ut_file_config *config = target->config;
    int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    int error = config->create_directory
                    ? make_directories(config->path, ut_file_directory_mode(config))
                    : 0;
    int fd = error == 0 ? open(config->path, flags, FILE_MODE) : -1;
    if (fd < 0)
        return error != 0 ? error : -errno;
    return fd;
}

static int take_regular(struct ut_file_target *target, int fd, char text[UT_FILE_TEXT])
{
    const char *path = target->config->path;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int error = -errno;
        if (error != -EWOULDBLOCK)
            return fail(error, "lock", path, text);
        (void)snprintf(text, UT_FILE_TEXT, "%.160s is being written by another exporter or process",
                       path);
        return -EBUSY;
    }
    if (!target->config->append && !target->config->rotation.present && !target->truncated) {
        if (ftruncate(fd, 0) != 0)
            return fail(-errno, "empty", path, text);
        target->opened.st_size = 0;
    }
    target->truncated = true;
    target->size = target->opened.st_size;
    return 0;
}

int ut_file_target_open(struct ut_file_target *target, char text[UT_FILE_TEXT])
{
    const char *path = target->config->path;
    bool standard = strcmp(path, "-") == 0;
    int fd = standard ? open_standard_output() : open_path(target);
    if (fd < 0)
        return fail(fd, "open", standard ? "standard output" : path, text);
    int error = fstat(fd, &target->opened) == 0 ? 0 : fail(-errno, "look at", path, text);
    target->is_regular = !standard && S_ISREG(target->opened.st_mode);
    target->torn = false;
    if (error == 0 && target->is_regular)
        error = take_regular(target, fd, text);
    if (error != 0) {
        close(fd);
        return error;
    }
    target->fd = fd;
    if (target->is_regular && target->config->rotation.present)
        ut_file_prune(path, &target->config->rotation, ut_clock_unix_ns() / UT_NS_PER_MS);
    return 0;
}

void ut_file_target_init(struct ut_file_target *target, const struct ut_file_config *config,
                         const atomic_bool *give_up)
{
    *target = (struct ut_file_target){
        .config = config, .give_up = give_up, .patience_ms = PATIENCE_MS, .fd = -1};
}

void ut_file_target_close(struct ut_file_target *target)
{
    if (target->fd >= 0)
        close(target->fd);
    target->fd = -1;
}

/* Whether the name still stands for the file that is open; if so, learns how long it is now, for
 * others may shorten it (copytruncate). */
static bool is_in_place(struct ut_file_target *target)
{
    struct stat now;
    if (stat(target->config->path, &now) != 0)
        return errno != ENOENT;
    if (now.st_dev != target->opened.st_dev || now.st_ino != target->opened.st_ino)
        return false;
    if (!target->torn)
        target->size = now.st_size;
    return true;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Copies of the runs from `*run`, `*offset` on, at most `most` bytes and as many runs as writev
 * takes; their number. */
static int gather(struct iovec *out, const struct iovec *runs, size_t count, size_t run,
                  size_t offset, size_t most)
{
    int taken = 0;
    for (; run < count && taken < RUNS_AT_ONCE && most > 0; run++, offset = 0) {
        size_t size = runs[run].iov_len - offset;
        size = size < most ? size : most;
        most -= size;
        if (size > 0)
            out[taken++] = (struct iovec){(uint8_t *)runs[run].iov_base + offset, size};
    }
    return taken;
}

static void pass(const struct iovec *runs, size_t *run, size_t *offset, size_t bytes)
{
    *offset += bytes;
    while (bytes > 0 && *offset >= runs[*run].iov_len) {
        *offset -= runs[*run].iov_len;
        ++*run;
        if (*offset == 0)
            return;
    }
}

/* Waits until a pipe or terminal takes something. 0, -ETIMEDOUT or -ECANCELED. */
static int wait_for_reader(const struct ut_file_target *target)
{
    struct pollfd poll_fd = {.fd = target->fd, .events = POLLOUT};
    for (unsigned waited = 0; waited < target->patience_ms; waited += PATIENCE_STEP_MS) {
        if (atomic_load(target->give_up))
            return -ECANCELED;
        if (poll(&poll_fd, 1, PATIENCE_STEP_MS) == 1)
            return 0;
    }
    return -ETIMEDOUT;
}

/* Writes all runs; *ret_written is how far it came. */
static int write_runs(struct ut_file_target *target, const struct iovec *runs, size_t count,
                      size_t *ret_written)
{
    struct iovec some[RUNS_AT_ONCE];
    size_t run = 0, offset = 0;
    *ret_written = 0;
    for (;;) {
        int taken =
            gather(some, runs, count, run, offset, target->is_regular ? SSIZE_MAX : STREAM_PIECE);
        if (taken == 0)
            return 0;
        int error = target->is_regular ? 0 : wait_for_reader(target);
        if (error != 0)
            return error;
        ssize_t n = writev(target->fd, some, taken);
        if (n > 0) {
            *ret_written += (size_t)n;
            pass(runs, &run, &offset, (size_t)n);
        } else if (n == 0) {
            return -EIO;
        } else if (errno != EINTR && errno != EAGAIN) {
            return -errno;
        }
    }
}

/* Cuts off what stands behind the last whole record. */
static int mend(struct ut_file_target *target)
{
    if (!target->torn)
        return 0;
    if (target->is_regular) {
        if (ftruncate(target->fd, target->size) != 0)
            return -errno;
    } else {
        size_t written;
        struct iovec end_of_line = {(void *)(uintptr_t) "\n", 1};
        int error = write_runs(target, &end_of_line, 1, &written);
        if (error != 0)
            return error;
    }
    target->torn = false;
    return 0;
}

static int rotate(struct ut_file_target *target, char text[UT_FILE_TEXT])
{
    const struct ut_file_config *config = target->config;
    int error =
        ut_file_backup(config->path, ut_clock_unix_ns() / UT_NS_PER_MS, config->rotation.localtime);
    if (error != 0)
        return fail(error, "rename", config->path, text);
    target->rotations++;
    ut_file_target_close(target);
    return ut_file_target_open(target, text);
}

/* Sees to it that the file is open, is the one that the name stands for, and has room. */
static int prepare(struct ut_file_target *target, size_t bytes, char text[UT_FILE_TEXT])
{
    const struct ut_file_rotation *rotation = &target->config->rotation;
    if (target->fd >= 0 && target->is_regular && !is_in_place(target))
        ut_file_target_close(target);
    int error = target->fd < 0 ? ut_file_target_open(target, text) : 0;
    if (error != 0)
        return error;
    error = mend(target);
    if (error != 0)
        return fail(error, "write to", target->config->path, text);
    if (target->is_regular && rotation->present && target->size > 0 &&
        (uint64_t)target->size + bytes > rotation->max_megabytes * MEGABYTE)
        return rotate(target, text);
    return 0;
}

int ut_file_target_write(struct ut_file_target *target, const struct iovec *runs, size_t count,
                         size_t bytes, char text[UT_FILE_TEXT])
{
    size_t written;
    int error = prepare(target, bytes, text);
    if (error != 0)
        return error;
    error = write_runs(target, runs, count, &written);
    if (error == 0) {
        target->size += (off_t)bytes;
        return 0;
    }
    target->torn = written > 0;
    (void)mend(target); /* what does not succeed now is tried again before the next record */
    if (error == -ETIMEDOUT || error == -ECANCELED) {
        (void)snprintf(text, UT_FILE_TEXT, "the reader of %.160s does not read",
                       target->config->path);
        return error;
    }
    /* A reader that is gone does not come back to a pipe without a name; one with a name is opened
     * again. */
    if (!target->is_regular && strcmp(target->config->path, "-") != 0)
        ut_file_target_close(target);
    return fail(error, "write to", target->config->path, text);
}
