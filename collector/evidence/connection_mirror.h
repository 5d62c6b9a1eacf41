/* SPDX-License-Identifier: Apache-2.0 */
/* Which two rows of the connection table are one connection. Only for connections.c. */
#ifndef UT_EVIDENCE_CONNECTION_MIRROR_H
#define UT_EVIDENCE_CONNECTION_MIRROR_H

#include "evidence/connections.h"

/* Looks for the mirror of a row that has learnt something, and again for those of the rows with the
 * same endpoints. All whose mirror changes are told by `changed`, the row itself too. */
void ut_connection_pair(struct ut_connections *connections, struct ut_connection *connection);
/* The row goes: its mirror, if there is one, has none from now on. */
void ut_connection_unpair(struct ut_connections *connections, struct ut_connection *connection);
/* Rows of one chain; in connections.c. */
struct ut_connection *ut_connection_first_in_chain(const struct ut_connections *connections,
                                                   const struct ut_connection *connection,
                                                   enum ut_connection_index index);
struct ut_connection *ut_connection_next_in_chain(const struct ut_connections *connections,
                                                  const struct ut_connection *connection,
                                                  enum ut_connection_index index);

#endif
