/* SPDX-License-Identifier: Apache-2.0 */
#include "access.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ENTRY_BYTES = 4096, PATH_TEXT = 160 };

#define DEFAULT_MODE 0660

const char *const ut_otlp_networks[] = {
    [UT_OTLP_NETWORK_TCP] = "tcp",
    [UT_OTLP_NETWORK_UNIX] = "unix",
    NULL,
};

/* ---- settings ------------------------------------------------------------------------------- */

bool ut_otlp_access_is_unix(const struct ut_otlp_access_settings *settings, const char *endpoint)
{
    return settings->transport == UT_OTLP_NETWORK_UNIX || ut_unix_is_endpoint(endpoint);
}

/* With `transport: unix` the endpoint is the path alone, as the Collector has it. */
static int read_place(struct ut_unix_place *ret, const char *endpoint, const char **ret_error)
{
    char text[PATH_TEXT];
    const char *scheme = ut_unix_is_endpoint(endpoint) ? "" : "unix:";
    (void)snprintf(text, sizeof(text), "%s%s", scheme, endpoint);
    return ut_unix_place_parse(ret, text, ret_error);
}

/* Octal, as for chmod. */
static bool read_mode(const char *text, mode_t *ret)
{
    mode_t mode = 0;
    size_t size = strlen(text);
    for (size_t i = 0; i < size && size <= 4; i++) {
        if (text[i] < '0' || text[i] > '7')
            return false;
        mode = mode * 8 + (mode_t)(text[i] - '0');
    }
    *ret = mode;
    return size >= 3 && size <= 4 && mode <= 0777;
}

/* Paths of messages below a protocol's section. */
struct place {
    struct ut_config_report *report;
    const char *protocol;
    char path[PATH_TEXT];
};

static const char *at(struct place *place, const char *key)
{
    (void)snprintf(place->path, sizeof(place->path), "protocols.%s.%s", place->protocol, key);
    return place->path;
}

static void check_tcp(struct place *place, const struct ut_otlp_access_settings *settings)
{
    const struct {
        const char *key;
        bool set;
    } rows[] = {
        {"socket_mode", settings->socket_mode != NULL},
        {"socket_owner", settings->socket_owner != NULL},
        {"socket_group", settings->socket_group != NULL},
        {"auth.allowed_uids", settings->auth.allowed_uids.count > 0},
        {"auth.allowed_gids", settings->auth.allowed_gids.count > 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].set)
            place->report->error(place->report, at(place, rows[i].key),
                                 "belongs to a unix socket, and the endpoint is none");
    }
}

static void check_unix(struct place *place, const struct ut_otlp_access_settings *settings,
                       const char *endpoint)
{
    struct ut_unix_place parsed;
    const char *error;
    mode_t mode;
    if (read_place(&parsed, endpoint, &error) != 0)
        place->report->error(place->report, at(place, "endpoint"), "%s", error);
    if (settings->socket_mode != NULL && !read_mode(settings->socket_mode, &mode))
        place->report->error(place->report, at(place, "socket_mode"),
                             "expected three octal digits, as for chmod: \"0660\"");
    if (settings->auth.allowed_uids.count > UT_UNIX_ALLOWED_MAX ||
        settings->auth.allowed_gids.count > UT_UNIX_ALLOWED_MAX)
        place->report->error(place->report, at(place, "auth"), "more than %d users or groups",
                             UT_UNIX_ALLOWED_MAX);
}

void ut_otlp_access_check(struct ut_config_report *report, const char *protocol,
                          const struct ut_otlp_access_settings *settings, const char *endpoint)
{
    struct place place = {.report = report, .protocol = protocol};
    if (endpoint == NULL)
        return;
    bool is_unix = ut_otlp_access_is_unix(settings, endpoint);
    if (is_unix)
        check_unix(&place, settings, endpoint);
    else
        check_tcp(&place, settings);
    if (settings->has_auth)
        ut_otlp_auth_check(report, at(&place, "auth"), &settings->auth, is_unix);
}

/* ---- names ---------------------------------------------------------------------------------- */

/* -ENOENT where the text is no number of an id; the greatest one means "none" to the kernel. */
static int read_id(const char *text, uint32_t *ret)
{
    uint64_t id = 0;
    for (const char *c = text; *c != '\0'; c++) {
        if (*c < '0' || *c > '9' || id > UINT32_MAX)
            return -ENOENT;
        id = id * 10 + (uint64_t)(*c - '0');
    }
    *ret = (uint32_t)id;
    return text[0] != '\0' && id < UINT32_MAX ? 0 : -ENOENT;
}

static int find_user(const char *text, uid_t *ret)
{
    char room[ENTRY_BYTES];
    struct passwd entry, *found = NULL;
    if (read_id(text, ret) == 0)
        return 0;
    if (getpwnam_r(text, &entry, room, sizeof(room), &found) != 0 || found == NULL)
        return -ENOENT;
    *ret = found->pw_uid;
    return 0;
}

static int find_group(const char *text, gid_t *ret)
{
    char room[ENTRY_BYTES];
    struct group entry, *found = NULL;
    if (read_id(text, ret) == 0)
        return 0;
    if (getgrnam_r(text, &entry, room, sizeof(room), &found) != 0 || found == NULL)
        return -ENOENT;
    *ret = found->gr_gid;
    return 0;
}

static const char *set_owner(struct ut_unix_place *place,
                             const struct ut_otlp_access_settings *settings)
{
    place->mode = DEFAULT_MODE;
    if (settings->socket_mode != NULL && !read_mode(settings->socket_mode, &place->mode))
        return settings->socket_mode;
    if (settings->socket_owner != NULL && find_user(settings->socket_owner, &place->owner) != 0)
        return settings->socket_owner;
    if (settings->socket_group != NULL && find_group(settings->socket_group, &place->group) != 0)
        return settings->socket_group;
    return NULL;
}

/* Without a list: root, ourselves, and whom the file is given to. */
static void allow_default(struct ut_otlp_access *access)
{
    struct ut_unix_allowed *allowed = &access->allowed;
    allowed->uids[allowed->uid_count++] = 0;
    allowed->uids[allowed->uid_count++] = geteuid();
    if (access->place.owner != (uid_t)-1)
        allowed->uids[allowed->uid_count++] = access->place.owner;
    if (access->place.group != (gid_t)-1)
        allowed->gids[allowed->gid_count++] = access->place.group;
}

/* Returns the name that nobody has, or NULL. */
static const char *allow(struct ut_otlp_access *access, const struct ut_otlp_auth_settings *auth)
{
    struct ut_unix_allowed *allowed = &access->allowed;
    if (auth->allowed_uids.count == 0 && auth->allowed_gids.count == 0)
        allow_default(access);
    for (size_t i = 0; i < auth->allowed_uids.count; i++) {
        const char *text = auth->allowed_uids.items[i];
        if (strcmp(text, "*") == 0)
            allowed->anyone = true;
        else if (find_user(text, &allowed->uids[allowed->uid_count++]) != 0)
            return text;
    }
    for (size_t i = 0; i < auth->allowed_gids.count; i++) {
        if (find_group(auth->allowed_gids.items[i], &allowed->gids[allowed->gid_count++]) != 0)
            return auth->allowed_gids.items[i];
    }
    return NULL;
}

/* ---- the port ------------------------------------------------------------------------------- */

int ut_otlp_access_init(struct ut_otlp_access *access,
                        const struct ut_otlp_access_settings *settings, const char *endpoint,
                        char *error, size_t error_size)
{
    const char *reason;
    *access = (struct ut_otlp_access){0};
    int result = read_place(&access->place, endpoint, &reason);
    if (result != 0) {
        (void)snprintf(error, error_size, "cannot listen on %s: %s", endpoint, reason);
        return result;
    }
    const char *unknown = set_owner(&access->place, settings);
    if (unknown == NULL)
        unknown = allow(access, &settings->auth);
    if (unknown != NULL) {
        (void)snprintf(error, error_size, "%s: no user or group of this host is called \"%s\"",
                       endpoint, unknown);
        return -ENOENT;
    }
    access->has_mount = ut_cgroup_mount_read(&access->mount) == 0;
    return 0;
}

int ut_otlp_access_trust(struct ut_otlp_access *access, const struct ut_strings *uids, char *error,
                         size_t error_size)
{
    struct ut_unix_allowed *forwarders = &access->forwarders;
    for (size_t i = 0; i < uids->count && i < UT_UNIX_ALLOWED_MAX; i++) {
        if (find_user(uids->items[i], &forwarders->uids[forwarders->uid_count]) != 0) {
            (void)snprintf(error, error_size,
                           "undertrace.identity.forwarders.uids: no user of this host is called "
                           "\"%s\"",
                           uids->items[i]);
            return -ENOENT;
        }
        forwarders->uid_count++;
    }
    return 0;
}

bool ut_otlp_access_is_same(const struct ut_otlp_access *a, const struct ut_otlp_access *b)
{
    const struct ut_unix_allowed *x = &a->allowed, *y = &b->allowed;
    return x->anyone == y->anyone && x->uid_count == y->uid_count && x->gid_count == y->gid_count &&
           memcmp(x->uids, y->uids, x->uid_count * sizeof(x->uids[0])) == 0 &&
           memcmp(x->gids, y->gids, x->gid_count * sizeof(x->gids[0])) == 0;
}

void ut_otlp_access_count(struct ut_otlp_access *access, struct ut_metrics *metrics,
                          const char *labels)
{
    static const char *const how[UT_UNIX_PEER_CGROUPS] = {
        [UT_UNIX_PEER_BY_PIDFD] = "pidfd",  [UT_UNIX_PEER_BY_PROC] = "proc",
        [UT_UNIX_PEER_GONE] = "gone",       [UT_UNIX_PEER_REUSED] = "reused",
        [UT_UNIX_PEER_OUTSIDE] = "outside",
    };
    char extended[256];
    (void)snprintf(extended, sizeof(extended), "%s,reason=\"user\"", labels);
    access->refused_users = ut_metrics_counter(
        metrics, "undertrace_receiver_auth_refused_total", extended,
        "Requests, and connections of users, that were refused for want of a right");
    for (int i = 0; i < UT_UNIX_PEER_CGROUPS; i++) {
        (void)snprintf(extended, sizeof(extended), "%s,cgroup=\"%s\"", labels, how[i]);
        access->peers[i] =
            ut_metrics_counter(metrics, "undertrace_receiver_unix_peers_total", extended,
                               "Accepted unix sockets by how the peer's cgroup was found, or not");
    }
}

int ut_otlp_access_admit(struct ut_otlp_access *access, int fd, struct ut_unix_peer *ret)
{
    int error = ut_unix_peer_credentials(ret, fd);
    if (error != 0)
        return error;
    if (!ut_unix_peer_is_allowed(ret, fd, &access->allowed)) {
        ++*access->refused_users;
        return -EACCES;
    }
    ut_unix_peer_find_cgroup(ret, fd, access->has_mount ? &access->mount : NULL);
    ++*access->peers[ret->how];
    return 0;
}
