/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence/connection_mirror.h"

/*
 * By sequence numbers first: 64 bits that both ends drew are proof, whatever else has been thought
 * of the two rows before. What is left over is paired by tuple, and only where nothing else is
 * possible: of all rows of the same two endpoints that have no mirror by proof the two have to be
 * the only ones that can be each other's. The kernel skips a program now and then, so an end may
 * have no record of its establishment, and a port that is used again soon leaves several such rows
 * behind; what tells them apart is the order in which the two ends of a connection live. That is
 * found anew whenever a row of these endpoints changes: a doubt lasts as long as its reason.
 */

/* Two ends of one connection are established within its handshake; SYN-ACKs that come again make
 * that seconds. */
enum { ESTABLISHED_APART_S = 10 };
/* Rows of one direction that are compared, and rows of a chain that are looked at for them; where
 * there are more nobody knows. */
enum { COMPARED_MAX = 32, LOOKED_AT_MAX = 256 };
/* What a connecting end sent before it was gone may still establish the other. */
#define IN_FLIGHT_NS UT_NS_PER_S

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

/* An accepted end comes into being after the connecting one has begun, and goes after that one is
 * established; one that failed to connect never establishes it. One clock stamps all of that. */
static bool lived_in_order(const struct ut_connection *connecting,
                           const struct ut_connection *accepted)
{
    bool was_established =
        accepted->established_ns != 0 || (accepted->closed_ns != 0 && !accepted->failed);
    if (accepted->known_ns < connecting->opened_ns || (connecting->failed && was_established))
        return false;
    if (accepted->closed_ns != 0 && accepted->closed_ns < connecting->established_ns)
        return false;
    return connecting->closed_ns == 0 ||
           accepted->opened_ns <= connecting->closed_ns + IN_FLIGHT_NS;
}

static bool times_fit(const struct ut_connection *a, const struct ut_connection *b)
{
    if (a->role == UT_ROLE_CONNECT || b->role == UT_ROLE_ACCEPT)
        return lived_in_order(a, b);
    if (b->role == UT_ROLE_CONNECT || a->role == UT_ROLE_ACCEPT)
        return lived_in_order(b, a);
    return lived_together(a, b);
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

/* Of two rows with the same endpoints the other way round. Where both know a pair of sequence
 * numbers one half must agree at least: then something on the way rewrites the other. Loopback
 * addresses mean something within one namespace only. */
static bool fits_by_tuple(const struct ut_connection *a, const struct ut_connection *b)
{
    if (!roles_fit(a, b) || !times_fit(a, b) || !established_together(a, b))
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

static void pair(struct ut_connections *t, struct ut_connection *a, struct ut_connection *b,
                 bool by_isn)
{
    ut_connection_unpair(t, a);
    ut_connection_unpair(t, b);
    a->mirror = (uint32_t)(b - t->slots);
    b->mirror = (uint32_t)(a - t->slots);
    a->mirror_by_isn = b->mirror_by_isn = by_isn;
    a->ambiguous = b->ambiguous = false;
    tell(t, a);
    tell(t, b);
}

static void set_ambiguous(struct ut_connections *t, struct ut_connection *c, bool ambiguous)
{
    t->ambiguous += ambiguous && !c->ambiguous;
    c->ambiguous = ambiguous;
}

/* ---- by sequence numbers ----------------------------------------------------------------------
 */

static void mark_claimed(struct ut_connections *t, struct ut_connection *c)
{
    struct ut_connection *mirror = ut_connections_mirror(t, c);
    if (mirror != NULL && c->mirror_by_isn) {
        mirror->isn_claimed = true;
        set_ambiguous(t, mirror, true);
    }
    ut_connection_unpair(t, c);
    c->isn_claimed = true;
    set_ambiguous(t, c, true);
    tell(t, c);
}

/* Three rows with one pair of numbers: somebody has copied it, and none of them is sure any more.
 */
static void pair_by_isn(struct ut_connections *t, struct ut_connection *c)
{
    struct ut_connection *found = NULL;
    bool claimed = false;
    for (struct ut_connection *other = ut_connection_first_in_chain(t, c, UT_BY_ISN); other != NULL;
         other = ut_connection_next_in_chain(t, other, UT_BY_ISN)) {
        if (other == c || !mirrored_isn(c, other) || !roles_fit(c, other) ||
            !lived_together(c, other))
            continue;
        claimed |= found != NULL || other->isn_claimed || other->mirror_by_isn;
        if (claimed && found != NULL)
            mark_claimed(t, found);
        if (claimed)
            mark_claimed(t, other);
        found = other;
    }
    if (claimed)
        mark_claimed(t, c);
    else if (found != NULL)
        pair(t, c, found, true);
}

/* ---- by tuple ---------------------------------------------------------------------------------
 */

/* The rows of two endpoints that have no mirror by proof, by direction. */
struct unproven {
    struct ut_connection *rows[2][COMPARED_MAX];
    uint32_t counts[2];
    bool more; /* than are compared */
};

static int direction_of(const struct ut_connection *c, const struct ut_connection *other)
{
    if (ut_connection_same_end(&other->local, &c->local) &&
        ut_connection_same_end(&other->remote, &c->remote))
        return 0;
    bool back = ut_connection_same_end(&other->local, &c->remote) &&
                ut_connection_same_end(&other->remote, &c->local);
    return back ? 1 : -1;
}

static void gather(const struct ut_connections *t, const struct ut_connection *c,
                   struct unproven *ret)
{
    uint32_t looked_at = 0;
    ret->counts[0] = ret->counts[1] = 0;
    ret->more = false;
    for (struct ut_connection *other = ut_connection_first_in_chain(t, c, UT_BY_TUPLE);
         other != NULL; other = ut_connection_next_in_chain(t, other, UT_BY_TUPLE)) {
        if (looked_at++ == LOOKED_AT_MAX) {
            ret->more = true;
            break;
        }
        if (other->mirror_by_isn || other->isn_claimed)
            continue;
        int direction = direction_of(c, other);
        if (direction >= 0 && ret->counts[direction] == COMPARED_MAX)
            ret->more = true;
        else if (direction >= 0)
            ret->rows[direction][ret->counts[direction]++] = other;
    }
}

/* For each row of a direction how many of the other fit it, and the last of these. */
struct fitting {
    uint32_t counts[2][COMPARED_MAX];
    uint32_t last[2][COMPARED_MAX];
};

static void compare(const struct unproven *rows, struct fitting *ret)
{
    *ret = (struct fitting){0};
    for (uint32_t i = 0; i < rows->counts[0]; i++) {
        for (uint32_t j = 0; j < rows->counts[1]; j++) {
            if (!fits_by_tuple(rows->rows[0][i], rows->rows[1][j]))
                continue;
            ret->counts[0][i]++;
            ret->counts[1][j]++;
            ret->last[0][i] = j;
            ret->last[1][j] = i;
        }
    }
}

/* The only row that can be the mirror, and only that one's. */
static struct ut_connection *only_mirror(const struct unproven *rows, const struct fitting *fitting,
                                         int direction, uint32_t i)
{
    uint32_t j = fitting->last[direction][i];
    bool sure =
        !rows->more && fitting->counts[direction][i] == 1 && fitting->counts[1 - direction][j] == 1;
    return sure ? rows->rows[1 - direction][j] : NULL;
}

static void settle_by_tuple(struct ut_connections *t, const struct ut_connection *c)
{
    struct unproven rows;
    struct fitting fitting;
    if (c->local.port == 0 || c->remote.port == 0)
        return;
    gather(t, c, &rows);
    compare(&rows, &fitting);
    for (int direction = 0; direction < 2; direction++) {
        for (uint32_t i = 0; i < rows.counts[direction]; i++) {
            struct ut_connection *row = rows.rows[direction][i];
            struct ut_connection *mirror = only_mirror(&rows, &fitting, direction, i);
            if (row->mirror != 0 && ut_connections_mirror(t, row) != mirror) {
                ut_connection_unpair(t, row);
                tell(t, row);
            }
            set_ambiguous(t, row, mirror == NULL && fitting.counts[direction][i] > 0);
        }
    }
    for (uint32_t i = 0; i < rows.counts[0]; i++) {
        struct ut_connection *mirror = only_mirror(&rows, &fitting, 0, i);
        if (mirror != NULL && rows.rows[0][i]->mirror == 0)
            pair(t, rows.rows[0][i], mirror, false);
    }
}

void ut_connection_pair(struct ut_connections *t, struct ut_connection *c)
{
    if (c->has_isn && !c->mirror_by_isn && !c->isn_claimed)
        pair_by_isn(t, c);
    settle_by_tuple(t, c);
    const struct ut_connection *mirror = ut_connections_mirror(t, c);
    if (mirror != NULL && mirror->mirror_by_isn)
        settle_by_tuple(t, mirror); /* elsewhere, where addresses are translated between them */
}
