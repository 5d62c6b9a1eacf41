/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lenient reader of small protobuf messages from a backend (Status, RetryInfo, partial_success):
 * it goes from field to field and stops at the first byte that makes no sense. Depth is the
 * caller's: a nested message is a slice to read in its turn.
 */
#ifndef UT_NET_PROTO_READER_H
#define UT_NET_PROTO_READER_H

#include "base/slice.h"

struct ut_proto_field {
    uint32_t number;
    uint64_t value; /* of a varint or fixed field, else 0 */
    ut_slice bytes; /* of a length-delimited field, else empty; cut where the message is */
};

/* Takes the next field off the front of `message`. false: there is none that can be read. */
bool ut_proto_next(ut_slice *message, struct ut_proto_field *ret);

#endif
