/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The built program as a child process: its words go to files in a folder of its own, spans reach
 * it through the gRPC peer, answers over HTTP. Whatever is still running is killed at the end.
 */
#ifndef UT_TEST_PROGRAM_HARNESS_H
#define UT_TEST_PROGRAM_HARNESS_H

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PROGRAM_PATIENCE_MS = 20000, PROGRAM_TEXT = 64 << 10, NOBODY = 65534 };

struct program {
    pid_t pid; /* 0: none runs */
    char folder[64];
    char out[PROGRAM_TEXT], err[PROGRAM_TEXT];
    bool unprivileged; /* run it as nobody */
};

static inline void program_path(const struct program *program, const char *name, char path[128])
{
    snprintf(path, 128, "%s/%s", program->folder, name);
}

static inline void program_init(struct program *program)
{
    memset(program, 0, sizeof(*program));
    snprintf(program->folder, sizeof(program->folder), "/tmp/ut-program-XXXXXX");
    cr_assert_not_null(mkdtemp(program->folder));
    cr_assert_eq(chmod(program->folder, 0755), 0, "nobody is to read the config in it");
}

static inline void program_remove(const struct program *program, const char *name)
{
    char path[128];
    program_path(program, name, path);
    unlink(path);
}

/* What a disk hold in FOLDER/hold leaves. */
static inline void program_remove_hold(const struct program *program)
{
    char path[128];
    program_remove(program, "hold/hold.mdb");
    program_remove(program, "hold/hold.mdb-lock");
    program_remove(program, "hold/hold.lock");
    program_path(program, "hold", path);
    cr_expect_eq(rmdir(path), 0, "%s", path);
}

static inline void program_done(struct program *program)
{
    if (program->pid != 0) {
        kill(program->pid, SIGKILL);
        waitpid(program->pid, NULL, 0);
    }
    program_remove(program, "out");
    program_remove(program, "err");
    program_remove(program, "config.yaml");
    cr_expect_eq(rmdir(program->folder), 0, "the program left something in its folder");
}

/* Writes the config and returns its path, valid until the next call. */
static inline const char *program_config(const struct program *program, const char *text)
{
    static char path[128];
    program_path(program, "config.yaml", path);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
    return path;
}

static inline void program_become_nobody(void)
{
    if (geteuid() == 0 && (setgroups(0, NULL) != 0 || setgid(NOBODY) != 0 || setuid(NOBODY) != 0))
        _exit(126);
}

static inline void program_exec(const struct program *program, const char *const *args)
{
    char path[128];
    program_path(program, "out", path);
    int out = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    program_path(program, "err", path);
    int err = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (out < 0 || err < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
        _exit(126);
    if (program->unprivileged)
        program_become_nobody();
    execv(UT_PROGRAM, (char *const *)args);
    _exit(127);
}

/* Starts it with up to 4 arguments. */
static inline void program_start(struct program *program, const char *a, const char *b,
                                 const char *c, const char *d)
{
    const char *args[] = {UT_PROGRAM, a, b, c, d, NULL};
    program->pid = fork();
    cr_assert_geq(program->pid, 0);
    if (program->pid == 0)
        program_exec(program, args);
}

static inline void program_read_file(const struct program *program, const char *name, char *text)
{
    char path[128];
    program_path(program, name, path);
    int fd = open(path, O_RDONLY);
    ssize_t size = fd >= 0 ? read(fd, text, PROGRAM_TEXT - 1) : 0;
    text[size > 0 ? size : 0] = '\0';
    if (fd >= 0)
        close(fd);
}

static inline void program_listen_to(struct program *program)
{
    program_read_file(program, "out", program->out);
    program_read_file(program, "err", program->err);
}

static inline void program_sleep(int ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000L}, NULL);
}

/* Its exit code; -1: it was killed by a signal, -2: it did not end in time. */
static inline int program_wait(struct program *program)
{
    int status = 0;
    for (int ms = 0; ms < PROGRAM_PATIENCE_MS; ms += 20, program_sleep(20)) {
        if (waitpid(program->pid, &status, WNOHANG) != program->pid)
            continue;
        program->pid = 0;
        program_listen_to(program);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }
    program_listen_to(program);
    return -2;
}

static inline int program_run(struct program *program, const char *a, const char *b, const char *c)
{
    program_start(program, a, b, c, NULL);
    return program_wait(program);
}

/* Waits until its log or its output holds `text`. */
static inline void program_await(struct program *program, const char *text)
{
    for (int ms = 0; ms < PROGRAM_PATIENCE_MS; ms += 20, program_sleep(20)) {
        program_listen_to(program);
        if (strstr(program->err, text) != NULL || strstr(program->out, text) != NULL)
            return;
    }
    cr_assert_fail("\"%s\" never came; the log is:\n%s", text, program->err);
}

/* The port in the log line that holds `event`. */
static inline uint16_t program_port(const struct program *program, const char *event)
{
    const char *line = strstr(program->err, event);
    const char *port = line != NULL ? strstr(line, " port=") : NULL;
    cr_assert_not_null(port, "no port of %s in:\n%s", event, program->err);
    unsigned number = 0;
    cr_assert_eq(sscanf(port, " port=%u", &number), 1);
    return (uint16_t)number;
}

static inline int program_connect(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct timeval patience = {.tv_sec = PROGRAM_PATIENCE_MS / 1000};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0, "port %u: %s", port,
                 strerror(errno));
    return fd;
}

/* The whole answer to a GET, in `answer`. */
static inline void program_get(uint16_t port, const char *path, char answer[PROGRAM_TEXT])
{
    char request[128];
    int fd = program_connect(port);
    int size =
        snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nConnection: close\r\n\r\n", path);
    cr_assert_eq(send(fd, request, (size_t)size, MSG_NOSIGNAL), size);
    ssize_t got, all = 0;
    while ((got = recv(fd, answer + all, (size_t)(PROGRAM_TEXT - 1 - all), 0)) > 0)
        all += got;
    answer[all] = '\0';
    close(fd);
}

#endif
