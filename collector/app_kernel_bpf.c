/* SPDX-License-Identifier: Apache-2.0 */
#include "app_kernel.h"

#include <stdio.h>

#include "base/check.h"
#include "ebpf_receiver/doctor.h"

static size_t copy_states(struct ut_kernel_program *out, const struct ut_ebpf_program *states)
{
    _Static_assert(UT_EBPF_PROGRAMS <= UT_KERNEL_PROGRAMS_MAX, "room for every program");
    for (size_t i = 0; i < UT_EBPF_PROGRAMS; i++) {
        out[i] = (struct ut_kernel_program){
            .name = states[i].name,
            .since = states[i].since,
            .without = states[i].without,
            .works = states[i].works,
            .unwanted = states[i].unwanted,
            .option = states[i].option,
            .net_admin = states[i].net_admin,
        };
        snprintf(out[i].reason, sizeof(out[i].reason), "%s", states[i].reason);
    }
    return UT_EBPF_PROGRAMS;
}

const char *ut_kernel_not_built(void)
{
    return NULL;
}

size_t ut_kernel_probe(const void *config, struct ut_kernel_program out[UT_KERNEL_PROGRAMS_MAX])
{
    struct ut_ebpf_program states[UT_EBPF_PROGRAMS];
    ut_ebpf_doctor(config, states);
    return copy_states(out, states);
}

size_t ut_kernel_programs_of(const struct ut_receiver *receiver,
                             struct ut_kernel_program out[UT_KERNEL_PROGRAMS_MAX])
{
    return copy_states(out, ut_ebpf_programs_of(receiver));
}
