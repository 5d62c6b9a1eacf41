/* SPDX-License-Identifier: Apache-2.0 */
#include "catalogue.h"

#include <string.h>

enum {
    ALL_PROGRAMS = (1 << UT_EBPF_PROGRAMS) - 1,
    MEMORY_PROGRAMS = 1 << UT_EBPF_OOM_KILL | 1 << UT_EBPF_LIMIT_STALL_BEGIN |
                      1 << UT_EBPF_LIMIT_STALL_END | 1 << UT_EBPF_GLOBAL_STALL_BEGIN |
                      1 << UT_EBPF_GLOBAL_STALL_END | 1 << UT_EBPF_MEMORY_USAGE,
    TRACE_PROGRAMS = 1 << UT_EBPF_TRACE_SOCKETS | 1 << UT_EBPF_TRACE_RETRANSMIT |
                     1 << UT_EBPF_TRACE_EGRESS | 1 << UT_EBPF_TRACE_TC | 1 << UT_EBPF_TRACE_READER,
};

static const struct ut_ebpf_program descriptions[UT_EBPF_PROGRAMS] = {
    [UT_EBPF_RETRANSMIT] = {.name = "tcp_retransmit_skb",
                            .since = "5.8",
                            .without = "no retransmits on spans"},
    [UT_EBPF_SYNACK] = {.name = "tcp_retransmit_synack",
                        .since = "5.8",
                        .without = "no SYN-ACK retransmits on spans"},
    [UT_EBPF_CONNECTIONS] = {.name = "inet_sock_set_state",
                             .since = "5.8",
                             .without = "senders of spans stay unknown, retransmits join no "
                                        "connection"},
    [UT_EBPF_CGROUP_CREATED] = {.name = "cgroup_mkdir",
                                .since = "5.8",
                                .without = "new containers are found late, by reading the cgroup "
                                           "tree"},
    [UT_EBPF_CGROUP_REMOVED] = {.name = "cgroup_rmdir",
                                .since = "5.8",
                                .without = "containers that are gone are noticed late"},
    [UT_EBPF_SNAPSHOT] = {.name = "snapshot",
                          .since = "5.11",
                          .without = "connections that were open before the start are unknown"},
    [UT_EBPF_OOM_KILL] = {.name = "mark_victim",
                          .since = "5.8",
                          .without = "no OOM kills on spans"},
    [UT_EBPF_LIMIT_STALL_BEGIN] = {.name = "memcg_reclaim_begin",
                                   .since = "5.8",
                                   .without = "no stalls at memory limits on spans"},
    [UT_EBPF_LIMIT_STALL_END] = {.name = "memcg_reclaim_end",
                                 .since = "5.8",
                                 .without = "no stalls at memory limits on spans"},
    [UT_EBPF_GLOBAL_STALL_BEGIN] = {.name = "direct_reclaim_begin",
                                    .since = "5.8",
                                    .without = "no stalls for want of memory of the machine"},
    [UT_EBPF_GLOBAL_STALL_END] = {.name = "direct_reclaim_end",
                                  .since = "5.8",
                                  .without = "no stalls for want of memory of the machine"},
    [UT_EBPF_MEMORY_USAGE] = {.name = "memory_usage",
                              .since = "5.10",
                              .without = "what workloads hold is read from files, which costs more "
                                         "CPU"},
    [UT_EBPF_RESET_SENT] = {.name = "tcp_send_reset",
                            .since = "5.8",
                            .without = "no sent resets on spans"},
    [UT_EBPF_RESET_RECEIVED] = {.name = "tcp_receive_reset",
                                .since = "5.8",
                                .without = "no received resets on spans"},
    [UT_EBPF_ZERO_WINDOW] = {.name = "tcp_probe",
                             .since = "5.8",
                             .without = "no stalls at the other end's shut window on spans"},
    [UT_EBPF_RECEIVE_DROP] = {.name = "kfree_skb",
                              .since = "6.11",
                              .without = "no segments that found a full receive queue on spans"},
    [UT_EBPF_UNDO] = {.name = "tcp_cong_state_set",
                      .since = "5.18",
                      .without = "needless retransmits are not marked as spurious"},
    [UT_EBPF_SENT_STAMPS] = {.name = "sent_stamps",
                             .since = "5.18",
                             .without = "of most retransmits it is known only within bounds when "
                                        "their bytes were first sent"},
    [UT_EBPF_SEND_BEGINS] = {.name = "send_begins",
                             .since = "6.16",
                             .without = "no sending threads; of tail loss probes, and of what was "
                                        "first sent in a recovery, no time of sending"},
    [UT_EBPF_SEND_ENDS] = {.name = "send_ends",
                           .since = "6.3",
                           .without = "of tail loss probes, and of what was first sent in a "
                                      "recovery, no time of sending"},
    [UT_EBPF_TRACE_SOCKETS] = {.name = "trace_sockets",
                               .since = "5.17",
                               .without = "no exact matches"},
    [UT_EBPF_TRACE_RETRANSMIT] = {.name = "trace_retransmit",
                                  .since = "5.17",
                                  .without = "no exact matches"},
    [UT_EBPF_TRACE_EGRESS] = {.name = "trace_egress",
                              .since = "5.17",
                              .without = "no exact matches with attach: cgroup"},
    [UT_EBPF_TRACE_TC] = {.name = "trace_tc",
                          .since = "5.17",
                          .without = "no exact matches with attach: tc"},
    [UT_EBPF_TRACE_READER] = {.name = "trace_reader",
                              .since = "6.12",
                              .without = "no exact matches of answers"},
    [UT_EBPF_ALLOCATIONS] = {.name = "page_alloc",
                             .since = "5.8",
                             .without = "no allocated bytes on spans"},
    [UT_EBPF_COOKIE_MADE] = {.name = "cookie_when_made",
                             .since = "5.8",
                             .without = "senders of spans over TCP stay unknown"},
    [UT_EBPF_COOKIE_ACCEPTED] = {.name = "cookie_when_accepted",
                                 .since = "5.8",
                                 .without = "senders of spans over TCP stay unknown"},
};

void ut_ebpf_catalogue_read(struct ut_ebpf_program ret[UT_EBPF_PROGRAMS])
{
    memcpy(ret, descriptions, sizeof(descriptions));
}

const char *ut_ebpf_program_name(int index)
{
    return descriptions[index].name;
}

int ut_ebpf_catalogue_wanted(const struct ut_ebpf_settings *settings,
                             const struct ut_ebpf_features *features)
{
    int wanted = features->socket_cookies ? ALL_PROGRAMS & ~UT_EBPF_COOKIE_PROGRAMS : ALL_PROGRAMS;
    if (!settings->memory)
        wanted &= ~MEMORY_PROGRAMS;
    if (!settings->allocations)
        wanted &= ~(1 << UT_EBPF_ALLOCATIONS);
    if ((settings->trace_context & UT_EBPF_BY_CGROUP) == 0)
        wanted &= ~(1 << UT_EBPF_TRACE_EGRESS);
    if ((settings->trace_context & UT_EBPF_BY_TC) == 0)
        wanted &= ~(1 << UT_EBPF_TRACE_TC);
    return settings->trace_context != 0 ? wanted : wanted & ~TRACE_PROGRAMS;
}

const char *ut_ebpf_catalogue_option(int index)
{
    if (index == UT_EBPF_TRACE_EGRESS)
        return "receivers.ebpf.trace_context: {enabled: true, attach: cgroup}";
    if (index == UT_EBPF_TRACE_TC)
        return "receivers.ebpf.trace_context: {enabled: true, attach: tc}";
    if ((TRACE_PROGRAMS >> index & 1) != 0)
        return "receivers.ebpf.trace_context.enabled: true";
    if (index == UT_EBPF_ALLOCATIONS)
        return "receivers.ebpf.memory: exact";
    return (MEMORY_PROGRAMS >> index & 1) != 0 ? "receivers.ebpf.memory: counters" : NULL;
}
