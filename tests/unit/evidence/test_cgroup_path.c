/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>

#include "evidence/cgroup_path.h"

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define OTHER "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
#define UID "01234567-89ab-cdef-0123-456789abcdef"
#define UID_ "01234567_89ab_cdef_0123_456789abcdef"
#define STATIC_UID "0123456789abcdef0123456789abcdef"

static const struct row {
    const char *path;
    enum ut_cgroup_kind kind;
    const char *owner; /* NULL: the whole path */
    const char *container_id, *pod_uid, *runtime;
} rows[] = {
    {"/", UT_CGROUP_UNOWNED, "", "", "", ""},
    {"/init.scope", UT_CGROUP_UNOWNED, "", "", "", ""},
    {"/user.slice", UT_CGROUP_UNOWNED, "", "", "", ""},
    {"/user.slice/user-1000.slice/session-3.scope", UT_CGROUP_UNOWNED, "", "", "", ""},
    {"/user.slice/user-1000.slice/user@1000.service/app.slice/foo.service", UT_CGROUP_UNOWNED, "",
     "", "", ""},
    {"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" ID ".scope/container",
     UT_CGROUP_CONTAINER,
     "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" ID ".scope", ID, "",
     "podman"},
    {"/undertrace-demo/ledger", UT_CGROUP_PLAIN, NULL, "", "", ""},
    {"/system.slice/nginx.service", UT_CGROUP_UNIT, NULL, "", "", ""},
    {"/system.slice/nginx.service/worker/1", UT_CGROUP_UNIT, "/system.slice/nginx.service", "", "",
     ""},
    {"/system.slice/my\\x2dapp.service", UT_CGROUP_UNIT, NULL, "", "", ""},
    {"/machine.slice/machine-qemu.scope/libvirt", UT_CGROUP_UNIT,
     "/machine.slice/machine-qemu.scope", "", "", ""},
    {"/docker/" ID, UT_CGROUP_CONTAINER, NULL, ID, "", "docker"},
    {"/docker/" ID "/init/x.service", UT_CGROUP_CONTAINER, "/docker/" ID, ID, "", "docker"},
    {"/system.slice/docker-" ID ".scope", UT_CGROUP_CONTAINER, NULL, ID, "", "docker"},
    {"/k8s.io/" ID, UT_CGROUP_CONTAINER, NULL, ID, "", "containerd"},
    {"/kubepods/pod" UID "/" ID, UT_CGROUP_CONTAINER, NULL, ID, UID, ""},
    {"/kubepods/burstable/pod" UID "/" ID, UT_CGROUP_CONTAINER, NULL, ID, UID, ""},
    {"/kubepods/besteffort/pod" STATIC_UID "/" ID, UT_CGROUP_CONTAINER, NULL, ID, STATIC_UID, ""},
    {"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" UID_
     ".slice/cri-containerd-" ID ".scope",
     UT_CGROUP_CONTAINER, NULL, ID, UID, "containerd"},
    {"/kubepods.slice/kubepods-pod" UID_ ".slice/crio-" ID ".scope/x", UT_CGROUP_CONTAINER,
     "/kubepods.slice/kubepods-pod" UID_ ".slice/crio-" ID ".scope", ID, UID, "cri-o"},
    {"/kubepods.slice/kubepods-pod" STATIC_UID ".slice/crio-" ID ".scope", UT_CGROUP_CONTAINER,
     NULL, ID, STATIC_UID, "cri-o"},
    {"/kubepods.slice/kubepods-pod" UID_ ".slice/crio-conmon-" ID ".scope", UT_CGROUP_UNIT, NULL,
     "", "", ""},
    {"/system.slice/containerd.service/kubepods-burstable-pod" UID_ ".slice:cri-containerd:" ID,
     UT_CGROUP_CONTAINER, NULL, ID, UID, "containerd"},
    {"/kubepods-besteffort-pod" UID_ ".slice:crio:" ID, UT_CGROUP_CONTAINER, NULL, ID, UID,
     "cri-o"},
    {"/machine.slice/libpod-" ID ".scope", UT_CGROUP_CONTAINER, NULL, ID, "", "podman"},
    {"/libpod_parent/libpod-" ID, UT_CGROUP_CONTAINER, NULL, ID, "", "podman"},
    {"/ecs/task/" STATIC_UID "-1234567890", UT_CGROUP_CONTAINER, NULL, STATIC_UID "-1234567890", "",
     ""},
    {"/lxc.payload.web", UT_CGROUP_CONTAINER, NULL, "web", "", "lxc"},
    {"/lxc.payload.web/system.slice/nginx.service", UT_CGROUP_CONTAINER, "/lxc.payload.web", "web",
     "", "lxc"},
    {"/docker/" OTHER "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/"
     "kubelet-kubepods-burstable-pod" UID_ ".slice/cri-containerd-" ID ".scope",
     UT_CGROUP_CONTAINER, NULL, ID, UID, "containerd"},
    {"/docker/" OTHER "/system.slice/kubelet.service", UT_CGROUP_CONTAINER, "/docker/" OTHER, OTHER,
     "", "docker"},
    /* What only looks like one. */
    {"/docker/0123456789ab", UT_CGROUP_PLAIN, NULL, "", "", ""},
    {"/docker-0123.scope", UT_CGROUP_UNIT, NULL, "", "", ""},
    {"/kubepods/pod0123", UT_CGROUP_PLAIN, NULL, "", "", ""},
    {"/kubepods/pod" UID, UT_CGROUP_PLAIN, NULL, "", UID, ""},
    {"/lxc.payload.", UT_CGROUP_PLAIN, NULL, "", "", ""},
    {"/x/" STATIC_UID "-12a", UT_CGROUP_PLAIN, NULL, "", "", ""},
};

Test(cgroup_path, every_shape_names_its_owner)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *row = &rows[i];
        struct ut_cgroup_identity found;
        ut_slice path = ut_slice_str(row->path);
        ut_slice owner = row->owner != NULL ? ut_slice_str(row->owner) : path;
        cr_assert_eq(ut_cgroup_path_parse(&found, path), 0, "%s", row->path);
        cr_expect_eq(found.kind, row->kind, "%s: %d", row->path, (int)found.kind);
        cr_expect(ut_slice_equal(ut_slice_of(path.data, found.owner_size), owner), "%s", row->path);
        cr_expect(ut_slice_equal(found.container_id, ut_slice_str(row->container_id)), "%s",
                  row->path);
        cr_expect_str_eq(found.pod_uid, row->pod_uid, "%s", row->path);
        cr_expect_str_eq(found.runtime, row->runtime, "%s: %s", row->path, found.runtime);
    }
}

Test(cgroup_path, what_is_no_path_is_refused)
{
    static const char *const bad[] = {"", "a/b", "//", "/a//b", "/a/", "/a\nb", "/a\x7f"};
    struct ut_cgroup_identity found;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_expect_eq(ut_cgroup_path_parse(&found, ut_slice_str(bad[i])), -EINVAL, "row %zu", i);
}
