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

/* `*seen` is the instance that the connection has brought so far, 0: none. */
static bool brings_several(uint64_t *seen, const struct ut_body *body)
{
    for (uint32_t i = 0; i < body->resource_count; i++) {
        const struct ut_resource *resource = &body->resources[i];
        if (resource->flags & UT_RESOURCE_LEFT_OUT)
            continue;
        uint64_t instance = fingerprint(&resource->claims);
        if (*seen != 0 && *seen != instance)
            return true;
        *seen = instance;
    }
    return false;
}

/* What is known of a workload's socket whose connection is a forwarder's, or not. */
static enum ut_sender_knowledge judge(struct ut_workload *workload, bool forwarder,
                                      struct ut_workload **ret)
{
    if (workload != NULL && forwarder)
        workload->forwarder = true;
    if (forwarder || (workload != NULL && workload->forwarder))
        return UT_SENDER_FORWARDER;
    if (workload == NULL)
        return UT_SENDER_UNOWNED;
    *ret = workload;
    return UT_SENDER_KNOWN;
}

static enum ut_sender_knowledge find_unix(struct ut_tables *tables, const struct ut_body *body,
                                          struct ut_workload **ret)
{
    struct ut_unix_link *link = ut_unix_links_get(&tables->unix_links, body->sender.socket_cookie);
    if (!link->forwarder && brings_several(&link->instance, body))
        link->forwarder = true;
    if (body->sender.cgroup_id == 0)
        return link->forwarder ? UT_SENDER_FORWARDER : UT_SENDER_NO_PEER;
    bool known;
    uint32_t id = ut_workloads_of_cgroup(&tables->workloads, body->sender.cgroup_id, &known);
    if (!known)
        return link->forwarder ? UT_SENDER_FORWARDER : UT_SENDER_NO_RECORD;
    return judge(ut_workloads_get(&tables->workloads, id), link->forwarder, ret);
}

enum ut_sender_knowledge ut_sender_find(struct ut_tables *tables, const struct ut_body *body,
                                        struct ut_workload **ret)
{
    *ret = NULL;
    if (body->sender.socket_cookie == 0)
        return UT_SENDER_NO_SOCKET;
    if (body->sender.is_unix)
        return find_unix(tables, body, ret);
    struct ut_connection *ours =
        ut_connections_by_cookie(&tables->connections, body->sender.socket_cookie);
    if (ours == NULL)
        return UT_SENDER_NO_RECORD;
    if (!ours->forwarder && brings_several(&ours->instance, body))
        ours->forwarder = true;
    if (ours->ambiguous)
        return UT_SENDER_AMBIGUOUS;
    const struct ut_connection *theirs = ut_connections_mirror(&tables->connections, ours);
    if (theirs == NULL)
        return ours->forwarder ? UT_SENDER_FORWARDER : UT_SENDER_REMOTE;
    return judge(ut_workloads_get(&tables->workloads, theirs->workload), ours->forwarder, ret);
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
