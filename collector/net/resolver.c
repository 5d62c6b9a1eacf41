/* SPDX-License-Identifier: Apache-2.0 */
#include "net/resolver.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define EVERY_NS (30 * UT_NS_PER_S)
#define AFTER_FAILURE_NS (5 * UT_NS_PER_S)
#define DOUBT_NS UT_NS_PER_S

/* It outlives its resolver where that is stopped: a thread may be at work on it. */
struct ut_question {
    uv_getaddrinfo_t request;
    struct ut_resolver *resolver; /* NULL: cut loose */
};

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* The numeric text of the address at the end of the list, unless it is there already. */
static void add(char (*list)[UT_ADDRESS_TEXT], size_t *count, const struct addrinfo *info)
{
    char *text = list[*count];
    if (getnameinfo(info->ai_addr, info->ai_addrlen, text, UT_ADDRESS_TEXT, NULL, 0,
                    NI_NUMERICHOST) != 0)
        return;
    for (size_t i = 0; i < *count; i++) {
        if (strcmp(list[i], text) == 0)
            return;
    }
    ++*count;
}

static void take(struct ut_resolver *resolver, const struct addrinfo *found)
{
    char list[UT_RESOLVER_ADDRESSES][UT_ADDRESS_TEXT];
    size_t count = 0;
    memset(list, 0, sizeof(list));
    for (; found != NULL && count < UT_RESOLVER_ADDRESSES; found = found->ai_next)
        add(list, &count, found);
    if (count == 0)
        return;
    qsort(list, count, sizeof(list[0]), by_text);
    if (count == resolver->count && memcmp(list, resolver->addresses, count * sizeof(list[0])) == 0)
        return;
    memcpy(resolver->addresses, list, sizeof(list));
    resolver->count = count;
    resolver->changed(resolver);
}

static void ask_later(struct ut_resolver *resolver, uint64_t after_ns)
{
    ut_timer_set(&resolver->worker->timers, &resolver->timer,
                 ut_worker_now(resolver->worker) + after_ns);
}

static void on_answer(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct ut_question *question = UT_CONTAINER_OF(request, struct ut_question, request);
    struct ut_resolver *resolver = question->resolver;
    free(question);
    if (resolver != NULL) {
        resolver->question = NULL;
        resolver->error = status;
        ask_later(resolver, status == 0 ? EVERY_NS : AFTER_FAILURE_NS);
        if (status == 0)
            take(resolver, found);
    }
    uv_freeaddrinfo(found);
}

static void ask(struct ut_resolver *resolver)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct ut_question *question = calloc(1, sizeof(*question));
    resolver->asked_ns = ut_worker_now(resolver->worker);
    resolver->error = -ENOMEM;
    if (question != NULL) {
        question->resolver = resolver;
        resolver->error = uv_getaddrinfo(&resolver->worker->uv, &question->request, on_answer,
                                         resolver->host, NULL, &hints);
    }
    if (resolver->error == 0) {
        resolver->question = question;
        return;
    }
    free(question);
    ask_later(resolver, AFTER_FAILURE_NS);
}

static void on_timer(struct ut_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    ask(UT_CONTAINER_OF(timer, struct ut_resolver, timer));
}

void ut_resolver_start(struct ut_resolver *resolver, struct ut_worker *worker, const char *host)
{
    resolver->worker = worker;
    resolver->host = host;
    resolver->count = 0;
    resolver->timer = (struct ut_timer){.fire = on_timer};
    resolver->running = true;
    ask(resolver);
}

void ut_resolver_doubt(struct ut_resolver *resolver)
{
    if (!resolver->running || resolver->question != NULL)
        return;
    uint64_t now = ut_worker_now(resolver->worker);
    uint64_t since = now - resolver->asked_ns;
    uint64_t after = since < DOUBT_NS ? DOUBT_NS - since : 0;
    if (!ut_timer_is_set(&resolver->timer) || resolver->timer.due_ns > now + after)
        ask_later(resolver, after);
}

void ut_resolver_stop(struct ut_resolver *resolver)
{
    if (!resolver->running)
        return;
    resolver->running = false;
    ut_timer_cancel(&resolver->worker->timers, &resolver->timer);
    if (resolver->question == NULL)
        return;
    resolver->question->resolver = NULL;
    (void)uv_cancel((uv_req_t *)&resolver->question->request);
    resolver->question = NULL;
}
