/* SPDX-License-Identifier: Apache-2.0 */
/* A mapping of the tree into a struct, by its table of fields (field.h). */
#ifndef UT_CONFIG_FILL_H
#define UT_CONFIG_FILL_H

#include "config/field.h"
#include "config/node.h"
#include "config/path.h"

struct ut_config_fill {
    struct ut_config_memory *memory; /* owns the texts and lists that the struct points to */
    struct ut_config_messages *messages;
    struct ut_config_path path; /* of the mapping; as before after each call */
};

/* Fills the cleared struct `out`: defaults first, then what `node` says. `node` may be NULL or a
 * null scalar: all defaults. Errors are reported; where there are any, values are unspecified but
 * safe to read and release. */
void ut_config_fill(struct ut_config_fill *fill, const struct ut_field *fields, void *out,
                    const struct ut_config_node *node);

/* The same for a mapping that holds other things as well: keys without a field are passed over. */
void ut_config_fill_some(struct ut_config_fill *fill, const struct ut_field *fields, void *out,
                         const struct ut_config_node *node);

/* A report for a component's `check`, whose paths are below `node`. */
struct ut_config_check_report {
    struct ut_config_report report;
    struct ut_config_fill *fill;
    const struct ut_config_node *node;
    struct ut_config_at at; /* where `node` is NULL or the path leads nowhere */
};
void ut_config_check_report_init(struct ut_config_check_report *report, struct ut_config_fill *fill,
                                 const struct ut_config_node *node, struct ut_config_at at);

#endif
