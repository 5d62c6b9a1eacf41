/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rotated files: "spans.json" becomes "spans-2026-11-21T10-30-00.000.json" in the same directory,
 * as the Collector names them. Which of them are too many or too old is told by their names.
 */
#ifndef UT_FILE_BACKUPS_H
#define UT_FILE_BACKUPS_H

#include <stdint.h>

#include "file_exporter/settings.h"

/* Gives the file its backup's name, for the time `unix_ms`, or for the first free one after it. 0
 * or a negative errno. */
int ut_file_backup(const char *path, uint64_t unix_ms, bool localtime) UT_MUST_USE;
/* Removes backups beyond the number and the age that the config allows. What cannot be removed
 * stays. */
void ut_file_prune(const char *path, const struct ut_file_rotation *rotation, uint64_t unix_ms);

#endif
