/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor.h"

#include <sys/utsname.h>

#include "app_kernel.h"

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
    if (program->works) {
        ut_doctor_line("ok", program->name, "");
        return 0;
    }
    ut_doctor_line("missing", program->name, program->reason);
    printf("%*swithout it: %s\n", TEXT_AT, "", program->without);
    return 1;
}

static int report_programs(void)
{
    struct ut_kernel_program programs[UT_KERNEL_PROGRAMS_MAX];
    ut_doctor_heading("kernel programs");
    if (ut_kernel_not_built() != NULL) {
        ut_doctor_line("missing", "all", ut_kernel_not_built());
        return 1;
    }
    size_t count = ut_kernel_probe(programs);
    int missing = 0;
    for (size_t i = 0; i < count; i++)
        missing += report_program(&programs[i]);
    return missing;
}

int ut_doctor(const char *admin)
{
    struct utsname host = {0};
    (void)uname(&host);
    printf("undertrace %s on %s %s %s\n", UT_VERSION, host.sysname, host.release, host.machine);
    /* The cause before what follows from it. */
    int missing = ut_doctor_capabilities();
    missing += report_programs();
    missing += ut_doctor_cgroups();
    missing += ut_doctor_containerd();
    missing += ut_doctor_clock();
    ut_doctor_daemon(admin);
    if (missing == 0)
        printf("\nNothing is missing.\n");
    else
        printf("\n%d %s missing; spans are received and forwarded all the same.\n", missing,
               missing == 1 ? "thing is" : "things are");
    return missing == 0 ? 0 : 1;
}
