/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence/sender.h"

#include <xxhash.h>

enum { SHORT_CONTAINER_ID = 12 };

/* Never 0. The lengths are hashed with the texts, so that no two instances run together. */
static uint64_t fingerprint(const struct ut_claims *claims)
{
    const ut_slice parts[] = {claims->service_namespace, claims->service_name,
                              claims->service_instance_id};
    uint64_t hash = 1;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        hash = XXH3_64bits_withSeed(parts[i].size > 0 ? (const void *)parts[i].data : "",
                                    parts[i].size, hash * 31 + parts[i].size);
    return hash != 0 ? hash : 1;
}

static bool brings_several(struct ut_connection *ours, const struct ut_body *body)
{
    for (uint32_t i = 0; i < body->resource_count; i++) {
        const struct ut_resource *resource = &body->resources[i];
        if (resource->flags & UT_RESOURCE_LEFT_OUT)
            continue;
        uint64_t instance = fingerprint(&resource->claims);
        if (ours->instance != 0 && ours->instance != instance)
            return true;
        ours->instance = instance;
    }
    return false;
}

enum ut_sender_knowledge ut_sender_find(struct ut_tables *tables, const struct ut_body *body,
                                        struct ut_workload **ret)
{
    *ret = NULL;
    if (body->sender.socket_cookie == 0)
        return UT_SENDER_NOT_TCP;
    struct ut_connection *ours =
        ut_connections_by_cookie(&tables->connections, body->sender.socket_cookie);
    if (ours == NULL)
        return UT_SENDER_NO_RECORD;
    if (!ours->forwarder && brings_several(ours, body))
        ours->forwarder = true;
    if (ours->ambiguous)
        return UT_SENDER_AMBIGUOUS;
    const struct ut_connection *theirs = ut_connections_mirror(&tables->connections, ours);
    if (theirs == NULL)
        return ours->forwarder ? UT_SENDER_FORWARDER : UT_SENDER_REMOTE;
    struct ut_workload *workload = ut_workloads_get(&tables->workloads, theirs->workload);
    if (workload != NULL && ours->forwarder)
        workload->forwarder = true;
    if (ours->forwarder || (workload != NULL && workload->forwarder))
        return UT_SENDER_FORWARDER;
    if (workload == NULL)
        return UT_SENDER_UNOWNED;
    *ret = workload;
    return UT_SENDER_KNOWN;
}

static bool contradicts(ut_slice claimed, const char *verified, size_t least)
{
    ut_slice known = ut_slice_str(verified);
    if (claimed.size == 0 || known.size == 0)
        return false;
    return claimed.size < least ? !ut_slice_equal(known, claimed)
                                : !ut_slice_starts(known, claimed);
}

bool ut_sender_contradicts(const struct ut_workload *sender, const struct ut_claims *claims)
{
    return contradicts(claims->container_id, sender->container_id, SHORT_CONTAINER_ID) ||
           contradicts(claims->pod_uid, sender->pod_uid, SIZE_MAX);
}
