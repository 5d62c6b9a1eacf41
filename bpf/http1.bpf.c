// SPDX-License-Identifier: GPL-2.0
/*
 * The work on each line of a stream of HTTP/1.1 messages (RFC 9112). A line's function returns 0,
 * or the enum ut_trace_loss that ends the following of the stream.
 *
 * The functions that are not inlined are so that the verifier looks at each once.
 */
#include "http1.bpf.h"

struct trace_counters_map trace_counters SEC(".maps");

#define WORD(text) (*(const __u64 *)(text))
#define LOWER 0x2020202020202020ULL

static __always_inline __u64 word_at(const struct stream *s, __u32 at)
{
    return *(const volatile __u64 *)(s->text + at);
}

static __always_inline __u64 lower_at(const struct stream *s, __u32 at)
{
    return word_at(s, at) | LOWER;
}

static const __u8 digits[256] = {
    ['0'] = 0x10, ['1'] = 0x11, ['2'] = 0x12, ['3'] = 0x13, ['4'] = 0x14, ['5'] = 0x15,
    ['6'] = 0x16, ['7'] = 0x17, ['8'] = 0x18, ['9'] = 0x19, ['a'] = 0x1a, ['b'] = 0x1b,
    ['c'] = 0x1c, ['d'] = 0x1d, ['e'] = 0x1e, ['f'] = 0x1f,
};

/* Of a lower-case hexadecimal digit; above 15: it is none. No branch, because the verifier would
 * follow each one of each digit. */
static __always_inline __u8 digit_at(const struct stream *s, __u64 at)
{
    return digits[text_at(s, at)] ^ 0x10;
}

/* Only spaces from there to the line's end. */
static __always_inline bool only_spaces(const struct stream *s, __u32 at)
{
    for (__u32 i = 0; i < 8; i++) {
        if (at + i >= s->line)
            return at + i == s->line;
        if (text_at(s, at + i) != ' ')
            return false;
    }
    return false;
}

/* Behind a field's name and colon: where its value begins. */
static __always_inline __u32 value_at(const struct stream *s, __u32 at)
{
    for (__u32 i = 0; i < 8; i++) {
        if (text_at(s, at) != ' ')
            break;
        at++;
    }
    return at;
}

/* `METHOD SP target SP HTTP/1.1` (RFC 9112, 3). */
__noinline int on_request_line(struct stream *s)
{
    if (s == NULL)
        return 0;
    __u32 end = s->line;
    if (end == 0)
        return 0; /* an empty line before a request is passed over (2.2) */
    if (end < 12 || end > 2 * PIECE)
        return UT_TRACE_NOT_HTTP;
    __u64 version = end - 8;
    asm volatile("%0 &= 0xff" : "+r"(version));
    if (*(const volatile __u64 *)(s->text + version) != WORD("HTTP/1.1") ||
        text_at(s, end - 9) != ' ')
        return UT_TRACE_NOT_HTTP;
    __u32 size = 0;
    for (; size < 24; size++) {
        __u8 c = text_at(s, size);
        if (c == ' ')
            break;
        if ((c < 'A' || c > 'Z') && c != '-' && c != '_')
            return UT_TRACE_NOT_HTTP;
    }
    if (size == 0 || size == 24)
        return UT_TRACE_NOT_HTTP;
    s->has = word_at(s, 0) == WORD("CONNECT ") ? HAS_UPGRADE : 0;
    if ((word_at(s, 0) << 24) == (WORD("HEAD \0\0\0") << 24))
        s->has = HAS_HEAD;
    s->phase = HEADER;
    return 0;
}

/* `HTTP/1.1 SP status`, maybe a reason behind it (RFC 9112, 4); HTTP/1.0 as well. */
__noinline int on_status_line(struct stream *s)
{
    if (s == NULL)
        return 0;
    __u64 version = word_at(s, 0);
    if (s->line < 12 || (version != WORD("HTTP/1.1") && version != WORD("HTTP/1.0")) ||
        text_at(s, 8) != ' ' || (s->line > 12 && text_at(s, 12) != ' '))
        return UT_TRACE_NOT_HTTP;
    __u8 a = digit_at(s, 9), b = digit_at(s, 10), c = digit_at(s, 11);
    if (a < 1 || a > 9 || b > 9 || c > 9)
        return UT_TRACE_NOT_HTTP;
    s->status = (__u16)(a * 100 + b * 10 + c);
    s->has = version == WORD("HTTP/1.1") ? 0 : HAS_OLD_VERSION;
    s->phase = HEADER;
    return 0;
}

/* version-traceid-parentid-flags (W3C Trace Context, 3.2.2). */
__noinline int on_traceparent(struct stream *s)
{
    if (s == NULL)
        return 0;
    if (s->has & (HAS_TRACEPARENT | HAS_BAD_TRACEPARENT)) {
        s->has |= HAS_BAD_TRACEPARENT;
        return 0;
    }
    s->has |= HAS_BAD_TRACEPARENT;
    __u32 at = value_at(s, 12);
    __u8 high = digit_at(s, at), low = digit_at(s, at + 1), bad = 0;
    if (s->long_line || (high | low) > 15 || (high == 15 && low == 15) || at + 55 > s->line ||
        text_at(s, at + 2) != '-' || text_at(s, at + 35) != '-' || text_at(s, at + 52) != '-')
        return 0;
    bool later = (high | low) != 0 && text_at(s, at + 55) == '-' && at + 55 < s->line;
    if (!later && !only_spaces(s, at + 55))
        return 0;
    __u8 any_trace = 0, any_span = 0;
    for (__u32 i = 0; i < 16; i++) {
        __u8 a = digit_at(s, at + 3 + 2 * i), b = digit_at(s, at + 4 + 2 * i);
        bad |= a | b;
        s->trace_id[i] = (ut_u8)(a << 4 | b);
        any_trace |= a | b;
    }
    for (__u32 i = 0; i < 8; i++) {
        __u8 a = digit_at(s, at + 36 + 2 * i), b = digit_at(s, at + 37 + 2 * i);
        bad |= a | b;
        s->span_id[i] = (ut_u8)(a << 4 | b);
        any_span |= a | b;
    }
    bad |= digit_at(s, at + 53) | digit_at(s, at + 54);
    if (bad <= 15 && any_trace != 0 && any_span != 0)
        s->has = (s->has & ~HAS_BAD_TRACEPARENT) | HAS_TRACEPARENT;
    return 0;
}

/* Digits and nothing else; a second one, even if it says the same, is bad framing. */
__noinline int on_content_length(struct stream *s)
{
    if (s == NULL)
        return 0;
    __u64 length = 0;
    __u32 at = value_at(s, 15), size = 0;
    for (; size < 11; size++) {
        __u8 digit = digit_at(s, at + size);
        if (at + size >= s->line || digit > 9)
            break;
        length = length * 10 + digit;
    }
    bool good = size > 0 && size < 11 && only_spaces(s, at + size) && !s->long_line;
    s->has |= good && !(s->has & HAS_LENGTH) ? HAS_LENGTH : HAS_BAD_FRAMING;
    s->length = length;
    return 0;
}

static __always_inline void on_transfer_encoding(struct stream *s)
{
    __u64 at = value_at(s, 18);
    asm volatile("%0 &= 0xff" : "+r"(at));
    /* Seven letters and what follows them: a space or the CR, whose own bit is not told apart. */
    __u64 word = *(const volatile __u64 *)(s->text + at) | LOWER;
    bool chunked =
        (word << 8) == (WORD("chunked\0") << 8) && !s->long_line && only_spaces(s, (__u32)at + 7);
    s->has |= chunked && !(s->has & HAS_CHUNKED) ? HAS_CHUNKED : HAS_BAD_FRAMING;
}

/* A server that goes over to h2c gets a preface next, which is no request of HTTP/1.1. */
static __always_inline void on_upgrade(struct stream *s)
{
    __u32 at = value_at(s, 8);
    bool h2c = text_at(s, at) == 'h' && text_at(s, at + 1) == '2' && text_at(s, at + 2) == 'c' &&
               only_spaces(s, at + 3);
    if (!h2c)
        s->has |= HAS_UPGRADE;
}

__noinline int on_header(struct stream *s)
{
    if (s == NULL)
        return 0;
    __u32 end = s->line;
    if (end == 0) {
        s->phase = HEAD_END;
        return 0;
    }
    if (text_at(s, 0) == ' ')
        return UT_TRACE_MALFORMED; /* a folded line */
    __u64 word = lower_at(s, 0);
    if (word == WORD("tracepar") && end >= 12) {
        __u64 rest = lower_at(s, 4);
        if (rest == WORD("eparent:"))
            return on_traceparent(s);
        return rest == (WORD("eparent ")) ? UT_TRACE_MALFORMED : 0;
    }
    if (word == WORD("content-") && end >= 15) {
        __u64 rest = lower_at(s, 7);
        if (rest == WORD("-length:"))
            return on_content_length(s);
        return rest == WORD("-length ") ? UT_TRACE_MALFORMED : 0;
    }
    if (word == WORD("transfer") && end >= 18 && lower_at(s, 8) == WORD("-encodin")) {
        __u64 rest = lower_at(s, 10);
        if (rest == WORD("ncoding:"))
            on_transfer_encoding(s);
        return rest == WORD("ncoding ") ? UT_TRACE_MALFORMED : 0;
    }
    if ((word << 8) == (WORD("expect:\0") << 8))
        s->has |= HAS_EXPECT;
    if (word == WORD("upgrade:"))
        on_upgrade(s);
    return 0;
}

/* Hexadecimal digits, maybe an extension behind them (RFC 9112, 7.1). */
__noinline int on_chunk_size(struct stream *s)
{
    if (s == NULL)
        return 0;
    __u64 size = 0;
    __u32 at = 0;
    for (; at < 9; at++) {
        __u8 c = text_at(s, at);
        if (c >= 'A' && c <= 'F')
            c |= 0x20;
        __u8 digit = digits[c] ^ 0x10;
        if (at >= s->line || digit > 15)
            break;
        size = size << 4 | digit;
    }
    if (at == 0 || at == 9 || s->long_line)
        return UT_TRACE_MALFORMED;
    if (at < s->line && text_at(s, at) != ';')
        return UT_TRACE_MALFORMED;
    if (size > MESSAGE_MAX)
        return UT_TRACE_TOO_LONG;
    s->skip = size;
    s->phase = size == 0 ? TRAILER : CHUNK_END;
    return 0;
}

__noinline int on_line(struct stream *s)
{
    if (s == NULL)
        return 0;
    int why = 0;
    switch (s->phase) {
    case FIRST_LINE:
        why = s->answers ? on_status_line(s) : on_request_line(s);
        break;
    case HEADER:
        why = on_header(s);
        break;
    case CHUNK_SIZE:
        why = on_chunk_size(s);
        break;
    case CHUNK_END:
        why = s->line == 0 ? 0 : UT_TRACE_MALFORMED;
        s->phase = CHUNK_SIZE;
        break;
    default:
        if (s->line == 0)
            s->phase = FIRST_LINE;
    }
    s->line = 0;
    s->long_line = 0;
    return why;
}

/* ---- pieces --------------------------------------------------------------------------------- */

#define SPACES 0x2020202020202020ULL
#define BELOW_SPACE(w) (((w)-SPACES) & ~(w)&0x8080808080808080ULL) /* its lowest bit is right */

/* Where the first control byte of text[from, from + size) is; ≥ 256: there is none. */
__noinline int find_control(const struct stream *s, __u32 from, __u32 size)
{
    if (s == NULL)
        return 256;
    for (__u32 i = 0; i < PIECE; i += 8) {
        if (i >= size)
            break;
        __u64 at = from + i;
        asm volatile("%0 &= 0xff" : "+r"(at));
        __u64 word = *(const volatile __u64 *)(s->text + at);
        __u64 found = BELOW_SPACE(word);
        if (found == 0)
            continue;
        __u32 byte = 0;
        if ((found & 0xffffffff) == 0) {
            byte += 4;
            found >>= 32;
        }
        if ((found & 0xffff) == 0) {
            byte += 2;
            found >>= 16;
        }
        if ((found & 0xff) == 0)
            byte += 1;
        return i + byte < size ? (int)(at + byte) : 256;
    }
    return 256;
}

/* The line goes on in the next piece. Of a long one its first bytes stay, and its last ones before
 * the next piece, so that its end can be read in one. */
static __always_inline void on_unfinished(struct stream *s, __u64 total)
{
    if (total <= PIECE) {
        s->line = (__u32)total;
        return;
    }
    __u64 last = total - (PIECE - PREFIX);
    asm volatile("%0 &= 0xff" : "+r"(last));
    volatile __u64 *kept = (volatile __u64 *)(s->text + PREFIX);
    const volatile __u64 *from = (const volatile __u64 *)(s->text + last);
    kept[0] = from[0];
    kept[1] = from[1];
    s->line = PIECE;
    s->long_line = 1;
}

static __always_inline bool in_head(const struct stream *s)
{
    return s->phase == FIRST_LINE || s->phase == HEADER;
}

/* Any control byte but one CR before one LF is not framing that all understand alike. */
__noinline int on_piece(struct stream *s, __u32 from, __u32 size)
{
    if (s == NULL)
        return 0;
    if (s->phase == FIRST_LINE && from == 0)
        s->head = s->offset;
    __u8 first = text_at(s, 0);
    if (s->phase == FIRST_LINE && first != '\r' && (first < 'A' || first > 'Z'))
        return UT_TRACE_NOT_HTTP;
    __u32 found = (__u32)find_control(s, from, size);
    if (found >= 2 * PIECE) {
        consume(s, size);
        on_unfinished(s, from + size);
        return in_head(s) && s->offset - s->head > HEAD_MAX ? UT_TRACE_TOO_LONG : 0;
    }
    if (text_at(s, found) != '\r')
        return UT_TRACE_MALFORMED;
    __u32 taken = found + 1 - from;
    s->line = found;
    if (taken == size) {
        consume(s, taken);
        s->cr = 1;
        return 0;
    }
    if (text_at(s, found + 1) != '\n')
        return UT_TRACE_MALFORMED;
    consume(s, taken + 1);
    if (in_head(s) && s->offset - s->head > HEAD_MAX)
        return UT_TRACE_TOO_LONG;
    return on_line(s);
}

__noinline int on_line_feed(struct stream *s, __u8 c)
{
    if (s == NULL)
        return 0;
    if (c != '\n')
        return UT_TRACE_MALFORMED;
    s->cr = 0;
    consume(s, 1);
    return on_line(s);
}

/* ---- bodies --------------------------------------------------------------------------------- */

static __always_inline void end_head(struct stream *s)
{
    __builtin_memset(s->text, 0, sizeof(s->text)); /* what it says besides is nobody's business */
    s->phase = FIRST_LINE;
}

/* Neither length nor chunks that all understand alike (RFC 9112, 6.3). */
static __always_inline bool is_ambiguous(const struct stream *s)
{
    return (s->has & HAS_BAD_FRAMING) ||
           ((s->has & HAS_CHUNKED) && (s->has & (HAS_LENGTH | HAS_OLD_VERSION)));
}

__noinline int begin_request_body(struct stream *s)
{
    if (s == NULL)
        return 0;
    end_head(s);
    if (is_ambiguous(s))
        return UT_TRACE_AMBIGUOUS;
    if (s->has & HAS_UPGRADE)
        return UT_TRACE_UPGRADE;
    if (s->has & HAS_EXPECT)
        return UT_TRACE_EXPECT; /* what comes next may be the body or another request */
    if (s->has & HAS_CHUNKED)
        s->phase = CHUNK_SIZE;
    if (!(s->has & HAS_LENGTH))
        return 0;
    if (s->length > MESSAGE_MAX)
        return UT_TRACE_TOO_LONG;
    s->skip = s->length;
    return 0;
}

/* RFC 9112, 6.3 */
__noinline int begin_answer_body(struct stream *s, __u32 asked)
{
    if (s == NULL)
        return 0;
    end_head(s);
    __u32 status = s->status;
    if (status == 101 || (status >= 200 && (asked & HAS_UPGRADE)))
        return UT_TRACE_UPGRADE;
    if (status < 200 || status == 204 || status == 304 || (asked & HAS_HEAD))
        return 0;
    if (is_ambiguous(s))
        return UT_TRACE_AMBIGUOUS;
    if (s->has & HAS_CHUNKED)
        s->phase = CHUNK_SIZE;
    else
        s->skip = s->has & HAS_LENGTH ? s->length : UNTIL_CLOSED;
    return 0;
}

char LICENSE[] SEC("license") = "GPL";
