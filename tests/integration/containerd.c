/* SPDX-License-Identifier: Apache-2.0 */
/* The client of containerd on a real loop, against a containerd of the test's own that answers
 * well, late, never, or nonsense. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "evidence/containerd.h"
#include "evidence/containerd_messages.h"
#include "evidence/tables.h"
#include "lab.h"

#define ID "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define PATH "/kubepods/burstable/pod01234567-89ab-cdef-0123-456789abcdef/" ID

enum { STREAMS = 64 };

struct stream {
    char path[96], namespace_name[32];
    uint8_t answer[256];
    size_t answer_size, answer_sent;
    bool held, is_stream;
    int status;
};

static struct {
    int listener, fd;
    nghttp2_session *session;
    struct stream streams[STREAMS]; /* by id / 2 */
    const char *pod;                /* of every container; NULL: there are none */
    bool hold;                      /* asked for a container it does not answer */
    bool nonsense;
    int gets;
} fake;

static struct lab lab;
static struct ut_worker worker;
static struct ut_containerd *containerd;
static char path[64];
static bool stopped;

/* ---- the other end ----------------------------------------------------------------------------
 */

static struct stream *stream_of(int32_t id)
{
    cr_assert_lt(id / 2, STREAMS);
    return &fake.streams[id / 2];
}

static ssize_t read_answer(nghttp2_session *session, int32_t id, uint8_t *out, size_t room,
                           uint32_t *flags, nghttp2_data_source *source, void *user)
{
    (void)source, (void)user;
    struct stream *stream = stream_of(id);
    size_t size = stream->answer_size - stream->answer_sent;
    size = size < room ? size : room;
    memcpy(out, stream->answer + stream->answer_sent, size);
    stream->answer_sent += size;
    if (stream->answer_sent < stream->answer_size)
        return (ssize_t)size;
    if (stream->is_stream)
        return size > 0 ? (ssize_t)size : NGHTTP2_ERR_DEFERRED;
    char status[4];
    (void)snprintf(status, sizeof(status), "%d", stream->status);
    nghttp2_nv trailer = {(uint8_t *)(uintptr_t) "grpc-status", (uint8_t *)status, 11,
                          strlen(status), 0};
    *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
    cr_assert_eq(nghttp2_submit_trailer(session, id, &trailer, 1), 0);
    return (ssize_t)size;
}

static void frame_answer(struct stream *stream, const struct otlp_bytes *message)
{
    stream->answer_sent = 0;
    stream->answer_size = 5 + message->size;
    cr_assert_leq(stream->answer_size, sizeof(stream->answer));
    memset(stream->answer, 0, 5);
    stream->answer[4] = (uint8_t)message->size;
    if (message->size > 0)
        memcpy(stream->answer + 5, message->data, message->size);
}

static void write_container(struct otlp_bytes *out, const char *pod)
{
    size_t container = otlp_begin(out, 1);
    otlp_text(out, 1, ID);
    size_t label = otlp_begin(out, 2);
    otlp_text(out, 1, "io.kubernetes.pod.name");
    otlp_text(out, 2, pod);
    otlp_end(out, label);
    otlp_text(out, 3, "registry.local/shop:1");
    otlp_end(out, container);
}

static void respond(int32_t id)
{
    struct stream *stream = stream_of(id);
    nghttp2_nv field = {(uint8_t *)(uintptr_t) ":status", (uint8_t *)(uintptr_t) "200", 7, 3, 0};
    nghttp2_data_provider body = {.read_callback = read_answer};
    stream->held = false;
    cr_assert_eq(nghttp2_submit_response(fake.session, id, &field, 1, &body), 0);
}

static void answer_get(int32_t id)
{
    struct stream *stream = stream_of(id);
    struct otlp_bytes message = {0};
    fake.gets++;
    bool there = fake.pod != NULL && strcmp(stream->namespace_name, "second") == 0;
    stream->status = there ? 0 : 5;
    if (there) {
        write_container(&message, fake.pod);
        frame_answer(stream, &message);
    }
    otlp_free(&message);
    stream->held = fake.hold;
    if (!fake.hold)
        respond(id);
}

static void answer_other(int32_t id)
{
    struct stream *stream = stream_of(id);
    struct otlp_bytes message = {0};
    stream->is_stream = strstr(stream->path, "Subscribe") != NULL;
    if (strstr(stream->path, "Version/Version") != NULL)
        otlp_text(&message, 1, "1.7.1");
    static const char *const namespaces[] = {"first", "second"};
    for (int i = 0; i < 2 && strstr(stream->path, "Namespaces/List") != NULL; i++) {
        size_t entry = otlp_begin(&message, 1);
        otlp_text(&message, 1, namespaces[i]);
        otlp_end(&message, entry);
    }
    if (!stream->is_stream)
        frame_answer(stream, &message);
    otlp_free(&message);
    respond(id);
}

static int on_field(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                    size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                    void *user)
{
    (void)session, (void)flags, (void)user, (void)name_size;
    struct stream *stream = stream_of(frame->hd.stream_id);
    bool is_path = strcmp((const char *)name, ":path") == 0;
    char *out = is_path ? stream->path : stream->namespace_name;
    size_t room = is_path ? sizeof(stream->path) : sizeof(stream->namespace_name);
    if (is_path || strcmp((const char *)name, "containerd-namespace") == 0)
        (void)snprintf(out, room, "%.*s", (int)value_size, (const char *)value);
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    (void)session, (void)user;
    if (frame->hd.type != NGHTTP2_DATA || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        return 0;
    if (strstr(stream_of(frame->hd.stream_id)->path, "Containers/Get") != NULL)
        answer_get(frame->hd.stream_id);
    else
        answer_other(frame->hd.stream_id);
    return 0;
}

static void accept_one(void)
{
    fake.fd = accept(fake.listener, NULL, NULL);
    if (fake.fd < 0)
        return;
    fcntl(fake.fd, F_SETFL, O_NONBLOCK);
    memset(fake.streams, 0, sizeof(fake.streams));
    nghttp2_session_callbacks *callbacks;
    cr_assert_eq(nghttp2_session_callbacks_new(&callbacks), 0);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_field);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    cr_assert_eq(nghttp2_session_server_new(&fake.session, callbacks, NULL), 0);
    nghttp2_session_callbacks_del(callbacks);
    cr_assert_eq(nghttp2_submit_settings(fake.session, 0, NULL, 0), 0);
    if (fake.nonsense)
        cr_expect_gt(send(fake.fd, "HTTP/1.1 400 Bad Request\r\n\r\n", 28, MSG_NOSIGNAL), 0);
}

static void hang_up(void)
{
    if (fake.fd < 0)
        return;
    close(fake.fd);
    fake.fd = -1;
    nghttp2_session_del(fake.session);
}

static void turn_fake(void)
{
    uint8_t in[4096];
    const uint8_t *out;
    if (fake.fd < 0)
        accept_one();
    if (fake.fd < 0 || fake.nonsense)
        return;
    ssize_t size = recv(fake.fd, in, sizeof(in), 0);
    if (size == 0) {
        hang_up();
        return;
    }
    if (size > 0)
        cr_assert_eq(nghttp2_session_mem_recv(fake.session, in, (size_t)size), size);
    while ((size = nghttp2_session_mem_send(fake.session, &out)) > 0)
        (void)send(fake.fd, out, (size_t)size, MSG_NOSIGNAL);
}

static void release_held(void)
{
    fake.hold = false;
    for (int i = 0; i < STREAMS; i++) {
        if (fake.streams[i].held)
            respond(2 * i + 1);
    }
}

static void send_event(const char *topic)
{
    for (int i = 0; i < STREAMS; i++) {
        struct otlp_bytes message = {0};
        if (!fake.streams[i].is_stream)
            continue;
        otlp_text(&message, 2, "second");
        otlp_text(&message, 3, topic);
        size_t any = otlp_begin(&message, 4), value = otlp_begin(&message, 2);
        otlp_text(&message, 1, ID);
        otlp_end(&message, value);
        otlp_end(&message, any);
        frame_answer(&fake.streams[i], &message);
        otlp_free(&message);
        cr_assert_eq(nghttp2_session_resume_data(fake.session, 2 * i + 1), 0);
    }
}

/* ---- the stage --------------------------------------------------------------------------------
 */

static void begin(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    lab_start(&lab);
    memset(&fake, 0, sizeof(fake));
    fake.fd = -1;
    fake.pod = "web-1";
    cr_assert_eq(ut_worker_init(&worker, (size_t)1 << 24, NULL, lab.metrics), 0);
    (void)snprintf(path, sizeof(path), "/tmp/ut-containerd-%d.sock", (int)getpid());
    memcpy(address.sun_path, path, strlen(path));
    fake.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    cr_assert_eq(bind(fake.listener, (struct sockaddr *)&address, sizeof(address)), 0);
    cr_assert_eq(listen(fake.listener, 8), 0);
    containerd = ut_containerd_new(&worker, lab.evidence, path, true);
    cr_assert_not_null(containerd);
    ut_containerd_start(containerd);
}

static void on_stopped(void *arg)
{
    (void)arg;
    stopped = true;
}

static void end(void)
{
    ut_containerd_stop(containerd, on_stopped, NULL);
    for (int i = 0; i < 1000 && !stopped; i++)
        ut_worker_turn(&worker);
    cr_expect(stopped);
    ut_containerd_free(containerd);
    hang_up();
    close(fake.listener);
    unlink(path);
    ut_worker_done(&worker);
    lab_stop(&lab);
}

TestSuite(containerd, .init = begin, .fini = end, .timeout = 60);

static struct ut_containerd_figures figures(void)
{
    struct ut_containerd_figures ret;
    ut_containerd_figures(containerd, &ret);
    return ret;
}

static void turn(void)
{
    (void)uv_run(&worker.uv, UV_RUN_NOWAIT);
    turn_fake();
    (void)usleep(500);
}

static bool is_connected(void)
{
    return figures().connected;
}

static void await(bool (*condition)(void), const char *what)
{
    for (int i = 0; i < 20000 && !condition(); i++)
        turn();
    cr_assert(condition(), "%s; trouble: %s", what, figures().trouble);
}

static struct ut_workload *workload_of(uint64_t cgroup)
{
    struct ut_workloads *workloads = &ut_evidence_tables(lab.evidence)->workloads;
    bool known;
    return ut_workloads_get(workloads, ut_workloads_of_cgroup(workloads, cgroup, &known));
}

static bool is_named(void)
{
    return workload_of(21)->names.state == UT_NAMES_KNOWN;
}

static bool is_asked(void)
{
    return fake.gets > 0;
}

/* What spans of a sender in that cgroup are told of it now. */
static const char *pod_of_spans(uint64_t cgroup)
{
    struct otlp_span span = lab_span(KIND_CLIENT, 1, 0, 10, NULL);
    lab_join(&lab, lab_sender(&lab, cgroup), &span, 1);
    cr_assert_not_null(lab.batch->first->resources[0].edit);
    ut_slice added = lab.batch->first->resources[0].edit->added;
    cr_expect_str_eq(lab_text_of(added, 1, UT_ATTR_CONTAINER_ID), ID);
    return lab_text_of(added, 1, UT_ATTR_POD_NAME);
}

Test(containerd, names_are_there_before_the_first_span)
{
    await(is_connected, "it connects");
    lab_cgroup(&lab, 21, PATH);
    await(is_named, "it is named");
    cr_expect_str_eq(pod_of_spans(21), "web-1");
    ut_slice added = lab.batch->first->resources[0].edit->added;
    cr_expect_str_eq(lab_text_of(added, 1, UT_ATTR_CONTAINER_IMAGE), "registry.local/shop");
    cr_expect_str_eq(lab_text_of(added, 1, UT_ATTR_RUNTIME_NAME), "containerd");
    cr_expect_str_eq(lab_text_of(added, 1, UT_ATTR_RUNTIME_VERSION), "1.7.1");
    cr_expect_str_eq(lab_text_of(added, 1, UT_ATTR_CONTAINERD_VERSION), "1.7.1");
    cr_expect_eq(fake.gets, 2, "once in each namespace");
}

Test(containerd, containers_that_were_there_before_are_named_too)
{
    lab_cgroup(&lab, 21, PATH);
    await(is_named, "it is named");
    cr_expect_eq(figures().found, 1);
}

Test(containerd, spans_do_not_wait_for_an_answer)
{
    fake.hold = true;
    lab_cgroup(&lab, 21, PATH);
    await(is_asked, "it is asked for");
    cr_expect_str_eq(pod_of_spans(21), "");
    release_held();
    await(is_named, "it is named");
    cr_expect_str_eq(pod_of_spans(21), "web-1");
}

static bool is_next_named(void)
{
    return workload_of(22)->names.state == UT_NAMES_KNOWN;
}

Test(containerd, late_answer_is_for_nobody_but_whom_it_was_asked_for)
{
    await(is_connected, "it connects");
    fake.hold = true;
    fake.pod = "old";
    lab_cgroup(&lab, 21, PATH);
    await(is_asked, "it is asked for");
    struct ut_workload *old = workload_of(21);
    lab_cgroup_change(&lab, 21, PATH, 0, UT_CGROUP_REMOVED);
    lab_cgroup_change(&lab, 22, PATH, 1, UT_CGROUP_CREATED);
    release_held();
    fake.pod = "new";
    await(is_next_named, "the next one is named");
    cr_expect_str_eq(pod_of_spans(22), "new");
    cr_expect_str_eq(old->names.pod, "", "nobody knows whose the late answer is");
}

static bool is_renamed(void)
{
    return strcmp(workload_of(21)->names.pod, "web-2") == 0;
}

Test(containerd, container_that_has_changed_is_asked_for_again)
{
    lab_cgroup(&lab, 21, PATH);
    await(is_named, "it is named");
    fake.pod = "web-2";
    send_event("/containers/update");
    await(is_renamed, "it is renamed");
}

Test(containerd, container_of_another_runtime_or_namespace_is_absent)
{
    fake.pod = NULL;
    await(is_connected, "it connects");
    lab_cgroup(&lab, 21, PATH);
    for (int i = 0; i < 20000 && figures().absent == 0; i++)
        turn();
    cr_expect_eq(figures().absent, 1);
    cr_expect_eq(workload_of(21)->names.state, UT_NAMES_ABSENT);
    cr_expect_str_eq(pod_of_spans(21), "");
    lab_cgroup(&lab, 31, "/machine.slice/libpod-" ID ".scope");
    for (int i = 0; i < 200; i++)
        turn();
    cr_expect_eq(fake.gets, 2, "podman's are not asked for");
}

static bool is_lost(void)
{
    return !figures().connected && figures().trouble[0] != '\0';
}

Test(containerd, lost_connection_is_told_and_opened_again_and_names_stay)
{
    lab_cgroup(&lab, 21, PATH);
    await(is_named, "it is named");
    hang_up();
    await(is_lost, "it is lost");
    cr_expect_str_eq(pod_of_spans(21), "web-1");
    fake.pod = "web-2";
    await(is_renamed, "what has changed meanwhile is known");
}

Test(containerd, what_is_no_containerd_is_told_and_harms_nobody)
{
    fake.nonsense = true;
    lab_cgroup(&lab, 21, PATH);
    await(is_lost, "it is given up");
    cr_expect_not_null(strstr(figures().trouble, path));
    cr_expect_str_eq(pod_of_spans(21), "");
}

static bool is_missed(void)
{
    return strstr(figures().trouble, "no such file") != NULL;
}

Test(containerd, socket_that_is_not_there_is_told)
{
    close(fake.listener);
    fake.listener = -1;
    unlink(path);
    await(is_missed, "it is missed");
}
