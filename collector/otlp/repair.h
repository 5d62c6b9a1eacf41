/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text that is not UTF-8, repaired: each maximal part of a known string that is no UTF-8 becomes
 * one U+FFFD (Unicode 15, 3.9, "substitution of maximal subparts"). The request is written anew;
 * lengths of the messages around a repaired string are right and of the shortest form; every other
 * byte, unknown fields among them, is as it was, and so are whole spans without a bad string.
 *
 * Called by receivers after a walk that met bad text (report->bad_text), never otherwise.
 */
#ifndef UT_OTLP_REPAIR_H
#define UT_OTLP_REPAIR_H

#include "model/batch.h"
#include "otlp/walk.h"
#include "otlp/writer.h"

/* Repairs the text of `body`, which was walked with 0, and walks the result: the body then owns a
 * segment of `pool` of its own instead of the one it came with, and `report` is of the second walk.
 * What the new segment takes stays held. *ret_strings: repaired strings.
 * 0; or -EMSGSIZE, -ENOBUFS, -ENOMEM as in limits: the body is as it was then, its bad spans left
 * out, and nothing is held. A body that shares its segment is fine. */
int ut_repair_body(struct ut_body *body, const struct ut_writer_limits *limits,
                   struct ut_walk_report *report, uint32_t *ret_strings) UT_MUST_USE;

#endif
