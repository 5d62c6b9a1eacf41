/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does an event fit a span in time?
 *
 * The bytes of a retransmit were first sent between `low` and `high`. Mostly the kernel's own
 * stamps tell when the first and the last of them were, or at least since when, and then a span has
 * to hold that moment to the millisecond. All else is estimates. A timer that fired after RTO
 * proves that they were sent no later than `seen − RTO`; kernels fire late by up to an eighth, so
 * that they were sent no earlier than about `seen − 1.25 RTO`. Other causes prove nothing about
 * `high`. Where requests and answers alternate the bytes were sent after data last came in; the
 * record tells when that was.
 *
 * A span holds the bytes if they may have been sent in it and it was still open when they were sent
 * again; or if it ended before that, but certainly after they were sent. The span before it on the
 * same connection, which ended between `low` and `high`, only meets them: its requests have all
 * been answered, so nothing of it can be missing. Failed spans and messages nobody answers
 * (PRODUCER) are no proof of an answer, and hold what they meet.
 */
#include "evidence/join_view.h"

/* `since_received_us` is told in whole ticks of the kernel, which are 10 ms at most. */
#define RECEIVED_SLACK_NS (10 * UT_NS_PER_MS)
enum { STATUS_ERROR = 2 };

/* Between two stamps of one host's clocks, both to the microsecond. */
#define PRECISE_SLACK_NS (UT_NS_PER_MS / 2)

static uint64_t sub(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static bool waits_for_timer(uint8_t cause)
{
    return cause == UT_CAUSE_TIMEOUT || cause == UT_CAUSE_SYN || cause == UT_CAUSE_SYN_ACK;
}

static uint64_t slack_of(const struct ut_join_view *view, uint64_t slack_ns)
{
    return view->precise && slack_ns > PRECISE_SLACK_NS ? PRECISE_SLACK_NS : slack_ns;
}

/* By the kernel's own stamp of the send: exact, or no later than it. */
static void place_precisely(struct ut_join_view *view)
{
    const struct ut_event *e = view->event;
    uint64_t sent_ns = sub(e->seen_ns, (uint64_t)e->since_sent_us * 1000);
    view->precise = true;
    if (e->has & UT_HAS_SENT_EXACT) {
        view->alternating = true;
        view->low_ns = sent_ns;
        view->high_ns = sent_ns + (uint64_t)e->sent_within_us * 1000;
        return;
    }
    view->low_ns = sent_ns > view->low_ns ? sent_ns : view->low_ns;
    if (view->high_ns < view->low_ns)
        view->high_ns = view->low_ns;
}

void ut_join_place(struct ut_join_view *view)
{
    const struct ut_event *e = view->event;
    view->low_ns = ut_event_sent_low_ns(e);
    view->high_ns = e->seen_ns;
    if (e->kind != UT_EVENT_RETRANSMIT)
        return;
    if ((e->has & UT_HAS_RTO) && waits_for_timer(e->cause))
        view->high_ns = sub(e->seen_ns, (uint64_t)e->rto_us * 1000);
    if (view->high_ns < view->low_ns)
        view->high_ns = view->low_ns;
    if (e->has & UT_HAS_SINCE_SENT)
        place_precisely(view);
    if (!(e->has & UT_HAS_SINCE_RECEIVED))
        return;
    /* Data that came in later than the bytes can have been sent: the two do not alternate. */
    uint64_t since_ns = (uint64_t)e->since_received_us * 1000 + RECEIVED_SLACK_NS;
    uint64_t received_ns = sub(e->seen_ns, since_ns);
    if (received_ns > view->high_ns)
        return;
    view->alternating = true;
    view->received_ns = received_ns;
    if (received_ns > view->low_ns)
        view->low_ns = received_ns;
}

/* What happens at a moment, or lasts from low to seen, happens to the spans that are open then. A
 * connect belongs to the span that it began in and that was still open at its end: a pool's own
 * connects, made ahead of time, delay nobody. */
static enum ut_join_fit fit_happening(const struct ut_join_view *view, const struct ut_span *span,
                                      uint64_t slack_ns)
{
    bool whole = view->kind == UT_EVENT_CONNECT;
    uint64_t begun_ns = whole ? view->low_ns : view->seen_ns;
    uint64_t open_ns = whole ? view->seen_ns : view->low_ns;
    bool open = span->start_ns <= begun_ns + slack_ns && span->end_ns + slack_ns >= open_ns;
    return open ? UT_FIT_HOLDS : UT_FIT_NONE;
}

static bool meets(const struct ut_join_view *view, const struct ut_span *span, uint64_t slack_ns)
{
    return view->low_ns <= span->end_ns + slack_ns && view->seen_ns + slack_ns >= span->start_ns;
}

static bool holds(const struct ut_join_view *view, const struct ut_span *span, uint64_t slack_ns)
{
    if (span->start_ns > view->high_ns + slack_ns)
        return false;
    if (span->end_ns + slack_ns >= view->seen_ns || span->end_ns >= view->high_ns)
        return true;
    bool unanswered = span->status == STATUS_ERROR || span->kind == UT_SPAN_KIND_PRODUCER;
    return unanswered && span->end_ns + slack_ns >= view->low_ns;
}

/* A span that waits for a handshake began before the SYN came again, and maybe long before. */
static enum ut_join_fit fit_handshake(const struct ut_join_view *view, const struct ut_span *span,
                                      uint64_t slack_ns)
{
    bool waits = span->start_ns <= view->seen_ns + slack_ns && span->end_ns >= view->high_ns;
    return waits ? UT_FIT_HOLDS : UT_FIT_NONE;
}

static enum ut_join_fit fit_accepted(const struct ut_connection *own, const struct ut_span *span,
                                     uint64_t slack_ns)
{
    uint64_t established_ns = own->established_ns;
    bool first = established_ns != 0 && span->start_ns + slack_ns >= established_ns &&
                 span->start_ns <= established_ns + UT_JOIN_BEGINS_WITHIN_NS;
    return first ? UT_FIT_BEGAN : UT_FIT_NONE;
}

static enum ut_join_fit fit_client(const struct ut_join_view *view, const struct ut_span *span,
                                   uint64_t slack_ns)
{
    if (view->cause == UT_CAUSE_SYN || view->cause == UT_CAUSE_SYN_ACK)
        return fit_handshake(view, span, slack_ns);
    if (holds(view, span, slack_ns))
        return UT_FIT_HOLDS;
    return meets(view, span, slack_ns) ? UT_FIT_MEETS : UT_FIT_NONE;
}

/* An answer leaves up to `slack_ns` after the server has ended its span. */
static bool ended_before(const struct ut_join_view *view, const struct ut_span *span,
                         uint64_t slack_ns)
{
    return span->start_ns <= view->high_ns + slack_of(view, slack_ns) &&
           span->end_ns + slack_ns >= view->low_ns && span->end_ns >= view->received_ns;
}

static enum ut_join_fit fit_server(const struct ut_join_view *view, const struct ut_connection *own,
                                   const struct ut_span *span, uint64_t all_slack_ns)
{
    uint64_t slack_ns = slack_of(view, all_slack_ns);
    if (view->cause == UT_CAUSE_SYN)
        return UT_FIT_NONE; /* an accepting end sends none */
    if (view->cause == UT_CAUSE_SYN_ACK)
        return view->side == UT_SIDE_LOCAL ? fit_accepted(own, span, slack_ns) : UT_FIT_NONE;
    if (span->end_ns + slack_ns >= view->seen_ns && holds(view, span, slack_ns))
        return UT_FIT_HOLDS;
    if (view->side == UT_SIDE_LOCAL) {
        if (ended_before(view, span, all_slack_ns))
            return UT_FIT_ENDED;
    } else if (span->start_ns + slack_ns >= view->seen_ns &&
               span->start_ns <= view->seen_ns + UT_JOIN_BEGINS_WITHIN_NS) {
        return UT_FIT_BEGAN;
    }
    return meets(view, span, slack_ns) ? UT_FIT_MEETS : UT_FIT_NONE;
}

enum ut_join_fit ut_join_fit(const struct ut_join_view *view, const struct ut_join_group *group,
                             const struct ut_span *span, uint64_t slack_ns)
{
    /* Of a sum nobody knows which part lies where: all of it lies in the span, or nothing counts.
     */
    if (view->fold != NULL) {
        bool inside =
            span->start_ns <= view->low_ns + slack_ns && span->end_ns + slack_ns >= view->seen_ns;
        return inside ? UT_FIT_HOLDS : UT_FIT_NONE;
    }
    if (view->cause == UT_CAUSE_SYN && view->side == UT_SIDE_PEER)
        return UT_FIT_NONE; /* the server never saw what was lost */
    if (view->kind != UT_EVENT_RETRANSMIT && view->cause != UT_CAUSE_SYN_ACK)
        return fit_happening(view, span, slack_ns);
    if (span->kind == UT_SPAN_KIND_SERVER)
        return fit_server(view, group->own, span, slack_ns);
    return fit_client(view, span, slack_of(view, slack_ns));
}

bool ut_join_had_arrived(const struct ut_join_view *view, const struct ut_span *span,
                         uint64_t slack_ns)
{
    slack_ns = slack_of(view, slack_ns);
    if (span->start_ns + slack_ns < view->low_ns || span->start_ns >= view->seen_ns)
        return false;
    return view->alternating || !waits_for_timer(view->cause) || span->end_ns >= view->high_ns;
}
