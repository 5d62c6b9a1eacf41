/* SPDX-License-Identifier: Apache-2.0 */
#include "net/unix_socket.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char folder[64], path[UT_UNIX_PATH], error[256];

static void set_up(void)
{
    (void)snprintf(folder, sizeof(folder), "/tmp/ut-unix-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/run/otlp.sock", folder);
}

static void tear_down(void)
{
    char inner[96];
    (void)unlink(path);
    (void)snprintf(inner, sizeof(inner), "%s/run", folder);
    (void)rmdir(inner);
    cr_expect_eq(rmdir(folder), 0, "nothing is left behind");
}

TestSuite(unix_socket, .init = set_up, .fini = tear_down);

static struct ut_unix_place place_at(const char *where, mode_t mode)
{
    struct ut_unix_place place = {.mode = mode, .owner = (uid_t)-1, .group = (gid_t)-1};
    (void)snprintf(place.path, sizeof(place.path), "%s", where);
    return place;
}

static int reach(const char *where)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    memcpy(address.sun_path, where, strlen(where));
    int code = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 ? 0 : -errno;
    close(fd);
    return code;
}

Test(unix_socket, endpoints_name_a_path_or_an_abstract_name)
{
    char longest[16 + UT_UNIX_PATH + 1];
    (void)snprintf(longest, sizeof(longest), "unix:///%0106d", 0);
    const struct {
        const char *endpoint, *path; /* NULL: an error */
        bool is_unix, is_abstract;
    } rows[] = {
        {"unix:///run/a.sock", "/run/a.sock", true, false},
        {"unix:/run/a.sock", "/run/a.sock", true, false},
        {"unix:@name", "name", true, true},
        {"unix-abstract:name", "name", true, true},
        {longest, longest + 7, true, false},
        {"unix://relative", NULL, true, false},
        {"unix:relative", NULL, true, false},
        {"unix:", NULL, true, false},
        {"unix:@", NULL, true, false},
        {"unix:///run/", NULL, true, false},
        {"localhost:4317", NULL, false, false},
        {"/run/a.sock", NULL, false, false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ut_unix_place place;
        const char *reason = NULL;
        cr_expect_eq(ut_unix_is_endpoint(rows[i].endpoint), rows[i].is_unix, "%s",
                     rows[i].endpoint);
        int code = ut_unix_place_parse(&place, rows[i].endpoint, &reason);
        cr_expect_eq(code, rows[i].path != NULL ? 0 : -EINVAL, "%s", rows[i].endpoint);
        cr_expect_eq(reason == NULL, rows[i].path != NULL, "%s", rows[i].endpoint);
        if (code != 0)
            continue;
        cr_expect_str_eq(place.path, rows[i].path);
        cr_expect_eq(place.is_abstract, rows[i].is_abstract);
        cr_expect_eq(place.mode, 0600);
    }
    struct ut_unix_place place;
    (void)snprintf(longest, sizeof(longest), "unix:///%0107d", 0);
    cr_expect_eq(ut_unix_place_parse(&place, longest, NULL), -EINVAL);
}

Test(unix_socket, mode_is_what_was_asked_for_whatever_the_umask)
{
    static const mode_t masks[] = {0, 022, 077}, modes[] = {0600, 0660, 0666};
    for (int i = 0; i < 9; i++) {
        struct ut_unix_place place = place_at(path, modes[i % 3]);
        struct ut_unix_file file;
        struct stat info;
        mode_t before = umask(masks[i / 3]);
        int fd = ut_unix_listen(&place, &file, error, sizeof(error));
        umask(before);
        cr_assert_geq(fd, 0, "%s", error);
        cr_assert_eq(stat(path, &info), 0);
        cr_expect_eq(info.st_mode & 0777, modes[i % 3], "umask %o", masks[i / 3]);
        cr_expect_eq(reach(path), 0);
        ut_unix_remove(&place, &file);
        close(fd);
        cr_expect_eq(access(path, F_OK), -1, "its file is gone");
    }
}

Test(unix_socket, owner_and_group_are_set)
{
    struct ut_unix_place place = place_at(path, 0660);
    struct ut_unix_file file;
    struct stat info;
    place.owner = 12345;
    place.group = 23456;
    int fd = ut_unix_listen(&place, &file, error, sizeof(error));
    if (geteuid() != 0) {
        cr_expect_eq(fd, -EPERM, "only root gives files away");
        cr_expect_eq(access(path, F_OK), -1, "what was made is removed again");
        return;
    }
    cr_assert_geq(fd, 0, "%s", error);
    cr_assert_eq(stat(path, &info), 0);
    cr_expect_eq(info.st_uid, 12345);
    cr_expect_eq(info.st_gid, 23456);
    cr_expect_eq(info.st_mode & 0777, 0660);
    ut_unix_remove(&place, &file);
    close(fd);
}

Test(unix_socket, one_that_nobody_listens_on_gives_way_and_one_in_use_does_not)
{
    struct ut_unix_place place = place_at(path, 0600);
    struct ut_unix_file first, second;
    int fd = ut_unix_listen(&place, &first, error, sizeof(error));
    cr_assert_geq(fd, 0, "%s", error);
    cr_expect_eq(ut_unix_listen(&place, &second, error, sizeof(error)), -EADDRINUSE);
    cr_expect_not_null(strstr(error, "somebody listens there"), "%s", error);
    cr_expect_eq(second.inode, 0);
    cr_expect_eq(reach(path), 0, "it is still there");
    close(fd); /* as after SIGKILL: the file stays */
    cr_expect_eq(reach(path), -ECONNREFUSED);
    fd = ut_unix_listen(&place, &second, error, sizeof(error));
    cr_assert_geq(fd, 0, "%s", error);
    cr_expect_eq(reach(path), 0);
    ut_unix_remove(&place, &second);
    close(fd);
}

Test(unix_socket, socket_of_another_kind_is_in_use)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct ut_unix_place place = place_at(path, 0600);
    struct ut_unix_file file;
    *strrchr(place.path, '/') = '\0';
    cr_assert_eq(mkdir(place.path, 0700), 0);
    place = place_at(path, 0600);
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    cr_expect_eq(ut_unix_listen(&place, &file, error, sizeof(error)), -EADDRINUSE);
    close(fd);
}

Test(unix_socket, whatever_is_no_socket_stays)
{
    char file_path[96], link_path[96];
    struct ut_unix_file file;
    (void)snprintf(file_path, sizeof(file_path), "%s/file", folder);
    (void)snprintf(link_path, sizeof(link_path), "%s/link", folder);
    close(open(file_path, O_CREAT | O_WRONLY, 0600));
    cr_assert_eq(symlink(path, link_path), 0);
    for (int i = 0; i < 2; i++) {
        struct ut_unix_place place = place_at(i == 0 ? file_path : link_path, 0600);
        struct stat info;
        cr_expect_eq(ut_unix_listen(&place, &file, error, sizeof(error)), -ENOTSOCK);
        cr_expect_not_null(strstr(error, "not a socket"), "%s", error);
        cr_expect_eq(lstat(place.path, &info), 0, "it is still there");
        (void)unlink(place.path);
    }
}

Test(unix_socket, only_its_own_file_is_removed)
{
    struct ut_unix_place place = place_at(path, 0600);
    struct ut_unix_file first, second;
    int fd = ut_unix_listen(&place, &first, error, sizeof(error));
    cr_assert_geq(fd, 0, "%s", error);
    (void)unlink(path);
    int other = ut_unix_listen(&place, &second, error, sizeof(error));
    cr_assert_geq(other, 0, "%s", error);
    first.inode += first.inode == second.inode; /* where the number was used again */
    ut_unix_remove(&place, &first);
    cr_expect_eq(reach(path), 0, "another's socket stays");
    close(fd);
    close(other);
    (void)unlink(path);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    ut_unix_remove(&place, &second);
    cr_expect_eq(access(path, F_OK), 0, "a file stays");
}

Test(unix_socket, missing_parents_are_said)
{
    struct ut_unix_place place = place_at("/tmp/ut-unix-none/a/b.sock", 0600);
    struct ut_unix_file file;
    cr_expect_eq(ut_unix_listen(&place, &file, error, sizeof(error)), -ENOENT);
    cr_expect_str_eq(error, "cannot make the folder of unix:/tmp/ut-unix-none/a/b.sock: No such "
                            "file or directory");
}

Test(unix_socket, abstract_ones_need_no_file)
{
    struct ut_unix_place place;
    struct ut_unix_file file;
    char endpoint[64];
    (void)snprintf(endpoint, sizeof(endpoint), "unix:@undertrace-test-%d", (int)getpid());
    cr_assert_eq(ut_unix_place_parse(&place, endpoint, NULL), 0);
    int fd = ut_unix_listen(&place, &file, error, sizeof(error));
    cr_assert_geq(fd, 0, "%s", error);
    cr_expect_eq(file.inode, 0);
    struct sockaddr_un name = {0};
    socklen_t size = sizeof(name);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&name, &size), 0);
    cr_expect_eq(size, sizeof(sa_family_t) + 1 + strlen(place.path));
    cr_expect_eq(name.sun_path[0], '\0');
    cr_expect_eq(memcmp(name.sun_path + 1, place.path, strlen(place.path)), 0);
    struct ut_unix_file second;
    cr_expect_eq(ut_unix_listen(&place, &second, error, sizeof(error)), -EADDRINUSE);
    ut_unix_remove(&place, &file);
    close(fd);
}
