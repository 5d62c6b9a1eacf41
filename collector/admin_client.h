/* SPDX-License-Identifier: Apache-2.0 */
/* Asks a running program over its admin socket: the other side of app_status.c. */
#ifndef UT_ADMIN_CLIENT_H
#define UT_ADMIN_CLIENT_H

#define UT_ADMIN_PATH "/run/undertrace/admin.sock"

/* Sends one request to the unix socket `admin`, a path or "unix://" and a path, and waits for the
 * answer, 15 s at most. Returns its HTTP status, with its body in `ret` (from malloc, terminated);
 * or a negative errno. */
int ut_admin_ask(const char *admin, const char *method, const char *target, char **ret);
/* Says on standard error that nobody could be asked there, and what to look at. */
void ut_admin_complain(const char *admin, int error);

#endif
