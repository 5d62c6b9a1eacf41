/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ns per kernel record: read from a real ring alone, and taken into the evidence as well. A program
 * of six instructions writes a retransmit into the ring; only the reading is timed. Needs CAP_BPF.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "evidence/evidence.h"
#include "records.h"

enum { RING_BYTES = 16 << 20, RECORDS = 50000, RUNS = 9 };

struct writer {
    int ring, program;
    struct ut_record_retransmit *source; /* what the program writes */
};

struct reader {
    struct ut_event_sink *sink; /* NULL: records are read and forgotten */
    uint64_t read;
};

static int on_record(void *arg, void *data, size_t size)
{
    struct reader *reader = arg;
    reader->read++;
    if (reader->sink != NULL)
        reader->sink->record(reader->sink, data, size, RECORDS_OFFSET);
    return 0;
}

/* A program that writes what stands in the map `source` into the ring; its descriptor, or negative
 * errno. */
static int load_writer(int ring, int source)
{
    const struct bpf_insn instructions[] = {
        {.code = BPF_LD | BPF_DW | BPF_IMM,
         .dst_reg = BPF_REG_1,
         .src_reg = BPF_PSEUDO_MAP_FD,
         .imm = ring},
        {0},
        {.code = BPF_LD | BPF_DW | BPF_IMM,
         .dst_reg = BPF_REG_2,
         .src_reg = BPF_PSEUDO_MAP_VALUE,
         .imm = source},
        {0},
        {.code = BPF_ALU64 | BPF_MOV | BPF_K,
         .dst_reg = BPF_REG_3,
         .imm = sizeof(struct ut_record_retransmit)},
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_4, .imm = BPF_RB_NO_WAKEUP},
        {.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_ringbuf_output},
        {.code = BPF_JMP | BPF_EXIT},
    };
    LIBBPF_OPTS(bpf_prog_load_opts, options, .prog_flags = BPF_F_SLEEPABLE);
    return bpf_prog_load(BPF_PROG_TYPE_SYSCALL, "bench_writer", "GPL", instructions,
                         sizeof(instructions) / sizeof(instructions[0]), &options);
}

static int writer_open(struct writer *writer)
{
    LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_MMAPABLE);
    writer->ring = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "bench_ring", 0, 0, RING_BYTES, NULL);
    if (writer->ring < 0)
        return writer->ring;
    int source = bpf_map_create(BPF_MAP_TYPE_ARRAY, "bench_source", sizeof(uint32_t),
                                sizeof(*writer->source), 1, &options);
    if (source < 0)
        return source;
    writer->source = mmap(NULL, sizeof(*writer->source), PROT_WRITE, MAP_SHARED, source, 0);
    if (writer->source == MAP_FAILED)
        return -errno;
    writer->program = load_writer(writer->ring, source);
    return writer->program < 0 ? writer->program : 0;
}

/* Fills the ring with retransmits that are a millisecond apart. */
static int fill(const struct writer *writer, uint64_t *unix_ns)
{
    struct ut_record_socket end = records_end(3, UT_ROLE_CONNECT, 40000, 80);
    for (int i = 0; i < RECORDS; i++) {
        *unix_ns += 1000000;
        *writer->source = records_retransmit(end, *unix_ns);
        LIBBPF_OPTS(bpf_test_run_opts, run);
        int ret = bpf_prog_test_run_opts(writer->program, &run);
        if (ret != 0 || run.retval != 0)
            return ret != 0 ? ret : (int)run.retval;
    }
    return 0;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int measure(const char *what, const struct writer *writer, struct ut_event_sink *sink)
{
    double ns[RUNS];
    uint64_t unix_ns = RECORDS_START;
    struct reader reader = {.sink = sink};
    struct ring_buffer *buffer = ring_buffer__new(writer->ring, on_record, &reader, NULL);
    if (buffer == NULL)
        return -errno;
    int ret = 0;
    for (int run = 0; run < RUNS && ret == 0; run++) {
        ret = fill(writer, &unix_ns);
        uint64_t before_ns = ut_clock_monotonic_ns();
        int taken = ring_buffer__consume(buffer);
        ns[run] = (double)(ut_clock_monotonic_ns() - before_ns) / RECORDS;
        if (ret == 0 && taken != RECORDS)
            ret = taken < 0 ? taken : -EIO;
    }
    ring_buffer__free(buffer);
    if (ret != 0)
        return ret;
    qsort(ns, RUNS, sizeof(ns[0]), compare);
    printf("%-39s %7.1f ns/record (best %.1f)\n", what, ns[RUNS / 2], ns[0]);
    return 0;
}

int main(void)
{
    struct ut_metrics *metrics = ut_metrics_new();
    struct ut_evidence *evidence = ut_evidence_new(metrics, NULL);
    struct ut_event_sink *sink = ut_evidence_sink(evidence);
    struct ut_record_cgroup cgroup = records_cgroup();
    struct ut_record_connection opened = records_opened(records_end(3, UT_ROLE_CONNECT, 40000, 80));
    sink->attached(sink, RECORDS_START - 20000);
    sink->record(sink, &cgroup, sizeof(cgroup), RECORDS_OFFSET);
    sink->record(sink, &opened, sizeof(opened), RECORDS_OFFSET);
    struct writer writer;
    int ret = writer_open(&writer);
    if (ret == 0)
        ret = measure("ring, records read", &writer, NULL);
    if (ret == 0)
        ret = measure("ring, records taken into the evidence", &writer, sink);
    if (ret != 0)
        fprintf(stderr, "bench_ring: %s\n", strerror(-ret));
    ut_evidence_free(evidence);
    ut_metrics_free(metrics);
    return ret != 0;
}
