/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of ut_config_read: components, service, and what concerns several of them. */
#ifndef UT_CONFIG_SECTIONS_H
#define UT_CONFIG_SECTIONS_H

#include "config/config.h"
#include "config/fill.h"

struct ut_config_reader {
    struct ut_config *config;
    const struct ut_config_types *types;
    struct ut_config_messages *messages;
    struct ut_config_fill fill; /* its path is where the reader stands */
    struct ut_config_node *root;
};

#define UT_CONFIG_ID_MAX 128 /* bytes of a component's id */

/* Reports at the reader's path. */
void ut_config_report_at(struct ut_config_reader *reader, struct ut_config_at at,
                         const char *format, ...) UT_PRINTF(3, 4);
/* Checks that the node is a mapping; null is one without entries. */
bool ut_config_expect_mapping(struct ut_config_reader *reader, const struct ut_config_node *node);

/* Reports each entry of the mapping whose key is not among `keys` (NULL-terminated). */
void ut_config_check_keys(struct ut_config_reader *reader, const struct ut_config_node *node,
                          const char *const *keys);

/* components.c: `receivers:`, `processors:`, `exporters:`, `extensions:`. */
void ut_config_read_components(struct ut_config_reader *reader);
/* Splits "type/name"; copies the type. false: reported. */
bool ut_config_split_id(struct ut_config_reader *reader, const char *id, struct ut_config_at at,
                        char type[UT_CONFIG_ID_MAX]);
/* Why a component of the Collector that is not needed here may be named all the same; NULL: it may
 * not. `section` is "processors" or "extensions". */
const char *ut_config_not_needed(const char *section, const char *type);

/* storage.c: disk holds; the fields of a pipeline's `storage`, and the rules about all of them. */
extern const struct ut_field ut_config_storage_fields[];
void ut_config_check_storage(struct ut_config_reader *reader);

/* identity.c: `undertrace.identity`, at the root's path; and against the rest. */
void ut_config_check_identity(struct ut_config_reader *reader);
void ut_config_cross_check_identity(struct ut_config_reader *reader);

/* service.c: `service:`. */
void ut_config_read_service(struct ut_config_reader *reader);

/* cross_check.c: rules over the whole configuration. */
void ut_config_cross_check(struct ut_config_reader *reader);

#endif
