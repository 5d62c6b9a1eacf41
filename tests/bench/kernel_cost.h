/* SPDX-License-Identifier: Apache-2.0 */
/* What runs of kernel programs cost, for the modes of `kernel`; what cannot be had ends the bench.
 */
#ifndef UT_BENCH_KERNEL_COST_H
#define UT_BENCH_KERNEL_COST_H

#include <stdint.h>

struct bpf_program;
struct ut_bpf; /* the skeleton */

enum { BENCH_ROUNDS = 5 };

/* Since the program was loaded, by the kernel's own run statistics while they are on. */
struct bench_cost {
    uint64_t ns, runs;
};

struct bench_cost bench_cost_of(const struct bpf_program *program);
/* What was added meanwhile; one run at least. */
struct bench_cost bench_cost_since(const struct bpf_program *program, struct bench_cost before);
double bench_run_ns(struct bench_cost cost);

/* Sorts the figures. */
double bench_median(double *figures, int count);

/* Loads one program of the object of empty.bpf.c. */
struct bpf_program *bench_empty_program(const char *path, const char *name);
/* Loads some of ours, by name; NULL ends the list. */
struct ut_bpf *bench_load_ours(const char *const *names);

/* From now on this process is in the cgroup. Returns its open folder. */
int bench_enter_cgroup(const char *path);
uint64_t bench_cgroup_id(int cgroup);

/* Modes: what they print is said at the head of kernel.c. */
void bench_egress_packets(const char *empty, const char *cgroup);
void bench_link_packets(const char *empty, const char *cgroup);
void bench_reads(const char *empty, const char *cgroup);
void bench_sends(const char *empty, const char *cgroup);

#endif
