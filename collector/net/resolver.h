/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All addresses of a name, asked for again and again: every 30 s, 5 s after a failure, and soon
 * when somebody finds that they are wrong. getaddrinfo runs on libuv's threads; what was found last
 * stays until something else is found.
 */
#ifndef UT_NET_RESOLVER_H
#define UT_NET_RESOLVER_H

#include "loop/worker.h"
#include "model/address.h"

#define UT_RESOLVER_ADDRESSES 16

struct ut_question;

struct ut_resolver {
    /* The owner's. The addresses are others than before. */
    void (*changed)(struct ut_resolver *resolver);

    /* Numeric and in order; those beyond the maximum are left out. */
    char addresses[UT_RESOLVER_ADDRESSES][UT_ADDRESS_TEXT];
    size_t count;
    int error; /* of the last try, as of ut_connector's done; 0: it went well */

    struct ut_worker *worker;
    const char *host;             /* borrowed */
    struct ut_question *question; /* NULL: none is open */
    struct ut_timer timer;
    uint64_t asked_ns;
    bool running;
};

/* Asks at once; `changed` has been set. */
void ut_resolver_start(struct ut_resolver *resolver, struct ut_worker *worker, const char *host);
/* The answers may be wrong: asks again, but not more than once a second. */
void ut_resolver_doubt(struct ut_resolver *resolver);
/* Not running: nothing. */
void ut_resolver_stop(struct ut_resolver *resolver);

#endif
