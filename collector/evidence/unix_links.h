/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What our accepted unix sockets have brought so far, by socket cookie (the kernel never gives one
 * twice): the kernel tells nothing of their end, so the one that was used longest ago gives its
 * place away. Should such a one be a forwarder, its workload remembers it.
 */
#ifndef UT_EVIDENCE_UNIX_LINKS_H
#define UT_EVIDENCE_UNIX_LINKS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "evidence/table_size.h"

enum { UT_UNIX_LINK_SETS = UT_TABLE_SIZE(512, 4), UT_UNIX_LINK_WAYS = 8 };

struct ut_unix_link {
    uint64_t cookie;   /* 0: free */
    uint64_t used;     /* when, in uses of the table */
    uint64_t instance; /* fingerprint of the service instance that sends on it; 0: none */
    bool forwarder;    /* brought several service instances */
};

struct ut_unix_links {
    struct ut_unix_link *links;
    uint64_t uses;
};

int ut_unix_links_init(struct ut_unix_links *links) UT_MUST_USE; /* 0 or -ENOMEM */
void ut_unix_links_done(struct ut_unix_links *links);
/* The link of a cookie, made if there is none. Never NULL; valid until the next call. */
struct ut_unix_link *ut_unix_links_get(struct ut_unix_links *links, uint64_t cookie);

#endif
