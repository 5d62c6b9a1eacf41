/* SPDX-License-Identifier: Apache-2.0 */
/*
 * States of a row: seen (by a retransmit or a snapshot) or connecting → established → closed. Rows
 * are indexed five times (cookie, ISN pair, tuple, port of the other end within the workload,
 * workload) and stand in one of three lists by age (free, open, closed). What an index hashes is
 * changed only while the row is out of that index.
 *
 * Invariants: 1. a.mirror == b exactly if b.mirror == a; 2. an ambiguous row has no mirror; 3.
 * chains and lists hold each row at most once, newest first in chains.
 */
#include "evidence/connections.h"

#include <errno.h>
#include <stdlib.h>

#include "evidence/connection_mirror.h"

enum { BUCKETS = UT_TABLE_SIZE(65536, 8), SWEEP_ROWS = UT_TABLE_SIZE(1024, 4) };
_Static_assert((int)BUCKETS >= UT_WORKLOADS_MAX, "workloads share no chain of UT_BY_WORKLOAD");
_Static_assert(UT_CONNECTIONS_MAX < 1 << UT_CONNECTION_SLOT_BITS, "slots are numbered from 1");
#define UNANSWERED_KEPT_NS (150 * UT_NS_PER_S)

/* ---- indexes -------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t value)
{
    value = (value ^ (value >> 31)) * UINT64_C(0x9e3779b97f4a7c15);
    return value ^ (value >> 29);
}

static uint64_t hash_endpoint(const struct ut_endpoint *end)
{
    uint64_t low, high;
    memcpy(&low, end->address.bytes, 8);
    memcpy(&high, end->address.bytes + 8, 8);
    return mix(low ^ mix(high ^ mix(end->port)));
}

/* Both ends of a connection fall into the same chain: what is hashed does not know directions. */
static uint64_t hash_of(const struct ut_connection *c, enum ut_connection_index index)
{
    switch (index) {
    case UT_BY_COOKIE:
        return mix(c->cookie);
    case UT_BY_ISN:
        return mix((uint64_t)c->local_isn * c->remote_isn + c->local_isn + c->remote_isn);
    case UT_BY_TUPLE:
        return hash_endpoint(&c->local) + hash_endpoint(&c->remote);
    case UT_BY_WORKLOAD:
        return UT_WORKLOAD_SLOT(c->workload); /* as it is: a chain of its own */
    default:
        return mix((uint64_t)c->workload << 16 | c->remote.port);
    }
}

static uint32_t *bucket_of(const struct ut_connections *t, const struct ut_connection *c,
                           enum ut_connection_index index)
{
    return &t->buckets[index][hash_of(c, index) % BUCKETS];
}

static uint32_t slot_of(const struct ut_connections *t, const struct ut_connection *c)
{
    return (uint32_t)(c - t->slots);
}

/* Whether the row has what the index needs. Those that have not stand in no chain. */
static bool indexed(const struct ut_connection *c, enum ut_connection_index index)
{
    switch (index) {
    case UT_BY_COOKIE:
        return c->cookie != 0;
    case UT_BY_ISN:
        return c->has_isn;
    case UT_BY_TUPLE:
        return c->local.port != 0 && c->remote.port != 0;
    case UT_BY_WORKLOAD:
        return c->workload != 0;
    default:
        return c->workload != 0 && c->remote.port != 0;
    }
}

static void link_index(struct ut_connections *t, struct ut_connection *c,
                       enum ut_connection_index index)
{
    if (!indexed(c, index))
        return;
    uint32_t *bucket = bucket_of(t, c, index);
    uint32_t slot = slot_of(t, c);
    c->links[index].previous = 0;
    c->links[index].next = *bucket;
    if (*bucket != 0)
        t->slots[*bucket].links[index].previous = slot;
    *bucket = slot;
}

static void unlink_index(struct ut_connections *t, struct ut_connection *c,
                         enum ut_connection_index index)
{
    if (!indexed(c, index))
        return;
    uint32_t next = c->links[index].next, previous = c->links[index].previous;
    if (previous != 0)
        t->slots[previous].links[index].next = next;
    else
        *bucket_of(t, c, index) = next;
    if (next != 0)
        t->slots[next].links[index].previous = previous;
}

static void append_to(struct ut_connections *t, struct ut_connection_list *list,
                      struct ut_connection *c)
{
    uint32_t slot = slot_of(t, c);
    c->links[UT_BY_AGE].next = 0;
    c->links[UT_BY_AGE].previous = list->last;
    if (list->last != 0)
        t->slots[list->last].links[UT_BY_AGE].next = slot;
    else
        list->first = slot;
    list->last = slot;
}

static void take_from(struct ut_connections *t, struct ut_connection_list *list,
                      struct ut_connection *c)
{
    uint32_t next = c->links[UT_BY_AGE].next, previous = c->links[UT_BY_AGE].previous;
    if (previous != 0)
        t->slots[previous].links[UT_BY_AGE].next = next;
    else
        list->first = next;
    if (next != 0)
        t->slots[next].links[UT_BY_AGE].previous = previous;
    else
        list->last = previous;
}

/* ---- life of the table ---------------------------------------------------------------------- */

int ut_connections_init(struct ut_connections *t, struct ut_workloads *workloads)
{
    *t = (struct ut_connections){.workloads = workloads};
    t->slots = calloc(UT_CONNECTIONS_MAX + 1, sizeof(t->slots[0]));
    bool complete = t->slots != NULL;
    for (int i = 0; i < UT_BY_AGE; i++) {
        t->buckets[i] = calloc(BUCKETS, sizeof(t->buckets[i][0]));
        complete &= t->buckets[i] != NULL;
    }
    if (!complete) {
        ut_connections_done(t);
        return -ENOMEM;
    }
    return 0;
}

void ut_connections_done(struct ut_connections *t)
{
    free(t->slots);
    for (int i = 0; i < UT_BY_AGE; i++)
        free(t->buckets[i]);
    *t = (struct ut_connections){0};
}

static void drop_row(struct ut_connections *t, struct ut_connection *c)
{
    if (t->forget != NULL)
        t->forget(t->arg, c);
    ut_connection_unpair(t, c);
    if (c->cgroup_id != 0)
        t->unresolved--;
    for (int i = 0; i < UT_BY_AGE; i++)
        unlink_index(t, c, (enum ut_connection_index)i);
    take_from(t, c->closed_ns == 0 ? &t->open : c->kept ? &t->kept : &t->closed, c);
    *(c->closed_ns != 0 ? &t->closed_count : &t->open_count) -= 1;
    uint32_t generation = c->id - UT_CONNECTION_SLOT(c->id);
    *c = (struct ut_connection){.id = generation};
    append_to(t, &t->free, c);
}

/* What the table knew until now about the row's workload has a gap before this moment. */
static void note_gap(struct ut_connections *t, const struct ut_connection *c, uint64_t now_ns)
{
    uint64_t *since_ns = &t->complete_since_ns[UT_WORKLOAD_SLOT(c->workload)];
    uint64_t until_ns = c->closed_ns != 0 ? c->closed_ns : now_ns;
    if (until_ns > *since_ns)
        *since_ns = until_ns;
}

static void note_victims(struct ut_connections *t, const struct ut_connection_list *list)
{
    for (uint32_t i = list->first; i != 0 && t->victim_count < UT_VICTIMS_MAX;
         i = t->slots[i].links[UT_BY_AGE].next) {
        if (UT_WORKLOAD_SLOT(t->slots[i].workload) == t->largest)
            t->victims[t->victim_count++] = t->slots[i].id;
    }
}

/* Of a full table. */
static void find_largest(struct ut_connections *t)
{
    uint32_t counts[UT_WORKLOADS_MAX] = {0};
    t->largest = 0;
    for (uint32_t i = 1; i <= UT_CONNECTIONS_MAX; i++) {
        uint32_t slot = UT_WORKLOAD_SLOT(t->slots[i].workload);
        if (++counts[slot] > counts[t->largest])
            t->largest = slot;
    }
    t->largest_floods = counts[t->largest] > UT_CONNECTIONS_MAX / 2;
    t->victims_looked_at = t->victim_count = 0;
    note_victims(t, &t->closed);
    note_victims(t, &t->kept);
    note_victims(t, &t->open);
}

/* The next row of the workload that has most; 0: none is left of those that were found. */
static uint32_t next_victim(struct ut_connections *t)
{
    while (t->victims_looked_at < t->victim_count) {
        struct ut_connection *c = ut_connections_get(t, t->victims[t->victims_looked_at++]);
        if (c != NULL)
            return slot_of(t, c);
    }
    return 0;
}

/* A workload that has more than half of the rows, be it by a flood whose ends nobody recorded,
 * takes its own: also what others have just closed is still to be joined. Else closed ones go
 * first. */
static uint32_t one_to_go(struct ut_connections *t)
{
    if ((t->evicted_open + t->evicted_closed) % UT_VICTIMS_MAX == 0)
        find_largest(t);
    if (!t->largest_floods && t->closed_count > 0)
        return t->closed.first != 0 ? t->closed.first : t->kept.first;
    uint32_t i = next_victim(t);
    if (i == 0) {
        find_largest(t);
        i = next_victim(t);
    }
    UT_CHECK(i != 0);
    return i;
}

static void evict_one(struct ut_connections *t, uint64_t now_ns)
{
    struct ut_connection *c = &t->slots[one_to_go(t)];
    *(c->closed_ns != 0 ? &t->evicted_closed : &t->evicted_open) += 1;
    note_gap(t, c, now_ns);
    drop_row(t, c);
}

static struct ut_connection *new_row(struct ut_connections *t, uint64_t now_ns)
{
    struct ut_connection *c;
    uint32_t ever_used = t->ever_used;
    if (ever_used < UT_CONNECTIONS_MAX) {
        c = &t->slots[++t->ever_used];
    } else {
        if (t->free.first == 0)
            evict_one(t, now_ns);
        c = &t->slots[t->free.first];
        take_from(t, &t->free, c);
    }
    uint32_t generation = (c->id >> UT_CONNECTION_SLOT_BITS) + 1;
    *c = (struct ut_connection){.id = slot_of(t, c) | generation << UT_CONNECTION_SLOT_BITS,
                                .known_ns = now_ns};
    append_to(t, &t->open, c);
    t->open_count++;
    return c;
}

struct ut_connection *ut_connections_get(const struct ut_connections *t, uint32_t id)
{
    uint32_t slot = UT_CONNECTION_SLOT(id);
    return slot != 0 && t->slots[slot].id == id ? &t->slots[slot] : NULL;
}

struct ut_connection *ut_connections_mirror(const struct ut_connections *t,
                                            const struct ut_connection *c)
{
    return c->mirror != 0 ? &t->slots[c->mirror] : NULL;
}

struct ut_connection *ut_connections_by_cookie(const struct ut_connections *t, uint64_t cookie)
{
    struct ut_connection key = {.cookie = cookie};
    if (cookie == 0)
        return NULL;
    for (uint32_t i = *bucket_of(t, &key, UT_BY_COOKIE); i != 0;
         i = t->slots[i].links[UT_BY_COOKIE].next) {
        if (t->slots[i].cookie == cookie)
            return &t->slots[i];
    }
    return NULL;
}

struct ut_connection *ut_connections_next_on_port(const struct ut_connections *t, uint32_t workload,
                                                  uint16_t remote_port,
                                                  const struct ut_connection *previous)
{
    struct ut_connection key = {.workload = workload, .remote.port = remote_port};
    uint32_t i =
        previous != NULL ? previous->links[UT_BY_PORT].next : *bucket_of(t, &key, UT_BY_PORT);
    for (; i != 0; i = t->slots[i].links[UT_BY_PORT].next) {
        if (t->slots[i].workload == workload && t->slots[i].remote.port == remote_port)
            return &t->slots[i];
    }
    return NULL;
}

struct ut_connection *ut_connections_next_of(const struct ut_connections *t, uint32_t workload,
                                             const struct ut_connection *previous)
{
    struct ut_connection key = {.workload = workload};
    uint32_t i = previous != NULL ? previous->links[UT_BY_WORKLOAD].next
                                  : *bucket_of(t, &key, UT_BY_WORKLOAD);
    return i != 0 ? &t->slots[i] : NULL;
}

struct ut_connection *ut_connection_first_in_chain(const struct ut_connections *t,
                                                   const struct ut_connection *c,
                                                   enum ut_connection_index index)
{
    uint32_t first = *bucket_of(t, c, index);
    return first != 0 ? &t->slots[first] : NULL;
}

struct ut_connection *ut_connection_next_in_chain(const struct ut_connections *t,
                                                  const struct ut_connection *c,
                                                  enum ut_connection_index index)
{
    uint32_t next = c->links[index].next;
    return next != 0 ? &t->slots[next] : NULL;
}

/* ---- which row a fact speaks of ---------------------------------------------------------------
 */

static bool same_namespace(uint64_t a, uint64_t b)
{
    return a == b || a == 0 || b == 0;
}

static struct ut_connection *by_isn(const struct ut_connections *t,
                                    const struct ut_connection_fact *fact)
{
    struct ut_connection key = {.local_isn = fact->local_isn, .remote_isn = fact->remote_isn};
    for (uint32_t i = *bucket_of(t, &key, UT_BY_ISN); i != 0;
         i = t->slots[i].links[UT_BY_ISN].next) {
        struct ut_connection *c = &t->slots[i];
        if (c->local_isn == fact->local_isn && c->remote_isn == fact->remote_isn &&
            c->local.port == fact->local.port && c->remote.port == fact->remote.port &&
            (c->cookie == 0 || fact->cookie == 0 || c->cookie == fact->cookie))
            return c;
    }
    return NULL;
}

/* For ends that nothing else tells: the only open one with these endpoints, or none. */
static struct ut_connection *by_tuple(const struct ut_connections *t,
                                      const struct ut_connection_fact *fact)
{
    struct ut_connection key = {.local = fact->local, .remote = fact->remote};
    struct ut_connection *found = NULL;
    for (uint32_t i = *bucket_of(t, &key, UT_BY_TUPLE); i != 0;
         i = t->slots[i].links[UT_BY_TUPLE].next) {
        struct ut_connection *c = &t->slots[i];
        if (c->closed_ns != 0 || !ut_connection_same_end(&c->local, &fact->local) ||
            !ut_connection_same_end(&c->remote, &fact->remote) ||
            !same_namespace(c->netns_cookie, fact->netns_cookie))
            continue;
        if (found != NULL)
            return NULL;
        found = c;
    }
    return found;
}

static struct ut_connection *find_row(const struct ut_connections *t,
                                      const struct ut_connection_fact *fact)
{
    struct ut_connection *c = ut_connections_by_cookie(t, fact->cookie);
    if (c == NULL && fact->has_isn)
        c = by_isn(t, fact);
    if (c == NULL && fact->cookie == 0 && !fact->has_isn)
        c = by_tuple(t, fact);
    return c;
}

/* ---- what a fact adds --------------------------------------------------------------------------
 */

static void learn_owner(struct ut_connections *t, struct ut_connection *c, uint64_t cgroup_id)
{
    if (c->workload != 0 || c->cgroup_id != 0 || cgroup_id == 0)
        return;
    bool known;
    uint32_t workload = ut_workloads_of_cgroup(t->workloads, cgroup_id, &known);
    if (!known) {
        c->cgroup_id = cgroup_id;
        t->unresolved++;
    }
    c->workload = workload;
}

/* While connecting a socket may have no local address or port yet; what is known stays. */
static void learn_ends(struct ut_connection *c, const struct ut_connection_fact *fact)
{
    if (c->local.port == 0)
        c->local = fact->local;
    if (c->remote.port == 0)
        c->remote = fact->remote;
    if (fact->has_isn && !c->has_isn) {
        c->has_isn = true;
        c->local_isn = fact->local_isn;
        c->remote_isn = fact->remote_isn;
    }
    if (c->cookie == 0)
        c->cookie = fact->cookie;
    if (c->netns_cookie == 0)
        c->netns_cookie = fact->netns_cookie;
    if (c->role == UT_ROLE_UNKNOWN)
        c->role = fact->role;
}

static void close_row(struct ut_connections *t, struct ut_connection *c, uint64_t now_ns)
{
    if (c->closed_ns != 0)
        return;
    take_from(t, &t->open, c);
    t->open_count--;
    c->closed_ns = now_ns != 0 ? now_ns : 1;
    c->kept = c->last_event_ns != 0;
    append_to(t, c->kept ? &t->kept : &t->closed, c);
    t->closed_count++;
}

static void note_change(struct ut_connections *t, struct ut_connection *c,
                        const struct ut_connection_fact *fact, enum ut_connection_change change)
{
    switch (change) {
    case UT_CONNECTION_CONNECTING:
        c->opened_ns = fact->unix_ns;
        break;
    case UT_CONNECTION_OPENED:
        c->established_ns = fact->unix_ns;
        if (c->opened_ns == 0 || c->opened_ns > fact->unix_ns)
            c->opened_ns = fact->unix_ns;
        break;
    case UT_CONNECTION_CLOSED:
    case UT_CONNECTION_FAILED:
        c->failed |= c->closed_ns == 0 && change == UT_CONNECTION_FAILED;
        close_row(t, c, fact->unix_ns);
        break;
    case UT_CONNECTION_SNAPSHOT:
    default:
        break;
    }
}

/* A socket that opens has its endpoints alone: what else is open there has closed untold. */
static void close_predecessors(struct ut_connections *t, const struct ut_connection *c)
{
    if (c->netns_cookie == 0 || c->local.port == 0 || c->remote.port == 0)
        return;
    for (uint32_t i = *bucket_of(t, c, UT_BY_TUPLE), next; i != 0; i = next) {
        struct ut_connection *other = &t->slots[i];
        next = other->links[UT_BY_TUPLE].next;
        if (other != c && other->closed_ns == 0 && other->netns_cookie == c->netns_cookie &&
            ut_connection_same_end(&other->local, &c->local) &&
            ut_connection_same_end(&other->remote, &c->remote)) {
            other->failed = other->established_ns == 0 && other->opened_ns != 0;
            close_row(t, other, c->opened_ns);
        }
    }
}

/* The usual case of a retransmit: nothing that is worth a new place in the indexes. */
static bool knows_all(const struct ut_connection *c, const struct ut_connection_fact *fact)
{
    return c->local.port != 0 && c->remote.port != 0 && (c->has_isn || !fact->has_isn) &&
           (c->cookie != 0 || fact->cookie == 0) &&
           (c->role != UT_ROLE_UNKNOWN || fact->role == UT_ROLE_UNKNOWN) &&
           (c->workload != 0 || c->cgroup_id != 0 || fact->cgroup_id == 0);
}

struct ut_connection *ut_connections_learn(struct ut_connections *t,
                                           const struct ut_connection_fact *fact,
                                           enum ut_connection_change change)
{
    struct ut_connection *c = find_row(t, fact);
    /* A socket may be connected again after it was closed: that is another connection. */
    bool begins = change == UT_CONNECTION_CONNECTING || change == UT_CONNECTION_OPENED;
    if (c != NULL && begins && c->closed_ns != 0)
        c = NULL;
    if (c != NULL && change == UT_CONNECTION_SEEN && knows_all(c, fact))
        return c;
    if (c == NULL)
        c = new_row(t, fact->unix_ns);
    for (int i = 0; i < UT_BY_AGE; i++)
        unlink_index(t, c, (enum ut_connection_index)i);
    uint32_t workload = c->workload;
    learn_owner(t, c, fact->cgroup_id);
    learn_ends(c, fact);
    note_change(t, c, fact, change);
    for (int i = 0; i < UT_BY_AGE; i++)
        link_index(t, c, (enum ut_connection_index)i);
    if (change == UT_CONNECTION_OPENED)
        close_predecessors(t, c);
    ut_connection_pair(t, c);
    if (c->workload != workload && t->changed != NULL)
        t->changed(t->arg, c);
    return c;
}

/* ---- housekeeping ------------------------------------------------------------------------------
 */

void ut_connections_resolve(struct ut_connections *t)
{
    for (uint32_t i = 1; i <= t->ever_used && t->unresolved > 0; i++) {
        struct ut_connection *c = &t->slots[i];
        if (c->cgroup_id == 0)
            continue;
        bool known;
        uint32_t workload = ut_workloads_of_cgroup(t->workloads, c->cgroup_id, &known);
        if (!known)
            continue;
        c->cgroup_id = 0;
        t->unresolved--;
        c->workload = workload;
        link_index(t, c, UT_BY_PORT);
        link_index(t, c, UT_BY_WORKLOAD);
        if (t->changed != NULL)
            t->changed(t->arg, c);
    }
}

void ut_connections_forget_workload(struct ut_connections *t, uint32_t slot)
{
    t->complete_since_ns[slot] = 0;
    for (struct ut_connection *c; (c = ut_connections_next_of(t, slot, NULL)) != NULL;) {
        unlink_index(t, c, UT_BY_PORT);
        unlink_index(t, c, UT_BY_WORKLOAD);
        c->workload = 0;
        if (t->changed != NULL)
            t->changed(t->arg, c);
    }
}

/* A request whose SYN-ACK was never answered leaves no record of its end. Where it was answered it
 * has become the accepted socket. */
static bool is_request(const struct ut_connection *c)
{
    return c->role == UT_ROLE_ACCEPT && c->cookie == 0 && c->established_ns == 0;
}

static void sweep(struct ut_connections *t, uint64_t now_ns)
{
    for (uint32_t n = SWEEP_ROWS; n > 0 && t->ever_used > 0; n--) {
        t->swept = t->swept < t->ever_used ? t->swept + 1 : 1;
        struct ut_connection *c = &t->slots[t->swept];
        if (UT_CONNECTION_SLOT(c->id) != 0 && c->closed_ns == 0 && is_request(c) &&
            c->last_event_ns + UNANSWERED_KEPT_NS < now_ns)
            drop_row(t, c);
    }
}

static void expire_list(struct ut_connections *t, const struct ut_connection_list *list,
                        uint64_t before_ns)
{
    while (list->first != 0 && t->slots[list->first].closed_ns < before_ns) {
        struct ut_connection *c = &t->slots[list->first];
        note_gap(t, c, c->closed_ns);
        drop_row(t, c);
    }
}

void ut_connections_expire(struct ut_connections *t, uint64_t now_ns)
{
    if (now_ns < UT_CONNECTION_KEPT_NS)
        return;
    expire_list(t, &t->closed, now_ns - UT_CONNECTION_KEPT_NS);
    expire_list(t, &t->kept, now_ns - UT_CONNECTION_KEPT_NS);
    sweep(t, now_ns);
}
