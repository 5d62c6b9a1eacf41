/* SPDX-License-Identifier: Apache-2.0 */
#include "otlp/wire.h"

/* The end of the group whose begin tag was just read. The walk has balanced the groups, so only
 * their number has to be counted. */
static const uint8_t *group_end(const uint8_t *p)
{
    for (unsigned open = 1; open > 0;) {
        uint64_t tag, value;
        p = ut_wire_varint(p, &tag);
        switch (tag & 7) {
        case UT_WIRE_VARINT:
            p = ut_wire_varint(p, &value);
            break;
        case UT_WIRE_FIXED64:
            p += 8;
            break;
        case UT_WIRE_LEN:
            p = ut_wire_varint(p, &value);
            p += value;
            break;
        case UT_WIRE_GROUP_BEGIN:
            open++;
            break;
        case UT_WIRE_GROUP_END:
            open--;
            break;
        default:
            p += 4;
        }
    }
    return p;
}

const uint8_t *ut_wire_field(const uint8_t *p, struct ut_wire_field *ret)
{
    uint64_t tag, size;
    *ret = (struct ut_wire_field){.begin = p};
    p = ut_wire_varint(p, &tag);
    ret->number = (uint32_t)(tag >> 3);
    ret->wire = tag & 7;
    switch (ret->wire) {
    case UT_WIRE_VARINT:
        p = ut_wire_varint(p, &ret->value);
        break;
    case UT_WIRE_FIXED64:
        ret->value = ut_wire_fixed64(p);
        p += 8;
        break;
    case UT_WIRE_LEN:
        p = ut_wire_varint(p, &size);
        ret->content = ut_slice_of(p, (size_t)size);
        p += size;
        break;
    case UT_WIRE_FIXED32:
        ret->value = p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
        p += 4;
        break;
    default:
        p = group_end(p);
    }
    ret->end = p;
    return p;
}
