/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The interfaces of a network namespace, as rtnetlink tells them (rtnetlink(7)): all there are when
 * asked, and each that comes, changes or goes from then on. Bytes in, calls out; the only state is
 * the socket's, which belongs to the namespace it was opened in.
 */
#ifndef UT_EBPF_RTNL_H
#define UT_EBPF_RTNL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/check.h"

enum { UT_RTNL_BYTES = 64 << 10 }; /* of a buffer to read into: more than the kernel's messages */

struct ut_rtnl_sink {
    /* There is one of this index, and it has this name (borrowed), for the first time or again. */
    void (*link)(struct ut_rtnl_sink *sink, int index, const char *name);
    void (*gone)(struct ut_rtnl_sink *sink, int index);
    /* All that were asked for have been told, if it is `whole`; else no more will be. */
    void (*listed)(struct ut_rtnl_sink *sink, bool whole);
    /* Something was not: ask for all of them again. */
    void (*missed)(struct ut_rtnl_sink *sink);
};

/* A descriptor that does not block, in the caller's network namespace; or a negative errno. */
int ut_rtnl_open(void) UT_MUST_USE;

/* Asks for all that there are; once, until `listed` is told. 0 or a negative errno. */
int ut_rtnl_list(int fd) UT_MUST_USE;

/* Reads what has come into `buffer` (UT_RTNL_BYTES, aligned as for uint32_t) and tells it, for at
 * most `messages` packets. 0, or the negative errno of a socket that is of no more use. */
int ut_rtnl_read(int fd, void *buffer, int messages, struct ut_rtnl_sink *sink) UT_MUST_USE;

/* Tells what one packet holds; only for ut_rtnl_read and tests. */
void ut_rtnl_tell(const void *packet, size_t size, struct ut_rtnl_sink *sink);

#endif
