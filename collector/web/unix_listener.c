/* SPDX-License-Identifier: Apache-2.0 */
#include "web/unix_listener.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 16 };

static int fail(int error, const char *what, const char *path, char *text, size_t text_size)
{
    snprintf(text, text_size, "%s %s: %s", what, path, strerror(-error));
    return error;
}

/* Makes the folder of `path`; its own parents must be there. */
static int make_folder(const char *path)
{
    char folder[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
    const char *slash = strrchr(path, '/');
    size_t size = slash != NULL ? (size_t)(slash - path) : 0;
    if (size == 0)
        return 0;
    memcpy(folder, path, size);
    folder[size] = '\0';
    return mkdir(folder, 0755) == 0 || errno == EEXIST ? 0 : -errno;
}

/* 0 if nobody answers at the address and the way is free. */
static int clear_stale(const struct sockaddr_un *address)
{
    struct stat info;
    if (lstat(address->sun_path, &info) != 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(info.st_mode))
        return -EEXIST;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int code = connect(fd, (const struct sockaddr *)address, sizeof(*address));
    int error = code == 0 ? 0 : errno;
    close(fd);
    if (error != ECONNREFUSED)
        return error == 0 || error == EAGAIN ? -EADDRINUSE : -error;
    return unlink(address->sun_path) == 0 ? 0 : -errno;
}

int ut_unix_listen(const char *path, char *error, size_t error_size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path))
        return fail(-ENAMETOOLONG, "cannot use", path, error, error_size);
    memcpy(address.sun_path, path, strlen(path));
    int code = make_folder(path);
    if (code != 0)
        return fail(code, "cannot make the folder of", path, error, error_size);
    code = clear_stale(&address);
    if (code != 0)
        return fail(code, "cannot use", path, error, error_size);

    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fail(-errno, "cannot make a socket for", path, error, error_size);
    /* The mode of the socket becomes that of the file when it is bound: no moment of wider rights,
     * and no umask of the process to change. */
    if (fchmod(fd, 0600) != 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(fd, BACKLOG) != 0) {
        code = -errno;
        close(fd);
        return fail(code, "cannot listen on", path, error, error_size);
    }
    return fd;
}
