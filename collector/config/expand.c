/* SPDX-License-Identifier: Apache-2.0 */
#include "config/expand.h"

#include <ctype.h>
#include <stdlib.h>

#include "config/path.h"

#define VALUE_MAX ((size_t)64 << 10) /* bytes of one expanded scalar */

struct expansion {
    ut_config_env env;
    struct ut_config_memory *memory;
    struct ut_config_messages *messages;
    struct ut_config_path path;
};

struct text {
    char *data;
    size_t size, capacity;
    bool too_long;
};

static void append(struct text *text, const char *data, size_t size)
{
    if (text->size + size > VALUE_MAX) {
        text->too_long = true;
        return;
    }
    if (text->size + size > text->capacity) {
        text->capacity = (text->size + size) * 2;
        text->data = realloc(text->data, text->capacity);
        UT_CHECK_MEMORY(text->data != NULL);
    }
    if (size != 0)
        memcpy(text->data + text->size, data, size);
    text->size += size;
}

static bool is_name(const char *name, size_t size)
{
    if (size == 0 || isdigit((unsigned char)name[0]))
        return false;
    for (size_t i = 0; i < size; i++) {
        if (!isalnum((unsigned char)name[i]) && name[i] != '_')
            return false;
    }
    return true;
}

/* Appends the value of what stands within the braces: `NAME`, `env:NAME`, each with `:-default`. */
static void append_variable(struct expansion *expansion, const struct ut_config_node *node,
                            struct text *out, const char *inside, size_t size)
{
    static const char prefix[] = "env:";
    char shown[80];
    char *name = ut_config_copy(expansion->memory, inside, size);
    ut_log_quote(shown, sizeof(shown), name);
    if (strncmp(name, prefix, sizeof(prefix) - 1) == 0)
        name += sizeof(prefix) - 1;
    char *fallback = strstr(name, ":-");
    size_t name_size = fallback != NULL ? (size_t)(fallback - name) : strlen(name);
    if (!is_name(name, name_size)) {
        ut_config_error(expansion->messages, node->at, expansion->path.text,
                        "${%s} is not understood: write ${env:NAME} or ${env:NAME:-default}, and "
                        "$$ for a plain $",
                        shown);
        return;
    }
    name[name_size] = '\0';
    const char *value = expansion->env(name);
    if (value == NULL || (value[0] == '\0' && fallback != NULL))
        value = fallback != NULL ? fallback + 2 : NULL;
    if (value == NULL) {
        ut_config_notice(expansion->messages, node->at, expansion->path.text,
                         "the environment variable %s is not set; an empty text takes its place",
                         name);
        return;
    }
    append(out, value, strlen(value));
}

static void expand_scalar(struct expansion *expansion, struct ut_config_node *node)
{
    struct text out = {.data = NULL};
    const char *at = node->text;
    for (const char *dollar; (dollar = strchr(at, '$')) != NULL;) {
        append(&out, at, (size_t)(dollar - at));
        at = dollar + 1;
        if (*at == '$') {
            append(&out, "$", 1);
            at++;
        } else if (*at == '{') {
            const char *end = strchr(at, '}');
            if (end == NULL) {
                ut_config_error(expansion->messages, node->at, expansion->path.text,
                                "\"${\" without \"}\"; write $$ for a plain $");
                free(out.data);
                return;
            }
            append_variable(expansion, node, &out, at + 1, (size_t)(end - at - 1));
            at = end + 1;
        } else {
            append(&out, "$", 1);
        }
    }
    append(&out, at, strlen(at));
    if (out.too_long)
        ut_config_error(expansion->messages, node->at, expansion->path.text,
                        "longer than %zu bytes after expansion", VALUE_MAX);
    else
        node->text = ut_config_copy(expansion->memory, out.data, out.size);
    free(out.data);
}

/* The depth is bounded by the tree's. */
static void expand_node(struct expansion *expansion, struct ut_config_node *node)
{
    if (node->kind == UT_NODE_SCALAR) {
        if (strchr(node->text, '$') != NULL)
            expand_scalar(expansion, node);
        return;
    }
    for (struct ut_config_node *child = node->first; child != NULL; child = child->next) {
        size_t size = child->key != NULL ? ut_config_path_push(&expansion->path, child->key)
                                         : expansion->path.size;
        expand_node(expansion, child);
        ut_config_path_pop(&expansion->path, size);
    }
}

void ut_config_expand(struct ut_config_node *root, ut_config_env env,
                      struct ut_config_memory *memory, struct ut_config_messages *messages)
{
    struct expansion expansion = {.env = env, .memory = memory, .messages = messages};
    expand_node(&expansion, root);
}
