/* SPDX-License-Identifier: Apache-2.0 */
#include "net/call.h"

#include <stdio.h>

#include "net/call_body.h"

enum { EXPANSION_FIRST = 8 }; /* of a connection's first compressed body */

/* ---- the charge ----------------------------------------------------------------------------- */

static size_t in_steps(size_t bytes)
{
    return (bytes + UT_BUDGET_STEP - 1) / UT_BUDGET_STEP * UT_BUDGET_STEP;
}

/* Gives back what the account has above its need. */
static void trim(struct ut_calls *calls)
{
    size_t need = in_steps(calls->held);
    if (calls->account.charged > need)
        ut_budget_release(&calls->account, calls->account.charged - need);
}

bool ut_call_hold(struct ut_call *call, size_t bytes)
{
    struct ut_calls *calls = call->calls;
    if (bytes <= call->held)
        return true;
    size_t held = calls->held + bytes - call->held;
    size_t need = in_steps(held);
    if (need > calls->account.charged &&
        !ut_budget_charge(&calls->account, need - calls->account.charged))
        return false;
    calls->held = held;
    call->held = bytes;
    return true;
}

void ut_call_release(struct ut_call *call, size_t bytes)
{
    if (bytes >= call->held)
        return;
    call->calls->held -= call->held - bytes;
    call->held = bytes;
    trim(call->calls);
}

size_t ut_call_settle(struct ut_call *call)
{
    struct ut_calls *calls = call->calls;
    size_t bytes = call->held;
    ut_budget_settle(&calls->account, bytes);
    calls->held -= bytes;
    call->held = 0;
    trim(calls);
    return bytes;
}

/* ---- states --------------------------------------------------------------------------------- */

void ut_call_init(struct ut_call *call, struct ut_calls *calls, const struct ut_call_ops *ops)
{
    *call = (struct ut_call){.calls = calls, .ops = ops, .expected = UT_CALL_LENGTH_UNKNOWN};
}

void ut_call_arrive(struct ut_call *call, uint64_t now_ns)
{
    struct ut_calls *calls = call->calls;
    call->state = UT_CALL_ARRIVING;
    call->began_ns = now_ns;
    call->next = calls->arriving;
    if (call->next != NULL)
        call->next->previous = call;
    calls->arriving = call;
}

static void leave_arriving(struct ut_call *call)
{
    if (call->previous != NULL)
        call->previous->next = call->next;
    else
        call->calls->arriving = call->next;
    if (call->next != NULL)
        call->next->previous = call->previous;
    call->previous = call->next = NULL;
}

/* Lets go of all that the call has before its answer, whatever its state. */
static void leave_state(struct ut_call *call)
{
    struct ut_calls *calls = call->calls;
    if (call->state == UT_CALL_ARRIVING)
        leave_arriving(call);
    else if (call->state == UT_CALL_HANDED_ON)
        calls->waiting--;
    ut_call_drop_body(call);
    ut_call_release(call, 0);
    call->state = UT_CALL_ANSWERED;
}

void ut_call_end(struct ut_call *call)
{
    if (call->state == UT_CALL_HANDED_ON)
        call->calls->service->on_gone(call);
    if (call->state != UT_CALL_ANSWERED)
        leave_state(call);
}

/* ---- answers -------------------------------------------------------------------------------- */

static void finish(struct ut_call *call, int status)
{
    struct ut_calls *calls = call->calls;
    leave_state(call);
    calls->service->on_answered(calls, call->ops->transport, status);
    calls->service->wake(calls);
}

void ut_call_succeed(struct ut_call *call, ut_slice message)
{
    call->ops->succeed(call, message);
    finish(call, call->ops->transport == UT_TRANSPORT_HTTP ? 200 : UT_GRPC_OK);
}

/* None but 503 may be tried again (OTLP 1.11, "Failures"), so that a status is never a promise that
 * the code did not make. The body tells the code itself. */
static int http_status_of(enum ut_grpc_code code)
{
    switch (code) {
    case UT_GRPC_UNAUTHENTICATED:
        return 401;
    case UT_GRPC_PERMISSION_DENIED:
        return 403;
    case UT_GRPC_NOT_FOUND:
    case UT_GRPC_UNIMPLEMENTED:
        return 404;
    case UT_GRPC_RESOURCE_EXHAUSTED:
        return 413;
    case UT_GRPC_UNAVAILABLE:
        return 503;
    default:
        return 400;
    }
}

void ut_call_fail(struct ut_call *call, enum ut_grpc_code code, uint32_t retry_after_ms,
                  const char *text)
{
    const struct ut_failure failure = {code, http_status_of(code), retry_after_ms, text};
    finish(call, call->ops->fail(call, &failure));
}

void ut_call_refuse(struct ut_call *call, enum ut_refusal why, const struct ut_failure *failure)
{
    struct ut_calls *calls = call->calls;
    enum ut_transport transport = call->ops->transport;
    finish(call, call->ops->fail(call, failure));
    calls->service->on_refused(calls, transport, why, failure->text);
}

void ut_call_refuse_size(struct ut_call *call, size_t bytes)
{
    char text[96];
    (void)snprintf(text, sizeof(text), "a message of %zu bytes exceeds the limit of %zu", bytes,
                   call->calls->service->body_bytes_max);
    ut_call_refuse(call, UT_REFUSED_SIZE,
                   &(struct ut_failure){UT_GRPC_RESOURCE_EXHAUSTED, 413, 0, text});
}

void ut_call_refuse_busy(struct ut_call *call)
{
    ut_call_refuse(call, UT_REFUSED_BUDGET,
                   &(struct ut_failure){UT_GRPC_UNAVAILABLE, 503,
                                        call->calls->service->retry_after_ms,
                                        "no memory left for this request now"});
}

/* ---- the end of the body -------------------------------------------------------------------- */

void ut_call_complete(struct ut_call *call)
{
    if (!ut_call_finish_body(call))
        return;
    leave_arriving(call);
    call->state = UT_CALL_HANDED_ON;
    call->calls->waiting++;
    call->calls->service->on_message(call);
}

/* ---- life ----------------------------------------------------------------------------------- */

static void evict(struct ut_budget_account *account)
{
    struct ut_calls *calls = UT_CONTAINER_OF(account, struct ut_calls, account);
    while (calls->arriving != NULL)
        ut_call_refuse_busy(calls->arriving);
}

void ut_calls_init(struct ut_calls *calls, struct ut_pool *pool, struct ut_budget *budget,
                   const struct ut_service *service)
{
    *calls = (struct ut_calls){.service = service, .pool = pool, .expansion = EXPANSION_FIRST};
    ut_budget_account_init(&calls->account, budget, evict);
}
