/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <bpf_skeletons/undertrace.skel.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { READ_BYTES = 64 << 10 };

struct pass {
    void (*record)(void *arg, const struct ut_record_connection *record);
    void *arg;
    int records;
    size_t used; /* bytes in `buffer` */
    uint8_t buffer[READ_BYTES];
};

/* A read may end within a record; its rest comes with the next. */
static void take_records(struct pass *pass)
{
    struct ut_record_connection record;
    size_t at = 0;
    for (; pass->used - at >= sizeof(record) && pass->records < UT_EBPF_SNAPSHOT_MAX;
         at += sizeof(record)) {
        memcpy(&record, pass->buffer + at, sizeof(record));
        pass->record(pass->arg, &record);
        pass->records++;
    }
    pass->used -= at;
    memmove(pass->buffer, pass->buffer + at, pass->used);
}

static int run_pass(struct pass *pass, int iterator)
{
    while (pass->records < UT_EBPF_SNAPSHOT_MAX) {
        ssize_t got = read(iterator, pass->buffer + pass->used, READ_BYTES - pass->used);
        if (got == 0)
            return 0;
        if (got < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (got < 0)
            return -errno;
        pass->used += (size_t)got;
        take_records(pass);
    }
    return 0;
}

int ut_ebpf_snapshot(struct ut_bpf *skeleton,
                     void (*record)(void *arg, const struct ut_record_connection *record),
                     void *arg)
{
    struct pass *pass = calloc(1, sizeof(*pass));
    if (pass == NULL)
        return -ENOMEM;
    pass->record = record;
    pass->arg = arg;
    int error = 0;
    /* First which ports listen, then what is connected: that tells who accepted and who connected.
     */
    for (int i = 0; i < 2 && error == 0; i++) {
        skeleton->bss->snapshot_pass = i;
        int iterator = bpf_iter_create(bpf_link__fd(skeleton->links.snapshot));
        if (iterator < 0) {
            error = iterator;
            break;
        }
        error = run_pass(pass, iterator);
        close(iterator);
    }
    int records = pass->records;
    free(pass);
    return error != 0 ? error : records;
}
