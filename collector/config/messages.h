/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What reading a configuration has to say to its author: errors, which keep the program from
 * starting, and notices. All of one pass are collected and then shown in the order of the file.
 */
#ifndef UT_CONFIG_MESSAGES_H
#define UT_CONFIG_MESSAGES_H

#include <stdbool.h>
#include <stdio.h>

#include "config/memory.h"

#define UT_CONFIG_MESSAGES_MAX 100 /* that are shown; all are counted */

struct ut_config_at {
    int line, column; /* from 1; line 0: the file as a whole */
};

enum ut_config_severity { UT_CONFIG_ERROR, UT_CONFIG_NOTICE };

struct ut_config_message {
    enum ut_config_severity severity;
    struct ut_config_at at;
    const char *path; /* dotted; "" where there is none */
    const char *text;
};

struct ut_config_messages {
    struct ut_config_memory memory;
    const char *file;  /* as the user named it; borrowed */
    bool no_positions; /* the user cannot see the text, so a place in it says nothing */
    struct ut_config_message items[UT_CONFIG_MESSAGES_MAX];
    size_t count, errors, notices;
};

void ut_config_messages_init(struct ut_config_messages *messages, const char *file);
void ut_config_messages_done(struct ut_config_messages *messages);

void ut_config_error(struct ut_config_messages *messages, struct ut_config_at at, const char *path,
                     const char *format, ...) UT_PRINTF(4, 5);
void ut_config_notice(struct ut_config_messages *messages, struct ut_config_at at, const char *path,
                      const char *format, ...) UT_PRINTF(4, 5);
void ut_config_verror(struct ut_config_messages *messages, struct ut_config_at at, const char *path,
                      const char *format, va_list args) UT_PRINTF(4, 0);

/* One line each, `file:line:column: path: text`, in the order of the file. */
void ut_config_messages_print(struct ut_config_messages *messages, FILE *out);

#endif
