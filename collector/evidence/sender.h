/* SPDX-License-Identifier: Apache-2.0 */
/* Who sent a body: from the kernel, never from what the body says. */
#ifndef UT_EVIDENCE_SENDER_H
#define UT_EVIDENCE_SENDER_H

#include "evidence/evidence.h"
#include "evidence/tables.h"

/* The workload whose socket is the other end of the one that received the body (of a unix socket
 * the one of the process that opened it, by the cgroup that was asked for then); `*ret` is NULL
 * unless KNOWN is returned. Looks at the service instances that the body names: a connection that
 * brings several is a forwarder's from then on, and so is all that its workload sends: another
 * connection of it may show one instance only, for now. */
enum ut_sender_knowledge ut_sender_find(struct ut_tables *tables, const struct ut_body *body,
                                        struct ut_workload **ret);

/* Whether the Resource claims another container or pod than the kernel knows its sender in. A short
 * container id agrees with the long one that it begins. */
bool ut_sender_contradicts(const struct ut_workload *sender, const struct ut_claims *claims);

#endif
