/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Named places at which a test build can be killed as by SIGKILL: UNDERTRACE_CRASH=name:N ends the
 * process when it comes to the place for the N-th time. In other builds there is nothing.
 */
#ifndef UT_BASE_CRASH_POINT_H
#define UT_BASE_CRASH_POINT_H

#ifdef UT_CRASH_POINTS
void ut_crash_point(const char *name);
#else
static inline void ut_crash_point(const char *name)
{
    (void)name;
}
#endif

#endif
