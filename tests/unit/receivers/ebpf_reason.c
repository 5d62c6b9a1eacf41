/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ebpf_receiver/reason.h"

#define CAPABILITY(n) (UINT64_C(1) << (n))
enum { SYS_ADMIN = 21, PERFMON = 38, BPF = 39 };

static const struct ut_ebpf_circumstances able = {
    .btf = true, .capabilities = CAPABILITY(BPF) | CAPABILITY(PERFMON), .release = "5.10.0"};

static void expect(int error, const char *log, struct ut_ebpf_circumstances circumstances,
                   const char *part)
{
    char reason[256];
    ut_ebpf_reason(reason, sizeof(reason), error, log, &circumstances);
    cr_assert_not_null(strstr(reason, part), "'%s' is not in '%s'", part, reason);
    cr_assert_null(strchr(reason, '\n'));
}

Test(reason, names_the_capabilities_that_are_missing)
{
    struct ut_ebpf_circumstances c = able;
    c.capabilities = 0;
    expect(EPERM, "", c, "CAP_BPF and CAP_PERFMON missing");
    c.capabilities = CAPABILITY(BPF);
    expect(EPERM, "", c, ": CAP_PERFMON missing");
    c.capabilities = CAPABILITY(PERFMON);
    expect(EACCES, "", c, ": CAP_BPF missing");
}

Test(reason, blames_a_policy_where_the_capabilities_are_there)
{
    struct ut_ebpf_circumstances c = able;
    expect(EPERM, "", c, "lockdown");
    c.capabilities = CAPABILITY(SYS_ADMIN);
    expect(EPERM, "", c, "lockdown");
}

Test(reason, names_the_missing_btf_before_all_else)
{
    struct ut_ebpf_circumstances c = able;
    c.btf = false;
    c.capabilities = 0;
    expect(EPERM, "", c, "CONFIG_DEBUG_INFO_BTF");
}

Test(reason, quotes_the_last_complaint_of_the_verifier)
{
    expect(EINVAL,
           "0: R1=ctx()\n1: call unknown#46\nunknown func bpf_get_socket_cookie#46\n"
           "processed 10 insns (limit 1000000) max_states_per_insn 0\n",
           able, "unknown func bpf_get_socket_cookie#46");
    expect(EACCES, "invalid mem access\x01 'scalar'", able, "invalid mem access  'scalar'");
    expect(EINVAL, "processed 1 insns\n\n", able, "Invalid argument (kernel 5.10.0)");
}

Test(reason, tells_a_tracepoint_that_does_not_exist)
{
    expect(ESRCH, "", able, "kernel 5.10.0 does not have this tracepoint");
}

Test(reason, asks_for_a_newer_kernel_only_where_this_one_is_old)
{
    struct ut_ebpf_circumstances c = able;
    static const char *const newer[] = {"5.8.0-63-generic", "5.10.0", "6.1.0-9-amd64", "10.0.1",
                                        "x"};
    expect(ENOMEM, "", c, "no memory for it: the limit of our cgroup");
    snprintf(c.release, sizeof(c.release), "5.7.19");
    expect(EINVAL, "", c, "(kernel 5.7.19; 5.8 or later is needed)");
    for (size_t i = 0; i < sizeof(newer) / sizeof(newer[0]); i++) {
        char reason[256];
        snprintf(c.release, sizeof(c.release), "%s", newer[i]);
        ut_ebpf_reason(reason, sizeof(reason), EINVAL, "", &c);
        cr_expect_null(strstr(reason, "needed"), "%s", reason);
        cr_expect_not_null(strstr(reason, newer[i]), "%s", reason);
    }
}

Test(reason, fits_any_room)
{
    char reason[16];
    char log[4096];
    memset(log, 'x', sizeof(log));
    log[sizeof(log) - 1] = '\0';
    ut_ebpf_reason(reason, sizeof(reason), EINVAL, log, &able);
    cr_assert_eq(strlen(reason), sizeof(reason) - 1);
}
