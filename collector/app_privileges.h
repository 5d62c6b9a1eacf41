/* SPDX-License-Identifier: Apache-2.0 */
/* What the program may do after its start: as little as its work needs. */
#ifndef UT_APP_PRIVILEGES_H
#define UT_APP_PRIVILEGES_H

#include <stdbool.h>

#include "base/log.h"

/* Gives up every capability but those that reading kernel events needs (CAP_BPF and CAP_PERFMON,
 * where `kernel` says so and the process has them), for good: also out of the bounding set and with
 * no-new-privileges. Call it while the process has one thread. Says in the log what was done. */
void ut_app_drop_privileges(bool kernel, struct ut_log *log);

#endif
