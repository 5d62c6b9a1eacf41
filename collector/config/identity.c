/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pattern is a path of the cgroup v2 tree as the kernel shows it. '*' stays within one name, so
 * that nothing below a trusted workload is trusted by accident.
 */
#include "config/identity.h"

#include <fnmatch.h>

#include "config/sections.h"

static const struct ut_field forwarders_fields[] = {
    {.key = "uids",
     .type = UT_FIELD_STRINGS,
     .offset = offsetof(struct ut_config_identity, forwarders.uids)},
    {.key = "cert_names",
     .type = UT_FIELD_STRINGS,
     .offset = offsetof(struct ut_config_identity, forwarders.cert_names)},
    {.key = "workloads",
     .type = UT_FIELD_STRINGS,
     .offset = offsetof(struct ut_config_identity, forwarders.workloads)},
    UT_FIELD_END,
};

static const char *const trust_words[] = {"none", "forwarders", "remote", NULL};

const struct ut_field ut_config_identity_fields[] = {
    {.key = "forwarders",
     .type = UT_FIELD_MAP,
     .offset = 0,
     .fields = forwarders_fields,
     .present = UT_FIELD_NO_PRESENT},
    {.key = "trust_claims",
     .type = UT_FIELD_ENUM,
     .offset = offsetof(struct ut_config_identity, trust_claims),
     .fallback = "none",
     .words = trust_words},
    {.key = "containerd",
     .type = UT_FIELD_STRING,
     .offset = offsetof(struct ut_config_identity, containerd),
     .fallback = "auto"},
    UT_FIELD_END,
};

bool ut_config_identity_has_workload(const struct ut_config_identity *identity, const char *path)
{
    for (size_t i = 0; i < identity->forwarders.workloads.count; i++) {
        if (fnmatch(identity->forwarders.workloads.items[i], path, FNM_PATHNAME | FNM_NOESCAPE) ==
            0)
            return true;
    }
    return false;
}

/* ---- what the table cannot express ---------------------------------------------------------- */

static bool is_path(const char *text)
{
    return text[0] == '/' && text[1] != '\0';
}

static bool is_somebody(const char *text)
{
    return text[0] != '\0' && strcmp(text, "*") != 0;
}

/* One kind of forwarders: the list at `key`, each of whose entries has to be `fine`. */
struct kind {
    const char *key, *expected;
    bool (*fine)(const char *text);
};

static void check_kind(struct ut_config_reader *reader, const struct ut_config_node *forwarders,
                       const struct kind *kind)
{
    const struct ut_config_node *list = ut_config_node_get(forwarders, kind->key);
    if (list == NULL || list->kind != UT_NODE_SEQUENCE)
        return;
    size_t before = ut_config_path_push(&reader->fill.path, kind->key);
    if (list->count > UT_IDENTITY_FORWARDERS_MAX)
        ut_config_report_at(reader, list->at, "more than %d", UT_IDENTITY_FORWARDERS_MAX);
    for (const struct ut_config_node *item = list->first; item != NULL; item = item->next) {
        if (item->kind == UT_NODE_SCALAR && !kind->fine(item->text))
            ut_config_report_at(reader, item->at, "expected %s", kind->expected);
    }
    ut_config_path_pop(&reader->fill.path, before);
}

static void check_containerd(struct ut_config_reader *reader, const struct ut_config_node *node)
{
    static const char scheme[] = "unix:///";
    const char *value = reader->config->program.identity.containerd;
    bool is_path = strncmp(value, scheme, sizeof(scheme) - 1) == 0 &&
                   strlen(value) > sizeof(scheme) - 1 && strlen(value) < 100;
    if (is_path || strcmp(value, "auto") == 0 || strcmp(value, "off") == 0)
        return;
    size_t before = ut_config_path_push(&reader->fill.path, "containerd");
    ut_config_report_at(reader, node != NULL ? node->at : (struct ut_config_at){0, 0},
                        "expected auto, off, or its socket as unix:///absolute/path (shorter than "
                        "100 bytes)");
    ut_config_path_pop(&reader->fill.path, before);
}

void ut_config_check_identity(struct ut_config_reader *reader)
{
    static const struct kind kinds[] = {
        {"uids", "a user's number or name; nobody may speak for everybody", is_somebody},
        {"cert_names", "a name in a certificate; nobody may speak for everybody", is_somebody},
        {"workloads", "the path of a cgroup: \"/system.slice/otelcol.service\"", is_path},
    };
    const struct ut_config_node *node = ut_config_node_get(reader->root, "undertrace");
    node = ut_config_node_get(node, "identity");
    size_t before = ut_config_path_push(&reader->fill.path, "undertrace");
    ut_config_path_push(&reader->fill.path, "identity");
    check_containerd(reader, ut_config_node_get(node, "containerd"));
    node = ut_config_node_get(node, "forwarders");
    ut_config_path_push(&reader->fill.path, "forwarders");
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        check_kind(reader, node, &kinds[i]);
    ut_config_path_pop(&reader->fill.path, before);
}

static bool watches_kernel(const struct ut_config *config)
{
    for (size_t i = 0; i < config->receivers.count; i++) {
        const struct ut_config_component *receiver = &config->receivers.items[i];
        if (receiver->uses != 0 && receiver->type->needs_processor != NULL)
            return true;
    }
    return false;
}

void ut_config_cross_check_identity(struct ut_config_reader *reader)
{
    const struct ut_config_identity *identity = &reader->config->program.identity;
    const struct ut_config_node *node = ut_config_node_get(reader->root, "undertrace");
    node = ut_config_node_get(node, "identity");
    if (watches_kernel(reader->config))
        return;
    if (identity->forwarders.workloads.count > 0)
        ut_config_notice(reader->messages, ut_config_node_place(node),
                         "undertrace.identity.forwarders.workloads",
                         "nobody is trusted by it: workloads are known only to a program that "
                         "watches the kernel, and no pipeline does");
    if (identity->trust_claims != UT_TRUST_NO_CLAIMS)
        ut_config_notice(reader->messages, ut_config_node_place(node),
                         "undertrace.identity.trust_claims",
                         "it changes nothing: there is no evidence to join without a pipeline "
                         "that watches the kernel");
}
