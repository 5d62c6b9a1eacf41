/* SPDX-License-Identifier: Apache-2.0 */
#include "app_kernel.h"

const char *ut_kernel_not_built(void)
{
    return "this program was built without eBPF (-DUT_BPF=OFF)";
}

size_t ut_kernel_probe(const void *config, struct ut_kernel_program out[UT_KERNEL_PROGRAMS_MAX])
{
    (void)config, (void)out;
    return 0;
}

size_t ut_kernel_programs_of(const struct ut_receiver *receiver,
                             struct ut_kernel_program out[UT_KERNEL_PROGRAMS_MAX])
{
    (void)receiver, (void)out;
    return 0;
}
