/* SPDX-License-Identifier: Apache-2.0 */
/* Why a kernel program could not be loaded, in words that say what would help. Pure but for
 * ut_ebpf_circumstances_read. */
#ifndef UT_EBPF_REASON_H
#define UT_EBPF_REASON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ut_ebpf_circumstances {
    bool btf;              /* the kernel brings its types along */
    uint64_t capabilities; /* effective, bit n is capability n */
    char release[65];      /* of the kernel, as uname(2) gives it */
};

void ut_ebpf_circumstances_read(struct ut_ebpf_circumstances *ret);

/* Whether the capabilities are there that loading takes. */
bool ut_ebpf_is_able(const struct ut_ebpf_circumstances *circumstances);

/* `error` is a positive errno; `log` the verifier's text, "" if it was not asked. Writes one line
 * of at most size - 1 bytes, without control characters. */
void ut_ebpf_reason(char *out, size_t size, int error, const char *log,
                    const struct ut_ebpf_circumstances *circumstances);

#endif
