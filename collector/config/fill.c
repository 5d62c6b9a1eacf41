/* SPDX-License-Identifier: Apache-2.0 */
#include "config/fill.h"

#include <strings.h>

#include "config/nearest.h"
#include "config/scalar.h"

#define SHOWN_MAX 80
#define KEYS_MAX 400

static void *member(void *out, const struct ut_field *field)
{
    return (char *)out + field->offset;
}

static void UT_PRINTF(3, 4)
    report(struct ut_config_fill *fill, struct ut_config_at at, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    ut_config_verror(fill->messages, at, fill->path.text, format, args);
    va_end(args);
}

/* ---- scalars --------------------------------------------------------------------------------- */

/* The words of an enum, "a, b or c". */
static void list_words(char *out, size_t out_size, const char *const *words)
{
    size_t size = 0;
    out[0] = '\0';
    for (; *words != NULL && size < out_size; words++) {
        const char *joint = size == 0 ? "" : words[1] != NULL ? ", " : " or ";
        size += (size_t)snprintf(out + size, out_size - size, "%s%s", joint, *words);
    }
}

/* Reads `text` into the member. Returns NULL or what is wrong (constant, or in `buffer`). */
static const char *read_scalar(struct ut_config_fill *fill, const struct ut_field *field, void *at,
                               const char *text, char buffer[SHOWN_MAX])
{
    switch (field->type) {
    case UT_FIELD_BOOL:
        return ut_scalar_bool(at, text);
    case UT_FIELD_UINT:
        return ut_scalar_uint(at, text);
    case UT_FIELD_BYTES:
        return ut_scalar_bytes(at, text);
    case UT_FIELD_DURATION:
        return ut_scalar_duration(at, text);
    case UT_FIELD_DOUBLE:
        return ut_scalar_double(at, text);
    case UT_FIELD_STRING:
        *(char **)at = ut_config_copy(fill->memory, text, strlen(text));
        return NULL;
    case UT_FIELD_ENUM:
        for (int i = 0; field->words[i] != NULL; i++) {
            if (strcasecmp(field->words[i], text) == 0) {
                *(int *)at = i;
                return NULL;
            }
        }
        size_t size = (size_t)snprintf(buffer, SHOWN_MAX, "expected ");
        list_words(buffer + size, SHOWN_MAX - size, field->words);
        return buffer;
    default:
        return "expected a mapping or a list";
    }
}

static double numeric_value(const struct ut_field *field, const void *at)
{
    if (field->type == UT_FIELD_DOUBLE)
        return *(const double *)at;
    double value = (double)*(const uint64_t *)at;
    return field->type == UT_FIELD_DURATION ? value / 1e9 : value;
}

/* A limit as its author would write it. */
static const char *show_limit(char out[32], enum ut_field_type type, double limit)
{
    if (type == UT_FIELD_DURATION && limit > 0 && limit < 1)
        snprintf(out, 32, "%gms", limit * 1e3);
    else if (type == UT_FIELD_DURATION)
        snprintf(out, 32, "%gs", limit);
    else if (type == UT_FIELD_BYTES && limit >= 1 << 20)
        snprintf(out, 32, "%gMiB", limit / (1 << 20));
    else if (type == UT_FIELD_BYTES && limit >= 1 << 10)
        snprintf(out, 32, "%gKiB", limit / (1 << 10));
    else
        snprintf(out, 32, "%.15g", limit);
    return out;
}

static void check_range(struct ut_config_fill *fill, const struct ut_field *field, const void *at,
                        const struct ut_config_node *node)
{
    bool numeric = field->type == UT_FIELD_UINT || field->type == UT_FIELD_BYTES ||
                   field->type == UT_FIELD_DURATION || field->type == UT_FIELD_DOUBLE;
    if (!numeric || (field->least == 0 && field->most == 0))
        return;
    double value = numeric_value(field, at);
    char least[32], most[32];
    show_limit(least, field->type, field->least);
    show_limit(most, field->type, field->most);
    bool bounded = field->most > field->least;
    if (value < field->least && !bounded)
        report(fill, node->at, "must be at least %s", least);
    else if (value < field->least || (bounded && value > field->most))
        report(fill, node->at, "must be between %s and %s", least, most);
}

static void fill_scalar(struct ut_config_fill *fill, const struct ut_field *field, void *out,
                        const struct ut_config_node *node)
{
    char shown[SHOWN_MAX], buffer[SHOWN_MAX];
    if (node->kind != UT_NODE_SCALAR) {
        report(fill, node->at, "expected a single value, found a %s",
               node->kind == UT_NODE_MAPPING ? "mapping" : "list");
        return;
    }
    if (ut_config_node_is_null(node))
        return; /* nothing behind the colon: the default stays */
    const char *wrong = read_scalar(fill, field, member(out, field), node->text, buffer);
    if (wrong != NULL)
        report(fill, node->at, "%s, found %s", wrong,
               ut_log_quote(shown, sizeof(shown), node->text));
    else
        check_range(fill, field, member(out, field), node);
}

/* ---- lists and pairs ------------------------------------------------------------------------- */

static const char *take_text(struct ut_config_fill *fill, const struct ut_config_node *node)
{
    if (node->kind == UT_NODE_SCALAR)
        return node->text;
    report(fill, node->at, "expected a single value, found a %s",
           node->kind == UT_NODE_MAPPING ? "mapping" : "list");
    return "";
}

static void fill_strings(struct ut_config_fill *fill, struct ut_strings *out,
                         const struct ut_config_node *node)
{
    if (ut_config_node_is_null(node))
        return;
    if (node->kind != UT_NODE_SEQUENCE) {
        report(fill, node->at, "expected a list: [a, b]");
        return;
    }
    out->items = ut_config_alloc(fill->memory, node->count * sizeof(*out->items));
    for (const struct ut_config_node *child = node->first; child != NULL; child = child->next) {
        const char *text = take_text(fill, child);
        out->items[out->count++] = ut_config_copy(fill->memory, text, strlen(text));
    }
}

static void fill_pairs(struct ut_config_fill *fill, struct ut_pairs *out,
                       const struct ut_config_node *node)
{
    if (ut_config_node_is_null(node))
        return;
    if (node->kind != UT_NODE_MAPPING) {
        report(fill, node->at, "expected a mapping of names to texts");
        return;
    }
    out->items = ut_config_alloc(fill->memory, node->count * sizeof(*out->items));
    for (const struct ut_config_node *child = node->first; child != NULL; child = child->next) {
        size_t before = ut_config_path_push(&fill->path, child->key);
        const char *text = take_text(fill, child);
        out->items[out->count++] = (struct ut_pair){
            .key = ut_config_copy(fill->memory, child->key, strlen(child->key)),
            .value = ut_config_copy(fill->memory, text, strlen(text)),
        };
        ut_config_path_pop(&fill->path, before);
    }
}

/* ---- mappings -------------------------------------------------------------------------------- */

/* The depth is that of the tables. */
static void set_defaults(struct ut_config_fill *fill, const struct ut_field *fields, void *out)
{
    char buffer[SHOWN_MAX];
    for (const struct ut_field *field = fields; field->key != NULL; field++) {
        if (field->type == UT_FIELD_MAP)
            set_defaults(fill, field->fields, member(out, field));
        else if (field->fallback != NULL)
            UT_CHECK(read_scalar(fill, field, member(out, field), field->fallback, buffer) == NULL);
    }
}

/* The valid keys, "a, b, c", cut with "…" where there are too many. */
static void list_keys(char *out, size_t out_size, const struct ut_field *fields)
{
    size_t size = 0;
    out[0] = '\0';
    for (; fields->key != NULL; fields++) {
        if (size + strlen(fields->key) + 8 > out_size) {
            snprintf(out + size, out_size - size, ", …");
            return;
        }
        size += (size_t)snprintf(out + size, out_size - size, "%s%s", size == 0 ? "" : ", ",
                                 fields->key);
    }
}

static void report_unknown_key(struct ut_config_fill *fill, const struct ut_field *fields,
                               const struct ut_config_node *node)
{
    struct ut_nearest nearest = {.word = node->key};
    char keys[KEYS_MAX];
    for (const struct ut_field *field = fields; field->key != NULL; field++)
        ut_nearest_offer(&nearest, field->key);
    list_keys(keys, sizeof(keys), fields);
    if (nearest.best != NULL)
        report(fill, node->key_at, "unknown key; did you mean \"%s\"?", nearest.best);
    else if (keys[0] == '\0')
        report(fill, node->key_at, "unknown key; there is nothing to set here");
    else
        report(fill, node->key_at, "unknown key; valid here: %s", keys);
}

static void fill_map(struct ut_config_fill *fill, const struct ut_field *fields, void *out,
                     const struct ut_config_node *node);

static void fill_field(struct ut_config_fill *fill, const struct ut_field *field, void *out,
                       const struct ut_config_node *node)
{
    switch (field->type) {
    case UT_FIELD_STRINGS:
        fill_strings(fill, member(out, field), node);
        return;
    case UT_FIELD_PAIRS:
        fill_pairs(fill, member(out, field), node);
        return;
    case UT_FIELD_MAP:
        if (field->present != UT_FIELD_NO_PRESENT)
            *((bool *)out + field->present) = true;
        fill_map(fill, field->fields, member(out, field), node);
        return;
    default:
        fill_scalar(fill, field, out, node);
    }
}

static void fill_map(struct ut_config_fill *fill, const struct ut_field *fields, void *out,
                     const struct ut_config_node *node)
{
    if (ut_config_node_is_null(node))
        return;
    if (node->kind != UT_NODE_MAPPING) {
        report(fill, node->at, "expected a mapping of keys to values, found a %s",
               node->kind == UT_NODE_SEQUENCE ? "list" : "single value");
        return;
    }
    for (const struct ut_config_node *child = node->first; child != NULL; child = child->next) {
        const struct ut_field *field = fields;
        size_t before = ut_config_path_push(&fill->path, child->key);
        while (field->key != NULL && strcmp(field->key, child->key) != 0)
            field++;
        if (field->key != NULL)
            fill_field(fill, field, out, child);
        else
            report_unknown_key(fill, fields, child);
        ut_config_path_pop(&fill->path, before);
    }
}

void ut_config_fill(struct ut_config_fill *fill, const struct ut_field *fields, void *out,
                    const struct ut_config_node *node)
{
    set_defaults(fill, fields, out);
    fill_map(fill, fields, out, node);
}

void ut_config_fill_some(struct ut_config_fill *fill, const struct ut_field *fields, void *out,
                         const struct ut_config_node *node)
{
    set_defaults(fill, fields, out);
    for (const struct ut_field *field = fields; field->key != NULL; field++) {
        const struct ut_config_node *child = ut_config_node_get(node, field->key);
        if (child == NULL)
            continue;
        size_t before = ut_config_path_push(&fill->path, field->key);
        fill_field(fill, field, out, child);
        ut_config_path_pop(&fill->path, before);
    }
}

/* ---- what a component's own check finds --------------------------------------------------------
 */

/* The place of the dotted `path` below the node, as deep as the file goes. */
static struct ut_config_at find_place(const struct ut_config_check_report *report, const char *path)
{
    struct ut_config_at at = report->at;
    const struct ut_config_node *node = report->node;
    while (*path != '\0' && node != NULL) {
        char key[UT_CONFIG_PATH_MAX];
        size_t size = strcspn(path, ".");
        snprintf(key, sizeof(key), "%.*s", (int)size, path);
        node = ut_config_node_get(node, key);
        if (node != NULL)
            at = node->kind == UT_NODE_SCALAR && path[size] == '\0' ? node->at : node->key_at;
        path += size + (path[size] == '.');
    }
    return at;
}

static void UT_PRINTF(3, 4)
    report_check(struct ut_config_report *base, const char *path, const char *format, ...)
{
    struct ut_config_check_report *report =
        UT_CONTAINER_OF(base, struct ut_config_check_report, report);
    struct ut_config_path full = report->fill->path;
    size_t room = sizeof(full.text) - full.size;
    if (path[0] != '\0')
        snprintf(full.text + full.size, room, "%s%s", full.size != 0 ? "." : "", path);
    va_list args;
    va_start(args, format);
    ut_config_verror(report->fill->messages, find_place(report, path), full.text, format, args);
    va_end(args);
}

void ut_config_check_report_init(struct ut_config_check_report *report, struct ut_config_fill *fill,
                                 const struct ut_config_node *node, struct ut_config_at at)
{
    *report = (struct ut_config_check_report){
        .report = {.error = report_check},
        .fill = fill,
        .node = node,
        .at = at,
    };
}
