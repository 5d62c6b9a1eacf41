/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>

#include "file_exporter/settings.h"

static char said[512];

static void on_error(struct ut_config_report *report, const char *path, const char *format, ...)
{
    va_list arguments;
    size_t size = strlen(said);
    (void)report;
    size += (size_t)snprintf(said + size, sizeof(said) - size, "[%s] ", path);
    va_start(arguments, format);
    (void)vsnprintf(said + size, sizeof(said) - size, format, arguments);
    va_end(arguments);
}

static const char *check(const struct ut_file_config *config)
{
    struct ut_config_report report = {on_error};
    said[0] = '\0';
    ut_file_check(config, &report);
    return said;
}

#define TEXT(literal) ((char *)(uintptr_t)(literal))

Test(file_settings, path_is_wanted)
{
    cr_assert(strstr(check(&(struct ut_file_config){0}), "path is missing") != NULL);
    cr_assert(strstr(check(&(struct ut_file_config){.path = TEXT("/var/")}), "a file is wanted") !=
              NULL);
    cr_assert_str_eq(check(&(struct ut_file_config){.path = TEXT("spans.json")}), "");
}

Test(file_settings, standard_output_takes_lines_of_json_only)
{
    struct ut_file_config config = {.path = TEXT("-")};
    cr_assert_str_eq(check(&config), "");
    config.format = UT_FILE_PROTO;
    cr_assert(strstr(check(&config), "[format]") != NULL);
    config = (struct ut_file_config){.path = TEXT("-"), .rotation.present = true};
    cr_assert(strstr(check(&config), "[rotation]") != NULL);
}

Test(file_settings, mode_of_directories_is_octal)
{
    struct ut_file_config config = {.path = TEXT("a/b"), .directory_permissions = TEXT("0750")};
    cr_assert(strstr(check(&config), "needs create_directory") != NULL);
    config.create_directory = true;
    cr_assert_str_eq(check(&config), "");
    cr_assert_eq(ut_file_directory_mode(&config), 0750);
    static const char *const wrong[] = {"", "0788", "rwx", "1777", "77777777777777777777", "-1"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        config.directory_permissions = TEXT(wrong[i]);
        cr_expect(strstr(check(&config), "is no mode") != NULL, "%s", wrong[i]);
    }
    config.directory_permissions = NULL;
    cr_assert_eq(ut_file_directory_mode(&config), 0755);
}
