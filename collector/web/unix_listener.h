/* SPDX-License-Identifier: Apache-2.0 */
/* A listening unix socket at a path: mode 0600, its folder made where it is missing, a file that a
 * dead program left behind replaced. */
#ifndef UT_WEB_UNIX_LISTENER_H
#define UT_WEB_UNIX_LISTENER_H

#include <stddef.h>

#include "base/check.h"

/* The descriptor (non-blocking), or a negative errno with the reason in `error`. -EADDRINUSE: a
 * living program answers there. */
int ut_unix_listen(const char *path, char *error, size_t error_size) UT_MUST_USE;

#endif
