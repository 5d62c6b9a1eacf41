/* SPDX-License-Identifier: Apache-2.0 */
/* gRPC's status as its header fields carry it, and google.rpc.Status as a body. Pure. */
#ifndef UT_NET_GRPC_STATUS_H
#define UT_NET_GRPC_STATUS_H

#include <stddef.h>
#include <stdint.h>

/* https://github.com/grpc/grpc/blob/master/doc/statuscodes.md */
enum ut_grpc_code {
    UT_GRPC_OK = 0,
    UT_GRPC_CANCELLED = 1,
    UT_GRPC_UNKNOWN = 2,
    UT_GRPC_INVALID_ARGUMENT = 3,
    UT_GRPC_DEADLINE_EXCEEDED = 4,
    UT_GRPC_NOT_FOUND = 5,
    UT_GRPC_ALREADY_EXISTS = 6,
    UT_GRPC_PERMISSION_DENIED = 7,
    UT_GRPC_RESOURCE_EXHAUSTED = 8,
    UT_GRPC_FAILED_PRECONDITION = 9,
    UT_GRPC_ABORTED = 10,
    UT_GRPC_OUT_OF_RANGE = 11,
    UT_GRPC_UNIMPLEMENTED = 12,
    UT_GRPC_INTERNAL = 13,
    UT_GRPC_UNAVAILABLE = 14,
    UT_GRPC_DATA_LOSS = 15,
    UT_GRPC_UNAUTHENTICATED = 16,
    UT_GRPC_CODES = 17,
    UT_GRPC_NONE = -1, /* no grpc-status came */
};

#define UT_GRPC_TEXT_MAX 256 /* bytes of a text that are sent; the rest is cut */
#define UT_GRPC_MESSAGE_FIELD (3 * UT_GRPC_TEXT_MAX)
#define UT_GRPC_DETAILS_FIELD 512

/* `grpc-message`: percent-encoded, cut; bytes beyond ASCII become '?'. Returns its size. */
size_t ut_grpc_message_field(char out[UT_GRPC_MESSAGE_FIELD], const char *text);
/* `grpc-status-details-bin`: a google.rpc.Status with RetryInfo, base64 without padding. Returns
 * its size. */
size_t ut_grpc_details_field(char out[UT_GRPC_DETAILS_FIELD], enum ut_grpc_code code,
                             const char *text, uint32_t retry_after_ms);

#define UT_GRPC_STATUS_BODY 1024
/* A google.rpc.Status in protobuf or in JSON; with RetryInfo where `retry_after_ms` > 0. Returns
 * its size. */
size_t ut_grpc_status_protobuf(uint8_t out[UT_GRPC_STATUS_BODY], enum ut_grpc_code code,
                               const char *text, uint32_t retry_after_ms);
size_t ut_grpc_status_json(uint8_t out[UT_GRPC_STATUS_BODY], enum ut_grpc_code code,
                           const char *text, uint32_t retry_after_ms);

#endif
