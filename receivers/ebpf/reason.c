/* SPDX-License-Identifier: Apache-2.0 */
#include "reason.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

/* Newer than some libc headers: Linux 5.8. */
#ifndef CAP_PERFMON
#define CAP_PERFMON 38
#define CAP_BPF 39
#endif

#define BTF_FILE "/sys/kernel/btf/vmlinux"

static uint64_t read_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0}};
    if (syscall(SYS_capget, &header, data) != 0)
        return 0;
    return (uint64_t)data[1].effective << 32 | data[0].effective;
}

void ut_ebpf_circumstances_read(struct ut_ebpf_circumstances *ret)
{
    struct utsname name;
    *ret = (struct ut_ebpf_circumstances){
        .btf = access(BTF_FILE, R_OK) == 0,
        .capabilities = read_capabilities(),
    };
    if (uname(&name) == 0)
        snprintf(ret->release, sizeof(ret->release), "%s", name.release);
}

static bool has_capability(const struct ut_ebpf_circumstances *circumstances, int capability)
{
    return (circumstances->capabilities >> capability & 1) != 0;
}

/* CAP_SYS_ADMIN stands for both, as before Linux 5.8. "" where nothing is missing. */
static const char *missing_capabilities(const struct ut_ebpf_circumstances *circumstances)
{
    if (has_capability(circumstances, CAP_SYS_ADMIN))
        return "";
    bool bpf = has_capability(circumstances, CAP_BPF);
    bool perfmon = has_capability(circumstances, CAP_PERFMON);
    if (bpf && perfmon)
        return "";
    if (bpf)
        return "CAP_PERFMON";
    return perfmon ? "CAP_BPF" : "CAP_BPF and CAP_PERFMON";
}

bool ut_ebpf_is_able(const struct ut_ebpf_circumstances *circumstances)
{
    return missing_capabilities(circumstances)[0] == '\0';
}

/* The verifier says last why it stopped, and after that how much it has read. */
static size_t last_complaint(const char *log, const char **ret)
{
    size_t end = strlen(log);
    while (end > 0) {
        while (end > 0 && (unsigned char)log[end - 1] <= ' ')
            end--;
        size_t start = end;
        while (start > 0 && log[start - 1] != '\n')
            start--;
        if (end > start && strncmp(log + start, "processed ", 10) != 0) {
            *ret = log + start;
            return end - start;
        }
        end = start;
    }
    return 0;
}

/* Whether a newer release is what helps first: before 5.8. */
static bool is_old(const char *release)
{
    unsigned major = 0, minor = 0;
    return sscanf(release, "%3u.%3u", &major, &minor) == 2 &&
           (major < 5 || (major == 5 && minor < 8));
}

static void make_printable(char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < ' ' || (unsigned char)*text >= 0x7f)
            *text = ' ';
    }
}

void ut_ebpf_reason(char *out, size_t size, int error, const char *log,
                    const struct ut_ebpf_circumstances *circumstances)
{
    const char *missing = missing_capabilities(circumstances);
    const char *complaint = "";
    size_t complaint_size = last_complaint(log, &complaint);
    if (!circumstances->btf) {
        snprintf(out, size,
                 "the kernel has no BTF (" BTF_FILE " cannot be read): it needs "
                 "CONFIG_DEBUG_INFO_BTF");
    } else if ((error == EPERM || error == EACCES) && missing[0] != '\0') {
        snprintf(out, size, "not permitted: %s missing", missing);
    } else if (complaint_size > 0) {
        snprintf(out, size, "the verifier of kernel %s refused it (%s): %.*s",
                 circumstances->release, strerror(error), (int)complaint_size, complaint);
    } else if (error == EPERM || error == EACCES) {
        snprintf(out, size,
                 "not permitted although the capabilities are there: kernel lockdown, seccomp or a "
                 "security module forbids bpf()");
    } else if (error == ESRCH || error == ENOENT) {
        snprintf(out, size, "kernel %s does not have this tracepoint", circumstances->release);
    } else if (error == ENOMEM) {
        snprintf(out, size,
                 "no memory for it: the limit of our cgroup, or a shortage of the machine, leaves "
                 "none");
    } else if (!is_old(circumstances->release)) {
        snprintf(out, size, "%s (kernel %s)", strerror(error), circumstances->release);
    } else {
        snprintf(out, size, "%s (kernel %s; 5.8 or later is needed)", strerror(error),
                 circumstances->release);
    }
    make_printable(out);
}
