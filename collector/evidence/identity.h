/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of a workload, as the attributes of a Resource: verified, never what the Resource
 * itself claims. */
#ifndef UT_EVIDENCE_IDENTITY_H
#define UT_EVIDENCE_IDENTITY_H

#include "evidence/tables.h"
#include "model/batch.h"

enum { UT_IDENTITY_MAX = 12 };

struct ut_identity {
    size_t count;
    ut_slice keys[UT_IDENTITY_MAX];   /* constants, terminated */
    ut_slice values[UT_IDENTITY_MAX]; /* of the workload and the tables */
};

void ut_identity_of(struct ut_identity *ret, const struct ut_tables *tables,
                    const struct ut_workload *workload);
/* The attributes as fields of a Resource, in the body's arena; empty: no memory. */
ut_slice ut_identity_encode(const struct ut_identity *identity, struct ut_body *body);

#endif
