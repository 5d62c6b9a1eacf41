/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a cgroup v2 path says about who owns it. Pure: a path in, slices of it out.
 *
 * The workload of a cgroup is, in this order:
 *   1. the innermost container on the path, by the shapes that runtimes use (cgroup_path.c); what
 *      lies below it belongs to it, also units of an init system inside;
 *   2. nobody, for the root, for `init.scope` and for user sessions;
 *   3. the outermost systemd unit (`*.service`, `*.scope`), with what lies below it;
 *   4. the cgroup itself: one that no runtime and no init system made is its own workload, and
 * those below it are others.
 */
#ifndef UT_EVIDENCE_CGROUP_PATH_H
#define UT_EVIDENCE_CGROUP_PATH_H

#include "base/check.h"
#include "base/slice.h"

enum ut_cgroup_kind {
    UT_CGROUP_UNOWNED,
    UT_CGROUP_PLAIN,
    UT_CGROUP_UNIT,
    UT_CGROUP_CONTAINER,
};

#define UT_POD_UID_TEXT 37 /* bytes, with the terminator */

struct ut_cgroup_identity {
    enum ut_cgroup_kind kind;
    unsigned nesting;      /* containers, units and user sessions that a container lies in */
    size_t owner_size;     /* the workload is named by so many bytes of the path */
    ut_slice container_id; /* of the path; empty: none */
    const char *runtime;   /* "docker", "containerd", "cri-o", "podman", "lxc"; "": not told */
    char pod_uid[UT_POD_UID_TEXT]; /* with '-' as the API server writes it; "": none */
};

/* `path` counts from the hierarchy's root: "/", "/a/b". 0, or -EINVAL for what is no such path
 * (not absolute, an empty component, a control character); `ret` is untouched then. */
int ut_cgroup_path_parse(struct ut_cgroup_identity *ret, ut_slice path) UT_MUST_USE;

#endif
