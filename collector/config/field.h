/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A component's settings as a table: one row an option. The reader fills a struct from a YAML
 * mapping by such a table, with defaults, ranges and errors that name file:line:column, the dotted
 * path and the nearest valid key.
 */
#ifndef UT_CONFIG_FIELD_H
#define UT_CONFIG_FIELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ut_field_type {
    UT_FIELD_BOOL,     /* bool */
    UT_FIELD_UINT,     /* uint64_t */
    UT_FIELD_BYTES,    /* uint64_t, from "64MiB" or a number */
    UT_FIELD_DURATION, /* uint64_t nanoseconds, from "5s", "300ms", "1m30s", "0" */
    UT_FIELD_DOUBLE,   /* double */
    UT_FIELD_STRING,   /* char *, NULL where absent without a default */
    UT_FIELD_ENUM,     /* int, index into `words` */
    UT_FIELD_STRINGS,  /* struct ut_strings */
    UT_FIELD_PAIRS,    /* struct ut_pairs, a mapping of texts such as `headers` */
    UT_FIELD_MAP,      /* a struct of its own, by `fields` */
};

struct ut_strings {
    char **items;
    size_t count;
};

struct ut_pairs {
    struct ut_pair {
        char *key, *value;
    } * items;
    size_t count;
};

struct ut_field {
    const char *key; /* NULL ends the table */
    enum ut_field_type type;
    size_t offset;
    const char *fallback;     /* the default, as one would write it in YAML; NULL: zero or absent */
    double least, most;       /* for numbers; both 0: any. Durations in seconds, bytes in bytes */
    const char *const *words; /* for ENUM, NULL-terminated */
    const struct ut_field *fields; /* for MAP; `offset` is then of the inner struct and the inner
                                    * offsets count from there */
    size_t present; /* for MAP: offset of a bool that tells whether the key stood in the file, also
                     * without a value (`grpc:`); UT_FIELD_NO_PRESENT if nobody asks */
};

#define UT_FIELD_NO_PRESENT ((size_t)-1)
#define UT_FIELD_END                                                                               \
    {                                                                                              \
        .key = NULL                                                                                \
    }

/* Where a component's `check` reports what its table cannot express; each call is one error. `path`
 * is dotted below the component ("tls.insecure"), "" for the component itself. */
struct ut_config_report {
    void (*error)(struct ut_config_report *report, const char *path, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
};

#endif
