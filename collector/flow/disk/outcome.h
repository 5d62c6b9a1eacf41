/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the processors found out about a body, as bytes: the edits of its spans and Resources and
 * which spans they left out. Kept beside the body in a disk hold, so that what is read back goes
 * out as it would have gone from memory. Pure.
 *
 * Numbers are little-endian u32, ranges count from the request's first byte:
 *
 *     spans │ resources │ edits │ edits × (removed │ added │ removed × (offset │ size) │ added
 * bytes, padded to 4) │ uses │ uses × (kind │ row │ edit)
 *
 * An edit that several spans share stands there once.
 */
#ifndef UT_FLOW_DISK_OUTCOME_H
#define UT_FLOW_DISK_OUTCOME_H

#include "model/batch.h"

/* Larger ones are not kept: the body then goes out as it came. */
#define UT_DISK_OUTCOME_MAX ((size_t)1 << 20)

/* Bytes that it takes; 0: more than UT_DISK_OUTCOME_MAX. */
size_t ut_disk_outcome_size(const struct ut_body *body);
/* Writes them. */
void ut_disk_outcome_encode(const struct ut_body *body, uint8_t *out);

/* Gives the body, whose bytes are those it was and which has been walked, its edits (in its arena)
 * and leaves out what was left out. -EBADMSG where it is not an outcome of this body, and then
 * nothing has changed; -ENOMEM: the body is of no use. */
int ut_disk_outcome_apply(struct ut_body *body, ut_slice bytes) UT_MUST_USE;

#endif
