/* SPDX-License-Identifier: Apache-2.0 */
/* What a container's runtime says of it, beside what its cgroup's path tells. Texts are valid
 * UTF-8; "" where it is not told. */
#ifndef UT_EVIDENCE_CONTAINER_NAMES_H
#define UT_EVIDENCE_CONTAINER_NAMES_H

#include <stdint.h>

enum ut_names_state {
    UT_NAMES_UNKNOWN,
    UT_NAMES_ASKED, /* or waiting to be */
    UT_NAMES_KNOWN,
    UT_NAMES_ABSENT, /* the runtime that is asked has no such container */
};

struct ut_container_names {
    uint8_t state; /* enum ut_names_state */
    char name[128];
    char image[256]; /* without tag and digest */
    char pod[254], pod_namespace[64], pod_container[64];
};

#endif
