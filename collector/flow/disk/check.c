/* SPDX-License-Identifier: Apache-2.0 */
#include "flow/disk/check.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crash_point.h"

enum { NAMED_MAX = 16 };

/* What the child tells its parent; no word at all: it was killed. */
struct word {
    int error;
    struct ut_disk_check check;
};

/* ---- the child ------------------------------------------------------------------------------- */

static int step_through(MDB_txn *txn, MDB_dbi dbi)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    int error = mdb_cursor_open(txn, dbi, &cursor);
    if (error != 0)
        return error;
    do
        error = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    while (error == 0);
    mdb_cursor_close(cursor);
    return error == MDB_NOTFOUND ? 0 : error;
}

static int step_through_named(MDB_txn *txn, MDB_dbi names)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    int error = mdb_cursor_open(txn, names, &cursor);
    while (error == 0 && (error = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        char name[64];
        MDB_dbi dbi;
        if (key.mv_size >= sizeof(name))
            return MDB_CORRUPTED;
        memcpy(name, key.mv_data, key.mv_size);
        name[key.mv_size] = '\0';
        error = mdb_dbi_open(txn, name, 0, &dbi);
        if (error == 0)
            error = step_through(txn, dbi);
    }
    return error == MDB_NOTFOUND ? 0 : error;
}

/* An LMDB error code; what it allocates goes with the child. */
static int read_with_lmdb(const char *path)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi names;
    int error = mdb_env_create(&env);
    if (error == 0)
        error = mdb_env_set_maxdbs(env, NAMED_MAX);
    if (error == 0)
        error = mdb_env_open(env, path, MDB_RDONLY | MDB_NOLOCK | MDB_NOSUBDIR | MDB_NORDAHEAD, 0);
    if (error == 0)
        error = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);
    if (error == 0)
        error = mdb_dbi_open(txn, NULL, 0, &names);
    return error != 0 ? error : step_through_named(txn, names);
}

static void look(const char *path, struct word *word)
{
    struct ut_pages_report report;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    word->error = fd < 0 ? -errno : ut_pages_check(fd, &report);
    if (fd < 0)
        return;
    word->check.commit_uncertain = report.commit_uncertain;
    if (word->error != 0) {
        (void)snprintf(word->check.text, sizeof(word->check.text), "page %llu: %s",
                       (unsigned long long)report.page,
                       word->error == -EBADMSG ? report.error : strerror(-word->error));
        /* A sector that cannot be read is damage like any other. */
        word->error = word->error == -EIO ? -EBADMSG : word->error;
        return;
    }
    int error = read_with_lmdb(path);
    if (error != 0) {
        (void)snprintf(word->check.text, sizeof(word->check.text), "%s", mdb_strerror(error));
        word->error = -EBADMSG;
    }
}

__attribute__((noreturn)) static void be_child(const char *path, int out)
{
    static const int fatal[] = {SIGBUS, SIGSEGV, SIGABRT};
    for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
        (void)signal(fatal[i], SIG_DFL);
    /* The lock of the directory is the parent's, and goes with it. */
    if (out > 3)
        (void)close_range(3, (unsigned)out - 1, 0);
    (void)close_range((unsigned)out + 1, ~0U, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct word word = {.error = 0};
    look(path, &word);
    _exit(write(out, &word, sizeof(word)) == (ssize_t)sizeof(word) ? 0 : 1);
}

/* ---- the parent ------------------------------------------------------------------------------ */

/* Whether the whole word came in time; *ret_late tells what else it was. */
static bool hear(int in, int timeout_ms, struct word *word, bool *ret_late)
{
    size_t size = 0;
    uint64_t end_ns = ut_clock_monotonic_ns() + (uint64_t)timeout_ms * UT_NS_PER_MS;
    while (size < sizeof(*word)) {
        uint64_t now = ut_clock_monotonic_ns();
        struct pollfd wait = {.fd = in, .events = POLLIN};
        *ret_late = now >= end_ns;
        if (*ret_late)
            return false;
        if (poll(&wait, 1, (int)((end_ns - now) / UT_NS_PER_MS) + 1) <= 0)
            continue;
        ssize_t got = read(in, (char *)word + size, sizeof(*word) - size);
        if (got == 0 || (got < 0 && errno != EINTR))
            return false;
        size += got > 0 ? (size_t)got : 0;
    }
    return true;
}

static int end_child(pid_t child, bool heard, bool late, struct ut_disk_check *ret)
{
    int status = 0;
    if (!heard)
        (void)kill(child, SIGKILL);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (heard)
        return 0;
    if (late)
        return -ETIMEDOUT;
    (void)snprintf(ret->text, sizeof(ret->text), "reading it ended with %s",
                   WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "an error");
    return -EBADMSG;
}

int ut_disk_check(const char *path, int timeout_ms, struct ut_disk_check *ret)
{
    *ret = (struct ut_disk_check){.text = ""};
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return -errno;
    pid_t child = fork();
    if (child == 0)
        be_child(path, ends[1]);
    ut_crash_point("during_check");
    int error = child < 0 ? -errno : 0;
    (void)close(ends[1]);
    struct word word;
    if (error == 0) {
        bool late = false, heard = hear(ends[0], timeout_ms, &word, &late);
        error = end_child(child, heard, late, ret);
    }
    (void)close(ends[0]);
    if (error != 0)
        return error;
    *ret = word.check;
    return word.error;
}
