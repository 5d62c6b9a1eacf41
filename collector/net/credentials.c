/* SPDX-License-Identifier: Apache-2.0 */
#include "net/credentials.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define LOOK_NS UT_NS_PER_S

enum { SECRET_ROOM = UT_AUTH_SECRET_MAX + 2 };

static bool is_same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* ---- values ---------------------------------------------------------------------------------- */

static bool is_printable(const char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text <= ' ' || (unsigned char)*text > '~')
            return false;
    }
    return true;
}

/* Takes "scheme secret" as the value; an empty scheme leaves the secret alone. */
static void set_value(struct ut_credentials *credentials, const char *scheme, const char *secret)
{
    unsigned next = (credentials->newest + 1) % UT_CREDENTIALS_KEPT;
    char *value = credentials->values[next];
    bool alone = scheme == NULL || scheme[0] == '\0';
    (void)snprintf(value, UT_CREDENTIALS_VALUE, "%s%s%s", alone ? "" : scheme, alone ? "" : " ",
                   secret);
    credentials->newest = next;
    credentials->value = value;
}

/* The token in the first line of the file; NULL, or what is wrong with it. */
static const char *read_token(const char *path, char out[SECRET_ROOM], struct stat *ret)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return strerror(errno);
    ssize_t size =
        fstat(fd, ret) == 0 && S_ISREG(ret->st_mode) ? read(fd, out, SECRET_ROOM - 1) : -1;
    close(fd);
    if (size < 0)
        return "it is not a file that can be read";
    out[size] = '\0';
    out[strcspn(out, "\r\n")] = '\0';
    if (out[0] == '\0')
        return "its first line is empty";
    if (strlen(out) > UT_AUTH_SECRET_MAX)
        return "its first line is too long for a token";
    return is_printable(out) ? NULL : "its first line has characters that a token cannot have";
}

static const char *load_file(struct ut_credentials *credentials)
{
    char token[SECRET_ROOM];
    struct stat now = {0};
    const char *wrong = read_token(credentials->auth.file, token, &now);
    if (wrong == NULL) {
        credentials->used = credentials->seen = now;
        set_value(credentials, credentials->auth.scheme, token);
    }
    OPENSSL_cleanse(token, sizeof(token));
    return wrong;
}

static void set_basic(struct ut_credentials *credentials)
{
    char plain[SECRET_ROOM], coded[UT_CREDENTIALS_VALUE - sizeof("Basic ")];
    int size =
        snprintf(plain, sizeof(plain), "%s:%s", credentials->auth.user, credentials->auth.password);
    (void)EVP_EncodeBlock((unsigned char *)coded, (const unsigned char *)plain, size);
    set_value(credentials, "Basic", coded);
    OPENSSL_cleanse(plain, sizeof(plain));
}

/* ---- looking again --------------------------------------------------------------------------- */

static void reload(struct ut_credentials *credentials, const struct stat *now)
{
    char shown[256];
    const char *wrong = load_file(credentials);
    (void)ut_log_quote(shown, sizeof(shown), credentials->auth.file);
    if (wrong == NULL) {
        ut_log_cause(credentials->worker->log, UT_LOG_INFO, "export_credentials_replaced",
                     credentials->id, "exporter=%s file=%s", credentials->id, shown);
        if (credentials->changed != NULL)
            credentials->changed(credentials);
        return;
    }
    credentials->used = credentials->seen = *now;
    ut_log_cause(credentials->worker->log, UT_LOG_ERROR, "export_credentials_refused",
                 credentials->id,
                 "exporter=%s file=%s reason=\"%s\" text=\"the former ones stay in force\"",
                 credentials->id, shown, wrong);
}

static void look_at(struct ut_credentials *credentials, bool believe)
{
    struct stat now = {0};
    if (stat(credentials->auth.file, &now) != 0)
        now = (struct stat){0};
    bool changed = !is_same_file(&now, &credentials->used);
    if (changed && (believe || is_same_file(&now, &credentials->seen)))
        reload(credentials, &now);
    else
        credentials->seen = now;
    ut_timer_set(&credentials->worker->timers, &credentials->look,
                 ut_worker_now(credentials->worker) + LOOK_NS);
}

static void on_look(struct ut_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    look_at(UT_CONTAINER_OF(timer, struct ut_credentials, look), false);
}

/* ---- life ------------------------------------------------------------------------------------ */

int ut_credentials_start(struct ut_credentials *credentials, struct ut_worker *worker,
                         const char *id, const struct ut_client_extension *extension,
                         char error[UT_CREDENTIALS_ERROR])
{
    const struct ut_client_auth *auth = &credentials->auth;
    const char *wrong = NULL;
    if (!ut_client_auth_of(&credentials->auth, extension->type, extension->config)) {
        (void)snprintf(error, UT_CREDENTIALS_ERROR,
                       "the extension \"%.64s\" has nothing to show a backend: client_auth is "
                       "missing",
                       extension->id);
        return -EINVAL;
    }
    credentials->worker = worker;
    credentials->id = id;
    credentials->look = (struct ut_timer){.fire = on_look};
    for (size_t i = 0; i < sizeof(credentials->name) - 1 && auth->header[i] != '\0'; i++)
        credentials->name[i] = (char)tolower((unsigned char)auth->header[i]);
    if (auth->kind == UT_AUTH_BASIC)
        set_basic(credentials);
    else if (auth->file == NULL)
        set_value(credentials, auth->scheme, auth->token);
    else
        wrong = load_file(credentials);
    if (wrong != NULL) {
        (void)snprintf(error, UT_CREDENTIALS_ERROR, "%.120s: %.64s", auth->file, wrong);
        return -EINVAL;
    }
    if (auth->file != NULL)
        ut_timer_set(&worker->timers, &credentials->look, ut_worker_now(worker) + LOOK_NS);
    return 0;
}

void ut_credentials_reread(struct ut_credentials *credentials)
{
    if (credentials->worker != NULL && credentials->auth.file != NULL)
        look_at(credentials, true);
}

void ut_credentials_stop(struct ut_credentials *credentials)
{
    if (credentials->worker == NULL)
        return;
    ut_timer_cancel(&credentials->worker->timers, &credentials->look);
    OPENSSL_cleanse(credentials->values, sizeof(credentials->values));
}
