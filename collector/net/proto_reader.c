/* SPDX-License-Identifier: Apache-2.0 */
#include "net/proto_reader.h"

enum { VARINT, FIXED64, LENGTH, GROUP_BEGIN, GROUP_END, FIXED32 };

static bool take_varint(ut_slice *message, uint64_t *ret)
{
    uint64_t value = 0;
    for (size_t i = 0; i < 10 && i < message->size; i++) {
        value |= (uint64_t)(message->data[i] & 0x7f) << (7 * i);
        if ((message->data[i] & 0x80) == 0) {
            *message = ut_slice_of(message->data + i + 1, message->size - i - 1);
            *ret = value;
            return true;
        }
    }
    return false;
}

static bool take_fixed(ut_slice *message, size_t size, uint64_t *ret)
{
    if (message->size < size)
        return false;
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++)
        value |= (uint64_t)message->data[i] << (8 * i);
    *message = ut_slice_of(message->data + size, message->size - size);
    *ret = value;
    return true;
}

static bool take_bytes(ut_slice *message, ut_slice *ret)
{
    uint64_t size;
    if (!take_varint(message, &size))
        return false;
    size_t have = size < message->size ? (size_t)size : message->size;
    *ret = ut_slice_of(message->data, have);
    *message = ut_slice_of(message->data + have, message->size - have);
    return true;
}

bool ut_proto_next(ut_slice *message, struct ut_proto_field *ret)
{
    uint64_t tag;
    *ret = (struct ut_proto_field){0};
    if (message->size == 0 || !take_varint(message, &tag) || tag >> 3 == 0 || tag >> 32 != 0)
        return false;
    ret->number = (uint32_t)(tag >> 3);
    switch (tag & 7) {
    case VARINT:
        return take_varint(message, &ret->value);
    case FIXED64:
        return take_fixed(message, 8, &ret->value);
    case FIXED32:
        return take_fixed(message, 4, &ret->value);
    case LENGTH:
        return take_bytes(message, &ret->bytes);
    default: /* groups: nothing that is read here has any */
        return false;
    }
}
