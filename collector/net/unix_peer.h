/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is at the other end of a connected unix socket, from the kernel: the process that called
 * connect(2), as it was then, whoever uses the socket now. Its cgroup is asked for at once, while
 * the process still is what it was; where it cannot be told for certain it is unknown.
 *
 * Linux 6.13 and later name the cgroup of a pidfd (PIDFD_GET_INFO, uapi/linux/pidfd.h), which no
 * reuse of process ids can mislead. Before that /proc is read between two looks at the start time
 * of the process; with a pidfd (6.5) the process must still live afterwards.
 */
#ifndef UT_NET_UNIX_PEER_H
#define UT_NET_UNIX_PEER_H

#include <sys/types.h>

#include "base/cgroup_mount.h"

/* How the cgroup was found, or why not. */
enum ut_unix_peer_cgroup {
    UT_UNIX_PEER_BY_PIDFD,
    UT_UNIX_PEER_BY_PROC,
    UT_UNIX_PEER_GONE,    /* the process had ended */
    UT_UNIX_PEER_REUSED,  /* its id belonged to another process meanwhile */
    UT_UNIX_PEER_OUTSIDE, /* of another process namespace, or its cgroup is not to be seen here */
    UT_UNIX_PEER_CGROUPS,
};

struct ut_unix_peer {
    pid_t pid; /* 0: of a process namespace that is not to be seen from here */
    uid_t uid; /* as this user namespace has it */
    gid_t gid;
    uint64_t cgroup_id; /* of cgroup v2, as eBPF has it; 0: not known */
    enum ut_unix_peer_cgroup how;
};

/* Reads /proc/PID/NAME into `out`; its size, or a negative errno. */
struct ut_unix_proc {
    ssize_t (*read)(void *arg, pid_t pid, const char *name, char *out, size_t room);
    void *arg;
};

/* Fills pid, uid and gid. 0, or a negative errno. */
int ut_unix_peer_credentials(struct ut_unix_peer *ret, int fd) UT_MUST_USE;
/* Fills cgroup_id and how. `mount` may be NULL: then the kernel has to name it. */
void ut_unix_peer_find_cgroup(struct ut_unix_peer *peer, int fd,
                              const struct ut_cgroup_mount *mount);
/* The way by /proc alone. */
void ut_unix_peer_find_in_proc(struct ut_unix_peer *peer, const struct ut_unix_proc *proc,
                               const struct ut_cgroup_mount *mount);

enum { UT_UNIX_ALLOWED_MAX = 64 };

/* Which users and groups may connect. Nobody where it is cleared. */
struct ut_unix_allowed {
    bool anyone;
    uid_t uids[UT_UNIX_ALLOWED_MAX];
    gid_t gids[UT_UNIX_ALLOWED_MAX];
    size_t uid_count, gid_count;
};

/* By its user, its group or, where the kernel tells them, its supplementary groups. */
bool ut_unix_peer_is_allowed(const struct ut_unix_peer *peer, int fd,
                             const struct ut_unix_allowed *allowed);

#endif
