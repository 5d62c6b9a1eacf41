/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence/identity.h"

#include "model/attributes.h"
#include "otlp/encode.h"

static void add(struct ut_identity *identity, const char *key, const char *value)
{
    if (value[0] == '\0')
        return;
    identity->keys[identity->count] = ut_slice_str(key);
    identity->values[identity->count++] = ut_slice_str(value);
}

void ut_identity_of(struct ut_identity *ret, const struct ut_tables *tables,
                    const struct ut_workload *workload)
{
    const struct ut_container_names *names = &workload->names;
    bool of_containerd = names->state == UT_NAMES_KNOWN;
    ret->count = 0;
    add(ret, UT_ATTR_CONTAINER_ID, workload->container_id);
    add(ret, UT_ATTR_POD_UID, workload->pod_uid);
    add(ret, UT_ATTR_CGROUP_PATH, workload->shown_path);
    /* One that keeps its containers in containerd, as Docker does, says so in the path. */
    add(ret, UT_ATTR_RUNTIME_NAME,
        workload->runtime[0] == '\0' && of_containerd ? "containerd" : workload->runtime);
    if (!of_containerd)
        return;
    add(ret, UT_ATTR_CONTAINER_NAME, names->name);
    add(ret, UT_ATTR_CONTAINER_IMAGE, names->image);
    add(ret, UT_ATTR_POD_NAME, names->pod);
    add(ret, UT_ATTR_POD_NAMESPACE, names->pod_namespace);
    add(ret, UT_ATTR_POD_CONTAINER, names->pod_container);
    if (workload->runtime[0] == '\0' || strcmp(workload->runtime, "containerd") == 0)
        add(ret, UT_ATTR_RUNTIME_VERSION, tables->containerd_version);
    add(ret, UT_ATTR_CONTAINERD_VERSION, tables->containerd_version);
}

ut_slice ut_identity_encode(const struct ut_identity *identity, struct ut_body *body)
{
    struct ut_encoder out;
    ut_encoder_init(&out, &body->arena);
    for (size_t i = 0; i < identity->count; i++)
        ut_encode_string(&out, UT_FIELD_RESOURCE_ATTRIBUTES, (const char *)identity->keys[i].data,
                         identity->values[i]);
    return ut_encoder_bytes(&out);
}
