/* SPDX-License-Identifier: Apache-2.0 */
/* The config of the file exporter, with the keys of the Collector's. */
#ifndef UT_FILE_SETTINGS_H
#define UT_FILE_SETTINGS_H

#include "component.h"

enum ut_file_format { UT_FILE_JSON, UT_FILE_PROTO };
enum ut_file_compression { UT_FILE_PLAIN, UT_FILE_GZIP, UT_FILE_ZSTD };

struct ut_file_rotation {
    bool present;
    uint64_t max_megabytes;
    uint64_t max_days;    /* 0: backups do not grow old */
    uint64_t max_backups; /* 0: any number */
    bool localtime;
};

struct ut_file_config {
    struct ut_exporter_settings settings;
    char *path;      /* "-": standard output */
    int format;      /* enum ut_file_format */
    int compression; /* enum ut_file_compression */
    bool append;
    bool create_directory;
    char *directory_permissions; /* octal */
    uint64_t flush_interval_ns;  /* what is written is never held back, so it changes nothing */
    struct ut_file_rotation rotation;
};

extern const struct ut_field ut_file_fields[];

/* Reports what the table cannot express. */
void ut_file_check(const void *config, struct ut_config_report *report);

/* The mode that directories are made with, of a config that has passed the check. */
unsigned ut_file_directory_mode(const struct ut_file_config *config);

#endif
