/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log_limit.h"

#define LINE_MAX_BYTES 2048

struct ut_log {
    int fd;
    enum ut_log_level least;
    struct ut_log_limit limit;
};

/* A line under construction. What does not fit is cut; the end of the line always fits. */
struct line {
    char text[LINE_MAX_BYTES];
    size_t size;
};

struct ut_log *ut_log_new(int fd, enum ut_log_level least)
{
    struct ut_log *log = calloc(1, sizeof(*log));
    if (log != NULL) {
        log->fd = fd;
        log->least = least;
    }
    return log;
}

void ut_log_set_level(struct ut_log *log, enum ut_log_level least)
{
    log->least = least;
}

void ut_log_free(struct ut_log *log)
{
    free(log);
}

static void UT_PRINTF(2, 0) append_args(struct line *line, const char *format, va_list args)
{
    size_t room = sizeof(line->text) - line->size - 1; /* one byte is kept for the newline */
    int written = vsnprintf(line->text + line->size, room, format, args);
    if (written < 0)
        return;
    line->size += (size_t)written < room ? (size_t)written : room - 1;
}

static void UT_PRINTF(2, 3) append(struct line *line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    append_args(line, format, args);
    va_end(args);
}

static void append_head(struct line *line, enum ut_log_level level, const char *event)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    uint64_t now = ut_clock_unix_ns();
    time_t seconds = (time_t)(now / UT_NS_PER_S);
    struct tm tm;
    char date[32] = "";
    if (gmtime_r(&seconds, &tm) != NULL)
        strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
    append(line, "time=%s.%03uZ level=%s event=%s", date,
           (unsigned)(now % UT_NS_PER_S / UT_NS_PER_MS), names[level], event);
}

/* One write a line, so that lines of several processes on one terminal do not mix. Where nobody
 * takes the log it is lost; the data path goes on. */
static void write_line(int fd, struct line *line)
{
    line->text[line->size++] = '\n';
    ssize_t written = write(fd, line->text, line->size);
    (void)written;
}

/* The line of an event whose limit is that of `name`; whether it was within it. */
static bool UT_PRINTF(5, 0)
    write_event(struct ut_log *log, enum ut_log_level level, const char *event, const char *name,
                const char *format, va_list args)
{
    uint64_t left_out = 0;
    if (!ut_log_limit_take(&log->limit, name, ut_clock_monotonic_ns(), &left_out))
        return false;

    struct line line;
    line.size = 0;
    append_head(&line, level, event);
    if (left_out != 0)
        append(&line, " left_out=%llu", (unsigned long long)left_out);
    if (format[0] != '\0') {
        append(&line, " ");
        append_args(&line, format, args);
    }
    write_line(log->fd, &line);
    return true;
}

bool ut_log(struct ut_log *log, enum ut_log_level level, const char *event, const char *format, ...)
{
    va_list args;
    if (log == NULL || level < log->least)
        return true;
    va_start(args, format);
    bool written = write_event(log, level, event, event, format, args);
    va_end(args);
    return written;
}

bool ut_log_cause(struct ut_log *log, enum ut_log_level level, const char *event, const char *cause,
                  const char *format, ...)
{
    char name[UT_LOG_LIMIT_NAME];
    va_list args;
    if (log == NULL || level < log->least)
        return true;
    (void)snprintf(name, sizeof(name), "%s %s", event, cause);
    va_start(args, format);
    bool written = write_event(log, level, event, name, format, args);
    va_end(args);
    return written;
}

/* ---- values that come from outside ----------------------------------------------------------- */

/* Bytes of the well-formed UTF-8 character at `text` (RFC 3629), 0 where there is none. */
static size_t utf8_size(const unsigned char *text)
{
    unsigned char a = text[0];
    size_t size = a < 0x80 ? 1 : a >= 0xc2 && a < 0xe0 ? 2 : a >= 0xe0 && a < 0xf0 ? 3 : 4;
    if (size == 1)
        return 1;
    if (a < 0xc2 || a > 0xf4)
        return 0;
    for (size_t i = 1; i < size; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    }
    bool overlong = (a == 0xe0 && text[1] < 0xa0) || (a == 0xf0 && text[1] < 0x90);
    bool beyond = (a == 0xed && text[1] >= 0xa0) || (a == 0xf4 && text[1] >= 0x90);
    /* U+0080 … U+009F are control characters that terminals obey. */
    bool control = a == 0xc2 && text[1] < 0xa0;
    return overlong || beyond || control ? 0 : size;
}

static bool is_plain(unsigned char byte)
{
    return byte > ' ' && byte < 0x7f && byte != '"' && byte != '=' && byte != '\\';
}

/* Writes the character at `text` to `out` (at most 4 bytes), escaped where a terminal or a parser
 * of logfmt would stumble. Returns the bytes written; `ret_used` is how many were read. */
static size_t quote_one(char out[4], const unsigned char *text, size_t *ret_used)
{
    static const char hex[] = "0123456789abcdef";
    unsigned char byte = text[0];
    size_t size = utf8_size(text);
    *ret_used = size != 0 ? size : 1;
    if (byte == '"' || byte == '\\' || byte == '\n' || byte == '\t' || byte == '\r') {
        out[0] = '\\';
        out[1] = (char)(byte == '\n' ? 'n' : byte == '\t' ? 't' : byte == '\r' ? 'r' : byte);
        return 2;
    }
    if (size == 0 || byte < ' ' || byte == 0x7f) {
        out[0] = '\\';
        out[1] = 'x';
        out[2] = hex[byte >> 4];
        out[3] = hex[byte & 15];
        return 4;
    }
    memcpy(out, text, size);
    return size;
}

const char *ut_log_quote(char *out, size_t out_size, const char *text)
{
    UT_CHECK(out_size >= 8);
    if (text == NULL)
        text = "";
    size_t plain = 0;
    while (is_plain((unsigned char)text[plain]))
        plain++;
    if (text[plain] == '\0' && plain > 0 && plain < out_size) {
        memcpy(out, text, plain + 1);
        return out;
    }

    size_t size = 0;
    out[size++] = '"';
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0';) {
        char piece[4];
        size_t used;
        size_t piece_size = quote_one(piece, at, &used);
        if (size + piece_size + 5 > out_size) { /* three dots, the quote, the terminator */
            memcpy(out + size, "...", 3);
            size += 3;
            break;
        }
        memcpy(out + size, piece, piece_size);
        size += piece_size;
        at += used;
    }
    out[size++] = '"';
    out[size] = '\0';
    return out;
}
