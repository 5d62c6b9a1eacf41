/* SPDX-License-Identifier: Apache-2.0 */
#include "records.h"

#include <stddef.h>

enum { CGROUP = 7 };

static struct ut_record_header header(uint8_t type, size_t size, uint64_t unix_ns)
{
    return (struct ut_record_header){
        .size = (uint16_t)size,
        .version = UT_RECORD_VERSION,
        .type = type,
        .has = UT_HAS_COOKIE | UT_HAS_NETNS | UT_HAS_RTO | UT_HAS_ISN,
        .boot_ns = unix_ns - (uint64_t)RECORDS_OFFSET,
        .cgroup_id = CGROUP,
    };
}

struct ut_record_cgroup records_cgroup(void)
{
    return (struct ut_record_cgroup){
        .header = header(UT_RECORD_CGROUP, sizeof(struct ut_record_cgroup), RECORDS_START - 10000),
        .change = UT_CGROUP_CREATED,
        .path_size = 6,
        .path = "/bench",
    };
}

struct ut_record_socket records_end(uint64_t cookie, uint8_t role, uint16_t local_port,
                                    uint16_t remote_port)
{
    struct ut_record_socket end = {
        .cookie = cookie,
        .netns_cookie = 1,
        .local_address = {[10] = 0xff, 0xff, 127, 0, 0, 1},
        .remote_address = {[10] = 0xff, 0xff, 127, 0, 0, 1},
        .local_port = local_port,
        .remote_port = remote_port,
        .role = role,
        .local_isn = role == UT_ROLE_CONNECT ? local_port : remote_port,
    };
    end.remote_isn = end.local_isn + 100000;
    if (role == UT_ROLE_ACCEPT) {
        end.remote_isn = end.local_isn;
        end.local_isn = end.remote_isn + 100000;
    }
    return end;
}

struct ut_record_connection records_opened(struct ut_record_socket socket)
{
    return (struct ut_record_connection){
        .header =
            header(UT_RECORD_CONNECTION, sizeof(struct ut_record_connection), RECORDS_START - 1000),
        .socket = socket,
        .change = UT_CONNECTION_OPENED,
    };
}

struct ut_record_retransmit records_retransmit(struct ut_record_socket socket, uint64_t unix_ns)
{
    return (struct ut_record_retransmit){
        .header = header(UT_RECORD_RETRANSMIT, sizeof(struct ut_record_retransmit), unix_ns),
        .socket = socket,
        .bytes = 800,
        .segments = 1,
        .cause = UT_CAUSE_TIMEOUT,
        .rto_us = 204000,
    };
}
