/* SPDX-License-Identifier: Apache-2.0 */
#include "netns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

/* Newer than some libc headers: Linux 5.8. */
#ifndef CAP_BPF
#define CAP_BPF 39
#endif

enum { STACK_BYTES = 512 << 10 };

struct ut_netns {
    uv_thread_t thread;
    uv_sem_t asked, done;
    int fd; /* of the namespace to enter; -1: it is the own one */
    dev_t device;
    ino_t inode;
    int (*work)(void *arg); /* NULL: the thread ends */
    void *arg;
    int result;
};

/* Capabilities belong to threads. */
static int keep_needed_capabilities(void)
{
    const uint64_t needed = UINT64_C(1) << CAP_NET_ADMIN | UINT64_C(1) << CAP_BPF;
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0}};
    if (syscall(SYS_capget, &header, data) != 0)
        return -errno;
    for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
        data[i].permitted &= (uint32_t)(needed >> (32 * i));
        data[i].effective = data[i].permitted;
        data[i].inheritable = 0;
    }
    return syscall(SYS_capset, &header, data) == 0 ? 0 : -errno;
}

static int enter(struct ut_netns *netns)
{
    if (netns->fd >= 0 && setns(netns->fd, CLONE_NEWNET) != 0)
        return -errno;
    return keep_needed_capabilities();
}

static void run(void *arg)
{
    struct ut_netns *netns = arg;
    netns->result = enter(netns);
    uv_sem_post(&netns->done);
    for (;;) {
        uv_sem_wait(&netns->asked);
        if (netns->work == NULL)
            return;
        netns->result = netns->work(netns->arg);
        uv_sem_post(&netns->done);
    }
}

static int open_namespace(struct ut_netns *netns, const char *path)
{
    struct stat status;
    int fd =
        open(path != NULL ? path : "/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    if (fstat(fd, &status) != 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    netns->device = status.st_dev;
    netns->inode = status.st_ino;
    netns->fd = path != NULL ? fd : -1;
    if (path == NULL)
        close(fd);
    return 0;
}

static int start_thread(struct ut_netns *netns)
{
    const uv_thread_options_t options = {.flags = UV_THREAD_HAS_STACK_SIZE,
                                         .stack_size = STACK_BYTES};
    UT_CHECK(uv_sem_init(&netns->asked, 0) == 0 && uv_sem_init(&netns->done, 0) == 0);
    int error = uv_thread_create_ex(&netns->thread, &options, run, netns);
    if (error != 0) {
        uv_sem_destroy(&netns->asked);
        uv_sem_destroy(&netns->done);
    }
    return error;
}

int ut_netns_open(struct ut_netns **ret, const char *path)
{
    struct ut_netns *netns = calloc(1, sizeof(*netns));
    if (netns == NULL)
        return -ENOMEM;
    int error = open_namespace(netns, path);
    if (error != 0) {
        free(netns);
        return error;
    }
    error = start_thread(netns);
    if (error != 0) {
        if (netns->fd >= 0)
            close(netns->fd);
        free(netns);
        return error;
    }
    uv_sem_wait(&netns->done);
    if (netns->result != 0) {
        error = netns->result;
        ut_netns_close(netns);
        return error;
    }
    *ret = netns;
    return 0;
}

void ut_netns_close(struct ut_netns *netns)
{
    if (netns == NULL)
        return;
    netns->work = NULL;
    uv_sem_post(&netns->asked);
    UT_CHECK(uv_thread_join(&netns->thread) == 0);
    uv_sem_destroy(&netns->asked);
    uv_sem_destroy(&netns->done);
    if (netns->fd >= 0)
        close(netns->fd);
    free(netns);
}

bool ut_netns_same(const struct ut_netns *a, const struct ut_netns *b)
{
    return a->device == b->device && a->inode == b->inode;
}

int ut_netns_do(struct ut_netns *netns, int (*work)(void *arg), void *arg)
{
    netns->work = work;
    netns->arg = arg;
    uv_sem_post(&netns->asked);
    uv_sem_wait(&netns->done);
    return netns->result;
}
