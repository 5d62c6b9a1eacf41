/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "component.h"

extern const struct ut_receiver_type ut_receiver_ebpf;

struct report {
    struct ut_config_report base;
    char path[64];
    int errors;
};

__attribute__((format(printf, 3, 4))) static void
on_error(struct ut_config_report *base, const char *path, const char *format, ...)
{
    struct report *report = UT_CONTAINER_OF(base, struct report, base);
    (void)format;
    strncpy(report->path, path, sizeof(report->path) - 1);
    report->errors++;
}

static size_t offset_of(const char *key)
{
    for (const struct ut_field *field = ut_receiver_ebpf.fields; field->key != NULL; field++) {
        if (strcmp(field->key, key) == 0)
            return field->offset;
    }
    cr_assert_fail("no field %s", key);
    return 0;
}

Test(ebpf_settings, want_a_ring_of_a_power_of_two)
{
    const uint64_t sizes[] = {65536, 65537, 1 << 20, 3 << 19};
    const int errors[] = {0, 1, 0, 1};
    char *config = calloc(1, ut_receiver_ebpf.config_size);
    for (int i = 0; i < 4; i++) {
        struct report report = {.base.error = on_error};
        memcpy(config + offset_of("ring_size"), &sizes[i], sizeof(sizes[i]));
        ut_receiver_ebpf.check(config, &report.base);
        cr_assert_eq(report.errors, errors[i]);
        if (errors[i])
            cr_assert_str_eq(report.path, "ring_size");
    }
    free(config);
}

Test(ebpf_settings, need_somebody_who_takes_the_events)
{
    struct ut_receiver *receiver = NULL;
    const struct ut_build build = {.id = "ebpf"};
    cr_assert_eq(ut_receiver_ebpf.create(&receiver, &build, NULL, NULL), -EINVAL);
    cr_assert(ut_receiver_ebpf.once_per_process);
}
