/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libfyaml's event stream into our own tree. Events, not its document, because an alias, an anchor
 * or a tag is then refused where it stands, before anything is resolved or copied.
 *
 * Invariant: `open[depth - 1]` is the collection that is being filled; in a mapping `key` holds the
 * key whose value comes next.
 */
#include "config/yaml.h"

#include <libfyaml.h>

#include "config/path.h"

struct reader {
    struct fy_parser *parser;
    struct ut_config_memory *memory;
    struct ut_config_messages *messages;
    struct ut_config_node *root;
    struct {
        struct ut_config_node *node;
        const char *key; /* NULL: the next scalar is a key */
        struct ut_config_at key_at;
    } open[UT_YAML_DEPTH_MAX];
    size_t depth, nodes, documents;
};

static struct ut_config_at place_of(struct fy_event *event)
{
    const struct fy_mark *mark = fy_event_start_mark(event);
    if (mark == NULL)
        return (struct ut_config_at){0, 0};
    return (struct ut_config_at){mark->line + 1, mark->column + 1};
}

static bool refuse(struct reader *reader, struct ut_config_at at, const char *text)
{
    ut_config_error(reader->messages, at, "", "%s", text);
    return false;
}

/* A key of the mapping that is open. Positions of both are said where it stands twice. */
static bool take_key(struct reader *reader, const char *text, struct ut_config_at at)
{
    const struct ut_config_node *mapping = reader->open[reader->depth - 1].node;
    const struct ut_config_node *twin = ut_config_node_get(mapping, text);
    if (twin != NULL) {
        char shown[80];
        ut_config_error(reader->messages, at, "",
                        "the key %s stands twice, first in line %d: remove one of them",
                        ut_log_quote(shown, sizeof(shown), text), twin->key_at.line);
        /* It is read on as another key, so that what stands below it is checked as well. */
    }
    reader->open[reader->depth - 1].key = text;
    reader->open[reader->depth - 1].key_at = at;
    return true;
}

/* Puts a new node where the reader stands. NULL: a limit is reached (reported). */
static struct ut_config_node *add_node(struct reader *reader, enum ut_config_node_kind kind,
                                       struct ut_config_at at)
{
    if (++reader->nodes > UT_YAML_NODES_MAX) {
        refuse(reader, at, "the file has too many values");
        return NULL;
    }
    struct ut_config_node *node = ut_config_alloc(reader->memory, sizeof(*node));
    node->kind = kind;
    node->at = at;
    node->text = "";
    node->last = &node->first;
    if (reader->depth == 0) {
        reader->root = node;
        return node;
    }
    struct ut_config_node *parent = reader->open[reader->depth - 1].node;
    if (++parent->count > UT_YAML_CHILDREN_MAX) {
        refuse(reader, at, "too many entries in one list or mapping");
        return NULL;
    }
    if (parent->kind == UT_NODE_MAPPING) {
        node->key = reader->open[reader->depth - 1].key;
        node->key_at = reader->open[reader->depth - 1].key_at;
        reader->open[reader->depth - 1].key = NULL;
        if (at.line == 0)
            node->at = node->key_at;
    }
    *parent->last = node;
    parent->last = &node->next;
    return node;
}

static bool is_key_due(const struct reader *reader)
{
    return reader->depth > 0 && reader->open[reader->depth - 1].node->kind == UT_NODE_MAPPING &&
           reader->open[reader->depth - 1].key == NULL;
}

static bool take_scalar(struct reader *reader, struct fy_event *event)
{
    struct ut_config_at at = place_of(event);
    size_t size = 0;
    struct fy_token *token = event->scalar.value;
    const char *data = token != NULL ? fy_token_get_text(token, &size) : "";
    if (data == NULL)
        data = "";
    if (memchr(data, '\0', size) != NULL)
        return refuse(reader, at, "a text must not contain a NUL character");
    const char *text = ut_config_copy(reader->memory, data, size);
    enum fy_scalar_style style = token != NULL ? fy_token_scalar_style(token) : FYSS_PLAIN;
    /* libfyaml's mark stands behind the opening quote; people look for the quote. */
    if ((style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED) && at.column > 1)
        at.column--;
    if (is_key_due(reader))
        return take_key(reader, text, at);
    struct ut_config_node *node = add_node(reader, UT_NODE_SCALAR, at);
    if (node == NULL)
        return false;
    node->text = text;
    node->plain = style == FYSS_PLAIN;
    return true;
}

static bool open_collection(struct reader *reader, struct fy_event *event,
                            enum ut_config_node_kind kind)
{
    struct ut_config_at at = place_of(event);
    if (is_key_due(reader))
        return refuse(reader, at, "a key must be a plain text");
    if (reader->depth == UT_YAML_DEPTH_MAX)
        return refuse(reader, at, "nested too deeply");
    struct ut_config_node *node = add_node(reader, kind, at);
    if (node == NULL)
        return false;
    reader->open[reader->depth].node = node;
    reader->open[reader->depth].key = NULL;
    reader->depth++;
    return true;
}

/* false ends the reading; why has been reported. */
static bool take_event(struct reader *reader, struct fy_event *event)
{
    if (fy_event_get_anchor_token(event) != NULL || event->type == FYET_ALIAS)
        return refuse(reader, place_of(event),
                      "anchors and aliases (&name, *name) are not supported: write the value out");
    if (fy_event_get_tag_token(event) != NULL)
        return refuse(reader, place_of(event), "tags (!name) are not supported: leave the tag out");
    switch (event->type) {
    case FYET_DOCUMENT_START:
        if (++reader->documents > 1)
            return refuse(reader, place_of(event),
                          "a second document begins here; only one is read");
        return true;
    case FYET_SCALAR:
        return take_scalar(reader, event);
    case FYET_MAPPING_START:
        return open_collection(reader, event, UT_NODE_MAPPING);
    case FYET_SEQUENCE_START:
        return open_collection(reader, event, UT_NODE_SEQUENCE);
    case FYET_MAPPING_END:
    case FYET_SEQUENCE_END:
        reader->depth--;
        return true;
    default:
        return true;
    }
}

/* The parser's own errors; the first one names the place, later ones are its consequences. */
static void report_syntax(struct reader *reader, struct fy_diag *diag)
{
    void *position = NULL;
    const struct fy_diag_error *error = fy_diag_errors_iterate(diag, &position);
    if (error == NULL)
        ut_config_error(reader->messages, (struct ut_config_at){0, 0}, "", "not readable as YAML");
    else
        ut_config_error(reader->messages, (struct ut_config_at){error->line, error->column}, "",
                        "not readable as YAML: %s", error->msg);
}

static void read_events(struct reader *reader, struct fy_diag *diag)
{
    for (bool more = true; more;) {
        struct fy_event *event = fy_parser_parse(reader->parser);
        if (event == NULL) {
            if (fy_parser_get_stream_error(reader->parser))
                report_syntax(reader, diag);
            return;
        }
        more = event->type != FYET_STREAM_END && take_event(reader, event);
        fy_parser_event_free(reader->parser, event);
    }
}

/* Whether `at` is at the beginning of a line: behind a line feed or a carriage return, or behind a
 * byte order mark there. */
static bool begins_line(const uint8_t *begin, const uint8_t *at)
{
    while (at - begin >= 3 && memcmp(at - 3, "\xef\xbb\xbf", 3) == 0)
        at -= 3;
    return at == begin || at[-1] == '\n' || at[-1] == '\r';
}

static int line_of(ut_slice text, const uint8_t *at)
{
    int line = 1;
    for (const uint8_t *p = text.data; p < at; p++)
        line += *p == '\n' || (*p == '\r' && p[1] != '\n');
    return line;
}

/* libfyaml takes quadratic time over directives (`%YAML`, 64 KiB of "%" are 6 s), some never end,
 * and no configuration needs one. */
static bool check_directives(struct reader *reader, ut_slice text)
{
    const uint8_t *at = text.data, *end = at + text.size;
    for (; at < end && (at = memchr(at, '%', (size_t)(end - at))) != NULL; at++) {
        if (begins_line(text.data, at))
            return refuse(reader, (struct ut_config_at){line_of(text, at), 1},
                          "directives (%NAME) are not supported: leave the line out");
    }
    return true;
}

struct ut_config_node *ut_yaml_read(ut_slice text, struct ut_config_memory *memory,
                                    struct ut_config_messages *messages)
{
    struct reader reader = {.memory = memory, .messages = messages};
    struct fy_diag_cfg diag_config;
    size_t errors = messages->errors;
    if (text.size > UT_YAML_SIZE_MAX) {
        refuse(&reader, (struct ut_config_at){0, 0}, "larger than 1 MiB; that is no configuration");
        return NULL;
    }
    if (!check_directives(&reader, text))
        return NULL;

    fy_diag_cfg_default(&diag_config);
    diag_config.fp = NULL;
    struct fy_diag *diag = fy_diag_create(&diag_config);
    UT_CHECK_MEMORY(diag != NULL);
    fy_diag_set_collect_errors(diag, true);
    struct fy_parse_cfg config = {
        .flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG | FYPCF_JSON_NONE | FYPCF_DISABLE_MMAP_OPT,
        .diag = diag,
    };
    reader.parser = fy_parser_create(&config);
    UT_CHECK_MEMORY(reader.parser != NULL);
    if (text.size != 0) {
        int code = fy_parser_set_string(reader.parser, (const char *)text.data, text.size);
        UT_CHECK(code == 0);
        read_events(&reader, diag);
    }
    fy_parser_destroy(reader.parser);
    fy_diag_destroy(diag);
    if (messages->errors != errors)
        return NULL;
    if (ut_config_node_is_null(reader.root)) {
        refuse(&reader, (struct ut_config_at){0, 0}, "the file is empty");
        return NULL;
    }
    return reader.root;
}
