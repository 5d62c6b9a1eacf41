/* SPDX-License-Identifier: Apache-2.0 */
#include "otlp/schema.h"

#define FIELD(name, no, what, type)                                                                \
    .key = "\"" name "\":", .key_size = sizeof("\"" name "\":") - 1, .number = (no),               \
    .kind = UT_SCHEMA_##what, .wire = UT_WIRE_##type
#define MESSAGE(name, no, type) FIELD(name, no, MESSAGE, LEN), .nested = UT_SCHEMA_##type
#define LIST(name, no, type) MESSAGE(name, no, type), .repeated = true

static const struct ut_schema_field REQUEST[] = {{LIST("resourceSpans", 1, RESOURCE_SPANS)}};

static const struct ut_schema_field RESOURCE_SPANS[] = {
    {MESSAGE("resource", 1, RESOURCE)},
    {LIST("scopeSpans", 2, SCOPE_SPANS)},
    {FIELD("schemaUrl", 3, TEXT, LEN)},
};

static const struct ut_schema_field RESOURCE[] = {
    {LIST("attributes", 1, KEY_VALUE)},
    {FIELD("droppedAttributesCount", 2, UINT32, VARINT)},
    {LIST("entityRefs", 3, ENTITY_REF)},
};

static const struct ut_schema_field ENTITY_REF[] = {
    {FIELD("schemaUrl", 1, TEXT, LEN)},
    {FIELD("type", 2, TEXT, LEN)},
    {FIELD("idKeys", 3, TEXT, LEN), .repeated = true},
    {FIELD("descriptionKeys", 4, TEXT, LEN), .repeated = true},
};

static const struct ut_schema_field SCOPE_SPANS[] = {
    {MESSAGE("scope", 1, SCOPE)},
    {LIST("spans", 2, SPAN)},
    {FIELD("schemaUrl", 3, TEXT, LEN)},
};

static const struct ut_schema_field SCOPE[] = {
    {FIELD("name", 1, TEXT, LEN)},
    {FIELD("version", 2, TEXT, LEN)},
    {LIST("attributes", 3, KEY_VALUE)},
    {FIELD("droppedAttributesCount", 4, UINT32, VARINT)},
};

static const struct ut_schema_field SPAN[] = {
    {FIELD("traceId", 1, ID, LEN)},
    {FIELD("spanId", 2, ID, LEN)},
    {FIELD("traceState", 3, TEXT, LEN)},
    {FIELD("parentSpanId", 4, ID, LEN)},
    {FIELD("name", 5, TEXT, LEN)},
    {FIELD("kind", 6, ENUM, VARINT)},
    {FIELD("startTimeUnixNano", 7, FIXED64, FIXED64)},
    {FIELD("endTimeUnixNano", 8, FIXED64, FIXED64)},
    {LIST("attributes", 9, KEY_VALUE)},
    {FIELD("droppedAttributesCount", 10, UINT32, VARINT)},
    {LIST("events", 11, EVENT)},
    {FIELD("droppedEventsCount", 12, UINT32, VARINT)},
    {LIST("links", 13, LINK)},
    {FIELD("droppedLinksCount", 14, UINT32, VARINT)},
    {MESSAGE("status", 15, STATUS)},
    {FIELD("flags", 16, FIXED32, FIXED32)},
};

static const struct ut_schema_field EVENT[] = {
    {FIELD("timeUnixNano", 1, FIXED64, FIXED64)},
    {FIELD("name", 2, TEXT, LEN)},
    {LIST("attributes", 3, KEY_VALUE)},
    {FIELD("droppedAttributesCount", 4, UINT32, VARINT)},
};

static const struct ut_schema_field LINK[] = {
    {FIELD("traceId", 1, ID, LEN)},
    {FIELD("spanId", 2, ID, LEN)},
    {FIELD("traceState", 3, TEXT, LEN)},
    {LIST("attributes", 4, KEY_VALUE)},
    {FIELD("droppedAttributesCount", 5, UINT32, VARINT)},
    {FIELD("flags", 6, FIXED32, FIXED32)},
};

static const struct ut_schema_field STATUS[] = {
    {FIELD("message", 2, TEXT, LEN)},
    {FIELD("code", 3, ENUM, VARINT)},
};

static const struct ut_schema_field KEY_VALUE[] = {
    {FIELD("key", 1, TEXT, LEN)},
    {MESSAGE("value", 2, ANY_VALUE)},
};

static const struct ut_schema_field ANY_VALUE[] = {
    {FIELD("stringValue", 1, TEXT, LEN), .member = true},
    {FIELD("boolValue", 2, BOOL, VARINT), .member = true},
    {FIELD("intValue", 3, INT64, VARINT), .member = true},
    {FIELD("doubleValue", 4, DOUBLE, FIXED64), .member = true},
    {MESSAGE("arrayValue", 5, ARRAY), .member = true},
    {MESSAGE("kvlistValue", 6, KEY_VALUE_LIST), .member = true},
    {FIELD("bytesValue", 7, BYTES, LEN), .member = true},
};

static const struct ut_schema_field ARRAY[] = {{LIST("values", 1, ANY_VALUE)}};
static const struct ut_schema_field KEY_VALUE_LIST[] = {{LIST("values", 1, KEY_VALUE)}};

#define ROW(name, again)                                                                           \
    [UT_SCHEMA_##name] = {name, sizeof(name) / sizeof((name)[0]), .recursive = (again)}

const struct ut_schema_message UT_SCHEMA[UT_SCHEMA_TYPES] = {
    ROW(REQUEST, false),    ROW(RESOURCE_SPANS, false), ROW(RESOURCE, false),
    ROW(ENTITY_REF, false), ROW(SCOPE_SPANS, false),    ROW(SCOPE, false),
    ROW(SPAN, false),       ROW(EVENT, false),          ROW(LINK, false),
    ROW(STATUS, false),     ROW(KEY_VALUE, true),       ROW(ANY_VALUE, true),
    ROW(ARRAY, true),       ROW(KEY_VALUE_LIST, true),
};
