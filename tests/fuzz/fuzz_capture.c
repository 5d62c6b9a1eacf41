/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a capture file: every record that is handed out lies within them. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "ebpf_receiver/capture.h"
#include "ebpf_receiver/framing.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size); /* libFuzzer calls it */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ut_capture_reader reader;
    ut_slice record;
    int64_t offset_ns;
    uint8_t room[UT_CAPTURE_RECORD_MAX];
    if (ut_capture_open(&reader, ut_slice_of(data, size)) != 0)
        return 0;
    size_t before = reader.rest.size;
    while (ut_capture_next(&reader, &record, &offset_ns) == 1) {
        UT_CHECK(record.size <= sizeof(room) && reader.rest.size < before);
        memcpy(room, record.data, record.size);
        UT_CHECK(ut_ebpf_record_type(record.data, record.size) < UT_RECORD_TYPES);
        before = reader.rest.size;
    }
    return 0;
}
