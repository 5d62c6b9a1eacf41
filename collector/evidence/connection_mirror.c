/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence/connection_mirror.h"

/* Two ends of one connection are established within its handshake; SYN-ACKs that come again make
 * that seconds. */
enum { ESTABLISHED_APART_S = 10 };

static bool roles_fit(const struct ut_connection *a, const struct ut_connection *b)
{
    return a->role == UT_ROLE_UNKNOWN || b->role == UT_ROLE_UNKNOWN || a->role != b->role;
}

static bool lived_together(const struct ut_connection *a, const struct ut_connection *b)
{
    const uint64_t slack_ns = ESTABLISHED_APART_S * UT_NS_PER_S;
    return (a->closed_ns == 0 || a->closed_ns + slack_ns >= b->opened_ns) &&
           (b->closed_ns == 0 || b->closed_ns + slack_ns >= a->opened_ns);
}

static bool mirrored_isn(const struct ut_connection *a, const struct ut_connection *b)
{
    return a->has_isn && b->has_isn && a->local_isn == b->remote_isn &&
           a->remote_isn == b->local_isn;
}

static bool established_together(const struct ut_connection *a, const struct ut_connection *b)
{
    if (a->established_ns == 0 || b->established_ns == 0)
        return true;
    uint64_t apart_ns = a->established_ns > b->established_ns
                            ? a->established_ns - b->established_ns
                            : b->established_ns - a->established_ns;
    return apart_ns <= ESTABLISHED_APART_S * UT_NS_PER_S;
}

static bool is_loopback(const struct ut_endpoint *end)
{
    static const uint8_t v6[16] = {[15] = 1};
    return memcmp(end->address.bytes, v6, sizeof(v6)) == 0 ||
           (ut_address_is_v4(&end->address) && end->address.bytes[12] == 127);
}

/* By tuple alone. Where both know a pair of sequence numbers one half must agree at least: then
 * something on the way rewrites the other. Loopback addresses mean something within one namespace
 * only. */
static bool mirrored_tuple(const struct ut_connection *a, const struct ut_connection *b)
{
    if (!ut_connection_same_end(&a->local, &b->remote) ||
        !ut_connection_same_end(&a->remote, &b->local) || !established_together(a, b))
        return false;
    if (a->has_isn && b->has_isn && a->local_isn != b->remote_isn && a->remote_isn != b->local_isn)
        return false;
    return !is_loopback(&a->local) || (a->netns_cookie == b->netns_cookie && a->netns_cookie != 0);
}

static void tell(struct ut_connections *t, struct ut_connection *c)
{
    if (t->changed != NULL)
        t->changed(t->arg, c);
}

void ut_connection_unpair(struct ut_connections *t, struct ut_connection *c)
{
    struct ut_connection *mirror = ut_connections_mirror(t, c);
    if (mirror == NULL)
        return;
    c->mirror = mirror->mirror = 0;
    c->mirror_by_isn = mirror->mirror_by_isn = false;
    tell(t, mirror);
}

static void mark_ambiguous(struct ut_connections *t, struct ut_connection *c)
{
    if (c->ambiguous)
        return;
    struct ut_connection *mirror = ut_connections_mirror(t, c);
    c->ambiguous = true;
    t->ambiguous++;
    if (mirror != NULL) {
        ut_connection_unpair(t, c);
        mirror->ambiguous = true;
        t->ambiguous++;
    }
    tell(t, c);
}

static void pair(struct ut_connections *t, struct ut_connection *a, struct ut_connection *b,
                 bool by_isn)
{
    a->mirror = (uint16_t)(b - t->slots);
    b->mirror = (uint16_t)(a - t->slots);
    a->mirror_by_isn = b->mirror_by_isn = by_isn;
    tell(t, b);
}

static bool fits(const struct ut_connection *a, const struct ut_connection *b,
                 enum ut_connection_index index)
{
    return a != b && roles_fit(a, b) && lived_together(a, b) &&
           (index == UT_BY_ISN ? mirrored_isn(a, b) : mirrored_tuple(a, b));
}

/* Another row that says it is this very end: then nobody can tell whose mirror is whose. */
static bool has_twin(const struct ut_connections *t, const struct ut_connection *c)
{
    for (const struct ut_connection *other = ut_connection_first_in_chain(t, c, UT_BY_TUPLE);
         other != NULL; other = ut_connection_next_in_chain(t, other, UT_BY_TUPLE)) {
        bool elsewhere = is_loopback(&c->local) && other->netns_cookie != c->netns_cookie;
        if (other != c && !elsewhere && other->closed_ns == 0 && c->closed_ns == 0 &&
            ut_connection_same_end(&other->local, &c->local) &&
            ut_connection_same_end(&other->remote, &c->remote))
            return true;
    }
    return false;
}

/* Whether `other`, which fits `c`, is taken: a mirror by sequence numbers is sure, one by tuple
 * gives way to it. */
static bool is_taken(const struct ut_connections *t, const struct ut_connection *c,
                     const struct ut_connection *other, enum ut_connection_index index)
{
    const struct ut_connection *mirror = ut_connections_mirror(t, other);
    return mirror != NULL && mirror != c && (index == UT_BY_TUPLE || other->mirror_by_isn);
}

/* The one row that fits; NULL where there is none, or several: all of them are ambiguous then. */
static struct ut_connection *find_mirror(struct ut_connections *t, struct ut_connection *c,
                                         enum ut_connection_index index, bool *ambiguous)
{
    struct ut_connection *found = NULL;
    *ambiguous = false;
    for (struct ut_connection *other = ut_connection_first_in_chain(t, c, index); other != NULL;
         other = ut_connection_next_in_chain(t, other, index)) {
        if (!fits(c, other, index) || (index == UT_BY_TUPLE && other->mirror_by_isn))
            continue;
        *ambiguous |= found != NULL || other->ambiguous || is_taken(t, c, other, index);
        if (*ambiguous) {
            if (found != NULL)
                mark_ambiguous(t, found);
            mark_ambiguous(t, other);
        }
        found = other;
    }
    return *ambiguous ? NULL : found;
}

bool ut_connection_pair(struct ut_connections *t, struct ut_connection *c)
{
    if (c->ambiguous || c->mirror_by_isn || (c->mirror != 0 && !c->has_isn))
        return false;
    bool ambiguous = false;
    struct ut_connection *mirror = c->has_isn ? find_mirror(t, c, UT_BY_ISN, &ambiguous) : NULL;
    bool by_isn = mirror != NULL;
    if (!by_isn && !ambiguous && c->mirror == 0 && c->local.port != 0 && c->remote.port != 0) {
        mirror = find_mirror(t, c, UT_BY_TUPLE, &ambiguous);
        ambiguous |= mirror != NULL && (has_twin(t, c) || has_twin(t, mirror));
    }
    if (ambiguous) {
        mark_ambiguous(t, c);
        return true;
    }
    if (mirror == NULL)
        return false;
    ut_connection_unpair(t, c);
    ut_connection_unpair(t, mirror);
    pair(t, c, mirror, by_isn);
    return true;
}
