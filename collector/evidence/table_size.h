/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much room the tables of the layer have: the first figure of each. A fuzzed run fills none of
 * those, and would spend its time on taking and looking through empty memory; so the fuzz target
 * compiles the layer once more with UT_SMALL_TABLES, where a few records make a table full, and
 * what then has to give way is tried as well.
 */
#ifndef UT_EVIDENCE_TABLE_SIZE_H
#define UT_EVIDENCE_TABLE_SIZE_H

#ifdef UT_SMALL_TABLES
#define UT_TABLE_SIZE(full, small) (small)
#else
#define UT_TABLE_SIZE(full, small) (full)
#endif

#endif
