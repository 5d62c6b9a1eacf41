/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "ebpf_receiver/recording.h"

static int ends[2];
static struct ut_log *log_under_test;
static char text[8192];

static void start(void)
{
    cr_assert_eq(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
    log_under_test = ut_log_new(ends[1], UT_LOG_INFO);
}

static void stop(void)
{
    ut_log_free(log_under_test);
    close(ends[0]);
    close(ends[1]);
}

TestSuite(ebpf_recording, .init = start, .fini = stop);

static unsigned lines_with(const char *words)
{
    unsigned count = 0;
    size_t size = strlen(text);
    ssize_t got = read(ends[0], text + size, sizeof(text) - 1 - size);
    text[size + (got > 0 ? (size_t)got : 0)] = '\0';
    for (const char *at = text; (at = strstr(at, words)) != NULL; at++)
        count++;
    return count;
}

/* Every write to /dev/full fails for want of room. */
Test(ebpf_recording, a_full_disk_is_told_of_once_and_ends_it)
{
    struct ut_ebpf_recording recording;
    ut_ebpf_recording_begin(&recording, "/dev/full", log_under_test);
    cr_assert_not_null(recording.writer);
    ut_ebpf_recording_add(&recording, UT_SLICE("a record"), 1);
    for (int tick = 0; tick < 3; tick++)
        ut_ebpf_recording_flush(&recording);
    cr_expect_null(recording.writer, "the file is closed, as the log says");
    ut_ebpf_recording_add(&recording, UT_SLICE("another"), 1);
    cr_expect_eq(lines_with(" event=ebpf_capture_ended error=\"No space left on device\" text=\""),
                 1);
    ut_ebpf_recording_end(&recording);
}

Test(ebpf_recording, a_file_that_cannot_be_made_is_told_of)
{
    struct ut_ebpf_recording recording;
    ut_ebpf_recording_begin(&recording, "/nonexistent/capture", log_under_test);
    cr_expect_null(recording.writer);
    ut_ebpf_recording_flush(&recording);
    ut_ebpf_recording_end(&recording);
    cr_expect_eq(lines_with(" event=ebpf_capture_open file=/nonexistent/capture error=\"No such "
                            "file or directory\" text=\"going on without; "),
                 1);
}

Test(ebpf_recording, none_is_wanted_by_default)
{
    struct ut_ebpf_recording recording;
    ut_ebpf_recording_begin(&recording, NULL, log_under_test);
    ut_ebpf_recording_add(&recording, UT_SLICE("a record"), 1);
    ut_ebpf_recording_flush(&recording);
    ut_ebpf_recording_end(&recording);
    cr_expect_eq(lines_with("event="), 0);
}
