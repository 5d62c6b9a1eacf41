/* SPDX-License-Identifier: Apache-2.0 */
/*
 * containerd's messages, and the frames of gRPC that they come in. Pure. They come from a program
 * of the host's root, and are looked at as if they did not: sizes are bounded, texts are taken only
 * if they are valid UTF-8 and fit.
 */
#ifndef UT_EVIDENCE_CONTAINERD_MESSAGES_H
#define UT_EVIDENCE_CONTAINERD_MESSAGES_H

#include <stdbool.h>

#include "base/check.h"
#include "base/slice.h"
#include "evidence/container_names.h"

enum {
    UT_CONTAINERD_MESSAGE_MAX = 1 << 20, /* bytes; one that is larger ends the connection */
    UT_CONTAINERD_REQUEST_MAX = 512,     /* with the prefix of gRPC */
    UT_CONTAINERD_NAMESPACES = 16,       /* that are looked into */
    UT_CONTAINERD_NAMESPACE_TEXT = 77,   /* its names have at most 76 characters */
    UT_CONTAINERD_VERSION_TEXT = 64,
};

/* ---- frames ---------------------------------------------------------------------------------- */

/* Bytes of a response body on their way to whole messages. */
struct ut_containerd_frames {
    uint8_t *data; /* from malloc */
    size_t size, room;
};

/* 0; -EMSGSIZE: a message is too large, or compressed; -ENOMEM. */
int ut_containerd_frames_add(struct ut_containerd_frames *frames, ut_slice bytes) UT_MUST_USE;
/* The first message that is whole, and then the next; valid until bytes are added. `*at` begins
 * with 0. */
bool ut_containerd_frames_next(const struct ut_containerd_frames *frames, size_t *at,
                               ut_slice *ret);
/* Forgets what `at` has passed. */
void ut_containerd_frames_cut(struct ut_containerd_frames *frames, size_t at);
void ut_containerd_frames_done(struct ut_containerd_frames *frames);

/* ---- requests: frame and message; their size ------------------------------------------------- */

size_t ut_containerd_write_empty(uint8_t out[UT_CONTAINERD_REQUEST_MAX]);
size_t ut_containerd_write_get(uint8_t out[UT_CONTAINERD_REQUEST_MAX], const char *id);
/* Events of containers. */
size_t ut_containerd_write_subscribe(uint8_t out[UT_CONTAINERD_REQUEST_MAX]);

/* ---- responses: 0 or -EBADMSG ------------------------------------------------------------------
 */

int ut_containerd_read_version(char ret[UT_CONTAINERD_VERSION_TEXT], ut_slice message) UT_MUST_USE;

struct ut_containerd_namespaces {
    size_t count;
    char names[UT_CONTAINERD_NAMESPACES][UT_CONTAINERD_NAMESPACE_TEXT];
};

/* Where it is not there yet and there is room. */
void ut_containerd_add_namespace(struct ut_containerd_namespaces *namespaces, const char *name);
int ut_containerd_read_namespaces(struct ut_containerd_namespaces *ret,
                                  ut_slice message) UT_MUST_USE;
/* A GetContainerResponse; the state is KNOWN. */
int ut_containerd_read_container(struct ut_container_names *ret, ut_slice message) UT_MUST_USE;

struct ut_containerd_event {
    char namespace_name[UT_CONTAINERD_NAMESPACE_TEXT];
    char id[128]; /* "": of no container, or not told in full */
    bool is_deletion;
};

int ut_containerd_read_event(struct ut_containerd_event *ret, ut_slice message) UT_MUST_USE;

#endif
