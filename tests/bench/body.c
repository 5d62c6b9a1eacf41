/* SPDX-License-Identifier: Apache-2.0 */
#include "body.h"

#include "compress.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct buffer {
    uint8_t *data;
    size_t size, capacity;
};

static void put(struct buffer *b, const void *data, size_t size)
{
    if (b->size + size > b->capacity) {
        b->capacity = (b->size + size) * 2;
        b->data = realloc(b->data, b->capacity);
        if (b->data == NULL)
            exit(1);
    }
    memcpy(b->data + b->size, data, size);
    b->size += size;
}

static void put_varint(struct buffer *b, uint64_t value)
{
    do {
        uint8_t byte = (uint8_t)(value & 127);
        value >>= 7;
        if (value != 0)
            byte |= 128;
        put(b, &byte, 1);
    } while (value != 0);
}

static void put_bytes(struct buffer *b, unsigned field, const void *data, size_t size)
{
    put_varint(b, field << 3 | 2);
    put_varint(b, size);
    put(b, data, size);
}

/* Takes the inner message's memory. */
static void put_message(struct buffer *b, unsigned field, struct buffer *inner)
{
    put_bytes(b, field, inner->data, inner->size);
    free(inner->data);
    *inner = (struct buffer){0};
}

static void put_fixed64(struct buffer *b, unsigned field, uint64_t value)
{
    put_varint(b, field << 3 | 1);
    put(b, &value, 8);
}

static void put_attribute(struct buffer *b, unsigned field, const char *key, const char *text,
                          uint64_t number)
{
    struct buffer value = {0}, pair = {0};
    if (text != NULL) {
        put_bytes(&value, 1, text, strlen(text));
    } else {
        put_varint(&value, 3 << 3);
        put_varint(&value, number);
    }
    put_bytes(&pair, 1, key, strlen(key));
    put_message(&pair, 2, &value);
    put_message(b, field, &pair);
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

const struct body_attribute body_attributes[BODY_ATTRIBUTES] = {
    {"http.request.method", "GET", 0, false},
    {"url.path", "/api/v1/orders/482913", 0, false},
    {"http.response.status_code", NULL, 200, false},
    {"network.protocol.version", "1.1", 0, false},
    {"user_agent.original", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36", 0, false},
    {"url.scheme", "http", 0, true},
    {"thread.id", NULL, 5123, false},
    {"code.function.name", "OrderController.getOrder", 0, true},
};

const struct body_attribute body_resource[BODY_RESOURCE] = {
    {"service.name", "orders", 0, false},         {"service.version", "1.42.0", 0, false},
    {"host.name", "ip-10-42-7-113", 0, false},    {"process.pid", NULL, 4242, false},
    {"telemetry.sdk.language", "java", 0, false}, {"telemetry.sdk.name", "opentelemetry", 0, false},
};

static void put_span(struct buffer *scope, const struct body_options *options, uint64_t *random)
{
    struct buffer span = {0}, status = {0};
    uint64_t id[2] = {next_random(random), next_random(random)};
    put_bytes(&span, 1, id, 16);
    id[0] = next_random(random);
    put_bytes(&span, 2, id, 8);
    id[0] = next_random(random);
    put_bytes(&span, 4, id, 8);
    put_bytes(&span, 5, "HTTP GET /api/v1/orders/{id}", 28);
    put_varint(&span, 6 << 3);
    put_varint(&span, options->kind);
    uint64_t start = options->start_ns;
    if (start == 0)
        start = 1760000000000000000u + next_random(random) % 1000000000u;
    put_fixed64(&span, 7, start);
    put_fixed64(&span, 8, options->end_ns != 0 ? options->end_ns : start + 5000000u);
    for (unsigned i = 0; i < options->attributes; i++) {
        const struct body_attribute *attribute = &body_attributes[i % BODY_ATTRIBUTES];
        if (options->peer_port != 0 && attribute->replaced_by_peer)
            continue;
        put_attribute(&span, 9, attribute->key, attribute->text, attribute->number);
    }
    if (options->peer_port != 0) {
        put_attribute(&span, 9, "network.peer.address", "127.0.0.1", 0);
        put_attribute(&span, 9, "network.peer.port", NULL, options->peer_port);
    }
    put_varint(&status, 3 << 3);
    put_varint(&status, 1);
    put_message(&span, 15, &status);
    uint32_t flags = 257;
    put_varint(&span, 16 << 3 | 5);
    put(&span, &flags, 4);
    put_message(scope, 2, &span);
}

static void put_resource(struct buffer *resource_spans)
{
    struct buffer resource = {0};
    for (unsigned i = 0; i < BODY_RESOURCE; i++) {
        const struct body_attribute *attribute = &body_resource[i];
        put_attribute(&resource, 1, attribute->key, attribute->text, attribute->number);
    }
    put_message(resource_spans, 1, &resource);
}

uint8_t *body_new(const struct body_options *options, size_t *ret_size)
{
    uint64_t random = 88172645463325252u;
    struct buffer scope = {0}, name = {0}, resource_spans = {0}, request = {0}, framed = {0};
    put_bytes(&name, 1, "io.opentelemetry.tomcat-10.0", 28);
    put_bytes(&name, 2, "2.9.0", 5);
    put_message(&scope, 1, &name);
    for (unsigned i = 0; i < options->spans; i++)
        put_span(&scope, options, &random);
    put_resource(&resource_spans);
    put_message(&resource_spans, 2, &scope);
    put_message(&request, 1, &resource_spans);
    const uint8_t prefix[5] = {0, (uint8_t)(request.size >> 24), (uint8_t)(request.size >> 16),
                               (uint8_t)(request.size >> 8), (uint8_t)request.size};
    put(&framed, prefix, sizeof(prefix));
    put(&framed, request.data, request.size);
    free(request.data);
    *ret_size = framed.size;
    return framed.data;
}

uint8_t *body_compress(uint8_t *framed, const char *coding, size_t *size)
{
    struct buffer out = {0};
    size_t packed_size;
    enum compress_form form = strcmp(coding, "zstd") == 0 ? COMPRESS_ZSTD : COMPRESS_GZIP;
    uint8_t *packed = compress_bytes(form, framed + 5, *size - 5, &packed_size);
    const uint8_t prefix[5] = {1, (uint8_t)(packed_size >> 24), (uint8_t)(packed_size >> 16),
                               (uint8_t)(packed_size >> 8), (uint8_t)packed_size};
    put(&out, prefix, sizeof(prefix));
    put(&out, packed, packed_size);
    free(packed);
    free(framed);
    *size = out.size;
    return out.data;
}

/* ---- counting ---- */

static const uint8_t *get_varint(const uint8_t *p, const uint8_t *end, uint64_t *value)
{
    *value = 0;
    for (int shift = 0; p < end && shift < 64; shift += 7) {
        *value |= (uint64_t)(*p & 127) << shift;
        if (*p++ < 128)
            return p;
    }
    fprintf(stderr, "sink: a request does not parse\n");
    exit(1);
}

/* The next field, which must be length-delimited as all fields above the span are. */
static const uint8_t *get_field(const uint8_t *p, const uint8_t *end, uint64_t *number,
                                uint64_t *size)
{
    uint64_t tag;
    p = get_varint(p, end, &tag);
    p = get_varint(p, end, size);
    if ((tag & 7) != 2 || *size > (uint64_t)(end - p)) {
        fprintf(stderr, "sink: a request does not parse\n");
        exit(1);
    }
    *number = tag >> 3;
    return p;
}

static void count_level(const uint8_t *p, const uint8_t *end, int level, const char *key,
                        struct body_count *count)
{
    static const uint64_t descend[] = {1, 2, 2}; /* resource_spans, scope_spans, spans */
    while (p < end) {
        uint64_t number, size;
        const uint8_t *data = get_field(p, end, &number, &size);
        p = data + size;
        if (number != descend[level])
            continue;
        if (level < 2) {
            count_level(data, p, level + 1, key, count);
            continue;
        }
        count->spans++;
        if (key != NULL && memmem(data, size, key, strlen(key)) != NULL)
            count->with_key++;
    }
}

struct body_count body_count_spans(const uint8_t *data, size_t size, const char *key)
{
    struct body_count count = {0};
    count_level(data, data + size, 0, key, &count);
    return count;
}
