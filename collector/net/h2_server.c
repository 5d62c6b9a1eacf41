/* SPDX-License-Identifier: Apache-2.0 */
#include "net/h2_server.h"

#include <errno.h>

#include "base/clock.h"
#include "net/h2_memory.h"

enum {
    FRAME_BYTES_MAX = 1 << 20,
    FIELD_OVERHEAD = 32, /* RFC 9113 6.5.2 */
    HEADERS_ABUSE = 4,   /* times the limit of a header block, then the connection ends */
    STRAY_BYTES = 16,    /* DATA up to here, of a stream that is over, is sent to no purpose */
    QUEUE_MAX = 1000,    /* frames that may wait for the peer to read, and two more a stream */
};

static const uint8_t drain_ping[8] = "ut-drain";

/* ---- limits --------------------------------------------------------------------------------- */

static int end_connection(struct ut_h2_server *server, enum ut_h2_hit hit)
{
    server->ended_by = hit;
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

static bool has_token(struct ut_h2_server *server, enum ut_h2_hit kind)
{
    return ut_h2_guard_take(&server->guard, kind, server->now_ns, server->streams != NULL);
}

static int take(struct ut_h2_server *server, enum ut_h2_hit kind)
{
    return has_token(server, kind) ? 0 : end_connection(server, kind);
}

/* ---- frames in ------------------------------------------------------------------------------ */

static struct ut_h2_stream *stream_of(nghttp2_session *session, int32_t id)
{
    return id != 0 ? nghttp2_session_get_stream_user_data(session, id) : NULL;
}

static void link_stream(struct ut_h2_stream *stream)
{
    struct ut_h2_server *server = stream->server;
    stream->next = server->streams;
    if (stream->next != NULL)
        stream->next->previous = stream;
    server->streams = stream;
}

static void close_stream(struct ut_h2_stream *stream)
{
    struct ut_h2_server *server = stream->server;
    server->ops->on_close(stream);
    if (stream->previous != NULL)
        stream->previous->next = stream->next;
    else
        server->streams = stream->next;
    if (stream->next != NULL)
        stream->next->previous = stream->previous;
    ut_pool_free(server->pool, stream);
}

static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *frame, void *user_data)
{
    (void)frame;
    struct ut_h2_server *server = user_data;
    size_t queued_max = QUEUE_MAX + (size_t)2 * server->limits.streams;
    if (nghttp2_session_get_outbound_queue_size(session) > queued_max)
        return end_connection(server, UT_H2_HIT_UNREAD);
    return 0;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    struct ut_h2_server *server = user_data;
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    struct ut_h2_stream *stream = ut_pool_alloc(server->pool, server->ops->stream_size);
    if (stream == NULL)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    memset(stream, 0, server->ops->stream_size);
    stream->server = server;
    stream->id = frame->hd.stream_id;
    link_stream(stream);
    return nghttp2_session_set_stream_user_data(session, stream->id, stream);
}

static bool is_too_large(const struct ut_h2_stream *stream, uint32_t factor)
{
    const struct ut_h2_limits *limits = &stream->server->limits;
    return stream->header_bytes / factor > limits->header_bytes ||
           stream->header_fields / factor > limits->header_fields;
}

/* NOLINTNEXTLINE(readability-function-size): nghttp2's signature. */
static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *user_data)
{
    (void)flags;
    struct ut_h2_server *server = user_data;
    struct ut_h2_stream *stream = stream_of(session, frame->hd.stream_id);
    if (stream == NULL)
        return 0;
    stream->header_bytes += (uint32_t)(name_size + value_size + FIELD_OVERHEAD);
    stream->header_fields++;
    if (is_too_large(stream, HEADERS_ABUSE))
        return end_connection(server, UT_H2_HIT_HEADERS);
    if (!is_too_large(stream, 1) && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        server->ops->on_header(stream, ut_slice_of(name, name_size),
                               ut_slice_of(value, value_size));
    return 0;
}

static void end_body(struct ut_h2_stream *stream)
{
    stream->ended = true;
    if (!stream->answered)
        stream->server->ops->on_end(stream);
}

static int on_headers_frame(struct ut_h2_server *server, const nghttp2_frame *frame)
{
    struct ut_h2_stream *stream = stream_of(server->session, frame->hd.stream_id);
    if (stream == NULL)
        return 0;
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        server->ops->on_request(stream, is_too_large(stream, 1));
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
        end_body(stream);
    return 0;
}

static int on_data_frame(struct ut_h2_server *server, const nghttp2_frame *frame)
{
    struct ut_h2_stream *stream = stream_of(server->session, frame->hd.stream_id);
    bool ends = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (stream != NULL && ends)
        end_body(stream);
    bool padding = frame->hd.length > 0 && frame->hd.length == frame->data.padlen;
    return padding && !ends ? take(server, UT_H2_HIT_EMPTY_FRAMES) : 0;
}

static int on_settings_frame(struct ut_h2_server *server, const nghttp2_frame *frame)
{
    if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0)
        server->acknowledged = true;
    else
        server->greeted = true;
    return 0;
}

static int on_ping_frame(struct ut_h2_server *server, const nghttp2_frame *frame)
{
    bool ack = (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0;
    if (ack && server->draining &&
        memcmp(frame->ping.opaque_data, drain_ping, sizeof(drain_ping)) == 0)
        ut_h2_server_drain(server);
    return 0;
}

static int (*const frame_handlers[])(struct ut_h2_server *, const nghttp2_frame *) = {
    [NGHTTP2_DATA] = on_data_frame,
    [NGHTTP2_HEADERS] = on_headers_frame,
    [NGHTTP2_SETTINGS] = on_settings_frame,
    [NGHTTP2_PING] = on_ping_frame,
};

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    (void)session;
    struct ut_h2_server *server = user_data;
    size_t type = frame->hd.type;
    bool known = type < sizeof(frame_handlers) / sizeof(frame_handlers[0]);
    if (known && frame_handlers[type] != NULL)
        return frame_handlers[type](server, frame);
    return 0;
}

/* Go's client says farewell with a last stream id that nghttp2 takes for a broken protocol. It is
 * no offence, and the connection ends all the same. */
static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error,
                            void *user_data)
{
    (void)session, (void)error;
    struct ut_h2_server *server = user_data;
    if (frame->hd.type == NGHTTP2_GOAWAY)
        server->peer_left = true;
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t size, void *user_data)
{
    (void)flags;
    struct ut_h2_server *server = user_data;
    struct ut_h2_stream *stream = stream_of(session, id);
    if (stream == NULL || stream->answered)
        return nghttp2_session_consume_connection(session, size);
    server->ops->on_data(stream, ut_slice_of(data, size));
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *user_data)
{
    (void)error, (void)user_data;
    struct ut_h2_stream *stream = stream_of(session, id);
    if (stream != NULL)
        close_stream(stream);
    return 0;
}

/* ---- frames out ----------------------------------------------------------------------------- */

/* Streams above the limit that a client opened before it knew our SETTINGS are a small offence. */
static void on_reset_sent(struct ut_h2_server *server, const nghttp2_frame *frame)
{
    uint32_t error = frame->rst_stream.error_code;
    bool unknowing = error == NGHTTP2_REFUSED_STREAM && !server->acknowledged;
    if (error != NGHTTP2_NO_ERROR)
        (void)take(server, unknowing ? UT_H2_HIT_EARLY_STREAMS : UT_H2_HIT_RESETS);
}

/* An answer that is out before its request is complete: the client is told to stop sending. */
static int on_answer_sent(struct ut_h2_server *server, const nghttp2_frame *frame)
{
    struct ut_h2_stream *stream = stream_of(server->session, frame->hd.stream_id);
    ut_h2_guard_credit(&server->guard);
    if (stream == NULL || stream->ended)
        return 0;
    return nghttp2_submit_rst_stream(server->session, NGHTTP2_FLAG_NONE, stream->id,
                                     NGHTTP2_NO_ERROR);
}

static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    (void)session;
    struct ut_h2_server *server = user_data;
    if (frame->hd.type == NGHTTP2_RST_STREAM)
        on_reset_sent(server, frame);
    else if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR)
        server->broken = !server->peer_left;
    else if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
             (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
        return on_answer_sent(server, frame);
    return 0;
}

/* NOLINTNEXTLINE(readability-function-size): nghttp2's signature. */
static ssize_t read_body(nghttp2_session *session, int32_t id, uint8_t *room, size_t size,
                         uint32_t *flags, nghttp2_data_source *source, void *user_data)
{
    (void)user_data;
    struct ut_h2_stream *stream = source->ptr;
    size = size < stream->body.size ? size : stream->body.size;
    memcpy(room, stream->body.data, size);
    stream->body.data += size;
    stream->body.size -= size;
    if (stream->body.size > 0)
        return (ssize_t)size;
    *flags = NGHTTP2_DATA_FLAG_EOF;
    if (stream->trailer_count == 0)
        return (ssize_t)size;
    *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    int error = nghttp2_submit_trailer(session, id, stream->trailers, stream->trailer_count);
    return error == 0 ? (ssize_t)size : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

/* ---- life ----------------------------------------------------------------------------------- */

static nghttp2_session_callbacks *make_callbacks(void)
{
    nghttp2_session_callbacks *callbacks;
    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return NULL;
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
    return callbacks;
}

static nghttp2_option *make_options(void)
{
    nghttp2_option *options;
    if (nghttp2_option_new(&options) != 0)
        return NULL;
    nghttp2_option_set_no_auto_window_update(options, 1);
    nghttp2_option_set_no_closed_streams(options, 1);
    return options;
}

static int new_session(struct ut_h2_server *server)
{
    nghttp2_session_callbacks *callbacks = make_callbacks();
    nghttp2_option *options = make_options();
    nghttp2_mem memory = ut_h2_memory(server->pool);
    int error = -ENOMEM;
    if (callbacks != NULL && options != NULL &&
        nghttp2_session_server_new3(&server->session, callbacks, server, options, &memory) == 0)
        error = 0;
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(options);
    return error;
}

/* SETTINGS come before anything is read: nghttp2 bounds the streams from then on. */
static int submit_settings(struct ut_h2_server *server)
{
    const nghttp2_settings_entry entries[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, server->limits.streams},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, UT_H2_WINDOW_STREAM},
        {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, FRAME_BYTES_MAX},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, server->limits.header_bytes},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };
    if (nghttp2_submit_settings(server->session, NGHTTP2_FLAG_NONE, entries,
                                sizeof(entries) / sizeof(entries[0])) != 0)
        return -ENOMEM;
    return nghttp2_session_set_local_window_size(server->session, NGHTTP2_FLAG_NONE, 0,
                                                 UT_H2_WINDOW_CONNECTION) == 0
               ? 0
               : -ENOMEM;
}

int ut_h2_server_init(struct ut_h2_server *server, struct ut_pool *pool,
                      const struct ut_h2_limits *limits, const struct ut_h2_server_ops *ops)
{
    *server = (struct ut_h2_server){
        .ops = ops,
        .pool = pool,
        .limits = *limits,
        .ended_by = UT_H2_HIT_NONE,
    };
    ut_h2_framing_init(&server->framing);
    ut_h2_guard_init(&server->guard, limits->ping_interval_ns, limits->ping_idle);
    ut_h2_output_init(&server->output, pool);
    int error = new_session(server);
    if (error == 0)
        error = submit_settings(server);
    if (error == 0) /* a client that is cut at its first bytes must see them before GOAWAY */
        error = ut_h2_output_pump(&server->output, server->session);
    if (error != 0)
        ut_h2_server_done(server);
    return error;
}

void ut_h2_server_done(struct ut_h2_server *server)
{
    if (server->session == NULL)
        return;
    /* nghttp2 reports no stream when a session is deleted. */
    while (server->streams != NULL)
        close_stream(server->streams);
    nghttp2_session_del(server->session);
    server->session = NULL;
    ut_h2_output_done(&server->output);
}

/* ---- bytes ---------------------------------------------------------------------------------- */

static enum ut_h2_hit hit_of(int error)
{
    switch (error) {
    case NGHTTP2_ERR_FLOODED: /* ACKs that wait */
        return UT_H2_HIT_UNREAD;
    case NGHTTP2_ERR_TOO_MANY_CONTINUATIONS:
        return UT_H2_HIT_CONTINUATIONS;
    default:
        return UT_H2_HIT_PROTOCOL;
    }
}

static int feed(struct ut_h2_server *server, const uint8_t *begin, const uint8_t *end)
{
    if (begin == end)
        return 0;
    ssize_t taken = nghttp2_session_mem_recv(server->session, begin, (size_t)(end - begin));
    if (taken < 0 && server->ended_by == UT_H2_HIT_NONE)
        (void)end_connection(server, hit_of((int)taken));
    return server->ended_by == UT_H2_HIT_NONE ? 0 : -EPROTO;
}

/* Whether a frame may be sent to no purpose, if its stream is over. */
static bool is_doubtful(const struct ut_h2_server *server, const struct ut_h2_frame *frame)
{
    if (frame->type == NGHTTP2_HEADERS)
        return frame->stream <= server->newest_id;
    return frame->type == NGHTTP2_DATA && frame->size <= STRAY_BYTES;
}

/* Of a doubtful frame: what was before it has been fed. */
static bool is_idle_frame(const struct ut_h2_server *server, const struct ut_h2_frame *frame)
{
    bool ends = (frame->flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (stream_of(server->session, frame->stream) == NULL)
        return true;
    return frame->type == NGHTTP2_DATA && frame->size == 0 && !ends;
}

/* What a frame takes of the guard; NONE: nothing, it may bring a request forward. */
static enum ut_h2_hit kind_of(const struct ut_h2_server *server, const struct ut_h2_frame *frame)
{
    switch (frame->type) {
    case NGHTTP2_DATA:
    case NGHTTP2_HEADERS:
        return is_doubtful(server, frame) && is_idle_frame(server, frame) ? UT_H2_HIT_EMPTY_FRAMES
                                                                          : UT_H2_HIT_NONE;
    case NGHTTP2_CONTINUATION:
        return UT_H2_HIT_NONE;
    case NGHTTP2_RST_STREAM:
        return UT_H2_HIT_CANCELS;
    case NGHTTP2_SETTINGS:
        return UT_H2_HIT_SETTINGS;
    case NGHTTP2_PING:
        return UT_H2_HIT_PINGS;
    case NGHTTP2_WINDOW_UPDATE:
        return UT_H2_HIT_WINDOWS;
    default:
        return UT_H2_HIT_OTHER_FRAMES;
    }
}

/* Judges a frame whose header begins at `head`; `*fed` is up to where nghttp2 has the bytes. It
 * gets those before the header where the judgement hangs on them, and before the connection ends.
 */
static int judge_frame(struct ut_h2_server *server, const struct ut_h2_frame *frame,
                       const uint8_t **fed, const uint8_t *head)
{
    int error = 0;
    if (is_doubtful(server, frame)) {
        error = feed(server, *fed, head);
        *fed = head;
    }
    if (error != 0)
        return error;
    enum ut_h2_hit kind = kind_of(server, frame);
    if (frame->type == NGHTTP2_HEADERS) {
        server->header_since_ns = server->now_ns;
        if (frame->stream > server->newest_id)
            server->newest_id = frame->stream;
    }
    if (kind == UT_H2_HIT_NONE || has_token(server, kind))
        return 0;
    error = feed(server, *fed, head);
    if (error == 0)
        (void)end_connection(server, kind);
    return -EPROTO;
}

/* nghttp2 gets frame headers whole: it takes each piece of one for another CONTINUATION. */
static int receive(struct ut_h2_server *server, const uint8_t *at, const uint8_t *end)
{
    struct ut_h2_framing *framing = &server->framing;
    const uint8_t *fed = at;
    while (at < end) {
        struct ut_h2_frame frame;
        bool found;
        size_t had = framing->head_size;
        at += ut_h2_framing_next(framing, ut_slice_of(at, (size_t)(end - at)), &frame, &found);
        const uint8_t *head = at - ((found ? (size_t)UT_H2_FRAME_HEAD : framing->head_size) - had);
        if (!found)
            return feed(server, fed, head);
        int error = judge_frame(server, &frame, &fed, head);
        if (error == 0 && had > 0) {
            error = feed(server, framing->head, framing->head + UT_H2_FRAME_HEAD);
            fed = at;
        }
        if (error != 0)
            return error;
    }
    return feed(server, fed, end);
}

int ut_h2_server_receive(struct ut_h2_server *server, ut_slice bytes, uint64_t now_ns)
{
    if (server->ended_by != UT_H2_HIT_NONE)
        return -EPROTO;
    server->now_ns = now_ns;
    server->input_end = bytes.data + bytes.size;
    int error = receive(server, bytes.data, bytes.data + bytes.size);
    server->input_end = NULL;
    if (!server->framing.in_block)
        server->header_since_ns = 0;
    return error;
}

/* The last frame of a connection whose session must not be used any more, so by hand. */
static int push_goaway(struct ut_h2_server *server)
{
    if (server->goaway_pushed)
        return 0;
    uint32_t error =
        server->ended_by == UT_H2_HIT_PROTOCOL ? NGHTTP2_PROTOCOL_ERROR : NGHTTP2_ENHANCE_YOUR_CALM;
    uint32_t last = (uint32_t)nghttp2_session_get_last_proc_stream_id(server->session);
    const uint8_t frame[17] = {
        [2] = 8,
        [3] = NGHTTP2_GOAWAY,
        [9] = (uint8_t)(last >> 24),
        [10] = (uint8_t)(last >> 16),
        [11] = (uint8_t)(last >> 8),
        [12] = (uint8_t)last,
        [16] = (uint8_t)error,
    };
    int result = ut_h2_output_copy(&server->output, ut_slice_of(frame, sizeof(frame)));
    if (result == -ENOBUFS) /* with the next write, when there is room */
        return 0;
    server->goaway_pushed = true;
    return result;
}

int ut_h2_server_pending(struct ut_h2_server *server, struct iovec *runs, size_t room)
{
    int error = 0;
    if (server->ended_by == UT_H2_HIT_NONE)
        error = ut_h2_output_pump(&server->output, server->session);
    if (error == 0 && server->ended_by != UT_H2_HIT_NONE)
        error = push_goaway(server);
    return error != 0 ? error : (int)ut_h2_output_peek(&server->output, runs, room);
}

void ut_h2_server_consumed(struct ut_h2_server *server, size_t bytes)
{
    ut_h2_output_consume(&server->output, bytes);
}

bool ut_h2_server_is_finished(const struct ut_h2_server *server)
{
    return server->ended_by != UT_H2_HIT_NONE || (nghttp2_session_want_read(server->session) == 0 &&
                                                  nghttp2_session_want_write(server->session) == 0);
}

uint64_t ut_h2_server_answer_since(struct ut_h2_server *server, uint64_t now_ns)
{
    uint64_t since_ns = UINT64_MAX;
    for (struct ut_h2_stream *stream = server->streams; stream != NULL; stream = stream->next) {
        if (!stream->answered)
            continue;
        if (stream->waiting_ns == 0)
            stream->waiting_ns = now_ns;
        since_ns = stream->waiting_ns < since_ns ? stream->waiting_ns : since_ns;
    }
    return since_ns;
}

size_t ut_h2_server_input_left(const struct ut_h2_server *server, ut_slice bytes)
{
    return (size_t)(server->input_end - (bytes.data + bytes.size));
}

void ut_h2_server_consume(struct ut_h2_stream *stream, size_t size)
{
    (void)nghttp2_session_consume(stream->server->session, stream->id, size);
}

/* ---- answers -------------------------------------------------------------------------------- */

static void submit_answer(struct ut_h2_stream *stream, const nghttp2_nv *headers, size_t count,
                          const nghttp2_data_provider *body)
{
    UT_CHECK(!stream->answered);
    stream->answered = true;
    nghttp2_session *session = stream->server->session;
    if (nghttp2_submit_response(session, stream->id, headers, count, body) != 0)
        (void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream->id,
                                        NGHTTP2_INTERNAL_ERROR);
}

void ut_h2_server_answer(struct ut_h2_stream *stream, const nghttp2_nv *headers, size_t count)
{
    submit_answer(stream, headers, count, NULL);
}

void ut_h2_server_answer_body(struct ut_h2_stream *stream, const nghttp2_nv *headers, size_t count,
                              ut_slice body, const nghttp2_nv *trailers, size_t trailer_count)
{
    stream->body = body;
    stream->trailers = trailers;
    stream->trailer_count = trailer_count;
    const nghttp2_data_provider provider = {.source = {.ptr = stream}, .read_callback = read_body};
    submit_answer(stream, headers, count, &provider);
}

void ut_h2_server_ping(struct ut_h2_server *server)
{
    if (server->ended_by == UT_H2_HIT_NONE)
        (void)nghttp2_submit_ping(server->session, NGHTTP2_FLAG_NONE, NULL);
}

void ut_h2_server_drain(struct ut_h2_server *server)
{
    if (server->drained || server->ended_by != UT_H2_HIT_NONE)
        return;
    nghttp2_session *session = server->session;
    if (!server->draining) {
        server->draining = true;
        (void)nghttp2_submit_shutdown_notice(session);
        (void)nghttp2_submit_ping(session, NGHTTP2_FLAG_NONE, drain_ping);
        return;
    }
    server->drained = true;
    (void)nghttp2_submit_goaway(session, NGHTTP2_FLAG_NONE,
                                nghttp2_session_get_last_proc_stream_id(session), NGHTTP2_NO_ERROR,
                                NULL, 0);
}
