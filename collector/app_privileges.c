/* SPDX-License-Identifier: Apache-2.0 */
#include "app_privileges.h"

#include <cap-ng.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

/* The kernel asks for them at each bpf(2) call, so a running receiver keeps them. */
static const unsigned needed[] = {CAP_BPF, CAP_PERFMON};

enum { NEEDED = sizeof(needed) / sizeof(needed[0]) };

void ut_app_drop_privileges(bool kernel, struct ut_log *log)
{
    bool have[NEEDED];
    char kept[64] = "none";
    size_t size = 0;
    capng_clear(CAPNG_SELECT_ALL);
    if (capng_get_caps_process() != 0 || capng_have_capabilities(CAPNG_SELECT_CAPS) == CAPNG_NONE)
        return; /* nothing to give up */
    bool may_bound = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP) != 0;
    for (int i = 0; i < NEEDED; i++)
        have[i] = kernel && capng_have_capability(CAPNG_PERMITTED, needed[i]) != 0;

    capng_clear(CAPNG_SELECT_ALL);
    for (int i = 0; i < NEEDED; i++) {
        if (!have[i])
            continue;
        capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, needed[i]);
        size += (size_t)snprintf(kept + size, sizeof(kept) - size, "%scap_%s", size == 0 ? "" : ",",
                                 capng_capability_to_name(needed[i]));
    }
    /* Leaving the bounding set needs CAP_SETPCAP, which goes with the others. */
    int code = capng_apply(may_bound ? CAPNG_SELECT_BOTH : CAPNG_SELECT_CAPS);
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (code == 0)
        ut_log(log, UT_LOG_INFO, "capabilities_dropped", "kept=%s", kept);
    else
        ut_log(log, UT_LOG_WARN, "capabilities_kept",
               "code=%d text=\"could not give up capabilities; going on with all of them\"", code);
}
