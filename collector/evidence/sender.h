/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who sent a body: from the kernel. What the body says counts only where the configuration wants
 * it: `undertrace.identity`.
 */
#ifndef UT_EVIDENCE_SENDER_H
#define UT_EVIDENCE_SENDER_H

#include "evidence/evidence.h"
#include "evidence/tables.h"

struct ut_found_sender {
    enum ut_sender_knowledge knowledge;
    struct ut_workload *workload; /* whose spans the body holds; NULL unless KNOWN */
    bool passes_on;               /* a trusted forwarder: its `undertrace.*` keys stay */
    bool claims;                  /* its Resources may name their senders */
};

/* The workload whose socket is the other end of the one that received the body (of a unix socket
 * the one of the process that opened it, by the cgroup that was asked for then). Looks at the
 * service instances that the body names: a connection that brings several is a forwarder's from
 * then on, and so is all that its workload sends: another connection of it may show one instance
 * only, for now. A trusted forwarder is one from the first span on; the body remembers it.
 * `identity` may be NULL. */
void ut_sender_find(struct ut_tables *tables, struct ut_body *body,
                    const struct ut_config_identity *identity, struct ut_found_sender *ret);
/* Whose spans one Resource of the body holds; `*ret` is NULL unless KNOWN or CLAIMED is returned.
 */
enum ut_sender_knowledge ut_sender_of_resource(const struct ut_tables *tables,
                                               const struct ut_found_sender *sender,
                                               const struct ut_resource *resource,
                                               struct ut_workload **ret);

/* The same for a connection alone, whatever it brings: a forwarder's has a workload, too. NULL: it
 * is not known. */
struct ut_workload *ut_sender_workload(struct ut_tables *tables, const struct ut_sender *sender);

/* Whether the Resource claims another container or pod than the kernel knows its sender in. A short
 * container id agrees with the long one that it begins. */
bool ut_sender_contradicts(const struct ut_workload *sender, const struct ut_claims *claims);

#endif
