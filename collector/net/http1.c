/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http1.h"

#include <errno.h>

#include "base/check.h"
#include "net/http_answer.h"

enum {
    NAME_BYTES = 48, /* of a field; longer names are known nowhere */
    /* Of a target or of a field's value; longer ones are known nowhere. A token fits. */
    VALUE_BYTES = UT_AUTH_SECRET_MAX + UT_AUTH_WORD_MAX,
};

/* What comes next among the bytes that are not body. */
enum { LINE_ANY, LINE_START, LINE_CR_OF_CHUNK, LINE_LF_OF_CHUNK };

enum { STOPPED_NOWHERE, STOPPED_AT_HEAD, STOPPED_AT_END };

struct ut_http1_exchange {
    struct ut_call call;
    struct ut_http1 *http1;
    struct ut_http_head head;
    bool judged;     /* its head is complete */
    bool complete;   /* no byte of its body is to come */
    bool ended;      /* … and the parser has said so */
    bool keep_alive; /* the client lets the connection live */
    bool continued;  /* 100 was sent */
    uint64_t began_ns;
    size_t body_seen, swallowed; /* bytes */
    size_t name_size, value_size;
    uint8_t name[NAME_BYTES], value[VALUE_BYTES];
};

static const char continue_line[] = "HTTP/1.1 100 Continue\r\n\r\n";

/* ---- answers -------------------------------------------------------------------------------- */

/* Whether the connection can live on after an answer that is given now. */
static bool is_last(const struct ut_http1 *http1, const struct ut_http1_exchange *exchange)
{
    if (http1->draining || http1->broken || !exchange->keep_alive)
        return true;
    if (exchange->complete)
        return false;
    const struct ut_http_head *head = &exchange->head;
    /* Whether a body follows is the client's choice now. */
    if (head->expects_continue && !exchange->continued)
        return true;
    if (head->has_length)
        return head->length - exchange->body_seen > UT_HTTP1_SWALLOW;
    /* How much of chunks is to come nobody knows. Where the bound would end the connection, the
     * client must have been told: it would send its next request there. */
    size_t body_max = http1->calls->service->body_bytes_max;
    return exchange->body_seen > (body_max < UT_HTTP1_SWALLOW ? body_max : UT_HTTP1_SWALLOW);
}

static void end(struct ut_http1 *http1, bool whole)
{
    http1->ending = true;
    http1->whole = whole;
}

static void send_answer(struct ut_http1_exchange *exchange, const struct ut_http_answer *answer)
{
    struct ut_http1 *http1 = exchange->http1;
    char text[UT_HTTP_ANSWER_TEXT];
    bool last = is_last(http1, exchange);
    size_t size =
        ut_http_answer_text(text, answer, last, exchange->head.method == UT_HTTP_METHOD_HEAD);
    if (ut_h2_output_copy(&http1->output, ut_slice_of(text, size)) != 0)
        http1->broken = last = true; /* without memory the connection ends without a word */
    if (last)
        end(http1, exchange->complete && !http1->broken);
}

static struct ut_http1_exchange *exchange_of(struct ut_call *call)
{
    return UT_CONTAINER_OF(call, struct ut_http1_exchange, call);
}

static void succeed(struct ut_call *call, ut_slice message)
{
    struct ut_http1_exchange *exchange = exchange_of(call);
    struct ut_http_answer answer;
    ut_http_answer_success(&answer, &exchange->head, message);
    send_answer(exchange, &answer);
}

static int fail(struct ut_call *call, const struct ut_failure *failure)
{
    struct ut_http1_exchange *exchange = exchange_of(call);
    struct ut_http_answer answer;
    ut_http_answer_failure(&answer, &exchange->head, failure);
    send_answer(exchange, &answer);
    return failure->http_status;
}

static const struct ut_call_ops call_ops = {
    .transport = UT_TRANSPORT_HTTP,
    .succeed = succeed,
    .fail = fail,
};

/* ---- exchanges ------------------------------------------------------------------------------ */

static int begin_exchange(struct ut_http1 *http1)
{
    struct ut_http1_exchange *exchange = ut_pool_alloc(http1->calls->pool, sizeof(*exchange));
    if (exchange == NULL)
        return -ENOMEM;
    memset(exchange, 0, offsetof(struct ut_http1_exchange, name));
    exchange->http1 = http1;
    ut_call_init(&exchange->call, http1->calls, &call_ops);
    http1->exchange = exchange;
    http1->head_began_ns = http1->now_ns;
    return 0;
}

static void end_exchange(struct ut_http1 *http1)
{
    struct ut_http1_exchange *exchange = http1->exchange;
    http1->exchange = NULL;
    http1->head_began_ns = 0;
    ut_call_end(&exchange->call);
    ut_http_head_done(&exchange->head, http1->calls->pool);
    ut_pool_free(http1->calls->pool, exchange);
}

/* An answered request that is complete makes room for the next. */
static void settle(struct ut_http1 *http1)
{
    const struct ut_http1_exchange *exchange = http1->exchange;
    if (exchange != NULL && exchange->ended && exchange->call.state == UT_CALL_ANSWERED)
        end_exchange(http1);
}

/* The client broke the protocol or a limit: one last answer, if none is given. */
static void break_off(struct ut_http1 *http1, enum ut_refusal why, const char *text)
{
    if (http1->ending)
        return;
    http1->broken = true;
    if (http1->exchange == NULL) /* what stands before a request is wrong */
        (void)begin_exchange(http1);
    struct ut_http1_exchange *exchange = http1->exchange;
    if (exchange != NULL && exchange->call.state != UT_CALL_ANSWERED)
        ut_call_refuse(&exchange->call, why,
                       &(struct ut_failure){UT_GRPC_INVALID_ARGUMENT, 400, 0, text});
    end(http1, false);
}

/* ---- framing -------------------------------------------------------------------------------- */

/* Checks the bytes from http1->framing to `end`: those of lines, not of a body. */
static bool check_framing(struct ut_http1 *http1, const uint8_t *end)
{
    const uint8_t *p = http1->framing;
    http1->framing = end;
    if (p == end)
        return true;
    http1->head_bytes += (uint32_t)(end - p);
    if (http1->line == LINE_CR_OF_CHUNK) {
        if (*p++ != '\r')
            return false;
        http1->line = LINE_LF_OF_CHUNK;
    }
    if (p < end && http1->line == LINE_LF_OF_CHUNK) {
        if (*p++ != '\n')
            return false;
        http1->line = LINE_START;
        http1->last_byte = '\n';
    }
    for (const uint8_t *begin = p; p < end;) {
        if (http1->line == LINE_START && (*p == ' ' || *p == '\t'))
            return false;
        const uint8_t *lf = memchr(p, '\n', (size_t)(end - p));
        http1->line = LINE_ANY;
        if (lf == NULL)
            break;
        uint8_t before = lf > begin ? lf[-1] : http1->last_byte;
        if (before != '\r')
            return false;
        http1->line = LINE_START;
        p = lf + 1;
    }
    http1->last_byte = end[-1];
    return true;
}

/* ---- what the parser finds ------------------------------------------------------------------ */

static struct ut_http1 *http1_of(llhttp_t *parser)
{
    return parser->data;
}

static int on_message_begin(llhttp_t *parser)
{
    struct ut_http1 *http1 = http1_of(parser);
    if (begin_exchange(http1) == 0)
        return 0;
    /* There is no memory for an answer either. A client that gets none sends again. */
    end(http1, false);
    return HPE_USER;
}

static void collect(uint8_t *room, size_t room_size, size_t *size, ut_slice bytes)
{
    size_t fits = *size < room_size ? room_size - *size : 0;
    memcpy(room + *size, bytes.data, bytes.size < fits ? bytes.size : fits);
    *size = bytes.size < fits ? *size + bytes.size : SIZE_MAX / 2;
}

static int on_value(llhttp_t *parser, const char *data, size_t size)
{
    struct ut_http1_exchange *exchange = http1_of(parser)->exchange;
    if (size > 0 && exchange->value_size < VALUE_BYTES)
        collect(exchange->value, VALUE_BYTES, &exchange->value_size, ut_slice_of(data, size));
    return 0;
}

static int on_name(llhttp_t *parser, const char *data, size_t size)
{
    struct ut_http1_exchange *exchange = http1_of(parser)->exchange;
    if (size > 0 && exchange->name_size < NAME_BYTES)
        collect(exchange->name, NAME_BYTES, &exchange->name_size, ut_slice_of(data, size));
    return 0;
}

static ut_slice take_value(struct ut_http1_exchange *exchange)
{
    size_t size = exchange->value_size < VALUE_BYTES ? exchange->value_size : 0;
    exchange->value_size = 0;
    while (size > 0 && (exchange->value[size - 1] == ' ' || exchange->value[size - 1] == '\t'))
        size--;
    return ut_slice_of(exchange->value, size);
}

static int on_target_complete(llhttp_t *parser)
{
    struct ut_http1_exchange *exchange = http1_of(parser)->exchange;
    ut_http_head_target(&exchange->head, http1_of(parser)->calls->service, take_value(exchange));
    return 0;
}

static bool is_token_char(uint8_t c)
{
    if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'))
        return true;
    return c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

/* To lower case; false: it is no token (RFC 9110 5.6.2). */
static bool normalise_name(struct ut_http1_exchange *exchange)
{
    for (size_t i = 0; i < exchange->name_size && i < NAME_BYTES; i++) {
        uint8_t *c = &exchange->name[i];
        if (!is_token_char(*c))
            return false;
        if (*c >= 'A' && *c <= 'Z')
            *c = (uint8_t)(*c - 'A' + 'a');
    }
    return exchange->name_size > 0;
}

static int on_field_complete(llhttp_t *parser)
{
    struct ut_http1_exchange *exchange = http1_of(parser)->exchange;
    ut_slice value = take_value(exchange);
    bool is_name = normalise_name(exchange);
    size_t size = exchange->name_size < NAME_BYTES ? exchange->name_size : 0;
    exchange->name_size = 0;
    exchange->head.broken |= !is_name;
    if (!exchange->judged) /* else a trailer: nobody asks for it */
        ut_http_head_field(&exchange->head, http1_of(parser)->calls,
                           ut_slice_of(exchange->name, size), value);
    else
        exchange->head.fields++;
    return 0;
}

static int on_head_complete(llhttp_t *parser)
{
    http1_of(parser)->stopped_at = STOPPED_AT_HEAD;
    return HPE_PAUSED;
}

static int on_chunk_extension(llhttp_t *parser, const char *data, size_t size)
{
    (void)parser, (void)data, (void)size;
    return HPE_USER;
}

static int on_body(llhttp_t *parser, const char *data, size_t size)
{
    struct ut_http1 *http1 = http1_of(parser);
    struct ut_http1_exchange *exchange = http1->exchange;
    ut_slice bytes = ut_slice_of(data, size);
    if (!check_framing(http1, bytes.data))
        return HPE_USER;
    http1->framing = bytes.data + size;
    http1->line = exchange->head.chunked ? LINE_CR_OF_CHUNK : LINE_START;
    http1->head_bytes = 0; /* chunks' sizes are no header */
    exchange->body_seen += size;
    if (exchange->call.state == UT_CALL_ARRIVING) {
        ut_call_append(&exchange->call, bytes, (size_t)(http1->input_end - (bytes.data + size)));
    } else {
        exchange->swallowed += size;
        if (exchange->swallowed > UT_HTTP1_SWALLOW)
            end(http1, false);
    }
    return http1->ending ? HPE_USER : 0;
}

static int on_message_complete(llhttp_t *parser)
{
    http1_of(parser)->stopped_at = STOPPED_AT_END;
    return HPE_PAUSED;
}

static const llhttp_settings_t parser_settings = {
    .on_message_begin = on_message_begin,
    .on_url = on_value,
    .on_url_complete = on_target_complete,
    .on_header_field = on_name,
    .on_header_value = on_value,
    .on_header_value_complete = on_field_complete,
    .on_headers_complete = on_head_complete,
    .on_chunk_extension_name = on_chunk_extension,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

/* ---- the steps of a request ----------------------------------------------------------------- */

static const char *find_fault(const struct ut_http1 *http1, const struct ut_http_head *head)
{
    bool is_1_1 = http1->parser.http_major == 1 && http1->parser.http_minor == 1;
    bool is_1_0 = http1->parser.http_major == 1 && http1->parser.http_minor == 0;
    if (!is_1_0 && !is_1_1)
        return "the version is not HTTP/1.1";
    if (head->broken || (head->chunked && (head->has_length || is_1_0)))
        return "the header's framing fields are wrong";
    if (head->hosts > 1 || (head->hosts == 0 && is_1_1))
        return "a request has one Host";
    return NULL;
}

static void answer_options(struct ut_http1_exchange *exchange)
{
    const struct ut_service *service = exchange->http1->calls->service;
    struct ut_http_answer answer;
    ut_http_answer_options(&answer, &exchange->head, service->cors);
    send_answer(exchange, &answer);
    ut_call_end(&exchange->call);
    service->on_answered(exchange->http1->calls, UT_TRANSPORT_HTTP, answer.status);
}

static void accept_body(struct ut_http1_exchange *exchange, size_t left)
{
    struct ut_http1 *http1 = exchange->http1;
    const struct ut_http_head *head = &exchange->head;
    struct ut_call *call = &exchange->call;
    call->encoding = ut_http_head_encoding(head);
    call->coding = head->coding;
    call->expected = head->chunked ? UT_CALL_LENGTH_UNKNOWN : head->length;
    if (!head->chunked && head->length > http1->calls->service->body_bytes_max) {
        ut_call_refuse_size(call, head->length);
        return;
    }
    ut_call_arrive(call, http1->now_ns);
    /* A client whose body is coming already does not wait for it. */
    exchange->continued = head->expects_continue && left == 0;
    if (exchange->continued && call->expected > 0 && http1->parser.http_minor == 1 &&
        ut_h2_output_copy(&http1->output, ut_slice_str(continue_line)) != 0)
        end(http1, false);
}

static bool is_head_too_large(const struct ut_http1 *http1)
{
    return http1->head_bytes > http1->limits.header_bytes ||
           (http1->exchange != NULL && http1->exchange->head.fields > http1->limits.header_fields);
}

static void refuse_head(struct ut_http1 *http1)
{
    break_off(http1, UT_REFUSED_HEADERS, "the request's header fields exceed the limit");
}

static void take_head(struct ut_http1 *http1, size_t left)
{
    struct ut_http1_exchange *exchange = http1->exchange;
    struct ut_http_head *head = &exchange->head;
    enum ut_refusal why;
    ut_http_head_method(head, ut_slice_str(llhttp_method_name(http1->parser.method)));
    exchange->judged = true;
    exchange->began_ns = http1->now_ns;
    http1->head_bytes = 0;
    exchange->complete = !head->chunked && head->length == 0;
    http1->requests++;
    exchange->keep_alive = llhttp_should_keep_alive(&http1->parser) != 0 &&
                           http1->parser.http_minor == 1 && http1->parser.method != HTTP_CONNECT &&
                           !http1->calls->service->close_each &&
                           http1->requests != http1->limits.requests;
    const char *fault = find_fault(http1, head);
    if (fault != NULL) {
        break_off(http1, UT_REFUSED_PROTOCOL, fault);
        return;
    }
    const struct ut_failure *stranger = ut_http_head_admit(head, http1->calls);
    const struct ut_failure *failure = ut_http_head_judge(head, &why);
    if (stranger != NULL)
        ut_call_refuse(&exchange->call, UT_REFUSED_AUTH, stranger);
    else if (failure != NULL)
        ut_call_refuse(&exchange->call, why, failure);
    else if (head->method == UT_HTTP_METHOD_OPTIONS)
        answer_options(exchange);
    else
        accept_body(exchange, left);
}

static void take_end(struct ut_http1 *http1)
{
    struct ut_http1_exchange *exchange = http1->exchange;
    exchange->complete = exchange->ended = true;
    http1->head_bytes = 0;
    if (exchange->head.broken) /* a trailer is */
        break_off(http1, UT_REFUSED_PROTOCOL, "a trailer is badly framed");
    else if (exchange->call.state == UT_CALL_ARRIVING)
        ut_call_complete(&exchange->call);
    settle(http1);
}

/* Lets the parser run to the end of a head, of a request or of the bytes; returns how many of them
 * it took. */
static size_t step(struct ut_http1 *http1, ut_slice bytes)
{
    const uint8_t *end = bytes.data + bytes.size;
    http1->stopped_at = STOPPED_NOWHERE;
    http1->framing = bytes.data;
    http1->input_end = end;
    llhttp_errno_t code = llhttp_execute(&http1->parser, (const char *)bytes.data, bytes.size);
    if (http1->ending)
        return bytes.size;
    if (code == HPE_PAUSED || code == HPE_PAUSED_UPGRADE)
        end = (const uint8_t *)llhttp_get_error_pos(&http1->parser);
    if (code == HPE_PAUSED)
        llhttp_resume(&http1->parser);
    else if (code == HPE_PAUSED_UPGRADE) /* an offer that HTTP/1.1 may leave aside */
        llhttp_resume_after_upgrade(&http1->parser);
    bool fine = code == HPE_OK || code == HPE_PAUSED || code == HPE_PAUSED_UPGRADE;
    if (!fine || !check_framing(http1, end))
        break_off(http1, UT_REFUSED_PROTOCOL, "the request is not HTTP/1.1 as it must be");
    else if (is_head_too_large(http1))
        refuse_head(http1);
    else if (http1->stopped_at == STOPPED_AT_HEAD)
        take_head(http1, (size_t)(bytes.data + bytes.size - end));
    else if (http1->stopped_at == STOPPED_AT_END)
        take_end(http1);
    return (size_t)(end - bytes.data);
}

/* Nothing more can be taken before an answer is given or has left. */
static bool is_blocked(const struct ut_http1 *http1)
{
    const struct ut_http1_exchange *exchange = http1->exchange;
    if (exchange != NULL && exchange->call.state == UT_CALL_HANDED_ON)
        return true;
    return !ut_h2_output_has_room(&http1->output, UT_HTTP_ANSWER_TEXT + sizeof(continue_line), 2);
}

static size_t run(struct ut_http1 *http1, ut_slice bytes)
{
    size_t taken = 0;
    do {
        taken += step(http1, ut_slice_of(bytes.data + taken, bytes.size - taken));
    } while ((taken < bytes.size || http1->stopped_at != STOPPED_NOWHERE) && !http1->ending &&
             !is_blocked(http1));
    return taken;
}

/* ---- bytes ---------------------------------------------------------------------------------- */

static void drop_kept(struct ut_http1 *http1)
{
    ut_segment_unref(http1->kept);
    ut_budget_return(http1->calls->account.budget, http1->kept_charge);
    http1->kept = NULL;
    http1->kept_start = http1->kept_charge = 0;
}

static int keep(struct ut_http1 *http1, ut_slice bytes)
{
    struct ut_segment *kept = ut_segment_new(http1->calls->pool, bytes.size);
    if (kept == NULL)
        return -ENOMEM;
    size_t charge = ut_pool_usable(kept);
    if (!ut_budget_take(http1->calls->account.budget, charge)) {
        ut_segment_unref(kept);
        return -ENOMEM;
    }
    memcpy(kept->data, bytes.data, bytes.size);
    kept->size = bytes.size;
    http1->kept = kept;
    http1->kept_charge = charge;
    http1->waited = true;
    return 0;
}

/* The time that a request took while we did not read was not its sender's. */
static void restart_clock(struct ut_http1 *http1)
{
    http1->waited = false;
    if (http1->exchange == NULL)
        return;
    http1->head_began_ns = http1->now_ns;
    http1->exchange->began_ns = http1->now_ns;
}

int ut_http1_receive(struct ut_http1 *http1, ut_slice bytes, uint64_t now_ns)
{
    UT_CHECK(!ut_http1_is_full(http1));
    http1->now_ns = now_ns;
    if (http1->waited)
        restart_clock(http1);
    size_t taken = 0;
    if (!http1->ending && !is_blocked(http1))
        taken = run(http1, bytes);
    if (http1->ending || taken == bytes.size)
        return 0;
    return keep(http1, ut_slice_of(bytes.data + taken, bytes.size - taken));
}

static void go_on(struct ut_http1 *http1)
{
    static const uint8_t nothing[1];
    settle(http1);
    while ((http1->kept != NULL || http1->stopped_at != STOPPED_NOWHERE) && !http1->ending &&
           !is_blocked(http1)) {
        const struct ut_segment *kept = http1->kept;
        if (kept == NULL) {
            (void)run(http1, ut_slice_of(nothing, 0));
            continue;
        }
        http1->kept_start +=
            run(http1, ut_slice_of(kept->data + http1->kept_start, kept->size - http1->kept_start));
        if (http1->kept_start == kept->size)
            drop_kept(http1);
    }
    if (http1->ending && http1->kept != NULL)
        drop_kept(http1);
}

int ut_http1_pending(struct ut_http1 *http1, struct iovec *runs, size_t room)
{
    go_on(http1);
    return (int)ut_h2_output_peek(&http1->output, runs, room);
}

void ut_http1_consumed(struct ut_http1 *http1, size_t bytes)
{
    ut_h2_output_consume(&http1->output, bytes);
}

/* ---- life ----------------------------------------------------------------------------------- */

bool ut_http1_is_full(const struct ut_http1 *http1)
{
    return http1->kept != NULL;
}

bool ut_http1_is_finished(const struct ut_http1 *http1)
{
    return http1->ending && ut_h2_output_bytes(&http1->output) == 0;
}

uint64_t ut_http1_arriving_since(const struct ut_http1 *http1, bool *ret_body)
{
    const struct ut_http1_exchange *exchange = http1->exchange;
    *ret_body = exchange != NULL && exchange->judged;
    if (exchange == NULL || exchange->complete || http1->waited)
        return UINT64_MAX;
    return exchange->judged ? exchange->began_ns : http1->head_began_ns;
}

void ut_http1_drain(struct ut_http1 *http1)
{
    http1->draining = true;
    const struct ut_http1_exchange *exchange = http1->exchange;
    if (exchange == NULL && http1->kept == NULL)
        end(http1, true);
    else if (exchange != NULL && exchange->call.state == UT_CALL_ANSWERED)
        end(http1, exchange->complete);
}

void ut_http1_init(struct ut_http1 *http1, struct ut_calls *calls,
                   const struct ut_http1_limits *limits)
{
    *http1 = (struct ut_http1){.calls = calls, .limits = *limits};
    ut_h2_output_init(&http1->output, calls->pool);
    llhttp_init(&http1->parser, HTTP_REQUEST, &parser_settings);
    http1->parser.data = http1;
}

void ut_http1_done(struct ut_http1 *http1)
{
    if (http1->exchange != NULL)
        end_exchange(http1);
    if (http1->kept != NULL)
        drop_kept(http1);
    ut_h2_output_done(&http1->output);
}
