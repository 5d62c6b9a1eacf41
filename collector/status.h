/* SPDX-License-Identifier: Apache-2.0 */
/* `undertrace status`: what a running program holds, sends and cannot send. */
#ifndef UT_STATUS_H
#define UT_STATUS_H

#include <stdbool.h>

/* Asks the program behind the admin socket `admin` (as ut_admin_ask takes it) and prints a table,
 * or its JSON as it came. Returns the exit code: 0, or 1 where nobody answers. */
int ut_status(const char *admin, bool json);

#endif
