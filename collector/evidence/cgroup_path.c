/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shapes, one line each (<64>: hex digits of a container id):
 *
 *   docker/<64>   docker-<64>.scope   k8s.io/<64>   kubepods/…/pod<uid>/<64>
 *   cri-containerd-<64>.scope   …-pod<uid>.slice:cri-containerd:<64>
 *   crio-<64>.scope (not crio-conmon-)   libpod-<64>.scope[/container]
 *   <32 hex>-<n>   (Amazon ECS)          lxc.payload.<name>
 *
 * A pod's uid stands before its containers: `pod<uid>` (also without a QoS level above it), or
 * `kubepods-burstable-pod<uid with _>.slice`; static pods have 32 hex digits. kind and minikube
 * nest all that in a container of the node (`kubelet-kubepods…`).
 */
#include "evidence/cgroup_path.h"

#include <errno.h>

enum { CONTAINER_ID = 64, ECS_ID = 32, UUID = 36 };

struct scan {
    struct ut_cgroup_identity found; /* the innermost container so far */
    char pod_uid[UT_POD_UID_TEXT];   /* the latest on the path */
    size_t unit_end;                 /* of the outermost unit; 0: none */
    unsigned containers;             /* so far */
    bool session;
};

static bool is_hex(ut_slice text)
{
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
    }
    return true;
}

static ut_slice behind(ut_slice text, size_t from)
{
    return ut_slice_of(text.data + from, text.size - from);
}

static bool ends_with(ut_slice text, ut_slice suffix)
{
    return text.size >= suffix.size &&
           ut_slice_equal(behind(text, text.size - suffix.size), suffix);
}

static ut_slice without_suffix(ut_slice text, ut_slice suffix)
{
    return ends_with(text, suffix) ? ut_slice_of(text.data, text.size - suffix.size) : text;
}

static bool is_container_id(ut_slice text)
{
    return text.size == CONTAINER_ID && is_hex(text);
}

static bool is_ecs_id(ut_slice text)
{
    if (text.size < ECS_ID + 2 || text.data[ECS_ID] != '-' ||
        !is_hex(ut_slice_of(text.data, ECS_ID)))
        return false;
    for (size_t i = ECS_ID + 1; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
    }
    return true;
}

/* 8-4-4-4-12 hex digits, whose dashes systemd's slices write as '_'; or 32 hex digits. */
static bool read_uid(char out[UT_POD_UID_TEXT], ut_slice text)
{
    if (text.size != UUID && text.size != 32)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        char c = (char)text.data[i];
        bool dash = text.size == UUID && (i == 8 || i == 13 || i == 18 || i == 23);
        if (dash ? c != '-' && c != '_' : !is_hex(ut_slice_of(&text.data[i], 1)))
            return false;
        out[i] = dash ? '-' : c;
    }
    out[text.size] = '\0';
    return true;
}

static void note_pod(struct scan *scan, ut_slice name)
{
    const ut_slice pod = UT_SLICE("pod");
    if (ut_slice_starts(name, pod) && read_uid(scan->pod_uid, behind(name, pod.size)))
        return;
    if (!ends_with(name, UT_SLICE(".slice")))
        return;
    ut_slice stem = without_suffix(name, UT_SLICE(".slice"));
    for (size_t uid = 32; uid <= UUID; uid += UUID - 32) {
        if (stem.size < uid + pod.size)
            continue;
        ut_slice prefix = ut_slice_of(stem.data, stem.size - uid);
        if (ends_with(prefix, pod) && read_uid(scan->pod_uid, behind(stem, prefix.size)))
            return;
    }
}

struct shape {
    const char *prefix, *runtime;
};

static const struct shape shapes[] = {
    {"docker-", "docker"},
    {"cri-containerd-", "containerd"},
    {"crio-", "cri-o"},
    {"libpod-", "podman"},
};

/* `…:cri-containerd:<64>`, as runc names a cgroup without systemd being there to read it. */
static bool read_colons(struct scan *scan, ut_slice name, ut_slice *id, const char **runtime)
{
    if (name.size < CONTAINER_ID + 2 || name.data[name.size - CONTAINER_ID - 1] != ':')
        return false;
    *id = behind(name, name.size - CONTAINER_ID);
    if (!is_container_id(*id))
        return false;
    ut_slice rest = ut_slice_of(name.data, name.size - CONTAINER_ID - 1);
    size_t colon = rest.size;
    while (colon > 0 && rest.data[colon - 1] != ':')
        colon--;
    ut_slice manager = behind(rest, colon);
    *runtime = ut_slice_equal(manager, UT_SLICE("cri-containerd")) ? "containerd"
               : ut_slice_equal(manager, UT_SLICE("crio"))         ? "cri-o"
                                                                   : "";
    if (colon > 0)
        note_pod(scan, ut_slice_of(rest.data, colon - 1));
    return true;
}

static bool read_prefixed(ut_slice name, ut_slice *id, const char **runtime)
{
    ut_slice stem = without_suffix(name, UT_SLICE(".scope"));
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        ut_slice prefix = ut_slice_str(shapes[i].prefix);
        if (ut_slice_starts(stem, prefix) && is_container_id(behind(stem, prefix.size))) {
            *id = behind(stem, prefix.size);
            *runtime = shapes[i].runtime;
            return true;
        }
    }
    const ut_slice lxc = UT_SLICE("lxc.payload.");
    if (ut_slice_starts(name, lxc) && name.size > lxc.size) {
        *id = behind(name, lxc.size);
        *runtime = "lxc";
        return true;
    }
    return false;
}

static bool read_container(struct scan *scan, ut_slice name, ut_slice parent, ut_slice *id,
                           const char **runtime)
{
    if (is_container_id(name) || is_ecs_id(name)) {
        *id = name;
        *runtime = ut_slice_equal(parent, UT_SLICE("docker"))   ? "docker"
                   : ut_slice_equal(parent, UT_SLICE("k8s.io")) ? "containerd"
                                                                : "";
        return true;
    }
    return read_prefixed(name, id, runtime) || read_colons(scan, name, id, runtime);
}

static void note_component(struct scan *scan, ut_slice name, ut_slice parent, size_t end)
{
    ut_slice id;
    const char *runtime;
    if (read_container(scan, name, parent, &id, &runtime)) {
        scan->found.kind = UT_CGROUP_CONTAINER;
        scan->found.nesting = scan->containers++ + (scan->session || scan->unit_end != 0);
        scan->found.owner_size = end;
        scan->found.container_id = id;
        scan->found.runtime = runtime;
        memcpy(scan->found.pod_uid, scan->pod_uid, sizeof(scan->pod_uid));
        return;
    }
    note_pod(scan, name);
    bool service = ends_with(name, UT_SLICE(".service"));
    bool scope = ends_with(name, UT_SLICE(".scope"));
    if ((service && ut_slice_starts(name, UT_SLICE("user@"))) ||
        (scope && ut_slice_starts(name, UT_SLICE("session-"))) ||
        (scan->unit_end == 0 && ut_slice_equal(name, UT_SLICE("init.scope"))) ||
        (parent.size == 0 && ut_slice_equal(name, UT_SLICE("user.slice"))))
        scan->session = true;
    if ((service || scope) && scan->unit_end == 0)
        scan->unit_end = end;
}

static struct ut_cgroup_identity conclude(const struct scan *scan, size_t path_size)
{
    if (scan->found.kind == UT_CGROUP_CONTAINER)
        return scan->found;
    struct ut_cgroup_identity plain = {.runtime = ""};
    if (scan->session || path_size <= 1)
        return plain;
    if (scan->unit_end != 0) {
        plain.kind = UT_CGROUP_UNIT;
        plain.owner_size = scan->unit_end;
        return plain;
    }
    plain.kind = UT_CGROUP_PLAIN;
    plain.owner_size = path_size;
    memcpy(plain.pod_uid, scan->pod_uid, sizeof(scan->pod_uid));
    return plain;
}

int ut_cgroup_path_parse(struct ut_cgroup_identity *ret, ut_slice path)
{
    if (path.size == 0 || path.data[0] != '/')
        return -EINVAL;
    struct scan scan = {.found = {.runtime = ""}};
    ut_slice parent = {NULL, 0};
    for (size_t begin = 1; begin < path.size;) {
        size_t end = begin;
        while (end < path.size && path.data[end] != '/') {
            if (path.data[end] < ' ' || path.data[end] == 0x7f)
                return -EINVAL;
            end++;
        }
        if (end == begin || end + 1 == path.size)
            return -EINVAL;
        ut_slice name = ut_slice_of(path.data + begin, end - begin);
        note_component(&scan, name, parent, end);
        parent = name;
        begin = end + 1;
    }
    *ret = conclude(&scan, path.size);
    return 0;
}
