/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor: the least program that takes OTLP/gRPC in, checks every byte of every span (UTF-8
 * too), adds four attributes to each span and sends OTLP/gRPC out. It has no queue, no limits and
 * no error handling; it forwards each request by itself and answers when the backend has. What it
 * costs is what this machine asks for the work at the very least, so figures of the collector are
 * read as ratios to it.
 *
 *   floor forward LISTEN_PORT BACKEND_PORT    floor answer LISTEN_PORT (only answers)
 */
#include <immintrin.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "peer.h"

static struct bench_loop loop;
static struct peer *backend;

static void on_signal(int number)
{
    (void)number;
    loop.stop = true;
}

/* ---- reading the wire ---- */

static inline __attribute__((always_inline)) const uint8_t *
read_varint(const uint8_t *p, const uint8_t *end, uint64_t *value)
{
    if (p < end && *p < 128) {
        *value = *p;
        return p + 1;
    }
    uint64_t v = 0;
    for (int shift = 0; p < end && shift < 64; shift += 7) {
        uint8_t byte = *p++;
        v |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) {
            *value = v;
            return p;
        }
    }
    return NULL;
}

/* A length-delimited field's bytes begin at the result and are *size long; NULL past the end. */
static inline __attribute__((always_inline)) const uint8_t *
read_length(const uint8_t *p, const uint8_t *end, uint64_t *size)
{
    p = read_varint(p, end, size);
    return p != NULL && *size <= (uint64_t)(end - p) ? p : NULL;
}

/* Behind a field that is not length-delimited. */
static inline const uint8_t *skip(const uint8_t *p, const uint8_t *end, uint64_t tag)
{
    uint64_t value;
    switch (tag & 7) {
    case 0:
        return read_varint(p, end, &value);
    case 1:
        return end - p >= 8 ? p + 8 : NULL;
    case 5:
        return end - p >= 4 ? p + 4 : NULL;
    default:
        return NULL;
    }
}

enum { LENGTH_DELIMITED = 2 };
#define TAG(number) ((number) << 3 | LENGTH_DELIMITED)

static __attribute__((noinline, cold)) bool is_utf8_slow(const uint8_t *p, size_t size)
{
    for (size_t i = 0; i < size;) {
        size_t more = p[i] < 0x80 ? 0 : p[i] < 0xe0 ? 1 : p[i] < 0xf0 ? 2 : 3;
        if (i + more >= size)
            return false;
        for (size_t k = 1; k <= more; k++) {
            if ((p[i + k] & 0xc0) != 0x80)
                return false;
        }
        i += more + 1;
    }
    return true;
}

/* Reads up to 31 bytes past the end: the exchange's buffer ends in room for that. */
static inline bool is_utf8(const uint8_t *p, size_t size)
{
#ifdef __AVX2__
    size_t i = 0;
    for (; size - i > 32; i += 32) {
        if (_mm256_movemask_epi8(_mm256_loadu_si256((const void *)(p + i))))
            return is_utf8_slow(p, size);
    }
    uint32_t mask = (uint32_t)_mm256_movemask_epi8(_mm256_loadu_si256((const void *)(p + i)));
    return _bzhi_u32(mask, (uint32_t)(size - i)) == 0 || is_utf8_slow(p, size);
#else
    return is_utf8_slow(p, size);
#endif
}

static inline bool check_value(const uint8_t *p, const uint8_t *end)
{
    uint64_t tag, size;
    while (p < end) {
        p = read_varint(p, end, &tag);
        if (p == NULL)
            return false;
        if ((tag & 7) == LENGTH_DELIMITED) {
            p = read_length(p, end, &size);
            if (p == NULL || (tag == TAG(1) && !is_utf8(p, size)))
                return false;
            p += size;
        } else if ((p = skip(p, end, tag)) == NULL) {
            return false;
        }
    }
    return true;
}

static inline bool check_attribute(const uint8_t *p, const uint8_t *end)
{
    uint64_t tag, size;
    while (p < end) {
        p = read_varint(p, end, &tag);
        if (p == NULL)
            return false;
        if ((tag & 7) == LENGTH_DELIMITED) {
            p = read_length(p, end, &size);
            if (p == NULL || (tag == TAG(1) && !is_utf8(p, size)) ||
                (tag == TAG(2) && !check_value(p, p + size)))
                return false;
            p += size;
        } else if ((p = skip(p, end, tag)) == NULL) {
            return false;
        }
    }
    return true;
}

static bool check_span(const uint8_t *p, const uint8_t *end)
{
    uint64_t tag, size;
    while (p < end) {
        p = read_varint(p, end, &tag);
        if (p == NULL)
            return false;
        if ((tag & 7) == LENGTH_DELIMITED) {
            p = read_length(p, end, &size);
            if (p == NULL || (tag == TAG(1) && size != 16) ||
                (tag == TAG(5) && !is_utf8(p, size)) ||
                (tag == TAG(9) && !check_attribute(p, p + size)))
                return false;
            p += size;
        } else if ((p = skip(p, end, tag)) == NULL) {
            return false;
        }
    }
    return true;
}

/* ---- splicing ---- */

static uint8_t added[256];
static size_t added_size;

static uint8_t *put_varint(uint8_t *out, uint64_t value)
{
    while (value >= 128) {
        *out++ = (uint8_t)(value | 128);
        value >>= 7;
    }
    *out++ = (uint8_t)value;
    return out;
}

/* A length in four bytes, so that it can be written once the content is known. */
static void put_length4(uint8_t *out, size_t value)
{
    for (int i = 0; i < 3; i++)
        out[i] = (uint8_t)((value >> (7 * i)) | 128);
    out[3] = (uint8_t)(value >> 21);
}

static void add_attribute(const char *key, const char *value)
{
    uint8_t *out = added + added_size;
    size_t key_size = strlen(key), value_size = strlen(value);
    *out++ = 9 << 3 | 2;
    out = put_varint(out, key_size + value_size + 6);
    *out++ = 1 << 3 | 2;
    out = put_varint(out, key_size);
    memcpy(out, key, key_size);
    out += key_size;
    *out++ = 2 << 3 | 2;
    out = put_varint(out, value_size + 2);
    *out++ = 1 << 3 | 2;
    out = put_varint(out, value_size);
    memcpy(out, value, value_size);
    added_size = (size_t)(out + value_size - added);
}

typedef uint8_t *(*splice_inner)(uint8_t *out, const uint8_t *p, const uint8_t *end);

/* Copies a message's fields; those with `tag` (length-delimited) go through `inner`, behind a
 * length of four bytes. NULL where the bytes do not parse. */
static inline __attribute__((always_inline)) uint8_t *splice_message(uint8_t *out, const uint8_t *p,
                                                                     const uint8_t *end,
                                                                     uint64_t want,
                                                                     splice_inner inner)
{
    uint64_t tag, size;
    while (p < end) {
        const uint8_t *start = p;
        p = read_varint(p, end, &tag);
        if (p == NULL || (tag & 7) != LENGTH_DELIMITED)
            return NULL;
        p = read_length(p, end, &size);
        if (p == NULL)
            return NULL;
        const uint8_t *data = p;
        p += size;
        if (tag != want) {
            memcpy(out, start, (size_t)(p - start));
            out += p - start;
            continue;
        }
        *out++ = (uint8_t)tag;
        uint8_t *length = out;
        out = inner(out + 4, data, p);
        if (out == NULL)
            return NULL;
        put_length4(length, (size_t)(out - length - 4));
    }
    return out;
}

static inline uint8_t *splice_span(uint8_t *out, const uint8_t *p, const uint8_t *end)
{
    if (!check_span(p, end))
        return NULL;
    memcpy(out, p, (size_t)(end - p));
    out += end - p;
    memcpy(out, added, added_size);
    return out + added_size;
}

static uint8_t *splice_scope(uint8_t *out, const uint8_t *p, const uint8_t *end)
{
    return splice_message(out, p, end, TAG(2), splice_span);
}

static uint8_t *splice_resource(uint8_t *out, const uint8_t *p, const uint8_t *end)
{
    return splice_message(out, p, end, TAG(2), splice_scope);
}

static uint8_t *splice_request(uint8_t *out, const uint8_t *p, const uint8_t *end)
{
    return splice_message(out, p, end, TAG(1), splice_resource);
}

/* ---- forwarding ---- */

static void forward(struct exchange *x)
{
    uint8_t *out = bench_take_buffer();
    uint8_t *end = splice_request(out + 5, x->in + 5, x->in + x->in_size);
    if (end == NULL) {
        fprintf(stderr, "floor: a request does not parse\n");
        exit(1);
    }
    size_t size = (size_t)(end - out) - 5;
    out[0] = 0;
    for (int i = 0; i < 4; i++)
        out[1 + i] = (uint8_t)(size >> (24 - 8 * i));
    bench_request(backend, out, size + 5, x);
}

static void on_response(struct exchange *x)
{
    bench_give_buffer((uint8_t *)x->out);
    bench_answer(x->user);
}

static void on_backend_gone(struct peer *peer)
{
    if (peer == backend)
        loop.stop = true;
}

int main(int argc, char **argv)
{
    bool forwarding = argc == 4 && strcmp(argv[1], "forward") == 0;
    if (!forwarding && !(argc == 3 && strcmp(argv[1], "answer") == 0)) {
        fprintf(stderr, "usage: floor forward LISTEN_PORT BACKEND_PORT | floor answer PORT\n");
        return 2;
    }
    signal(SIGTERM, on_signal);
    signal(SIGPIPE, SIG_IGN);
    bench_loop_init(&loop);
    static const struct peer_ops upstream = {.on_response = on_response,
                                             .on_gone = on_backend_gone};
    static const struct peer_ops forwarder = {.on_request = forward};
    static const struct peer_ops answerer = {.on_request = bench_answer};
    if (forwarding)
        backend = bench_connect(&loop, (uint16_t)atoi(argv[3]), &upstream);
    bench_listen(&loop, (uint16_t)atoi(argv[2]), forwarding ? &forwarder : &answerer);
    add_attribute("container.cgroup.id", "18446744073");
    add_attribute("undertrace.tcp.retransmits", "3");
    add_attribute("undertrace.tcp.match", "connection");
    add_attribute("k8s.pod.name", "orders-6d5f7b9c4-x2k8q");
    while (!loop.stop)
        bench_loop_turn(&loop, 1000);
    return 0;
}
