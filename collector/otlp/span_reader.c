/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Called by the join, for spans that an event may belong to, and by the identity step, for spans
 * and Resources with forged keys. All bytes have been walked, so nothing here can fail on them.
 */
#include "otlp/span_reader.h"

#include <errno.h>

#include "otlp/encode.h"
#include "otlp/end_keys.h"
#include "otlp/ours.h"
#include "otlp/plain.h"

enum { KEY_VALUE_KEY = 1, KEY_VALUE_VALUE = 2, ANY_STRING = 1, ANY_INT = 3, ANY_LAST = 7 };

/* ---- attributes ------------------------------------------------------------------------------ */

struct attribute {
    ut_slice key;
    ut_slice text;
    int64_t number;
    enum { OTHER, TEXT, NUMBER } type; /* of the value */
};

static void read_value(struct attribute *attribute, ut_slice any)
{
    struct ut_wire_field field;
    for (const uint8_t *p = any.data, *end = p + any.size; p < end;) {
        p = ut_wire_field(p, &field);
        if (field.number > ANY_LAST)
            continue;
        attribute->type = field.number == ANY_STRING ? TEXT
                          : field.number == ANY_INT  ? NUMBER
                                                     : OTHER;
        attribute->text = field.content;
        attribute->number = (int64_t)field.value;
    }
}

/* The usual shape: a key, then a value of one field, all lengths below 128. */
static bool read_plain(struct attribute *attribute, ut_slice key_value)
{
    size_t key_size;
    if (!ut_plain_attribute(key_value.data, key_value.size, &key_size))
        return false;
    const uint8_t *value = key_value.data + 2 + key_size + 2;
    attribute->key = ut_plain_key(key_value.data, key_size);
    attribute->text = ut_plain_text(key_value.data, key_size);
    attribute->type = value[0] == UT_PLAIN_STRING ? TEXT
                      : value[0] == UT_PLAIN_INT  ? NUMBER
                                                  : OTHER;
    uint64_t number = 0;
    if (attribute->type == NUMBER)
        (void)ut_wire_varint(value + 1, &number);
    attribute->number = (int64_t)number;
    return true;
}

static struct attribute read_attribute(ut_slice key_value)
{
    struct attribute attribute = {.type = OTHER};
    if (read_plain(&attribute, key_value))
        return attribute;
    struct ut_wire_field field;
    for (const uint8_t *p = key_value.data, *end = p + key_value.size; p < end;) {
        p = ut_wire_field(p, &field);
        if (field.number == KEY_VALUE_KEY)
            attribute.key = field.content;
        else if (field.number == KEY_VALUE_VALUE)
            read_value(&attribute, field.content);
    }
    return attribute;
}

/* ---- named ends ------------------------------------------------------------------------------ */

/* Of several the last one counts; a name says nothing, so it replaces no address. */
static void name_address(struct ut_named_end *end, ut_slice text)
{
    struct ut_address address;
    if (text.size == 0)
        return;
    if (ut_address_parse(&address, text) == 0) {
        end->endpoint.address = address;
        end->has_address = true;
        end->has_name = false;
    } else if (!end->has_address) {
        end->has_name = true;
    }
}

/* Decimal digits, 1 … 65535; 0 for anything else. */
static uint16_t parse_port(ut_slice text)
{
    uint32_t port = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return 0;
        port = port * 10 + (uint32_t)(text.data[i] - '0');
        if (port > UINT16_MAX)
            return 0;
    }
    return (uint16_t)port;
}

static void name_port(struct ut_named_end *end, const struct attribute *attribute)
{
    if (attribute->type == TEXT)
        end->endpoint.port = parse_port(attribute->text);
    else if (attribute->number > 0 && attribute->number <= UINT16_MAX)
        end->endpoint.port = (uint16_t)attribute->number;
    else
        end->endpoint.port = 0;
}

static bool has_scheme(ut_slice url, ut_slice scheme)
{
    if (url.size <= scheme.size)
        return false;
    for (size_t i = 0; i < scheme.size; i++) {
        uint8_t c = url.data[i];
        if ((c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c) != scheme.data[i])
            return false;
    }
    return true;
}

static uint16_t default_port(ut_slice url)
{
    if (has_scheme(url, UT_SLICE("http://")) || has_scheme(url, UT_SLICE("ws://")))
        return 80;
    if (has_scheme(url, UT_SLICE("https://")) || has_scheme(url, UT_SLICE("wss://")))
        return 443;
    return 0;
}

/* RFC 3986, 3.2: what stands between "//" and the next of "/?#", without user information. */
static ut_slice url_authority(ut_slice url)
{
    size_t begin = 0;
    while (begin + 2 < url.size && memcmp(url.data + begin, "://", 3) != 0)
        begin++;
    if (begin + 2 >= url.size)
        return (ut_slice){NULL, 0};
    begin += 3;
    size_t end = begin;
    while (end < url.size && url.data[end] != '/' && url.data[end] != '?' && url.data[end] != '#')
        end++;
    for (size_t i = begin; i < end; i++) {
        if (url.data[i] == '@')
            begin = i + 1;
    }
    return ut_slice_of(url.data + begin, end - begin);
}

static void name_url(struct ut_named_end *end, ut_slice url)
{
    ut_slice host = url_authority(url);
    uint16_t port = default_port(url);
    if (host.size == 0)
        return;
    size_t colon = host.size;
    while (colon > 0 && host.data[colon - 1] != ':' && host.data[colon - 1] != ']')
        colon--;
    if (colon > 0 && host.data[colon - 1] == ':') {
        ut_slice text = ut_slice_of(host.data + colon, host.size - colon);
        if (text.size > 0)
            port = parse_port(text);
        host.size = colon - 1;
    }
    name_address(end, host);
    end->endpoint.port = port;
}

/* ---- which key names what -------------------------------------------------------------------- */

enum group { REMOTE, LOCAL, TO_SERVER, TO_CLIENT };
enum part { ADDRESS, PORT, URL };

static const struct known_key {
    ut_slice key;
    uint8_t group; /* enum group */
    uint8_t part;  /* enum part */
} KNOWN_KEYS[] = {
    {UT_SLICE("network.peer.address"), REMOTE, ADDRESS},
    {UT_SLICE("network.peer.port"), REMOTE, PORT},
    {UT_SLICE("net.sock.peer.addr"), REMOTE, ADDRESS},
    {UT_SLICE("net.sock.peer.port"), REMOTE, PORT},
    {UT_SLICE("net.peer.ip"), REMOTE, ADDRESS},
    {UT_SLICE("net.peer.port"), REMOTE, PORT},
    {UT_SLICE("network.local.address"), LOCAL, ADDRESS},
    {UT_SLICE("network.local.port"), LOCAL, PORT},
    {UT_SLICE("net.sock.host.addr"), LOCAL, ADDRESS},
    {UT_SLICE("net.sock.host.port"), LOCAL, PORT},
    {UT_SLICE("net.host.ip"), LOCAL, ADDRESS},
    {UT_SLICE("server.address"), TO_SERVER, ADDRESS},
    {UT_SLICE("server.port"), TO_SERVER, PORT},
    {UT_SLICE("net.peer.name"), TO_SERVER, ADDRESS},
    {UT_SLICE("url.full"), TO_SERVER, URL},
    {UT_SLICE("http.url"), TO_SERVER, URL},
    {UT_SLICE("client.address"), TO_CLIENT, ADDRESS},
    {UT_SLICE("client.port"), TO_CLIENT, PORT},
};

static const struct known_key *find_key(ut_slice key)
{
    if (!ut_end_key_may_be(key.data, key.size))
        return NULL;
    for (size_t i = 0; i < sizeof(KNOWN_KEYS) / sizeof(KNOWN_KEYS[0]); i++) {
        if (ut_slice_equal(KNOWN_KEYS[i].key, key))
            return &KNOWN_KEYS[i];
    }
    return NULL;
}

/* The end that a group of keys names on a span of this kind; NULL: none. */
static struct ut_named_end *end_of_group(struct ut_span_ends *ends, uint8_t group, uint8_t kind)
{
    bool serves = kind == UT_SPAN_KIND_SERVER;
    bool asks = kind == UT_SPAN_KIND_CLIENT || kind == UT_SPAN_KIND_PRODUCER ||
                kind == UT_SPAN_KIND_CONSUMER;
    switch (group) {
    case REMOTE:
        return &ends->remote;
    case LOCAL:
        return &ends->local;
    case TO_SERVER:
        return asks ? &ends->logical : NULL;
    default:
        return serves ? &ends->logical : NULL;
    }
}

static void read_end(struct ut_span_ends *ends, const struct attribute *attribute, uint8_t kind)
{
    const struct known_key *known = find_key(attribute->key);
    struct ut_named_end *end = known != NULL ? end_of_group(ends, known->group, kind) : NULL;
    if (end == NULL || attribute->type == OTHER)
        return;
    if (known->part == PORT)
        name_port(end, attribute);
    else if (attribute->type != TEXT)
        return;
    else if (known->part == URL)
        name_url(end, attribute->text);
    else
        name_address(end, attribute->text);
}

/* Behind the field of a span at `p` if it is of a usual shape and names no end; else NULL. This is
 * paid for every field of every span that an event may belong to. */
static inline const uint8_t *skip_quickly(const uint8_t *p)
{
    if (p[0] >= 0x80)
        return NULL;
    if ((p[0] & 7) == UT_WIRE_FIXED64)
        return p + 9;
    if ((p[0] & 7) != UT_WIRE_LEN || p[1] >= 0x80)
        return NULL;
    const uint8_t *content = p + 2;
    size_t size = p[1];
    if (p[0] != UT_TAG(UT_FIELD_SPAN_ATTRIBUTES, UT_WIRE_LEN))
        return content + size;
    /* A key that comes first, before anything could follow that replaces it. */
    bool plain = size >= 4 && content[0] == UT_PLAIN_KEY && content[1] < 0x80 &&
                 content[1] + 4u <= size && content[2 + content[1]] == UT_PLAIN_VALUE &&
                 content[3 + content[1]] + content[1] + 4u == size;
    return plain && !ut_end_key_may_be(content + 2, content[1]) ? content + size : NULL;
}

void ut_span_read_ends(const struct ut_body *body, const struct ut_span *span,
                       struct ut_span_ends *ret)
{
    *ret = (struct ut_span_ends){0};
    if (span->ends_end == 0)
        return;
    struct ut_wire_field field;
    const uint8_t *start = body->segment->data + span->offset;
    /* A position that is too far to be told is not known to be the begin of a field. */
    bool far = span->ends_end == UT_SPAN_ENDS_FAR;
    const uint8_t *end = start + (far ? span->size : span->ends_end);
    for (const uint8_t *p = start + (far ? 0 : span->ends_begin); p < end;) {
        const uint8_t *next = skip_quickly(p);
        if (next != NULL) {
            p = next;
            continue;
        }
        p = ut_wire_field(p, &field);
        if (field.number != UT_FIELD_SPAN_ATTRIBUTES)
            continue;
        struct attribute attribute = read_attribute(field.content);
        read_end(ret, &attribute, span->kind);
    }
}

/* ---- ranges ---------------------------------------------------------------------------------- */

struct range_list {
    struct ut_body *body;
    struct ut_range *ranges; /* newest allocation of the body's arena */
    uint32_t count, room;
};

static int add_range(struct range_list *list, const struct ut_wire_field *field)
{
    if (list->count == list->room) {
        uint32_t room = list->room == 0 ? 4 : list->room * 2;
        struct ut_range *grown = ut_arena_grow(&list->body->arena, list->ranges,
                                               list->room * sizeof(*grown), room * sizeof(*grown));
        if (grown == NULL)
            return -ENOMEM;
        list->ranges = grown;
        list->room = room;
    }
    list->ranges[list->count++] = (struct ut_range){
        .offset = (uint32_t)(field->begin - list->body->segment->data),
        .size = (uint32_t)(field->end - field->begin),
    };
    return 0;
}

int ut_span_forged_ranges(struct ut_body *body, const struct ut_span *span, struct ut_range **ret)
{
    struct range_list list = {.body = body};
    struct ut_wire_field field;
    const uint8_t *end = body->segment->data + span->offset + span->size;
    for (const uint8_t *p = body->segment->data + span->offset; p < end;) {
        p = ut_wire_field(p, &field);
        bool ours =
            (field.number == UT_FIELD_SPAN_ATTRIBUTES && ut_ours_attribute(field.content)) ||
            (field.number == UT_FIELD_SPAN_EVENTS && ut_ours_event(field.content));
        if (ours && add_range(&list, &field) != 0)
            return -ENOMEM;
    }
    *ret = list.ranges;
    return (int)list.count;
}

static bool is_one_of(ut_slice key, const ut_slice *keys, size_t key_count)
{
    for (size_t i = 0; i < key_count; i++) {
        if (ut_slice_equal(key, keys[i]))
            return true;
    }
    return false;
}

int ut_resource_ranges(struct ut_body *body, const struct ut_resource *resource,
                       const ut_slice *keys, size_t key_count, struct ut_range **ret)
{
    enum { RESOURCE_SPANS_RESOURCE = 1 };
    struct range_list list = {.body = body};
    struct ut_wire_field message, field;
    const uint8_t *end = body->segment->data + resource->end;
    /* Several Resource messages are one, so the ranges may lie in any of them. */
    for (const uint8_t *p = body->segment->data + resource->content; p < end;) {
        p = ut_wire_field(p, &message);
        if (message.number != RESOURCE_SPANS_RESOURCE)
            continue;
        for (const uint8_t *q = message.content.data; q < message.end;) {
            q = ut_wire_field(q, &field);
            if (field.number != UT_FIELD_RESOURCE_ATTRIBUTES)
                continue;
            bool hit = ut_ours_attribute(field.content) ||
                       is_one_of(ut_ours_key(field.content), keys, key_count);
            if (hit && add_range(&list, &field) != 0)
                return -ENOMEM;
        }
    }
    *ret = list.ranges;
    return (int)list.count;
}
