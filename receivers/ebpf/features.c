/* SPDX-License-Identifier: Apache-2.0 */
#include "features.h"

#include <bpf/btf.h>
#include <string.h>

/* The value of an enumerator in one of the types from `first` up to `last`; `fallback` where there
 * is none of that name. */
static uint32_t enumerator(const struct btf *btf, uint32_t first, uint32_t last, const char *name,
                           uint32_t fallback)
{
    for (uint32_t id = first; id <= last; id++) {
        const struct btf_type *type = btf__type_by_id(btf, id);
        if (!btf_is_enum(type))
            continue;
        const struct btf_enum *values = btf_enum(type);
        for (int i = 0; i < btf_vlen(type); i++) {
            if (strcmp(btf__name_by_offset(btf, values[i].name_off), name) == 0)
                return (uint32_t)values[i].val;
        }
    }
    return fallback;
}

static bool has_helper(const struct btf *btf, const char *name)
{
    int id = btf__find_by_name_kind(btf, "bpf_func_id", BTF_KIND_ENUM);
    return id > 0 && enumerator(btf, (uint32_t)id, (uint32_t)id, name, 0) != 0;
}

/* The bit of an allocation's flag. They were given names by 772dd0342727 ("mm: enumerate all gfp
 * flags", 6.9), in a type without one, so that CO-RE cannot find them. */
static uint32_t flag(const struct btf *btf, const char *name, uint32_t fallback)
{
    return UINT32_C(1) << enumerator(btf, 1, btf__type_cnt(btf) - 1, name, fallback);
}

/* Arguments of a tracepoint, the first of which is the kernel's own; 0: there is none. */
static int arguments(const struct btf *btf, const char *tracepoint)
{
    int id = btf__find_by_name_kind(btf, tracepoint, BTF_KIND_TYPEDEF);
    const struct btf_type *type = id > 0 ? btf__type_by_id(btf, (uint32_t)id) : NULL;
    if (type != NULL)
        type = btf__type_by_id(btf, type->type); /* a pointer to the prototype */
    if (type != NULL)
        type = btf__type_by_id(btf, type->type);
    return type != NULL && btf_is_func_proto(type) ? btf_vlen(type) : 0;
}

void ut_ebpf_features_read(struct ut_ebpf_features *ret)
{
    struct btf *btf = btf__load_vmlinux_btf();
    *ret = (struct ut_ebpf_features){.typed_arguments = true,
                                     .socket_storage = true,
                                     .socket_cookies = true,
                                     .droppers = true,
                                     .sends = true,
                                     .victims = true};
    if (btf == NULL)
        return;
    ret->charged_flags = flag(btf, "___GFP_MOVABLE_BIT", 3) | flag(btf, "___GFP_ACCOUNT_BIT", 22);
    ret->socket_storage = has_helper(btf, "BPF_FUNC_sock_from_file");
    ret->socket_cookies = has_helper(btf, "BPF_FUNC_check_mtu");
    ret->droppers = arguments(btf, "btf_trace_kfree_skb") > 4;
    ret->sends = arguments(btf, "btf_trace_tcp_sendmsg_locked") > 2;
    ret->victims = arguments(btf, "btf_trace_mark_victim") > 2;
    if (!has_helper(btf, "BPF_FUNC_skc_to_tcp_sock"))
        ut_ebpf_features_untyped(ret);
    btf__free(btf);
}

void ut_ebpf_features_untyped(struct ut_ebpf_features *features)
{
    features->typed_arguments = features->socket_storage = features->socket_cookies = false;
}
