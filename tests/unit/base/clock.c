/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <criterion/criterion.h>
#include <stdlib.h>

Test(clock, offset_adds_boot_time_up_to_unix_time)
{
    int64_t offset = ut_clock_unix_offset_ns();
    int64_t wrong = (int64_t)ut_clock_unix_ns() - ((int64_t)ut_clock_boot_ns() + offset);
    cr_expect_lt(llabs(wrong), 50 * (int64_t)UT_NS_PER_MS, "%ld ns", wrong);
}

Test(clock, monotonic_does_not_go_back)
{
    uint64_t last = ut_clock_monotonic_ns();
    for (int i = 0; i < 1000; i++) {
        uint64_t now = ut_clock_monotonic_ns();
        cr_assert_geq(now, last);
        last = now;
    }
}
