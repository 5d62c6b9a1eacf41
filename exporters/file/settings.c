/* SPDX-License-Identifier: Apache-2.0 */
#include "file_exporter/settings.h"

#include <string.h>

enum { MODE_MOST = 0777, MODE_USUAL = 0755 };

#define ROTATION(member) offsetof(struct ut_file_rotation, member)

static const char *const formats[] = {"json", "proto", NULL};
static const char *const compressions[] = {"none", "gzip", "zstd", NULL};

static const struct ut_field rotation_fields[] = {
    {
        .key = "max_megabytes",
        .type = UT_FIELD_UINT,
        .offset = ROTATION(max_megabytes),
        .fallback = "100",
        .least = 1,
        .most = 1e6,
        .present = UT_FIELD_NO_PRESENT,
    },
    {
        .key = "max_days",
        .type = UT_FIELD_UINT,
        .offset = ROTATION(max_days),
        .most = 36500,
        .present = UT_FIELD_NO_PRESENT,
    },
    {
        .key = "max_backups",
        .type = UT_FIELD_UINT,
        .offset = ROTATION(max_backups),
        .fallback = "100",
        .most = 1e6,
        .present = UT_FIELD_NO_PRESENT,
    },
    {
        .key = "localtime",
        .type = UT_FIELD_BOOL,
        .offset = ROTATION(localtime),
        .present = UT_FIELD_NO_PRESENT,
    },
    UT_FIELD_END,
};

const struct ut_field ut_file_fields[] = {
    UT_EXPORTER_FIELDS,
    {
        .key = "path",
        .type = UT_FIELD_STRING,
        .offset = offsetof(struct ut_file_config, path),
        .present = UT_FIELD_NO_PRESENT,
    },
    {
        .key = "format",
        .type = UT_FIELD_ENUM,
        .offset = offsetof(struct ut_file_config, format),
        .fallback = "json",
        .words = formats,
        .present = UT_FIELD_NO_PRESENT,
    },
    {
        .key = "compression",
        .type = UT_FIELD_ENUM,
        .offset = offsetof(struct ut_file_config, compression),
        .fallback = "none",
        .words = compressions,
        .present = UT_FIELD_NO_PRESENT,
    },
    {
        .key = "append",
        .type = UT_FIELD_BOOL,
        .offset = offsetof(struct ut_file_config, append),
        .fallback = "true",
        .present = UT_FIELD_NO_PRESENT,
    },
    {
        .key = "create_directory",
        .type = UT_FIELD_BOOL,
        .offset = offsetof(struct ut_file_config, create_directory),
        .present = UT_FIELD_NO_PRESENT,
    },
    {
        .key = "directory_permissions",
        .type = UT_FIELD_STRING,
        .offset = offsetof(struct ut_file_config, directory_permissions),
        .present = UT_FIELD_NO_PRESENT,
    },
    {
        .key = "flush_interval",
        .type = UT_FIELD_DURATION,
        .offset = offsetof(struct ut_file_config, flush_interval_ns),
        .fallback = "1s",
        .most = 86400,
        .present = UT_FIELD_NO_PRESENT,
    },
    {
        .key = "rotation",
        .type = UT_FIELD_MAP,
        .offset = offsetof(struct ut_file_config, rotation),
        .fields = rotation_fields,
        .present = offsetof(struct ut_file_config, rotation.present),
    },
    UT_FIELD_END,
};

/* Octal digits up to 0777; false for anything else. */
static bool parse_mode(const char *text, unsigned *ret)
{
    unsigned mode = 0;
    if (text[0] == '\0')
        return false;
    for (const char *at = text; *at != '\0'; at++) {
        if (*at < '0' || *at > '7' || mode > MODE_MOST)
            return false;
        mode = mode * 8 + (unsigned)(*at - '0');
    }
    *ret = mode;
    return mode <= MODE_MOST;
}

unsigned ut_file_directory_mode(const struct ut_file_config *config)
{
    unsigned mode = MODE_USUAL;
    if (config->directory_permissions != NULL)
        (void)parse_mode(config->directory_permissions, &mode);
    return mode;
}

/* Standard output has no name to be moved to, and a record that was cut off there can only be told
 * from the next one by its line. */
static void check_standard_output(const struct ut_file_config *config,
                                  struct ut_config_report *report)
{
    if (config->format != UT_FILE_JSON)
        report->error(report, "format", "standard output (path: \"-\") takes json only");
    if (config->compression != UT_FILE_PLAIN)
        report->error(report, "compression",
                      "standard output (path: \"-\") takes plain lines only");
    if (config->rotation.present)
        report->error(report, "rotation", "standard output (path: \"-\") cannot be rotated");
}

void ut_file_check(const void *config_, struct ut_config_report *report)
{
    const struct ut_file_config *config = config_;
    unsigned mode;
    if (config->path == NULL || config->path[0] == '\0')
        report->error(report, "",
                      "path is missing: the file to write, or \"-\" for standard output");
    else if (strcmp(config->path, "-") == 0)
        check_standard_output(config, report);
    else if (config->path[strlen(config->path) - 1] == '/')
        report->error(report, "path", "\"%s\" names a directory; a file is wanted", config->path);
    if (config->directory_permissions == NULL)
        return;
    if (!config->create_directory)
        report->error(report, "directory_permissions", "needs create_directory: true");
    else if (!parse_mode(config->directory_permissions, &mode))
        report->error(report, "directory_permissions",
                      "\"%s\" is no mode: write it in octal, as \"0755\"",
                      config->directory_permissions);
}
