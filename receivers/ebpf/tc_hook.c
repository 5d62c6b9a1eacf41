/* SPDX-License-Identifier: Apache-2.0 */
#include "tc_hook.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    /* Newer than the headers that we are built with: e420bed02507 (6.6) gave them these numbers. */
    TCX_EGRESS = 47,
    TCX_FIRST = 1 << 3, /* BPF_F_BEFORE, and before no other in particular: before all */
    HANDLE_MARK = 0x75746330,
    HANDLES = 4,
    /* Filters of one priority are of one kind: where others have taken the first for another kind,
     * we take the second. */
    PRIORITIES = 2,
};

/* ---- handles --------------------------------------------------------------------------------- */

/* An abstract unix address: it belongs to the network namespace, and goes with its holder. */
static int lock_handle(int number)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int size =
        snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "undertrace-tc-%d", number);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)size);
    if (bind(fd, (const struct sockaddr *)&address, length) == 0)
        return fd;
    int error = -errno;
    close(fd);
    return error;
}

void ut_tc_handle_init(struct ut_tc_handle *handle)
{
    *handle = (struct ut_tc_handle){.lock = -1};
    for (int i = 0; i < HANDLES && handle->lock < 0; i++) {
        handle->lock = lock_handle(i);
        handle->number = handle->lock >= 0 ? (uint32_t)(HANDLE_MARK + i) : 0;
    }
}

void ut_tc_handle_done(struct ut_tc_handle *handle)
{
    if (handle->lock >= 0)
        close(handle->lock);
    *handle = (struct ut_tc_handle){.lock = -1};
}

/* ---- filters --------------------------------------------------------------------------------- */

static struct bpf_tc_hook egress_of(int ifindex)
{
    return (struct bpf_tc_hook){
        .sz = sizeof(struct bpf_tc_hook), .ifindex = ifindex, .attach_point = BPF_TC_EGRESS};
}

static struct bpf_tc_opts filter_of(uint32_t handle, uint32_t priority)
{
    return (struct bpf_tc_opts){
        .sz = sizeof(struct bpf_tc_opts), .handle = handle, .priority = priority};
}

static bool has_filter(const struct bpf_tc_hook *hook, uint32_t handle, uint32_t priority)
{
    struct bpf_tc_opts filter = filter_of(handle, priority);
    return bpf_tc_query(hook, &filter) == 0;
}

static bool sees_egress(int ifindex, uint32_t handle, uint32_t priority)
{
    const struct bpf_tc_hook egress = egress_of(ifindex);
    return has_filter(&egress, handle, priority);
}

/* An interface has an ingress qdisc or a clsact one. The former takes filters of egress without a
 * word, as its own: they are then at both. */
static bool sees_ingress(int ifindex, uint32_t handle, uint32_t priority)
{
    const struct bpf_tc_hook ingress = {
        .sz = sizeof(ingress), .ifindex = ifindex, .attach_point = BPF_TC_INGRESS};
    return has_filter(&ingress, handle, priority);
}

static void remove_filter(int ifindex, uint32_t handle, uint32_t priority)
{
    const struct bpf_tc_hook egress = egress_of(ifindex);
    const struct bpf_tc_opts filter = filter_of(handle, priority);
    (void)bpf_tc_detach(&egress, &filter);
}

static int attach_filter(struct ut_tc_hook *hook, int ifindex, int program, uint32_t handle)
{
    struct bpf_tc_hook egress = egress_of(ifindex);
    int error = bpf_tc_hook_create(&egress);
    if (error != 0 && error != -EEXIST)
        return error;
    for (uint32_t priority = 1; priority <= PRIORITIES; priority++) {
        struct bpf_tc_opts filter = filter_of(handle, priority);
        filter.prog_fd = program;
        filter.flags = BPF_TC_F_REPLACE;
        error = bpf_tc_attach(&egress, &filter);
        if (error != 0)
            continue;
        if (sees_ingress(ifindex, handle, priority)) {
            remove_filter(ifindex, handle, priority);
            return -EBUSY;
        }
        *hook = (struct ut_tc_hook){
            .ifindex = ifindex, .link = -1, .handle = handle, .priority = priority};
        return 0;
    }
    return error;
}

void ut_tc_sweep(int ifindex, uint32_t own)
{
    for (int i = 0; i < HANDLES; i++) {
        uint32_t handle = (uint32_t)(HANDLE_MARK + i);
        int lock = handle != own ? lock_handle(i) : -1;
        if (handle != own && lock < 0)
            continue;
        for (uint32_t priority = 1; priority <= PRIORITIES; priority++) {
            if (sees_egress(ifindex, handle, priority))
                remove_filter(ifindex, handle, priority);
        }
        if (lock >= 0)
            close(lock);
    }
}

/* ---- either ---------------------------------------------------------------------------------- */

int ut_tc_attach(struct ut_tc_hook *hook, int ifindex, int program, uint32_t handle)
{
    const struct bpf_link_create_opts first = {.sz = sizeof(first), .flags = TCX_FIRST};
    int link = bpf_link_create(program, ifindex, (enum bpf_attach_type)TCX_EGRESS, &first);
    if (link >= 0) {
        *hook = (struct ut_tc_hook){.ifindex = ifindex, .link = link};
        return 0;
    }
    if (link != -EINVAL)
        return link;
    return handle != 0 ? attach_filter(hook, ifindex, program, handle) : -EUSERS;
}

void ut_tc_detach(struct ut_tc_hook *hook)
{
    if (hook->handle != 0)
        remove_filter(hook->ifindex, hook->handle, hook->priority);
    ut_tc_forget(hook);
}

void ut_tc_forget(struct ut_tc_hook *hook)
{
    if (hook->link >= 0)
        close(hook->link);
    *hook = (struct ut_tc_hook){.link = -1};
}

bool ut_tc_holds(const struct ut_tc_hook *hook)
{
    if (hook->handle != 0)
        return sees_egress(hook->ifindex, hook->handle, hook->priority);
    /* A link without its interface says 0. The kernel puts the number where XDP's has it. */
    struct bpf_link_info info = {.type = 0};
    uint32_t size = sizeof(info);
    return bpf_obj_get_info_by_fd(hook->link, &info, &size) == 0 &&
           info.xdp.ifindex == (uint32_t)hook->ifindex;
}
