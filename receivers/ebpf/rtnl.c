/* SPDX-License-Identifier: Apache-2.0 */
#include "rtnl.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SOCKET_BYTES = 1 << 20 }; /* that may wait: some thousand changes at once */

int ut_rtnl_open(void)
{
    const struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
    const int bytes = SOCKET_BYTES;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (fd < 0)
        return -errno;
    if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    return fd;
}

int ut_rtnl_list(int fd)
{
    struct {
        struct nlmsghdr header;
        struct ifinfomsg link;
    } question = {
        .header = {.nlmsg_len = sizeof(question),
                   .nlmsg_type = RTM_GETLINK,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .link = {.ifi_family = AF_UNSPEC},
    };
    return send(fd, &question, sizeof(question), 0) >= 0 ? 0 : -errno;
}

/* NULL where the message is cut or names none. */
static const char *name_of(const struct nlmsghdr *header)
{
    const struct rtattr *attribute = IFLA_RTA(NLMSG_DATA(header));
    int left = (int)IFLA_PAYLOAD(header);
    for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left)) {
        const char *text = RTA_DATA(attribute);
        size_t size = RTA_PAYLOAD(attribute);
        if (attribute->rta_type == IFLA_IFNAME)
            return size > 0 && text[size - 1] == '\0' ? text : NULL;
    }
    return NULL;
}

static void tell_link(const struct nlmsghdr *header, struct ut_rtnl_sink *sink)
{
    if (header->nlmsg_len < NLMSG_LENGTH(sizeof(struct ifinfomsg)))
        return;
    const struct ifinfomsg *link = NLMSG_DATA(header);
    /* Other families tell of a part of it: a bridge, that it has left the bridge. */
    if (link->ifi_family != AF_UNSPEC || link->ifi_index <= 0)
        return;
    const char *name = name_of(header);
    if (header->nlmsg_type == RTM_DELLINK)
        sink->gone(sink, link->ifi_index);
    else if (name != NULL)
        sink->link(sink, link->ifi_index, name);
}

void ut_rtnl_tell(const void *packet, size_t size, struct ut_rtnl_sink *sink)
{
    const struct nlmsghdr *header = packet;
    size_t left = size;
    while (NLMSG_OK(header, left)) {
        if (header->nlmsg_type == RTM_NEWLINK || header->nlmsg_type == RTM_DELLINK)
            tell_link(header, sink);
        if ((header->nlmsg_flags & NLM_F_DUMP_INTR) != 0)
            sink->missed(sink); /* things changed while the list was made */
        if (header->nlmsg_type == NLMSG_DONE || header->nlmsg_type == NLMSG_ERROR)
            sink->listed(sink, header->nlmsg_type == NLMSG_DONE);
        size_t step = NLMSG_ALIGN(header->nlmsg_len);
        if (step >= left)
            break;
        left -= step;
        header = (const void *)((const char *)header + step);
    }
}

/* Whether to go on; `ret` tells why the socket is of no more use. */
static bool read_one(int fd, void *buffer, struct ut_rtnl_sink *sink, int *ret)
{
    struct sockaddr_nl from = {.nl_family = 0};
    struct iovec part = {buffer, UT_RTNL_BYTES};
    struct msghdr message = {
        .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &part, .msg_iovlen = 1};
    ssize_t size = recvmsg(fd, &message, 0);
    if (size < 0 && errno == ENOBUFS) {
        sink->missed(sink);
        return true;
    }
    if (size < 0) {
        *ret = errno == EAGAIN || errno == EINTR ? 0 : -errno;
        return false;
    }
    if (from.nl_pid != 0)
        return true; /* not from the kernel */
    if ((message.msg_flags & MSG_TRUNC) != 0)
        sink->missed(sink);
    else
        ut_rtnl_tell(buffer, (size_t)size, sink);
    return true;
}

int ut_rtnl_read(int fd, void *buffer, int messages, struct ut_rtnl_sink *sink)
{
    int error = 0;
    while (messages-- > 0 && read_one(fd, buffer, sink, &error))
        ;
    return error;
}
