/* SPDX-License-Identifier: Apache-2.0 */
#include "flow/disk/guard.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static _Thread_local const struct ut_disk_guard *in_use;

void ut_disk_guard_init(struct ut_disk_guard *guard, const char *path)
{
    (void)snprintf(guard->marker, sizeof(guard->marker), "%s.bad", path);
    (void)snprintf(guard->line, sizeof(guard->line),
                   "undertrace: %s cannot be read any more (disk error or file changed); "
                   "the next start sets it aside\n",
                   path);
}

/* Only what may be called in a signal handler. */
void ut_disk_guard_end(const struct ut_disk_guard *guard)
{
    ssize_t written = write(STDERR_FILENO, guard->line, strlen(guard->line));
    (void)written;
    int fd = open(guard->marker, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0)
        (void)fsync(fd);
    _exit(1);
}

static void on_signal(int number)
{
    if (in_use != NULL)
        ut_disk_guard_end(in_use);
    /* Not ours. SA_RESETHAND has put the default back: the instruction fails again, and kills. */
    (void)number;
}

void ut_disk_guard_watch(void)
{
    static const int signals[] = {SIGBUS, SIGSEGV};
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        struct sigaction before;
        const struct sigaction ours = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
        /* A sanitizer's or a debugger's handler knows better what to say. */
        if (sigaction(signals[i], NULL, &before) == 0 && before.sa_handler == SIG_DFL)
            (void)sigaction(signals[i], &ours, NULL);
    }
}

void ut_disk_guard_enter(const struct ut_disk_guard *guard)
{
    in_use = guard;
}

void ut_disk_guard_leave(void)
{
    in_use = NULL;
}

bool ut_disk_guard_take_marker(const struct ut_disk_guard *guard)
{
    return unlink(guard->marker) == 0;
}
