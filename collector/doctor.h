/* SPDX-License-Identifier: Apache-2.0 */
/* `undertrace doctor`: what works on this host, what does not and what would help. */
#ifndef UT_DOCTOR_H
#define UT_DOCTOR_H

#include <stdbool.h>
#include <stdio.h>

struct ut_config;

/* Prints the whole report on stdout. What `config` (NULL: the defaults) does not ask for is noted
 * where it cannot be had, and not missing. `admin` is the admin socket of a running program, as
 * ut_admin_ask takes it.
 * Returns the exit code: 0 if nothing is missing, 1 otherwise. */
int ut_doctor(const char *admin, const struct ut_config *config);

/* One line of the report, `  ok       name   text`; `name` is padded to the common width. */
void ut_doctor_line(const char *state, const char *name, const char *text);
void ut_doctor_heading(const char *text);

/* doctor_host.c: each prints its section and returns how many things are missing. */
/* `packets`: a program is asked for that needs CAP_NET_ADMIN. */
int ut_doctor_capabilities(bool packets);
int ut_doctor_cgroups(void);
/* `setting`: "auto", "off", or its socket, as in the configuration. */
int ut_doctor_containerd(const char *setting);
int ut_doctor_clock(void);

/* doctor_daemon.c: what a running program says of itself. That none runs is no fault. */
void ut_doctor_daemon(const char *admin);

#endif
