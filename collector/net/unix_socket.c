/* SPDX-License-Identifier: Apache-2.0 */
#include "net/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 1024 };

_Static_assert(sizeof(((struct sockaddr_un *)NULL)->sun_path) == UT_UNIX_PATH, "as unix(7) says");

/* ---- endpoints ------------------------------------------------------------------------------ */

static const char *skip(const char *text, const char *prefix)
{
    size_t size = strlen(prefix);
    return strncmp(text, prefix, size) == 0 ? text + size : NULL;
}

bool ut_unix_is_endpoint(const char *endpoint)
{
    return skip(endpoint, "unix:") != NULL || skip(endpoint, "unix-abstract:") != NULL;
}

static const char *read_place(struct ut_unix_place *ret, const char *endpoint)
{
    const char *name = skip(endpoint, "unix-abstract:");
    if (name == NULL) {
        const char *rest = skip(endpoint, "unix:");
        if (rest == NULL)
            return "no address of a unix socket";
        const char *path = skip(rest, "//");
        name = skip(rest, "@");
        if (name == NULL) {
            path = path != NULL ? path : rest;
            if (path[0] != '/' || path[strlen(path) - 1] == '/')
                return "expected unix:///absolute/path, or unix:@name for an abstract socket";
            name = path;
            ret->is_abstract = false;
        }
    }
    if (name[0] == '\0')
        return "the abstract socket's name is missing";
    if (strlen(name) >= sizeof(ret->path))
        return "the path is longer than the 107 bytes that a unix socket can have";
    memcpy(ret->path, name, strlen(name) + 1);
    return NULL;
}

int ut_unix_place_parse(struct ut_unix_place *ret, const char *endpoint, const char **ret_error)
{
    *ret = (struct ut_unix_place){
        .is_abstract = true,
        .mode = 0600,
        .owner = (uid_t)-1,
        .group = (gid_t)-1,
    };
    const char *error = read_place(ret, endpoint);
    if (ret_error != NULL)
        *ret_error = error;
    return error == NULL ? 0 : -EINVAL;
}

/* ---- the way to the path -------------------------------------------------------------------- */

struct address {
    struct sockaddr_un un;
    socklen_t size;
};

static struct address address_of(const struct ut_unix_place *place)
{
    struct address address = {.un = {.sun_family = AF_UNIX}};
    size_t size = strlen(place->path), skipped = place->is_abstract ? 1 : 0;
    memcpy(address.un.sun_path + skipped, place->path, size);
    /* A path ends in its terminator, an abstract name with its length. */
    address.size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size + 1);
    return address;
}

static int new_socket(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return fd >= 0 ? fd : -errno;
}

/* Its own parents must be there. */
static int make_folder(const char *path)
{
    char folder[UT_UNIX_PATH];
    size_t size = (size_t)(strrchr(path, '/') - path);
    if (size == 0)
        return 0;
    memcpy(folder, path, size);
    folder[size] = '\0';
    return mkdir(folder, 0755) == 0 || errno == EEXIST ? 0 : -errno;
}

/* 0 if nobody listens at the path and the way is free. */
static int clear_stale(const char *path, const struct address *address)
{
    struct stat before, now;
    if (lstat(path, &before) != 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(before.st_mode))
        return -ENOTSOCK;
    int fd = new_socket();
    if (fd < 0)
        return fd;
    int code = connect(fd, (const struct sockaddr *)&address->un, address->size);
    int error = code == 0 ? 0 : errno;
    close(fd);
    if (error != ECONNREFUSED)
        return error == 0 || error == EAGAIN || error == EPROTOTYPE ? -EADDRINUSE : -error;
    /* Another start may have put its own there meanwhile. */
    if (lstat(path, &now) != 0)
        return errno == ENOENT ? 0 : -errno;
    if (now.st_ino != before.st_ino || now.st_dev != before.st_dev)
        return -EADDRINUSE;
    return unlink(path) == 0 ? 0 : -errno;
}

/* ---- making the file ------------------------------------------------------------------------ */

static int give_rights(const struct ut_unix_place *place, int fd)
{
    char link[40];
    if ((place->owner != (uid_t)-1 || place->group != (gid_t)-1) &&
        fchownat(fd, "", place->owner, place->group, AT_EMPTY_PATH) != 0)
        return -errno;
    /* By the descriptor, as chmod(2) follows links. */
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    return chmod(link, place->mode) == 0 ? 0 : -errno;
}

/* Owner, group and mode of the file that bind has just made. */
static int settle_file(const struct ut_unix_place *place, struct ut_unix_file *ret)
{
    struct stat info;
    int fd = open(place->path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int code = fstat(fd, &info) == 0 ? 0 : -errno;
    if (code == 0 && !S_ISSOCK(info.st_mode))
        code = -EEXIST;
    if (code == 0) {
        *ret = (struct ut_unix_file){info.st_dev, info.st_ino};
        code = give_rights(place, fd);
    }
    close(fd);
    return code;
}

/* Binds the socket and listens; what was made is removed again where that fails. */
static int open_at(const struct ut_unix_place *place, const struct address *address, int fd,
                   struct ut_unix_file *ret)
{
    /* The mode of the socket becomes that of the file when it is bound: no moment of wider rights,
     * and no umask of the process to change. */
    if ((!place->is_abstract && fchmod(fd, place->mode & 0700) != 0) ||
        bind(fd, (const struct sockaddr *)&address->un, address->size) != 0)
        return -errno;
    int code = place->is_abstract ? 0 : settle_file(place, ret);
    if (code == 0 && listen(fd, BACKLOG) != 0)
        code = -errno;
    if (code != 0)
        ut_unix_remove(place, ret);
    return code;
}

static int fail(int error, const char *what, const struct ut_unix_place *place, char *text,
                size_t text_size)
{
    const char *reason = error == -EADDRINUSE ? "somebody listens there"
                         : error == -ENOTSOCK ? "a file is there that is not a socket"
                                              : strerror(-error);
    (void)snprintf(text, text_size, "%s unix:%s%s: %s", what, place->is_abstract ? "@" : "",
                   place->path, reason);
    return error;
}

int ut_unix_listen(const struct ut_unix_place *place, struct ut_unix_file *ret_file, char *error,
                   size_t error_size)
{
    struct address address = address_of(place);
    *ret_file = (struct ut_unix_file){0};
    int code = place->is_abstract ? 0 : make_folder(place->path);
    if (code != 0)
        return fail(code, "cannot make the folder of", place, error, error_size);
    code = place->is_abstract ? 0 : clear_stale(place->path, &address);
    if (code != 0)
        return fail(code, "cannot use", place, error, error_size);
    int fd = new_socket();
    if (fd < 0)
        return fail(fd, "cannot make a socket for", place, error, error_size);
    code = open_at(place, &address, fd, ret_file);
    if (code == 0)
        return fd;
    close(fd);
    return fail(code, "cannot listen on", place, error, error_size);
}

void ut_unix_remove(const struct ut_unix_place *place, const struct ut_unix_file *file)
{
    struct stat now;
    if (file->inode != 0 && lstat(place->path, &now) == 0 && S_ISSOCK(now.st_mode) &&
        now.st_dev == file->device && now.st_ino == file->inode)
        (void)unlink(place->path);
}
