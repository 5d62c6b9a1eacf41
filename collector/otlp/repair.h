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

/* Repairs the text of *batch, which is of one body, fresh from ut_walk (0, bad_text), with nothing
 * charged to it yet, and walks the result: *batch is another batch then, with a segment of the same
 * pool, and the old one is gone; `report` is of the second walk. What the new segment takes stays
 * held; what the old one took is the caller's to give back. *ret_strings: repaired strings.
 * 0, or -EMSGSIZE, -ENOBUFS (see ut_writer_limits), -ENOMEM: batch and report are as they were
 * then, the bad spans left out, and nothing is held. */
int ut_repair_batch(struct ut_batch **batch, const struct ut_writer_limits *limits,
                    struct ut_walk_report *report, uint32_t *ret_strings) UT_MUST_USE;

#endif
