/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Invariants: 1. `connecting` while the connector is busy, `open` from the stream's opening until
 * its on_closed; 2. a call is `busy` from its submission until its `done`; 3. a workload that is in
 * a queue or in a call has the state ASKED, or KNOWN where it is asked for again.
 */
#include "evidence/containerd.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "evidence/containerd_messages.h"
#include "evidence/tables.h"
#include "net/connector.h"
#include "net/h2_client.h"
#include "net/stream.h"

enum {
    CALLS = 8,
    ASKS_PER_SECOND = 200,
    QUEUE = UT_WORKLOADS_MAX, /* a power of two */
    HEADERS = 7,              /* of a request, the last of them the namespace */
    GRPC_NOT_FOUND = 5,
    PING_LOOKS = 10, /* seconds between signs of life */
};

#define CONNECT_NS (5 * UT_NS_PER_S)
#define ANSWER_NS (10 * UT_NS_PER_S)
#define PAUSE_MIN_NS UT_NS_PER_S
#define PAUSE_MAX_NS (60 * UT_NS_PER_S)

enum what { VERSION, NAMESPACES, EVENTS, CONTAINER, WHATS };

static const char *const paths[WHATS] = {
    [VERSION] = "/containerd.services.version.v1.Version/Version",
    [NAMESPACES] = "/containerd.services.namespaces.v1.Namespaces/List",
    [EVENTS] = "/containerd.services.events.v1.Events/Subscribe",
    [CONTAINER] = "/containerd.services.containers.v1.Containers/Get",
};

struct call {
    struct ut_h2_call h2;
    struct ut_containerd *containerd;
    enum what what;
    bool busy;
    uint64_t since_ns;
    uint32_t workload; /* of CONTAINER; its id */
    size_t namespace_index;
    int grpc_status; /* -1: not told */
    bool bad;        /* what came is not understood */
    struct ut_container_names names;
    struct ut_containerd_frames frames;
    struct ut_h2_header headers[HEADERS];
    struct iovec run;
    uint8_t request[UT_CONTAINERD_REQUEST_MAX];
};

struct queue {
    uint32_t ids[QUEUE];
    uint32_t first, count;
};

struct ut_containerd {
    struct ut_worker *worker;
    struct ut_evidence *evidence;
    struct ut_tables *tables;
    bool expected, stopping, said;                     /* said: that it is not connected */
    bool open, ended, broken, has_namespaces, resumed; /* of the connection */
    struct ut_connector connector;
    struct ut_stream stream;
    struct ut_h2_client client;
    struct ut_timer timer; /* the next attempt, or the next look */
    struct ut_deferred pump, gone;
    uint64_t pause_ns;
    uint32_t asks_left, looks;
    struct call calls[CALLS + EVENTS + 1];
    struct queue urgent, others;
    struct ut_containerd_namespaces namespaces;
    uint64_t *found, *absent, *failed, *refused; /* counters */
    char trouble[256];
    char endpoint[160]; /* "unix://" and the path */
    void (*stopped)(void *arg);
    void *stopped_arg;
};

static void pump_later(struct ut_containerd *c)
{
    if (c->open && !c->ended)
        ut_worker_defer(c->worker, &c->pump);
}

/* ---- who is to be asked for ------------------------------------------------------------------ */

static bool push(struct ut_containerd *c, struct queue *queue, uint32_t id)
{
    if (queue->count == QUEUE) {
        ++*c->refused;
        return false;
    }
    queue->ids[(queue->first + queue->count++) % QUEUE] = id;
    pump_later(c);
    return true;
}

static uint32_t pop(struct queue *queue)
{
    uint32_t id = queue->ids[queue->first];
    queue->first = (queue->first + 1) % QUEUE;
    queue->count--;
    return id;
}

/* Other runtimes keep their containers elsewhere. */
static bool may_know(const struct ut_workload *workload)
{
    return workload->runtime[0] == '\0' || strcmp(workload->runtime, "containerd") == 0 ||
           strcmp(workload->runtime, "docker") == 0;
}

static void on_wanted(void *arg, struct ut_workload *workload, bool urgent)
{
    struct ut_containerd *c = arg;
    if (!c->open || !may_know(workload))
        return; /* once connected, all are asked for that live then */
    if (push(c, urgent ? &c->urgent : &c->others, workload->id))
        workload->names.state = UT_NAMES_ASKED;
}

/* Asks again for one that may have changed. */
static void ask_again(struct ut_containerd *c, struct ut_workload *workload)
{
    uint8_t state = workload->names.state;
    if (workload->removed_ns != 0 || state == UT_NAMES_ASKED || !may_know(workload))
        return;
    if (push(c, &c->others, workload->id) && state != UT_NAMES_KNOWN)
        workload->names.state = UT_NAMES_ASKED;
}

static void ask_for_all(struct ut_containerd *c)
{
    struct ut_workload *slots = c->tables->workloads.slots;
    for (uint32_t i = 1; i < UT_WORKLOADS_MAX; i++) {
        if (UT_WORKLOAD_SLOT(slots[i].id) != 0 && slots[i].container_id[0] != '\0')
            ask_again(c, &slots[i]);
    }
}

/* Nobody is asked for any more. */
static void forget_questions(struct ut_containerd *c)
{
    struct ut_workload *slots = c->tables->workloads.slots;
    c->urgent.count = c->others.count = 0;
    for (uint32_t i = 1; i < UT_WORKLOADS_MAX; i++) {
        if (slots[i].names.state == UT_NAMES_ASKED)
            slots[i].names.state = UT_NAMES_UNKNOWN;
    }
}

/* ---- what containerd says -------------------------------------------------------------------- */

static void on_event(struct ut_containerd *c, const struct ut_containerd_event *event)
{
    if (event->is_deletion || event->id[0] == '\0')
        return;
    ut_containerd_add_namespace(&c->namespaces, event->namespace_name);
    struct ut_workload *workload =
        ut_workloads_by_container(&c->tables->workloads, ut_slice_str(event->id));
    if (workload != NULL)
        ask_again(c, workload);
}

static int take_message(struct call *call, ut_slice message)
{
    struct ut_containerd *c = call->containerd;
    struct ut_containerd_event event;
    int error;
    switch (call->what) {
    case VERSION:
        return ut_containerd_read_version(c->tables->containerd_version, message);
    case NAMESPACES:
        error = ut_containerd_read_namespaces(&c->namespaces, message);
        c->has_namespaces = error == 0;
        return error;
    case CONTAINER:
        return ut_containerd_read_container(&call->names, message);
    default:
        error = ut_containerd_read_event(&event, message);
        if (error == 0)
            on_event(c, &event);
        return error;
    }
}

static void on_data(struct ut_h2_call *h2, ut_slice bytes)
{
    struct call *call = UT_CONTAINER_OF(h2, struct call, h2);
    size_t at = 0;
    ut_slice message;
    call->bad = call->bad || ut_containerd_frames_add(&call->frames, bytes) != 0;
    while (!call->bad && ut_containerd_frames_next(&call->frames, &at, &message))
        call->bad = take_message(call, message) != 0;
    ut_containerd_frames_cut(&call->frames, at);
    if (call->bad)
        call->frames.size = 0; /* nothing that follows can be understood */
}

static void on_header(struct ut_h2_call *h2, ut_slice name, ut_slice value)
{
    struct call *call = UT_CONTAINER_OF(h2, struct call, h2);
    if (!ut_slice_equal(name, UT_SLICE("grpc-status")))
        return;
    call->grpc_status = 0;
    for (size_t i = 0; i < value.size && i < 3; i++)
        call->grpc_status = call->grpc_status * 10 + (value.data[i] - '0');
}

/* ---- calls ----------------------------------------------------------------------------------- */

static void on_done(struct ut_h2_call *h2);

static const struct ut_h2_call_ops call_ops = {
    .on_header = on_header, .on_data = on_data, .done = on_done};

static size_t write_request(const struct ut_containerd *c, struct call *call)
{
    if (call->what == EVENTS)
        return ut_containerd_write_subscribe(call->request);
    if (call->what != CONTAINER)
        return ut_containerd_write_empty(call->request);
    const struct ut_workload *workload = ut_workloads_get(&c->tables->workloads, call->workload);
    return ut_containerd_write_get(call->request, workload->container_id);
}

/* The connection takes no more where it fails; the call is over then. */
static void submit(struct ut_containerd *c, struct call *call)
{
    const struct ut_h2_header fixed[] = {
        {UT_SLICE(":method"), UT_SLICE("POST")},
        {UT_SLICE(":scheme"), UT_SLICE("http")},
        {UT_SLICE(":path"), ut_slice_str(paths[call->what])},
        {UT_SLICE(":authority"), UT_SLICE("localhost")},
        {UT_SLICE("te"), UT_SLICE("trailers")},
        {UT_SLICE("content-type"), UT_SLICE("application/grpc")},
    };
    _Static_assert(sizeof(fixed) / sizeof(fixed[0]) == HEADERS - 1, "and the namespace");
    memcpy(call->headers, fixed, sizeof(fixed));
    bool named = call->what == CONTAINER;
    if (named)
        call->headers[HEADERS - 1] =
            (struct ut_h2_header){UT_SLICE("containerd-namespace"),
                                  ut_slice_str(c->namespaces.names[call->namespace_index])};
    call->run = (struct iovec){call->request, write_request(c, call)};
    call->h2 = (struct ut_h2_call){
        .ops = &call_ops,
        .runs = &call->run,
        .run_count = 1,
        .body_bytes = call->run.iov_len,
        .headers = call->headers,
        .header_count = named ? HEADERS : HEADERS - 1,
    };
    call->since_ns = ut_worker_now(c->worker);
    call->grpc_status = -1;
    call->bad = false;
    call->frames.size = 0;
    call->names.state = UT_NAMES_UNKNOWN;
    call->busy = ut_h2_client_submit(&c->client, &call->h2) == 0;
    ut_stream_flush_later(&c->stream);
}

static void fail(struct ut_containerd *c, const char *text)
{
    if (!c->open || c->ended || c->broken)
        return;
    (void)snprintf(c->trouble, sizeof(c->trouble), "%s: %s", c->endpoint, text);
    c->broken = true; /* closed off the callbacks' stack */
    ut_worker_defer(c->worker, &c->pump);
}

static void end_question(struct ut_containerd *c, struct call *call, bool answered)
{
    /* What the kernel said meanwhile may be that it has gone, and that another has its name. */
    ut_evidence_drain(c->evidence);
    struct ut_workload *workload = ut_workloads_get(&c->tables->workloads, call->workload);
    if (answered && call->names.state != UT_NAMES_KNOWN) {
        if (++call->namespace_index < c->namespaces.count && workload != NULL) {
            submit(c, call);
            return;
        }
        ++*c->absent;
    } else {
        ++*(answered ? c->found : c->failed);
    }
    if (workload == NULL || workload->removed_ns != 0 || workload->container_id[0] == '\0')
        return;
    if (call->names.state == UT_NAMES_KNOWN)
        workload->names = call->names;
    else if (workload->names.state != UT_NAMES_KNOWN)
        workload->names.state = answered ? UT_NAMES_ABSENT : UT_NAMES_UNKNOWN;
}

static void on_done(struct ut_h2_call *h2)
{
    struct call *call = UT_CONTAINER_OF(h2, struct call, h2);
    struct ut_containerd *c = call->containerd;
    bool fine = h2->end == UT_H2_COMPLETE && call->grpc_status == 0 && !call->bad;
    bool absent = h2->end == UT_H2_COMPLETE && call->grpc_status == GRPC_NOT_FOUND;
    call->busy = false;
    if (call->what == CONTAINER)
        end_question(c, call, fine || absent);
    else if (!fine || call->what == EVENTS)
        fail(c, call->bad ? "its answers are not understood" : "it ended a call that is needed");
    pump_later(c);
}

static struct call *free_call(struct ut_containerd *c)
{
    for (size_t i = CONTAINER; i < CALLS + CONTAINER; i++) {
        if (!c->calls[i].busy)
            return &c->calls[i];
    }
    return NULL;
}

/* Everything that is known is to be asked for once the connection stands: events were missed. */
static void resume(struct ut_containerd *c)
{
    c->resumed = true;
    c->pause_ns = PAUSE_MIN_NS;
    c->said = false;
    c->trouble[0] = '\0';
    ut_log(c->worker->log, UT_LOG_INFO, "containerd_connected", "socket=%s version=\"%s\"",
           c->endpoint, c->tables->containerd_version);
    ask_for_all(c);
}

static void on_pump(struct ut_deferred *deferred)
{
    struct ut_containerd *c = UT_CONTAINER_OF(deferred, struct ut_containerd, pump);
    if (!c->open || c->ended)
        return;
    if (c->broken) {
        ut_stream_close(&c->stream, -EPROTO);
        return;
    }
    if (!c->has_namespaces || c->calls[VERSION].busy)
        return;
    if (!c->resumed)
        resume(c);
    struct call *call;
    while (c->asks_left > 0 && c->urgent.count + c->others.count > 0 &&
           (call = free_call(c)) != NULL) {
        uint32_t id = pop(c->urgent.count > 0 ? &c->urgent : &c->others);
        struct ut_workload *workload = ut_workloads_get(&c->tables->workloads, id);
        if (workload == NULL || workload->removed_ns != 0 || workload->container_id[0] == '\0')
            continue;
        c->asks_left--;
        call->workload = id;
        call->namespace_index = 0;
        if (c->namespaces.count > 0)
            submit(c, call);
        else
            workload->names.state = UT_NAMES_ABSENT;
    }
}

/* ---- the connection -------------------------------------------------------------------------- */

static struct ut_containerd *of_stream(struct ut_stream *stream)
{
    return UT_CONTAINER_OF(stream, struct ut_containerd, stream);
}

static int on_bytes(struct ut_stream *stream, ut_slice bytes)
{
    struct ut_containerd *c = of_stream(stream);
    int error = ut_h2_client_receive(&c->client, bytes);
    ut_stream_flush_later(stream);
    return error != 0 || ut_h2_client_accepts(&c->client) ? error : -ECONNRESET;
}

static int on_pending(struct ut_stream *stream, struct iovec *runs, size_t room)
{
    return ut_h2_client_pending(&of_stream(stream)->client, runs, room);
}

static void on_consumed(struct ut_stream *stream, size_t bytes)
{
    ut_h2_client_consumed(&of_stream(stream)->client, bytes);
}

static void check_stopped(struct ut_containerd *c)
{
    if (c->stopping && !c->open && !c->connector.busy)
        ut_worker_defer(c->worker, &c->gone);
}

/* Said once until it is connected again; where nobody asked for it, its absence is no news. */
static void say_trouble(struct ut_containerd *c, int error)
{
    bool absent = error == -ENOENT && !c->expected;
    char text[sizeof(c->trouble) + 32];
    if (!c->said && !c->stopping)
        ut_log(c->worker->log, absent ? UT_LOG_INFO : UT_LOG_WARN, "containerd_unavailable",
               "error=%s text=\"spans go without names of pods and containers meanwhile\"",
               ut_log_quote(text, sizeof(text), c->trouble));
    c->said = true;
}

static void wait_for_next(struct ut_containerd *c)
{
    if (c->stopping)
        return;
    ut_timer_set(&c->worker->timers, &c->timer, ut_worker_now(c->worker) + c->pause_ns);
    c->pause_ns = 2 * c->pause_ns < PAUSE_MAX_NS ? 2 * c->pause_ns : PAUSE_MAX_NS;
}

static void on_end(struct ut_stream *stream, int error)
{
    struct ut_containerd *c = of_stream(stream);
    c->ended = true;
    if (c->trouble[0] == '\0')
        (void)snprintf(c->trouble, sizeof(c->trouble), "%s: connection lost: %s", c->endpoint,
                       error == 0 ? "closed by containerd" : ut_connector_error_text(error));
    say_trouble(c, error);
    ut_timer_cancel(&c->worker->timers, &c->timer);
    ut_h2_client_lost(&c->client);
    forget_questions(c);
}

static void on_closed(struct ut_stream *stream)
{
    struct ut_containerd *c = of_stream(stream);
    ut_h2_client_done(&c->client);
    c->open = c->has_namespaces = c->resumed = false;
    wait_for_next(c);
    check_stopped(c);
}

static const struct ut_stream_ops stream_ops = {
    .on_bytes = on_bytes,
    .pending = on_pending,
    .consumed = on_consumed,
    .on_end = on_end,
    .on_closed = on_closed,
};

/* Once a second while it is open: what is overdue ends the connection. */
static void look(struct ut_containerd *c, uint64_t now_ns)
{
    for (size_t i = 0; i < CALLS + CONTAINER; i++) {
        const struct call *call = &c->calls[i];
        if (call->busy && call->what != EVENTS && now_ns - call->since_ns > ANSWER_NS) {
            fail(c, "no answer within 10 s");
            return;
        }
    }
    if (++c->looks % PING_LOOKS == 0) {
        if (c->client.ping_outstanding) {
            fail(c, "no sign of life for 10 s");
            return;
        }
        ut_h2_client_ping(&c->client);
        ut_stream_flush_later(&c->stream);
    }
    c->asks_left = ASKS_PER_SECOND;
    pump_later(c);
    ut_timer_set(&c->worker->timers, &c->timer, now_ns + UT_NS_PER_S);
}

static void on_timer(struct ut_timer *timer, uint64_t now_ns)
{
    struct ut_containerd *c = UT_CONTAINER_OF(timer, struct ut_containerd, timer);
    if (c->open)
        look(c, now_ns);
    else
        ut_connector_start(&c->connector, c->worker, c->endpoint, 0, CONNECT_NS);
}

/* Takes the descriptor over, also on failure. */
static int open_connection(struct ut_containerd *c, int fd)
{
    const struct ut_h2_header none = {UT_SLICE("te"), UT_SLICE("trailers")}; /* calls have theirs */
    const struct ut_h2_client_options options = {.headers = &none, .header_count = 1};
    int error = ut_h2_client_init(&c->client, &c->worker->pool, &options);
    if (error == 0) {
        error = ut_stream_open(&c->stream, c->worker, fd, &stream_ops);
        if (error != 0)
            ut_h2_client_done(&c->client);
    }
    if (error != 0)
        close(fd);
    return error;
}

static void on_connected(struct ut_connector *connector, int fd, int error)
{
    struct ut_containerd *c = UT_CONTAINER_OF(connector, struct ut_containerd, connector);
    if (error == 0 && c->stopping)
        close(fd);
    else if (error == 0)
        error = open_connection(c, fd);
    if (error != 0 || c->stopping) {
        (void)snprintf(c->trouble, sizeof(c->trouble), "%s: %s", c->endpoint,
                       error == -EACCES ? "permission denied: who may open it is root of this host"
                                        : ut_connector_error_text(error));
        say_trouble(c, error);
        wait_for_next(c);
        check_stopped(c);
        return;
    }
    c->open = true;
    c->ended = c->broken = false;
    c->trouble[0] = '\0';
    c->asks_left = ASKS_PER_SECOND;
    c->looks = 0;
    for (size_t i = VERSION; i <= EVENTS; i++)
        submit(c, &c->calls[i]);
    ut_timer_set(&c->worker->timers, &c->timer, ut_worker_now(c->worker) + UT_NS_PER_S);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void on_gone(struct ut_deferred *deferred)
{
    struct ut_containerd *c = UT_CONTAINER_OF(deferred, struct ut_containerd, gone);
    if (c->stopped != NULL)
        c->stopped(c->stopped_arg);
}

static double read_connected(void *arg)
{
    return ((const struct ut_containerd *)arg)->resumed;
}

static void count(struct ut_containerd *c)
{
    struct ut_metrics *metrics = c->worker->metrics;
    const char *name = "undertrace_containerd_answers_total";
    const char *help = "Questions for a container's names, by what containerd answered.";
    c->found = ut_metrics_counter(metrics, name, "answer=\"found\"", help);
    c->absent = ut_metrics_counter(metrics, name, "answer=\"absent\"", help);
    c->failed = ut_metrics_counter(metrics, name, "answer=\"none\"", help);
    c->refused = ut_metrics_counter(metrics, "undertrace_containerd_refused_total", "",
                                    "Questions that found no room in the queue.");
    ut_metrics_gauge(metrics, "undertrace_containerd_connected", "",
                     "Whether containerd can be asked.", read_connected, c);
}

struct ut_containerd *ut_containerd_new(struct ut_worker *worker, struct ut_evidence *evidence,
                                        const char *socket, bool expected)
{
    struct ut_containerd *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return NULL;
    c->worker = worker;
    c->evidence = evidence;
    c->tables = ut_evidence_tables(evidence);
    c->expected = expected;
    c->pause_ns = PAUSE_MIN_NS;
    c->connector.done = on_connected;
    c->timer.fire = on_timer;
    c->pump.run = on_pump;
    c->gone.run = on_gone;
    (void)snprintf(c->endpoint, sizeof(c->endpoint), "unix://%s", socket);
    for (size_t i = 0; i < CALLS + CONTAINER; i++) {
        c->calls[i].containerd = c;
        c->calls[i].what = i < CONTAINER ? (enum what)i : CONTAINER;
    }
    count(c);
    return c;
}

void ut_containerd_start(struct ut_containerd *c)
{
    c->tables->workloads.wanted = on_wanted;
    c->tables->workloads.wanted_arg = c;
    ut_connector_start(&c->connector, c->worker, c->endpoint, 0, CONNECT_NS);
}

void ut_containerd_stop(struct ut_containerd *c, void (*stopped)(void *arg), void *arg)
{
    c->stopping = true;
    c->stopped = stopped;
    c->stopped_arg = arg;
    c->tables->workloads.wanted = NULL;
    ut_timer_cancel(&c->worker->timers, &c->timer);
    ut_connector_cancel(&c->connector);
    if (c->open && !c->ended)
        ut_stream_close(&c->stream, 0);
    check_stopped(c);
}

void ut_containerd_free(struct ut_containerd *c)
{
    if (c == NULL)
        return;
    ut_metrics_remove(c->worker->metrics, c);
    ut_worker_undefer(c->worker, &c->pump);
    ut_worker_undefer(c->worker, &c->gone);
    for (size_t i = 0; i < CALLS + CONTAINER; i++)
        ut_containerd_frames_done(&c->calls[i].frames);
    free(c);
}

void ut_containerd_figures(const struct ut_containerd *c, struct ut_containerd_figures *ret)
{
    *ret = (struct ut_containerd_figures){
        .socket = c->endpoint,
        .version = c->tables->containerd_version,
        .trouble = c->trouble,
        .connected = c->resumed,
        .found = *c->found,
        .absent = *c->absent,
        .failed = *c->failed,
        .refused = *c->refused,
        .waiting = c->urgent.count + c->others.count,
    };
}
