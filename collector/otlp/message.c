/* SPDX-License-Identifier: Apache-2.0 */
#include "otlp/message.h"

#include "otlp/text.h"

const char UT_BAD_TEXT[] = "a string is not valid UTF-8";
const char UT_BAD_LINK[] = "an id of a link has the wrong length";
const char UT_WRONG_WIRE_TYPE[] = "a known field has the wrong wire type";

enum check { UNKNOWN, PLAIN, TEXT, ID_8, ID_16, NESTED };

enum { FIELD_LIMIT = 8 }; /* the highest field number of these messages is 7 */

struct rule {
    uint8_t check;  /* enum check */
    uint8_t wire;   /* enum ut_wire */
    uint8_t nested; /* enum ut_message */
};

#define VARINT_FIELD                                                                               \
    {                                                                                              \
        PLAIN, UT_WIRE_VARINT, 0                                                                   \
    }
#define TEXT_FIELD                                                                                 \
    {                                                                                              \
        TEXT, UT_WIRE_LEN, 0                                                                       \
    }
#define FIELD(check, wire)                                                                         \
    {                                                                                              \
        check, wire, 0                                                                             \
    }
#define NESTED_FIELD(message)                                                                      \
    {                                                                                              \
        NESTED, UT_WIRE_LEN, message                                                               \
    }

/* opentelemetry.proto.{common,resource,trace}.v1, by field number. */
static const struct rule RULES[][FIELD_LIMIT] = {
    [UT_MESSAGE_KEY_VALUE] = {[1] = TEXT_FIELD, [2] = NESTED_FIELD(UT_MESSAGE_ANY_VALUE)},
    [UT_MESSAGE_ANY_VALUE] = {[1] = TEXT_FIELD,
                              [2] = VARINT_FIELD,
                              [3] = VARINT_FIELD,
                              [4] = FIELD(PLAIN, UT_WIRE_FIXED64),
                              [5] = NESTED_FIELD(UT_MESSAGE_ARRAY),
                              [6] = NESTED_FIELD(UT_MESSAGE_KEY_VALUE_LIST),
                              [7] = FIELD(PLAIN, UT_WIRE_LEN)},
    [UT_MESSAGE_ARRAY] = {[1] = NESTED_FIELD(UT_MESSAGE_ANY_VALUE)},
    [UT_MESSAGE_KEY_VALUE_LIST] = {[1] = NESTED_FIELD(UT_MESSAGE_KEY_VALUE)},
    [UT_MESSAGE_RESOURCE] = {[1] = NESTED_FIELD(UT_MESSAGE_KEY_VALUE),
                             [2] = VARINT_FIELD,
                             [3] = NESTED_FIELD(UT_MESSAGE_ENTITY_REF)},
    [UT_MESSAGE_ENTITY_REF] =
        {[1] = TEXT_FIELD, [2] = TEXT_FIELD, [3] = TEXT_FIELD, [4] = TEXT_FIELD},
    [UT_MESSAGE_SCOPE] = {[1] = TEXT_FIELD,
                          [2] = TEXT_FIELD,
                          [3] = NESTED_FIELD(UT_MESSAGE_KEY_VALUE),
                          [4] = VARINT_FIELD},
    [UT_MESSAGE_EVENT] = {[1] = FIELD(PLAIN, UT_WIRE_FIXED64),
                          [2] = TEXT_FIELD,
                          [3] = NESTED_FIELD(UT_MESSAGE_KEY_VALUE),
                          [4] = VARINT_FIELD},
    [UT_MESSAGE_LINK] = {[1] = FIELD(ID_16, UT_WIRE_LEN),
                         [2] = FIELD(ID_8, UT_WIRE_LEN),
                         [3] = TEXT_FIELD,
                         [4] = NESTED_FIELD(UT_MESSAGE_KEY_VALUE),
                         [5] = VARINT_FIELD,
                         [6] = FIELD(PLAIN, UT_WIRE_FIXED32)},
    [UT_MESSAGE_STATUS] = {[2] = TEXT_FIELD, [3] = VARINT_FIELD},
};

const uint8_t *ut_message_refuse(struct ut_fault *fault, const uint8_t *at, const char *error)
{
    fault->at = at;
    fault->error = error;
    return NULL;
}

void ut_message_bad(struct ut_fault *fault, const char *why)
{
    if (fault->bad == NULL)
        fault->bad = why;
    fault->bad_text |= why == UT_BAD_TEXT;
}

const uint8_t *ut_message_varint(struct ut_fault *fault, const uint8_t *p, const uint8_t *end,
                                 uint64_t *ret)
{
    const uint8_t *behind = ut_wire_varint_checked(p, end, ret);
    if (behind == NULL)
        return ut_message_refuse(fault, p, "a varint is cut off or too long");
    return behind;
}

const uint8_t *ut_message_tag(struct ut_fault *fault, const uint8_t *p, const uint8_t *end,
                              uint32_t *ret)
{
    uint64_t tag;
    const uint8_t *behind = ut_wire_varint_checked(p, end, &tag);
    if (behind == NULL || behind - p > UT_TAG_MAX || tag > UINT32_MAX)
        return ut_message_refuse(fault, p, "a tag is cut off or too long");
    if (tag >> 3 == 0)
        return ut_message_refuse(fault, p, "field number 0");
    *ret = (uint32_t)tag;
    return behind;
}

const uint8_t *ut_message_length(struct ut_fault *fault, const uint8_t *p, const uint8_t *end,
                                 size_t *ret)
{
    uint64_t length;
    const uint8_t *behind = ut_wire_varint_checked(p, end, &length);
    if (behind == NULL)
        return ut_message_refuse(fault, p, "a length is cut off or too long");
    if (length > (uint64_t)(end - behind))
        return ut_message_refuse(fault, p, "a length goes beyond its message");
    *ret = (size_t)length;
    return behind;
}

/* A value of `size` bytes. */
static const uint8_t *skip_fixed(struct ut_fault *fault, const uint8_t *p, const uint8_t *end,
                                 size_t size)
{
    if ((size_t)(end - p) < size)
        return ut_message_refuse(fault, p, "a fixed-size value is cut off");
    return p + size;
}

static const uint8_t *skip_scalar(struct ut_fault *fault, uint32_t tag, const uint8_t *p,
                                  const uint8_t *end)
{
    uint64_t value;
    size_t length;
    switch (tag & 7) {
    case UT_WIRE_VARINT:
        return ut_message_varint(fault, p, end, &value);
    case UT_WIRE_FIXED64:
        return skip_fixed(fault, p, end, 8);
    case UT_WIRE_FIXED32:
        return skip_fixed(fault, p, end, 4);
    case UT_WIRE_LEN:
        p = ut_message_length(fault, p, end, &length);
        return p == NULL ? NULL : p + length;
    default:
        return ut_message_refuse(fault, p, "a wire type that does not exist");
    }
}

/* A group: fields up to the end tag with its number. Groups in it nest, their numbers on a stack.
 */
static const uint8_t *skip_group(struct ut_fault *fault, uint32_t number, const uint8_t *p,
                                 const uint8_t *end, unsigned depth)
{
    uint32_t open[UT_DEPTH_MAX + 1];
    unsigned count = 0;
    for (;;) {
        if (depth + count + 1 > UT_DEPTH_MAX)
            return ut_message_refuse(fault, p, "nested too deep");
        open[count++] = number;
        uint32_t tag;
        do {
            const uint8_t *at = p;
            if (p == end)
                return ut_message_refuse(fault, p, "a group is not closed");
            p = ut_message_tag(fault, p, end, &tag);
            if (p == NULL)
                return NULL;
            if ((tag & 7) == UT_WIRE_GROUP_END) {
                if (tag >> 3 != open[--count])
                    return ut_message_refuse(fault, at, "a group is closed by another's end");
                if (count == 0)
                    return p;
            } else if ((tag & 7) != UT_WIRE_GROUP_BEGIN) {
                p = skip_scalar(fault, tag, p, end);
                if (p == NULL)
                    return NULL;
            }
        } while ((tag & 7) != UT_WIRE_GROUP_BEGIN);
        number = tag >> 3;
    }
}

const uint8_t *ut_message_skip(struct ut_fault *fault, uint32_t tag, const uint8_t *p,
                               const uint8_t *end, unsigned depth)
{
    if ((tag & 7) == UT_WIRE_GROUP_BEGIN)
        return skip_group(fault, tag >> 3, p, end, depth);
    if ((tag & 7) == UT_WIRE_GROUP_END)
        return ut_message_refuse(fault, p, "a group ends that never began");
    return skip_scalar(fault, tag, p, end);
}

static void check_content(struct ut_fault *fault, enum check check, const uint8_t *p, size_t size)
{
    if (check == TEXT && !ut_text_is_fine(p, size))
        ut_message_bad(fault, UT_BAD_TEXT);
    /* An empty id is an absent one; the Collector takes links without ids, too. */
    if ((check == ID_8 && size != 8 && size != 0) || (check == ID_16 && size != 16 && size != 0))
        ut_message_bad(fault, UT_BAD_LINK);
}

/* Where a message that holds the present one goes on. */
struct frame {
    const uint8_t *end;
    uint8_t type; /* enum ut_message */
};

bool ut_message_check(struct ut_fault *fault, enum ut_message type, const uint8_t *p,
                      const uint8_t *end, unsigned depth)
{
    struct frame outer[UT_DEPTH_MAX];
    unsigned level = 0;
    for (;;) {
        if (p == end) {
            if (level == 0)
                return true;
            end = outer[--level].end;
            type = outer[level].type;
            continue;
        }
        static const struct rule unknown = {UNKNOWN, 0, 0};
        const uint8_t *at = p;
        uint32_t tag;
        p = ut_message_tag(fault, p, end, &tag);
        if (p == NULL)
            return false;
        const struct rule *rule = tag >> 3 < FIELD_LIMIT ? &RULES[type][tag >> 3] : &unknown;
        if (rule->check != UNKNOWN && rule->wire != (tag & 7))
            return ut_message_refuse(fault, at, UT_WRONG_WIRE_TYPE) != NULL;
        if (rule->check <= PLAIN) {
            p = ut_message_skip(fault, tag, p, end, depth + level);
            if (p == NULL)
                return false;
            continue;
        }
        size_t size;
        p = ut_message_length(fault, p, end, &size);
        if (p == NULL)
            return false;
        if (rule->check != NESTED) {
            check_content(fault, rule->check, p, size);
            p += size;
            continue;
        }
        if (depth + level + 1 > UT_DEPTH_MAX)
            return ut_message_refuse(fault, at, "nested too deep") != NULL;
        outer[level++] = (struct frame){end, (uint8_t)type};
        end = p + size;
        type = rule->nested;
    }
}
