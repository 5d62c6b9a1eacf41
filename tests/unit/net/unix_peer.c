/* SPDX-License-Identifier: Apache-2.0 */
#include "net/unix_peer.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the kernel itself ---------------------------------------------------------------------- */

/* A listening socket at an abstract name that the kernel chooses. */
static int listen_anywhere(struct sockaddr_un *ret_name, socklen_t *ret_size)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&name, sizeof(sa_family_t)), 0);
    cr_assert_eq(listen(fd, 4), 0);
    *ret_size = sizeof(*ret_name);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)ret_name, ret_size), 0);
    return fd;
}

/* A process that connects and then waits to be killed; or ends at once, its connection in the
 * hands of nobody. */
static pid_t start_client(const struct sockaddr_un *name, socklen_t size, bool stays)
{
    int ready[2];
    char byte;
    cr_assert_eq(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        if (connect(fd, (const struct sockaddr *)name, size) != 0)
            _exit(1);
        if (write(ready[1], "x", 1) != 1 || !stays)
            _exit(0);
        for (;;)
            pause();
    }
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    return pid;
}

static void end_client(pid_t pid)
{
    (void)kill(pid, SIGKILL);
    cr_assert_eq(waitpid(pid, NULL, 0), pid);
}

static uint64_t own_cgroup(void)
{
    struct ut_cgroup_mount mount;
    char text[4096], *path;
    FILE *file = fopen("/proc/self/cgroup", "re");
    size_t size = file != NULL ? fread(text, 1, sizeof(text) - 1, file) : 0;
    if (file != NULL)
        fclose(file);
    text[size] = '\0';
    path = strstr(text, "0::");
    if (path == NULL || ut_cgroup_mount_read(&mount) != 0)
        return 0;
    path[strcspn(path, "\n")] = '\0';
    return ut_cgroup_mount_id(&mount, ut_slice_str(path + 3));
}

/* PIDFD_GET_INFO with the cgroup is from 6.13. */
static bool kernel_tells_by_pidfd(void)
{
    struct utsname name;
    unsigned major, minor;
    cr_assert_eq(uname(&name), 0);
    cr_assert_eq(sscanf(name.release, "%u.%u", &major, &minor), 2);
    return major > 6 || (major == 6 && minor >= 13);
}

Test(unix_peer, living_peer_is_named_with_its_cgroup)
{
    struct sockaddr_un name;
    socklen_t size;
    struct ut_unix_peer peer;
    struct ut_cgroup_mount mount;
    bool mounted = ut_cgroup_mount_read(&mount) == 0;
    int server = listen_anywhere(&name, &size);
    pid_t pid = start_client(&name, size, true);
    int fd = accept(server, NULL, NULL);
    cr_assert_eq(ut_unix_peer_credentials(&peer, fd), 0);
    cr_expect_eq(peer.pid, pid);
    cr_expect_eq(peer.uid, geteuid());
    cr_expect_eq(peer.gid, getegid());
    ut_unix_peer_find_cgroup(&peer, fd, mounted ? &mount : NULL);
    cr_expect_eq(peer.cgroup_id, own_cgroup());
    if (kernel_tells_by_pidfd())
        cr_expect_eq(peer.how, UT_UNIX_PEER_BY_PIDFD);
    else if (mounted)
        cr_expect_eq(peer.how, UT_UNIX_PEER_BY_PROC);
    end_client(pid);
    close(fd);
    close(server);
}

Test(unix_peer, peer_that_has_ended_is_unknown)
{
    struct sockaddr_un name;
    socklen_t size;
    struct ut_unix_peer peer;
    struct ut_cgroup_mount mount;
    bool mounted = ut_cgroup_mount_read(&mount) == 0;
    int server = listen_anywhere(&name, &size);
    pid_t pid = start_client(&name, size, false);
    cr_assert_eq(waitpid(pid, NULL, 0), pid);
    int fd = accept(server, NULL, NULL);
    cr_assert_eq(ut_unix_peer_credentials(&peer, fd), 0);
    cr_expect_eq(peer.uid, geteuid(), "its user is known all the same");
    ut_unix_peer_find_cgroup(&peer, fd, mounted ? &mount : NULL);
    cr_expect_eq(peer.cgroup_id, 0);
    cr_expect_eq(peer.how, UT_UNIX_PEER_GONE);
    close(fd);
    close(server);
}

Test(unix_peer, user_group_or_supplementary_group_is_allowed_and_nobody_else)
{
    int pair[2];
    struct ut_unix_peer peer;
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    cr_assert_eq(ut_unix_peer_credentials(&peer, pair[0]), 0);
    const struct {
        struct ut_unix_allowed allowed;
        bool fine;
    } rows[] = {
        {{0}, false},
        {{.anyone = true}, true},
        {{.uids = {peer.uid}, .uid_count = 1}, true},
        {{.uids = {peer.uid + 1, peer.uid}, .uid_count = 2}, true},
        {{.uids = {peer.uid + 1, peer.uid}, .uid_count = 1}, false},
        {{.gids = {peer.gid}, .gid_count = 1}, true},
        {{.gids = {peer.gid + 54321}, .gid_count = 1}, false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_expect_eq(ut_unix_peer_is_allowed(&peer, pair[0], &rows[i].allowed), rows[i].fine,
                     "row %zu", i);
    gid_t groups[64];
    int count = getgroups(64, groups);
    for (int i = 0; i < count; i++) {
        struct ut_unix_allowed allowed = {.gids = {groups[i]}, .gid_count = 1};
        cr_expect(ut_unix_peer_is_allowed(&peer, pair[0], &allowed), "supplementary group");
    }
    close(pair[0]);
    close(pair[1]);
}

/* ---- the way by /proc ----------------------------------------------------------------------- */

struct files {
    const char *stats[2]; /* in the order of reading; NULL: -ENOENT */
    const char *cgroup;
    ssize_t error; /* of all, where it is not 0 */
    int reads;
};

static ssize_t read_file(void *arg, pid_t pid, const char *name, char *out, size_t room)
{
    struct files *files = arg;
    const char *text = files->cgroup;
    cr_expect_eq(pid, 4711);
    if (strcmp(name, "stat") == 0)
        text = files->stats[files->reads++];
    if (files->error != 0)
        return files->error;
    if (text == NULL)
        return -ENOENT;
    size_t size = strlen(text) < room ? strlen(text) : room;
    memcpy(out, text, size);
    return (ssize_t)size;
}

#define STAT(name, start)                                                                          \
    "4711 (" name ") S 1 4711 4711 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 " start " 2 3 4\n"

Test(unix_peer, proc_is_believed_only_between_two_equal_start_times)
{
    struct ut_cgroup_mount mount = {.part = "/"};
    char inner[UT_CGROUP_MOUNT_PATH + 8];
    static char longest[8192];
    struct stat info;
    (void)snprintf(mount.point, sizeof(mount.point), "%s", "/tmp/ut-peer-XXXXXX");
    cr_assert_not_null(mkdtemp(mount.point));
    (void)snprintf(inner, sizeof(inner), "%s/pod", mount.point);
    cr_assert_eq(mkdir(inner, 0700), 0);
    cr_assert_eq(stat(inner, &info), 0);
    memset(longest, 'x', sizeof(longest) - 1);
    memcpy(longest, "0::/", 4);
    const struct {
        struct files files;
        enum ut_unix_peer_cgroup how;
    } rows[] = {
        {{{STAT("a", "77"), STAT("a", "77")}, "9:name=systemd:/x\n0::/pod\n", 0, 0},
         UT_UNIX_PEER_BY_PROC},
        {{{STAT("a) S 1 (b", "77"), STAT("a) S 1 (b", "77")}, "0::/pod\n", 0, 0},
         UT_UNIX_PEER_BY_PROC},
        {{{STAT("a", "77"), STAT("a", "78")}, "0::/pod\n", 0, 0}, UT_UNIX_PEER_REUSED},
        {{{STAT("a", "77"), NULL}, "0::/pod\n", 0, 0}, UT_UNIX_PEER_GONE},
        {{{STAT("a", "77"), STAT("a", "77")}, NULL, 0, 0}, UT_UNIX_PEER_GONE},
        {{{NULL, NULL}, "0::/pod\n", 0, 0}, UT_UNIX_PEER_GONE},
        {{{NULL, NULL}, NULL, -ESRCH, 0}, UT_UNIX_PEER_GONE},
        {{{NULL, NULL}, NULL, -EACCES, 0}, UT_UNIX_PEER_OUTSIDE},
        {{{"nonsense", "nonsense"}, "0::/pod\n", 0, 0}, UT_UNIX_PEER_OUTSIDE},
        {{{"4711 (a) S 1 2", ""}, "0::/pod\n", 0, 0}, UT_UNIX_PEER_OUTSIDE},
        {{{STAT("a", "77"), STAT("a", "77")}, "0::/../../other\n", 0, 0}, UT_UNIX_PEER_OUTSIDE},
        {{{STAT("a", "77"), STAT("a", "77")}, "9:name=systemd:/pod\n", 0, 0}, UT_UNIX_PEER_OUTSIDE},
        {{{STAT("a", "77"), STAT("a", "77")}, "", 0, 0}, UT_UNIX_PEER_OUTSIDE},
        {{{STAT("a", "77"), STAT("a", "77")}, longest, 0, 0}, UT_UNIX_PEER_OUTSIDE},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct files files = rows[i].files;
        struct ut_unix_proc proc = {.read = read_file, .arg = &files};
        struct ut_unix_peer peer = {.pid = 4711};
        ut_unix_peer_find_in_proc(&peer, &proc, &mount);
        cr_expect_eq(peer.how, rows[i].how, "row %zu: %d", i, peer.how);
        cr_expect_eq(peer.cgroup_id, rows[i].how == UT_UNIX_PEER_BY_PROC ? info.st_ino : 0,
                     "row %zu", i);
    }
    struct files files = {0};
    struct ut_unix_proc proc = {.read = read_file, .arg = &files};
    struct ut_unix_peer peer = {.pid = 0}; /* of another process namespace */
    ut_unix_peer_find_in_proc(&peer, &proc, &mount);
    cr_expect_eq(peer.how, UT_UNIX_PEER_OUTSIDE);
    cr_expect_eq(files.reads, 0);
    (void)rmdir(inner);
    (void)rmdir(mount.point);
}
