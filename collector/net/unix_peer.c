/* SPDX-License-Identifier: Apache-2.0 */
#include "net/unix_peer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* From Linux 6.5 (include/uapi/asm-generic/socket.h) and 6.13 (include/uapi/linux/pidfd.h). */
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

struct pidfd_info_0 { /* its first version, of 64 bytes */
    uint64_t mask, cgroup_id;
    uint32_t ids[11]; /* of process and user */
    int32_t exit_code;
};

#define PIDFD_GET_INFO_0 _IOWR(0xff, 11, struct pidfd_info_0)
#define PIDFD_INFO_CGROUP 4

enum { STAT_BYTES = 1024, CGROUP_BYTES = 4096, GROUPS_MAX = 256 };

/* ---- the user ------------------------------------------------------------------------------- */

int ut_unix_peer_credentials(struct ut_unix_peer *ret, int fd)
{
    struct ucred credentials;
    socklen_t size = sizeof(credentials);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0)
        return -errno;
    *ret = (struct ut_unix_peer){
        .pid = credentials.pid,
        .uid = credentials.uid,
        .gid = credentials.gid,
        .how = UT_UNIX_PEER_OUTSIDE,
    };
    return 0;
}

static bool is_group_allowed(const struct ut_unix_allowed *allowed, gid_t group)
{
    for (size_t i = 0; i < allowed->gid_count; i++) {
        if (allowed->gids[i] == group)
            return true;
    }
    return false;
}

bool ut_unix_peer_is_allowed(const struct ut_unix_peer *peer, int fd,
                             const struct ut_unix_allowed *allowed)
{
    gid_t groups[GROUPS_MAX];
    socklen_t size = sizeof(groups);
    if (allowed->anyone || is_group_allowed(allowed, peer->gid))
        return true;
    for (size_t i = 0; i < allowed->uid_count; i++) {
        if (allowed->uids[i] == peer->uid)
            return true;
    }
    if (allowed->gid_count == 0 || getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) != 0)
        return false;
    for (size_t i = 0; i < size / sizeof(groups[0]); i++) {
        if (is_group_allowed(allowed, groups[i]))
            return true;
    }
    return false;
}

/* ---- /proc ---------------------------------------------------------------------------------- */

static ut_slice cut_line(ut_slice *text)
{
    const uint8_t *end = text->size > 0 ? memchr(text->data, '\n', text->size) : NULL;
    size_t size = end != NULL ? (size_t)(end - text->data) : text->size;
    size_t used = end != NULL ? size + 1 : size;
    ut_slice line = ut_slice_of(text->data, size);
    *text = ut_slice_of(text->data + used, text->size - used);
    return line;
}

/* The 22nd field of /proc/PID/stat (proc(5)), the start time in ticks; 0 where there is none. The
 * second is the program's name in parentheses, which may hold anything, these too. */
static uint64_t start_of(const char *stat, size_t size)
{
    enum { FIELDS_BEHIND_NAME = 20 };
    const char *at = memrchr(stat, ')', size), *end = stat + size;
    for (int field = 0; field < FIELDS_BEHIND_NAME && at != NULL; field++)
        at = memchr(at + 1, ' ', (size_t)(end - at - 1));
    uint64_t start = 0;
    while (at != NULL && ++at < end && *at >= '0' && *at <= '9')
        start = start * 10 + (uint64_t)(*at - '0');
    return start;
}

/* 0, the start time in `*ret`, or a negative errno. */
static int read_start(const struct ut_unix_proc *proc, pid_t pid, uint64_t *ret)
{
    char text[STAT_BYTES];
    ssize_t size = proc->read(proc->arg, pid, "stat", text, sizeof(text));
    *ret = size > 0 ? start_of(text, (size_t)size) : 0;
    return size < 0 ? (int)size : *ret != 0 ? 0 : -EBADMSG;
}

/* The path of the line "0::PATH"; empty where there is none. */
static ut_slice v2_path(ut_slice text)
{
    while (text.size > 0) {
        ut_slice line = cut_line(&text);
        if (ut_slice_starts(line, UT_SLICE("0::")))
            return ut_slice_of(line.data + 3, line.size - 3);
    }
    return (ut_slice){0};
}

/* Reads the path between two looks at the start time. Its size, or a negative errno; -ESTALE: the
 * two differ. */
static ssize_t read_cgroup(const struct ut_unix_proc *proc, pid_t pid, char *out, size_t room)
{
    uint64_t before, after;
    int error = read_start(proc, pid, &before);
    if (error != 0)
        return error;
    ssize_t size = proc->read(proc->arg, pid, "cgroup", out, room);
    if (size < 0)
        return size;
    error = read_start(proc, pid, &after);
    if (error != 0)
        return error;
    return before == after ? size : -ESTALE;
}

void ut_unix_peer_find_in_proc(struct ut_unix_peer *peer, const struct ut_unix_proc *proc,
                               const struct ut_cgroup_mount *mount)
{
    char text[CGROUP_BYTES];
    peer->cgroup_id = 0;
    peer->how = UT_UNIX_PEER_OUTSIDE;
    if (peer->pid <= 0)
        return;
    ssize_t size = read_cgroup(proc, peer->pid, text, sizeof(text));
    if (size == -ESTALE)
        peer->how = UT_UNIX_PEER_REUSED;
    else if (size == -ENOENT || size == -ESRCH)
        peer->how = UT_UNIX_PEER_GONE;
    else if (size > 0 && (size_t)size < sizeof(text)) /* else the path may be cut */
        peer->cgroup_id = ut_cgroup_mount_id(mount, v2_path(ut_slice_of(text, (size_t)size)));
    if (peer->cgroup_id != 0)
        peer->how = UT_UNIX_PEER_BY_PROC;
}

static ssize_t read_proc(void *arg, pid_t pid, const char *name, char *out, size_t room)
{
    (void)arg;
    char path[48];
    (void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t size = read(fd, out, room);
    if (size < 0)
        size = -errno;
    close(fd);
    return size;
}

/* ---- the pidfd ------------------------------------------------------------------------------ */

/* -ENOPROTOOPT: this kernel has none to give. */
static int open_pidfd(int fd)
{
    int pidfd = -1;
    socklen_t size = sizeof(pidfd);
    return getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) == 0 ? pidfd : -errno;
}

static bool lives(int pidfd)
{
    struct pollfd ended = {.fd = pidfd, .events = POLLIN};
    return poll(&ended, 1, 0) == 0;
}

/* 0 with the cgroup in `*ret`, -ESRCH: it is gone; any other: this kernel does not tell. */
static int ask_pidfd(int pidfd, uint64_t *ret)
{
    struct pidfd_info_0 info = {.mask = PIDFD_INFO_CGROUP};
    if (ioctl(pidfd, PIDFD_GET_INFO_0, &info) != 0)
        return -errno;
    *ret = info.cgroup_id;
    return (info.mask & PIDFD_INFO_CGROUP) != 0 && info.cgroup_id != 0 ? 0 : -ENODATA;
}

static void find_by_pidfd(struct ut_unix_peer *peer, int pidfd, const struct ut_cgroup_mount *mount)
{
    static const struct ut_unix_proc proc = {.read = read_proc};
    int error = ask_pidfd(pidfd, &peer->cgroup_id);
    peer->how = error == 0 ? UT_UNIX_PEER_BY_PIDFD : UT_UNIX_PEER_GONE;
    if (error == 0 || error == -ESRCH)
        return;
    peer->how = UT_UNIX_PEER_OUTSIDE;
    if (mount != NULL)
        ut_unix_peer_find_in_proc(peer, &proc, mount);
    if (peer->cgroup_id != 0 && !lives(pidfd)) {
        peer->cgroup_id = 0;
        peer->how = UT_UNIX_PEER_GONE;
    }
}

void ut_unix_peer_find_cgroup(struct ut_unix_peer *peer, int fd,
                              const struct ut_cgroup_mount *mount)
{
    static const struct ut_unix_proc proc = {.read = read_proc};
    int pidfd = open_pidfd(fd);
    peer->cgroup_id = 0;
    if (pidfd >= 0) {
        find_by_pidfd(peer, pidfd, mount);
        close(pidfd);
    } else if (pidfd != -ENOPROTOOPT) {
        peer->how = UT_UNIX_PEER_GONE;
    } else if (mount != NULL) {
        ut_unix_peer_find_in_proc(peer, &proc, mount);
    }
}
