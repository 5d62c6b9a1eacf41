/* SPDX-License-Identifier: Apache-2.0 */
#include "base/slice.h"

#include <criterion/criterion.h>

Test(slice, equality_is_of_bytes)
{
    cr_expect(ut_slice_equal(UT_SLICE("a\0b"), ut_slice_of("a\0b", 3)));
    cr_expect_not(ut_slice_equal(UT_SLICE("a\0b"), UT_SLICE("a\0c")));
    cr_expect_not(ut_slice_equal(UT_SLICE("ab"), UT_SLICE("abc")));
    cr_expect(ut_slice_equal(ut_slice_of(NULL, 0), UT_SLICE("")));
    cr_expect(ut_slice_equal(ut_slice_str(NULL), UT_SLICE("")));
}

Test(slice, a_text_starts_with_its_prefixes)
{
    cr_expect(ut_slice_starts(UT_SLICE("undertrace.x"), UT_SLICE("undertrace.")));
    cr_expect(ut_slice_starts(UT_SLICE("x"), UT_SLICE("")));
    cr_expect_not(ut_slice_starts(UT_SLICE("under"), UT_SLICE("undertrace.")));
    cr_expect_not(ut_slice_starts(UT_SLICE("Undertrace."), UT_SLICE("undertrace.")));
}
