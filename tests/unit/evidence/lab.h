/* SPDX-License-Identifier: Apache-2.0 */
/* The whole lab: a world of cgroups and connections, and spans through its join. */
#ifndef UT_TEST_EVIDENCE_LAB_H
#define UT_TEST_EVIDENCE_LAB_H

#include "lab_spans.h"
#include "lab_world.h"

#endif
