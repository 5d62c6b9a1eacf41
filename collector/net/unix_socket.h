/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening unix sockets: at a path, or abstract (unix(7)).
 *
 * The file is made with no more rights than its owner's, gets owner, group and mode, in this order,
 * and only then is listened on, so it is never more open than asked. A socket file that nobody
 * listens on gives way; one in use, and whatever is no socket, is left alone and is an error.
 */
#ifndef UT_NET_UNIX_SOCKET_H
#define UT_NET_UNIX_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/check.h"

#define UT_UNIX_PATH 108 /* bytes of sun_path, with the terminator of a path */

struct ut_unix_place {
    char path[UT_UNIX_PATH]; /* of an abstract socket its name, without '@' */
    bool is_abstract;
    /* Of the file. */
    mode_t mode;
    uid_t owner; /* (uid_t)-1: the process's own */
    gid_t group; /* (gid_t)-1: likewise */
};

/* The file that was made, so that nobody else's is removed. */
struct ut_unix_file {
    dev_t device;
    ino_t inode; /* 0: there is none */
};

/* Whether it names a unix socket: "unix:///path", "unix:/path", "unix:@name",
 * "unix-abstract:name". */
bool ut_unix_is_endpoint(const char *endpoint);
/* Reads one; mode 0600, the process's own. 0, or -EINVAL with what is wrong in `*ret_error`, a
 * constant text. */
int ut_unix_place_parse(struct ut_unix_place *ret, const char *endpoint,
                        const char **ret_error) UT_MUST_USE;

/* The listening descriptor (non-blocking), or a negative errno with the reason in `error`.
 * -EADDRINUSE: somebody listens there. The folder is made (0755) where it is missing. */
int ut_unix_listen(const struct ut_unix_place *place, struct ut_unix_file *ret_file, char *error,
                   size_t error_size) UT_MUST_USE;
/* Removes the file if it is still the one that was made. */
void ut_unix_remove(const struct ut_unix_place *place, const struct ut_unix_file *file);

#endif
