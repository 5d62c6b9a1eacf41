/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor.h"

#include <string.h>
#include <sys/utsname.h>

#include "app_kernel.h"
#include "config/config.h"

enum { NAME_WIDTH = 22, TEXT_AT = 34 };

void ut_doctor_heading(const char *text)
{
    printf("\n%s\n", text);
}

void ut_doctor_line(const char *state, const char *name, const char *text)
{
    if (text[0] == '\0')
        printf("  %-8s %s\n", state, name);
    else
        printf("  %-8s %-*s %s\n", state, NAME_WIDTH, name, text);
}

static int report_program(const struct ut_kernel_program *program)
{
    bool asked_for = program->option == NULL;
    if (program->unwanted)
        return 0;
    if (program->works) {
        ut_doctor_line("ok", program->name, program->reason);
        return 0;
    }
    ut_doctor_line(asked_for ? "missing" : "note", program->name, program->reason);
    if (asked_for)
        printf("%*sit needs Linux %s; without it: %s\n", TEXT_AT, "", program->since,
               program->without);
    else
        printf("%*sonly for %s, which is not set\n", TEXT_AT, "", program->option);
    return asked_for;
}

static int report_programs(const struct ut_kernel_program *programs, size_t count)
{
    ut_doctor_heading("kernel programs");
    if (ut_kernel_not_built() != NULL) {
        ut_doctor_line("missing", "all", ut_kernel_not_built());
        return 1;
    }
    int missing = 0;
    for (size_t i = 0; i < count; i++)
        missing += report_program(&programs[i]);
    return missing;
}

/* The settings of the receiver that watches the kernel; NULL: there is none in the configuration.
 */
static const void *kernel_settings(const struct ut_config *config)
{
    for (size_t i = 0; config != NULL && i < config->receivers.count; i++) {
        if (strcmp(config->receivers.items[i].type->name, "ebpf") == 0)
            return config->receivers.items[i].config;
    }
    return NULL;
}

int ut_doctor(const char *admin, const struct ut_config *config)
{
    struct utsname host = {0};
    struct ut_kernel_program programs[UT_KERNEL_PROGRAMS_MAX];
    bool packets = false;
    (void)uname(&host);
    printf("undertrace %s on %s %s %s\n", UT_VERSION, host.sysname, host.release, host.machine);
    size_t count = ut_kernel_probe(kernel_settings(config), programs);
    for (size_t i = 0; i < count; i++)
        packets |= programs[i].net_admin && programs[i].option == NULL && !programs[i].unwanted;
    /* The cause before what follows from it. */
    int missing = ut_doctor_capabilities(packets);
    missing += report_programs(programs, count);
    missing += ut_doctor_cgroups();
    missing += ut_doctor_containerd(config != NULL ? config->program.identity.containerd : "auto");
    missing += ut_doctor_clock();
    ut_doctor_daemon(admin);
    if (missing == 0)
        printf("\nNothing is missing.\n");
    else
        printf("\n%d %s missing; spans are received and forwarded all the same.\n", missing,
               missing == 1 ? "thing is" : "things are");
    return missing == 0 ? 0 : 1;
}
