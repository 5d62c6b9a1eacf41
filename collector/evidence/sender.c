/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence/sender.h"

#include <xxhash.h>

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

/* Where the other end of the socket was found: `workload` may be NULL, nobody's. */
static enum ut_sender_knowledge judge(struct ut_workload *workload, bool forwarder)
{
    if (workload != NULL && forwarder)
        workload->forwarder = true;
    if (forwarder || (workload != NULL && workload->forwarder))
        return UT_SENDER_FORWARDER;
    return workload != NULL ? UT_SENDER_KNOWN : UT_SENDER_UNOWNED;
}

/* `*ret` is the workload that the socket belongs to, whether or not the spans are its own. */
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
    *ret = ut_workloads_get(&tables->workloads, id);
    return judge(*ret, link->forwarder);
}

static enum ut_sender_knowledge find_tcp(struct ut_tables *tables, const struct ut_body *body,
                                         struct ut_workload **ret)
{
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
    *ret = ut_workloads_get(&tables->workloads, theirs->workload);
    return judge(*ret, ours->forwarder);
}

/* Whether the other end of the body's TCP connection is not on this host, as far as is known. */
static bool is_remote(const struct ut_tables *tables, const struct ut_body *body)
{
    const struct ut_connection *ours =
        ut_connections_by_cookie(&tables->connections, body->sender.socket_cookie);
    return !body->sender.is_unix && ours != NULL && !ours->ambiguous &&
           ut_connections_mirror(&tables->connections, ours) == NULL;
}

void ut_sender_find(struct ut_tables *tables, struct ut_body *body,
                    const struct ut_config_identity *identity, struct ut_found_sender *ret)
{
    struct ut_workload *owner = NULL;
    *ret = (struct ut_found_sender){.knowledge = UT_SENDER_NO_SOCKET};
    if (body->sender.socket_cookie != 0)
        ret->knowledge =
            body->sender.is_unix ? find_unix(tables, body, &owner) : find_tcp(tables, body, &owner);
    if (identity == NULL) {
        ret->workload = ret->knowledge == UT_SENDER_KNOWN ? owner : NULL;
        return;
    }
    if (owner != NULL && ut_config_identity_has_workload(identity, owner->path))
        body->sender.is_forwarder = true;
    ret->passes_on = body->sender.is_forwarder;
    if (ret->passes_on)
        ret->knowledge = UT_SENDER_FORWARDER;
    ret->workload = ret->knowledge == UT_SENDER_KNOWN ? owner : NULL;
    ret->claims = (ret->passes_on && identity->trust_claims >= UT_TRUST_FORWARDERS_CLAIMS) ||
                  (identity->trust_claims == UT_TRUST_REMOTE_CLAIMS && is_remote(tables, body));
}

enum ut_sender_knowledge ut_sender_of_resource(const struct ut_tables *tables,
                                               const struct ut_found_sender *sender,
                                               const struct ut_resource *resource,
                                               struct ut_workload **ret)
{
    *ret = sender->workload;
    if (sender->passes_on && resource->claims.cgroup_path.size > 0)
        return UT_SENDER_FORWARDED;
    if (!sender->claims)
        return sender->knowledge;
    *ret = ut_workloads_by_container(&tables->workloads, resource->claims.container_id);
    return *ret != NULL ? UT_SENDER_CLAIMED : sender->knowledge;
}

struct ut_workload *ut_sender_workload(struct ut_tables *tables, const struct ut_sender *sender)
{
    bool known;
    if (sender->is_unix && sender->cgroup_id != 0) {
        uint32_t id = ut_workloads_of_cgroup(&tables->workloads, sender->cgroup_id, &known);
        return ut_workloads_get(&tables->workloads, id);
    }
    if (sender->is_unix || sender->socket_cookie == 0)
        return NULL;
    struct ut_connection *ours =
        ut_connections_by_cookie(&tables->connections, sender->socket_cookie);
    const struct ut_connection *theirs =
        ours != NULL && !ours->ambiguous ? ut_connections_mirror(&tables->connections, ours) : NULL;
    return theirs != NULL ? ut_workloads_get(&tables->workloads, theirs->workload) : NULL;
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
    return contradicts(claims->container_id, sender->container_id, UT_SHORT_CONTAINER_ID) ||
           contradicts(claims->pod_uid, sender->pod_uid, SIZE_MAX);
}
