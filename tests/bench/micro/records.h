/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel records of one workload, as its programs would write them. */
#ifndef BENCH_RECORDS_H
#define BENCH_RECORDS_H

#include <stdint.h>

#include "bpf/records.h"

#define RECORDS_START UINT64_C(1700000000000000000) /* unix ns */
#define RECORDS_OFFSET ((int64_t)(RECORDS_START - UINT64_C(1000000000000)))

struct ut_record_cgroup records_cgroup(void);

/* One end of a connection on 127.0.0.1; both ends of one have the same pair of ports. */
struct ut_record_socket records_end(uint64_t cookie, uint8_t role, uint16_t local_port,
                                    uint16_t remote_port);

struct ut_record_connection records_opened(struct ut_record_socket socket);
struct ut_record_retransmit records_retransmit(struct ut_record_socket socket, uint64_t unix_ns);

#endif
