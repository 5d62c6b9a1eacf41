/* SPDX-License-Identifier: Apache-2.0 */
#include <cap-ng.h>
#include <errno.h>
#include <mntent.h>
#include <string.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "doctor.h"
#include "evidence/containerd.h"

/* CAP_SYS_ADMIN contains the others for bpf(2), as on kernels before 5.8. */
static bool is_capable(unsigned capability)
{
    return capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_ADMIN) != 0 ||
           capng_have_capability(CAPNG_EFFECTIVE, capability) != 0;
}

int ut_doctor_capabilities(bool packets)
{
    static const struct {
        unsigned capability;
        const char *name, *without;
        bool packets; /* needed for programs of cgroups, and for those alone */
    } wanted[] = {
        {CAP_BPF, "CAP_BPF", "no kernel program can be loaded", false},
        {CAP_PERFMON, "CAP_PERFMON", "no kernel program can be attached", false},
        {CAP_NET_ADMIN, "CAP_NET_ADMIN",
         "no exact matches (receivers.ebpf.trace_context); before Linux 5.12 no senders over TCP",
         true},
    };
    int missing = 0;
    ut_doctor_heading("capabilities");
    capng_clear(CAPNG_SELECT_ALL);
    bool known = capng_get_caps_process() == 0;
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        bool needed = !wanted[i].packets || packets;
        if (known && is_capable(wanted[i].capability)) {
            ut_doctor_line("ok", wanted[i].name, "");
            continue;
        }
        ut_doctor_line(needed ? "missing" : "note", wanted[i].name, wanted[i].without);
        missing += needed;
    }
    if (missing != 0)
        ut_doctor_line("", "what helps",
                       packets ? "run it as root, or: setcap cap_bpf,cap_perfmon,cap_net_admin+ep "
                                 "/path/to/undertrace"
                               : "run it as root, or: setcap cap_bpf,cap_perfmon+ep "
                                 "/path/to/undertrace");
    return missing;
}

int ut_doctor_cgroups(void)
{
    char found[256] = "";
    bool v1 = false;
    ut_doctor_heading("cgroups");
    FILE *mounts = setmntent("/proc/self/mounts", "re");
    for (struct mntent *mount; mounts != NULL && (mount = getmntent(mounts)) != NULL;) {
        if (strcmp(mount->mnt_type, "cgroup2") == 0 && found[0] == '\0')
            snprintf(found, sizeof(found), "%s", mount->mnt_dir);
        v1 = v1 || strcmp(mount->mnt_type, "cgroup") == 0;
    }
    if (mounts != NULL)
        endmntent(mounts);
    if (found[0] == '\0') {
        ut_doctor_line("missing", "cgroup v2 mount",
                       "workloads have no names: mount it, or run with the host's /sys/fs/cgroup");
        if (v1)
            ut_doctor_line("", "",
                           "containers that have groups of v1 alone are not told apart: the host "
                           "has to give them groups of v2, in v2 alone or beside v1");
        return 1;
    }
    char text[320];
    snprintf(text, sizeof(text), "%s%s", found, v1 ? " (beside v1 controllers)" : "");
    ut_doctor_line("ok", "cgroup v2 mount", text);
    return 0;
}

int ut_doctor_containerd(const char *setting)
{
    static const char scheme[] = "unix://";
    char text[512];
    ut_doctor_heading("containers");
    if (strcmp(setting, "off") == 0) {
        ut_doctor_line("note", "containerd", "not asked: undertrace.identity.containerd is off");
        return 0;
    }
    bool named = strcmp(setting, "auto") != 0;
    const char *socket = named ? setting + sizeof(scheme) - 1 : UT_CONTAINERD_SOCKET;
    if (access(socket, R_OK | W_OK) == 0) {
        ut_doctor_line("ok", "containerd", socket);
        return 0;
    }
    if (errno == ENOENT && !named) {
        ut_doctor_line("note", "containerd",
                       "no socket at " UT_CONTAINERD_SOCKET
                       "; another one is named in undertrace.identity.containerd");
        return 0;
    }
    snprintf(text, sizeof(text), "%s: %s", socket, strerror(errno));
    ut_doctor_line("missing", "containerd", text);
    ut_doctor_line("", "",
                   "without it: no names of pods and containers, no version of their "
                   "runtime; run it as root, for whoever opens that socket is root");
    return 1;
}

int ut_doctor_clock(void)
{
    struct timex state = {.modes = 0};
    struct timespec step;
    char text[160];
    ut_doctor_heading("clock");
    int code = adjtimex(&state);
    if (clock_getres(CLOCK_REALTIME, &step) == 0 && step.tv_sec == 0 && step.tv_nsec <= 1000000)
        snprintf(text, sizeof(text), "resolution %ld ns", step.tv_nsec);
    else
        snprintf(text, sizeof(text), "resolution is coarse: joins by time are less sure");
    ut_doctor_line("ok", "real time", text);
    if (code == TIME_ERROR || (state.status & STA_UNSYNC) != 0)
        ut_doctor_line("note", "synchronised",
                       "no, as far as the kernel knows; joins on this host are not affected");
    else
        ut_doctor_line("ok", "synchronised", "");
    return 0;
}
