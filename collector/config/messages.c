/* SPDX-License-Identifier: Apache-2.0 */
#include "config/messages.h"

#include <stdlib.h>
#include <string.h>

void ut_config_messages_init(struct ut_config_messages *messages, const char *file)
{
    *messages = (struct ut_config_messages){.file = file};
}

void ut_config_messages_done(struct ut_config_messages *messages)
{
    ut_config_memory_done(&messages->memory);
    messages->count = 0;
}

static void UT_PRINTF(5, 0)
    add(struct ut_config_messages *messages, enum ut_config_severity severity,
        struct ut_config_at at, const char *path, const char *format, va_list args)
{
    if (severity == UT_CONFIG_ERROR)
        messages->errors++;
    else
        messages->notices++;
    if (messages->count == UT_CONFIG_MESSAGES_MAX)
        return;
    messages->items[messages->count++] = (struct ut_config_message){
        .severity = severity,
        .at = at,
        .path = ut_config_copy(&messages->memory, path, strlen(path)),
        .text = ut_config_vformat(&messages->memory, format, args),
    };
}

void ut_config_verror(struct ut_config_messages *messages, struct ut_config_at at, const char *path,
                      const char *format, va_list args)
{
    add(messages, UT_CONFIG_ERROR, at, path, format, args);
}

void ut_config_error(struct ut_config_messages *messages, struct ut_config_at at, const char *path,
                     const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add(messages, UT_CONFIG_ERROR, at, path, format, args);
    va_end(args);
}

void ut_config_notice(struct ut_config_messages *messages, struct ut_config_at at, const char *path,
                      const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add(messages, UT_CONFIG_NOTICE, at, path, format, args);
    va_end(args);
}

static int compare_places(const void *left, const void *right)
{
    const struct ut_config_message *a = left, *b = right;
    if (a->at.line != b->at.line)
        return a->at.line < b->at.line ? -1 : 1;
    return (a->at.column > b->at.column) - (a->at.column < b->at.column);
}

void ut_config_messages_print(struct ut_config_messages *messages, FILE *out)
{
    qsort(messages->items, messages->count, sizeof(messages->items[0]), compare_places);
    for (size_t i = 0; i < messages->count; i++) {
        const struct ut_config_message *message = &messages->items[i];
        fputs(messages->file, out);
        if (message->at.line != 0 && !messages->no_positions)
            fprintf(out, ":%d:%d", message->at.line, message->at.column);
        fputs(message->severity == UT_CONFIG_NOTICE ? ": notice: " : ": ", out);
        if (message->path[0] != '\0')
            fprintf(out, "%s: ", message->path);
        fprintf(out, "%s\n", message->text);
    }
    size_t all = messages->errors + messages->notices;
    if (all > messages->count)
        fprintf(out, "%s: … and %zu more\n", messages->file, all - messages->count);
}
