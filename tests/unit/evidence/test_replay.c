/* SPDX-License-Identifier: Apache-2.0 */
/* Captured records replay to the joins that the live ones would have made. */
#include <criterion/criterion.h>
#include <unistd.h>

#include "lab.h"
#include "replay.h"

enum { CLIENT = 11, SERVER = 12 };

/* A sink that writes a capture, as the receiver does. */
struct recorder {
    struct ut_event_sink sink;
    struct ut_capture_writer *writer;
};

static void write_record(struct ut_event_sink *sink, const void *data, size_t size,
                         int64_t unix_offset_ns)
{
    struct recorder *recorder = UT_CONTAINER_OF(sink, struct recorder, sink);
    cr_assert_eq(ut_capture_write(recorder->writer, ut_slice_of(data, size), unix_offset_ns), 0);
}

static const struct otlp_attribute to_server[] = {
    {"network.peer.address", "10.0.0.2", 0}, {"network.peer.port", NULL, 80}, {0}};

Test(replay, capture_gives_the_same_evidence)
{
    char path[] = "/tmp/ut-replay-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
    static struct lab lab;
    lab_start(&lab);
    struct recorder recorder = {.sink = {.record = write_record}};
    cr_assert_eq(ut_capture_create(&recorder.writer, path), 0);

    /* The lab's records go into the file instead of the tables. */
    struct ut_event_sink *live = ut_evidence_sink(lab.evidence);
    lab.divert = &recorder.sink;
    lab_cgroup(&lab, CLIENT, "/client");
    lab_cgroup(&lab, SERVER, "/server");
    uint64_t sender = lab_sender(&lab, CLIENT);
    struct lab_pair pair = lab_pair_of(&lab, CLIENT, "10.0.0.1", 40000, SERVER, "10.0.0.2", 80);
    lab_open(&lab, &pair, -10);
    lab_timeout(&lab, &pair.client, 205);
    ut_capture_close(recorder.writer);
    cr_expect_eq(lab_figures(&lab).records, 0);

    cr_expect_eq(replay_file(live, path), 7);
    (void)unlink(path);
    LAB_JOIN(&lab, sender, lab_span(KIND_CLIENT, 1, 0, 212, to_server));
    cr_expect_str_eq(lab_text(&lab, 0, UT_ATTR_TCP_MATCH), "connection");
    cr_expect_eq(lab_int(&lab, 0, UT_ATTR_TCP_RETRANSMITS), 1);
    lab_stop(&lab);
}
