/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/check.h"
#include "ebpf_receiver/rtnl.h"

/* One packet, and what was told of it: "+7 eth0 -7 . !" for a link, one that went, the end of the
 * list, and something missed; "?" for a list that failed. */
struct told {
    struct ut_rtnl_sink sink;
    char text[256];
    _Alignas(uint32_t) char packet[512];
    size_t size;
};

static void tell(struct told *told, const char *text)
{
    strncat(told->text, text, sizeof(told->text) - strlen(told->text) - 1);
}

static void on_link(struct ut_rtnl_sink *sink, int index, const char *name)
{
    char text[64];
    snprintf(text, sizeof(text), "+%d %s ", index, name);
    tell(UT_CONTAINER_OF(sink, struct told, sink), text);
}

static void on_gone(struct ut_rtnl_sink *sink, int index)
{
    char text[64];
    snprintf(text, sizeof(text), "-%d ", index);
    tell(UT_CONTAINER_OF(sink, struct told, sink), text);
}

static void on_listed(struct ut_rtnl_sink *sink, bool whole)
{
    tell(UT_CONTAINER_OF(sink, struct told, sink), whole ? ". " : "? ");
}

static void on_missed(struct ut_rtnl_sink *sink)
{
    tell(UT_CONTAINER_OF(sink, struct told, sink), "! ");
}

static struct nlmsghdr *append(struct told *told, uint16_t type, size_t payload)
{
    struct nlmsghdr *header = (void *)(told->packet + told->size);
    header->nlmsg_type = type;
    header->nlmsg_len = (uint32_t)NLMSG_LENGTH(payload);
    told->size += NLMSG_ALIGN(header->nlmsg_len);
    cr_assert_leq(told->size, sizeof(told->packet));
    return header;
}

static void append_link(struct told *told, uint16_t type, unsigned char family, int index,
                        const char *name)
{
    size_t size = strlen(name) + 1;
    struct nlmsghdr *header =
        append(told, type, NLMSG_ALIGN(sizeof(struct ifinfomsg)) + RTA_SPACE(size));
    struct ifinfomsg *link = NLMSG_DATA(header);
    link->ifi_family = family;
    link->ifi_index = index;
    struct rtattr *attribute = IFLA_RTA(link);
    attribute->rta_type = IFLA_IFNAME;
    attribute->rta_len = (unsigned short)RTA_LENGTH(size);
    memcpy(RTA_DATA(attribute), name, size);
}

static struct told begin(void)
{
    return (struct told){.sink = {on_link, on_gone, on_listed, on_missed}};
}

Test(rtnl, tells_links_that_are_there_come_and_go)
{
    struct told told = begin();
    append_link(&told, RTM_NEWLINK, AF_UNSPEC, 1, "lo");
    append_link(&told, RTM_NEWLINK, AF_UNSPEC, 7, "eth0");
    append(&told, NLMSG_DONE, sizeof(int));
    append_link(&told, RTM_DELLINK, AF_UNSPEC, 7, "eth0");
    ut_rtnl_tell(told.packet, told.size, &told.sink);
    cr_expect_str_eq(told.text, "+1 lo +7 eth0 . -7 ");
}

Test(rtnl, an_error_ends_the_list)
{
    struct told told = begin();
    append_link(&told, RTM_NEWLINK, AF_UNSPEC, 1, "lo");
    append(&told, NLMSG_ERROR, sizeof(struct nlmsgerr));
    ut_rtnl_tell(told.packet, told.size, &told.sink);
    cr_expect_str_eq(told.text, "+1 lo ? ");
}

Test(rtnl, one_that_leaves_its_bridge_is_still_there)
{
    struct told told = begin();
    append_link(&told, RTM_DELLINK, AF_BRIDGE, 7, "eth0");
    ut_rtnl_tell(told.packet, told.size, &told.sink);
    cr_expect_str_eq(told.text, "");
}

Test(rtnl, a_list_that_was_made_while_things_changed_is_missed)
{
    struct told told = begin();
    append_link(&told, RTM_NEWLINK, AF_UNSPEC, 1, "lo");
    append(&told, NLMSG_DONE, sizeof(int))->nlmsg_flags = NLM_F_MULTI | NLM_F_DUMP_INTR;
    ut_rtnl_tell(told.packet, told.size, &told.sink);
    cr_expect_str_eq(told.text, "+1 lo ! . ");
}

Test(rtnl, packets_that_are_cut_anywhere_are_read_as_far_as_they_go)
{
    struct told whole = begin();
    append_link(&whole, RTM_NEWLINK, AF_UNSPEC, 1, "lo");
    size_t first = whole.size;
    append_link(&whole, RTM_NEWLINK, AF_UNSPEC, 7, "eth0");
    for (size_t size = 0; size < whole.size; size++) {
        struct told told = begin();
        char *packet = malloc(size + 1); /* so that a byte too many is noticed */
        cr_assert_not_null(packet);
        memcpy(packet, whole.packet, size);
        ut_rtnl_tell(packet, size, &told.sink);
        cr_expect_str_eq(told.text, size < first ? "" : "+1 lo ", "cut at %zu", size);
        free(packet);
    }
}

Test(rtnl, names_without_an_end_and_lengths_that_lie_are_passed_over)
{
    struct told told = begin();
    append_link(&told, RTM_NEWLINK, AF_UNSPEC, 7, "eth0");
    struct rtattr *name = IFLA_RTA(NLMSG_DATA((struct nlmsghdr *)told.packet));
    ((char *)RTA_DATA(name))[4] = 'x';
    ut_rtnl_tell(told.packet, told.size, &told.sink);
    name->rta_len = 0xffff;
    ut_rtnl_tell(told.packet, told.size, &told.sink);
    ((struct nlmsghdr *)told.packet)->nlmsg_len = 0xffffffff;
    ut_rtnl_tell(told.packet, told.size, &told.sink);
    ((struct nlmsghdr *)told.packet)->nlmsg_len = 0;
    ut_rtnl_tell(told.packet, told.size, &told.sink);
    cr_expect_str_eq(told.text, "");
}
