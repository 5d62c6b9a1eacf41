/* SPDX-License-Identifier: Apache-2.0 */
#include "admin_client.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_MAX ((size_t)1 << 20)
enum { PATIENCE_S = 15 };

/* A connected socket, or a negative errno. */
static int open_socket(const char *admin)
{
    static const char scheme[] = "unix://";
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = PATIENCE_S};
    bool named = strncmp(admin, scheme, sizeof(scheme) - 1) == 0;
    const char *path = named ? admin + sizeof(scheme) - 1 : admin;
    if (strlen(path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

static int send_request(int fd, const char *method, const char *target)
{
    char request[256];
    int size = snprintf(request, sizeof(request),
                        "%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n"
                        "Connection: close\r\n\r\n",
                        method, target);
    if (size < 0 || (size_t)size >= sizeof(request))
        return -EINVAL;
    ssize_t sent = send(fd, request, (size_t)size, MSG_NOSIGNAL);
    return sent < 0 ? -errno : sent == size ? 0 : -EIO;
}

/* The status of a whole answer; its body moves to the front of `text`. */
static int take_status(char *text, size_t size)
{
    static const char start[] = "HTTP/1.1 ";
    char *body = strstr(text, "\r\n\r\n");
    if (strncmp(text, start, sizeof(start) - 1) != 0 || body == NULL)
        return -EPROTO;
    int status = 0;
    for (const char *digit = text + sizeof(start) - 1; *digit >= '0' && *digit <= '9'; digit++)
        status = status < 1000 ? status * 10 + (*digit - '0') : -EPROTO;
    body += 4;
    memmove(text, body, size - (size_t)(body - text) + 1);
    return status;
}

static int read_answer(int fd, char **ret)
{
    char *text = malloc(ANSWER_MAX + 1);
    if (text == NULL)
        return -ENOMEM;
    size_t size = 0;
    ssize_t got = 1;
    while (size < ANSWER_MAX && got > 0) {
        got = recv(fd, text + size, ANSWER_MAX - size, 0);
        size += got > 0 ? (size_t)got : 0;
    }
    text[size] = '\0';
    int status = got < 0 ? -errno : take_status(text, size);
    if (status < 0)
        free(text);
    else
        *ret = text;
    return status;
}

int ut_admin_ask(const char *admin, const char *method, const char *target, char **ret)
{
    int fd = open_socket(admin);
    if (fd < 0)
        return fd;
    int status = send_request(fd, method, target);
    if (status == 0)
        status = read_answer(fd, ret);
    close(fd);
    return status;
}

void ut_admin_complain(const char *admin, int error)
{
    bool absent = error == -ENOENT || error == -ECONNREFUSED;
    bool forbidden = error == -EACCES || error == -EPERM;
    fprintf(stderr, "undertrace: %s: %s%s\n", admin, strerror(-error),
            absent ? ": is undertrace running, and is this its admin socket? --config FILE takes "
                     "it from the file, --admin PATH names it"
            : forbidden ? ": only the user that undertrace runs as may ask, and root"
                        : "");
}
