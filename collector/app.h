/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The running program: workers, pipelines and components made from a configuration, and the order
 * in which they start and stop. main.c calls it; what it is made of is in app_parts.h.
 */
#ifndef UT_APP_H
#define UT_APP_H

struct ut_app_types;

/* Reads the configuration at `path` (NULL: the preset), and again at SIGHUP. Runs until SIGTERM or
 * SIGINT and returns the exit code: 0 after an orderly stop, 1 if it could not start (said on
 * stderr or in the log) or had to be cut off. */
int ut_app_run(const char *path, const struct ut_app_types *types);

#endif
