/* SPDX-License-Identifier: Apache-2.0 */
/* Whether bytes from the ring or a capture are a record of a kind that this build knows. */
#ifndef UT_EBPF_FRAMING_H
#define UT_EBPF_FRAMING_H

#include <stddef.h>

#include "bpf/records.h"

/* The record's type, an index below UT_RECORD_TYPES; 0 where size, version or type do not fit. What
 * the fields say is not looked at. Any alignment. */
enum ut_record_type ut_ebpf_record_type(const void *data, size_t size);

#endif
