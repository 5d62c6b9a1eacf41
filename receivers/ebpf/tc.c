/* SPDX-License-Identifier: Apache-2.0 */
#include "tc.h"

#include <errno.h>
#include <fnmatch.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "netns.h"
#include "rtnl.h"
#include "tc_hook.h"

enum {
    INTERFACES_MAX = 1024, /* of a namespace */
    MESSAGES_MAX = 64,     /* that are read at once */
    START_MESSAGES_MAX = 4096,
};
#define RELIST_NS (10 * UT_NS_PER_S)

struct interface {
    struct ut_tc_hook hook;
    uint32_t listing; /* the latest one that it was in */
};

struct place {
    struct ut_rtnl_sink sink;
    struct ut_tc *tc;
    const char *path; /* NULL: the own one */
    struct ut_netns *netns;
    int rtnl; /* -1: it tells nothing */
    bool starting, list_due, listing_now;
    uint32_t listing; /* the number of the list at hand */
    struct ut_tc_handle handle;
    size_t count;
    struct interface interfaces[INTERFACES_MAX];
};

struct ut_tc {
    struct ut_log *log;
    struct ut_tc_settings settings;
    int program;
    uint64_t relist_ns; /* when, monotonic */
    uint64_t refused;
    size_t count;
    struct place *places[UT_TC_NAMESPACES_MAX];
    uint32_t buffer[UT_RTNL_BYTES / sizeof(uint32_t)];
};

static const char *name_of(const struct place *place)
{
    return place->path != NULL ? place->path : "own";
}

/* ---- interfaces; all of it runs in the namespace's thread -------------------------------------
 */

static bool is_asked_for(const struct ut_tc *tc, const char *name)
{
    const struct ut_strings *patterns = tc->settings.interfaces;
    bool asked = patterns->count == 0;
    for (size_t i = 0; i < patterns->count && !asked; i++)
        asked = fnmatch(patterns->items[i], name, 0) == 0;
    return asked;
}

static struct interface *find(struct place *place, int index)
{
    for (size_t i = 0; i < place->count; i++) {
        if (place->interfaces[i].hook.ifindex == index)
            return &place->interfaces[i];
    }
    return NULL;
}

static void leave_out(struct place *place, struct interface *interface)
{
    *interface = place->interfaces[--place->count];
}

static void refuse(struct place *place, const char *name, int error)
{
    char quoted[128], where[256];
    place->tc->refused++;
    ut_log_cause(place->tc->log, UT_LOG_WARN, "ebpf_interface_refused", name_of(place),
                 "interface=%s namespace=%s effect=\"no exact matches there\" error=\"%s\"",
                 ut_log_quote(quoted, sizeof(quoted), name),
                 ut_log_quote(where, sizeof(where), name_of(place)),
                 error == -EUSERS ? "as many processes as may be have a filter there"
                                  : strerror(-error));
}

static void attach(struct place *place, int index, const char *name)
{
    struct interface *interface = &place->interfaces[place->count];
    char quoted[128], where[256];
    int error = -ENOSPC;
    if (place->count < INTERFACES_MAX)
        error = ut_tc_attach(&interface->hook, index, place->tc->program, place->handle.number);
    if (error == -ENODEV)
        return; /* that it has gone is told next */
    if (error != 0) {
        refuse(place, name, error);
        return;
    }
    interface->listing = place->listing;
    place->count++;
    ut_log_cause(place->tc->log, UT_LOG_INFO, "ebpf_interface_attached", name_of(place),
                 "interface=%s namespace=%s by=%s", ut_log_quote(quoted, sizeof(quoted), name),
                 ut_log_quote(where, sizeof(where), name_of(place)),
                 interface->hook.handle != 0 ? "filter" : "tcx");
}

static void on_link(struct ut_rtnl_sink *sink, int index, const char *name)
{
    struct place *place = UT_CONTAINER_OF(sink, struct place, sink);
    struct interface *interface = find(place, index);
    bool asked = is_asked_for(place->tc, name);
    if (interface != NULL && !asked) { /* it has another name now */
        ut_tc_detach(&interface->hook);
        leave_out(place, interface);
        return;
    }
    if (interface != NULL && place->listing_now && !ut_tc_holds(&interface->hook)) {
        ut_tc_forget(&interface->hook);
        leave_out(place, interface);
        interface = NULL;
    }
    if (interface == NULL && place->starting)
        ut_tc_sweep(index, place->handle.number);
    if (interface != NULL)
        interface->listing = place->listing;
    else if (asked)
        attach(place, index, name);
}

static void on_gone(struct ut_rtnl_sink *sink, int index)
{
    struct place *place = UT_CONTAINER_OF(sink, struct place, sink);
    struct interface *interface = find(place, index);
    if (interface == NULL)
        return;
    ut_tc_forget(&interface->hook);
    leave_out(place, interface);
}

/* Those that were not in it have gone without a word. */
static void on_listed(struct ut_rtnl_sink *sink, bool whole)
{
    struct place *place = UT_CONTAINER_OF(sink, struct place, sink);
    place->listing_now = false;
    for (size_t i = place->count; i-- > 0;) {
        if (!whole || place->list_due || place->interfaces[i].listing == place->listing)
            continue;
        ut_tc_forget(&place->interfaces[i].hook);
        leave_out(place, &place->interfaces[i]);
    }
}

static void on_missed(struct ut_rtnl_sink *sink)
{
    UT_CONTAINER_OF(sink, struct place, sink)->list_due = true;
}

static void ask(struct place *place)
{
    if (!place->list_due || place->listing_now || ut_rtnl_list(place->rtnl) != 0)
        return;
    place->list_due = false;
    place->listing_now = true;
    place->listing++;
}

static int turn(void *arg)
{
    struct place *place = arg;
    char where[256];
    if (place->rtnl < 0)
        return 0;
    if (place->handle.number == 0)
        ut_tc_handle_init(&place->handle);
    ask(place);
    int error = ut_rtnl_read(place->rtnl, place->tc->buffer,
                             place->starting ? START_MESSAGES_MAX : MESSAGES_MAX, &place->sink);
    ask(place);
    if (error == 0)
        return 0;
    close(place->rtnl);
    place->rtnl = -1;
    ut_log_cause(place->tc->log, UT_LOG_WARN, "ebpf_namespace", name_of(place),
                 "namespace=%s effect=\"new interfaces are not seen\" error=\"%s\"",
                 ut_log_quote(where, sizeof(where), name_of(place)), strerror(-error));
    return 0;
}

static int enter(void *arg)
{
    struct place *place = arg;
    place->rtnl = ut_rtnl_open();
    if (place->rtnl < 0)
        return place->rtnl;
    place->list_due = place->starting = true;
    int error = turn(place);
    place->starting = false;
    return error;
}

static int leave(void *arg)
{
    struct place *place = arg;
    for (size_t i = 0; i < place->count; i++)
        ut_tc_detach(&place->interfaces[i].hook);
    ut_tc_handle_done(&place->handle);
    if (place->rtnl >= 0)
        close(place->rtnl);
    return 0;
}

/* ---- namespaces -------------------------------------------------------------------------------
 */

static void close_namespace(struct place *place)
{
    ut_netns_do(place->netns, leave, place);
    ut_netns_close(place->netns);
    free(place);
}

static bool is_known(const struct ut_tc *tc, const struct ut_netns *netns)
{
    bool known = false;
    for (size_t i = 0; i < tc->count && !known; i++)
        known = ut_netns_same(tc->places[i]->netns, netns);
    return known;
}

/* 0, also where it has been opened by another path already, or a negative errno. */
static int open_namespace(struct ut_tc *tc, const char *path)
{
    if (tc->count == UT_TC_NAMESPACES_MAX)
        return -ENOSPC;
    struct place *place = calloc(1, sizeof(*place));
    if (place == NULL)
        return -ENOMEM;
    place->sink = (struct ut_rtnl_sink){on_link, on_gone, on_listed, on_missed};
    place->tc = tc;
    place->path = path;
    place->rtnl = place->handle.lock = -1;
    int error = ut_netns_open(&place->netns, path);
    if (error != 0 || is_known(tc, place->netns)) {
        ut_netns_close(place->netns);
        free(place);
        return error;
    }
    error = ut_netns_do(place->netns, enter, place);
    if (error != 0)
        close_namespace(place);
    else
        tc->places[tc->count++] = place;
    return error;
}

static void open_or_tell(struct ut_tc *tc, const char *path, char *reason, size_t size)
{
    char where[256];
    int error = open_namespace(tc, path);
    if (error == 0)
        return;
    ut_log_cause(tc->log, UT_LOG_WARN, "ebpf_namespace", path != NULL ? path : "own",
                 "namespace=%s effect=\"no exact matches there\" error=\"%s\"",
                 ut_log_quote(where, sizeof(where), path != NULL ? path : "own"), strerror(-error));
    if (reason[0] != '\0')
        return;
    snprintf(reason, size, "not in the network namespace %.100s: %s%s",
             path != NULL ? path : "of our own", strerror(-error),
             error == -EPERM ? " (CAP_SYS_ADMIN is needed at the start)" : "");
}

struct ut_tc *ut_tc_start(const struct ut_tc_settings *settings, int program, struct ut_log *log,
                          char *reason, size_t size)
{
    struct ut_tc *tc = calloc(1, sizeof(*tc));
    UT_CHECK(tc != NULL);
    tc->log = log;
    tc->settings = *settings;
    tc->program = program;
    tc->relist_ns = ut_clock_monotonic_ns() + RELIST_NS;
    reason[0] = '\0';
    for (size_t i = 0; i < settings->namespaces->count; i++)
        open_or_tell(tc, settings->namespaces->items[i], reason, size);
    if (settings->namespaces->count == 0)
        open_or_tell(tc, NULL, reason, size);
    if (tc->count > 0)
        return tc;
    free(tc);
    return NULL;
}

void ut_tc_stop(struct ut_tc *tc)
{
    for (size_t i = 0; tc != NULL && i < tc->count; i++)
        close_namespace(tc->places[i]);
    free(tc);
}

int ut_tc_watch(struct ut_tc *tc, int epoll)
{
    for (size_t i = 0; tc != NULL && i < tc->count; i++) {
        struct place *place = tc->places[i];
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = place};
        if (place->rtnl >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, place->rtnl, &event) != 0)
            return -errno;
    }
    return 0;
}

void ut_tc_read(void *data)
{
    struct place *place = data;
    ut_netns_do(place->netns, turn, place);
}

void ut_tc_check(struct ut_tc *tc, uint64_t now_ns)
{
    if (tc == NULL || now_ns < tc->relist_ns)
        return;
    tc->relist_ns = now_ns + RELIST_NS;
    for (size_t i = 0; i < tc->count; i++) {
        tc->places[i]->list_due = true;
        tc->places[i]->listing_now = false; /* no list takes that long */
        ut_netns_do(tc->places[i]->netns, turn, tc->places[i]);
    }
}

void ut_tc_figures(const struct ut_tc *tc, struct ut_tc_figures *ret)
{
    *ret = (struct ut_tc_figures){.refused = tc != NULL ? tc->refused : 0};
    for (size_t i = 0; tc != NULL && i < tc->count; i++) {
        const struct place *place = tc->places[i];
        for (size_t j = 0; j < place->count; j++)
            ++*(place->interfaces[j].hook.handle != 0 ? &ret->filters : &ret->links);
    }
}
