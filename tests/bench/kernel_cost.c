/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel_cost.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <bpf_skeletons/undertrace.skel.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"

struct bench_cost bench_cost_of(const struct bpf_program *program)
{
    struct bpf_prog_info info = {.type = 0};
    uint32_t size = sizeof(info);
    UT_CHECK(bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &size) == 0);
    return (struct bench_cost){info.run_time_ns, info.run_cnt};
}

struct bench_cost bench_cost_since(const struct bpf_program *program, struct bench_cost before)
{
    struct bench_cost after = bench_cost_of(program);
    UT_CHECK(after.runs > before.runs);
    return (struct bench_cost){after.ns - before.ns, after.runs - before.runs};
}

double bench_run_ns(struct bench_cost cost)
{
    return (double)cost.ns / (double)cost.runs;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(double *figures, int count)
{
    qsort(figures, (size_t)count, sizeof(figures[0]), by_size);
    return figures[count / 2];
}

struct bpf_program *bench_empty_program(const char *path, const char *name)
{
    struct bpf_object *object = bpf_object__open(path);
    UT_CHECK(object != NULL);
    struct bpf_program *program;
    bpf_object__for_each_program(program, object)
    {
        bpf_program__set_autoload(program, strcmp(bpf_program__name(program), name) == 0);
    }
    UT_CHECK(bpf_object__load(object) == 0);
    program = bpf_object__find_program_by_name(object, name);
    UT_CHECK(program != NULL);
    return program;
}

struct ut_bpf *bench_load_ours(const char *const *names)
{
    struct ut_bpf *skeleton = ut_bpf__open();
    struct bpf_program *program;
    UT_CHECK(skeleton != NULL);
    bpf_object__for_each_program(program, skeleton->obj)
    {
        bool wanted = false;
        for (const char *const *name = names; *name != NULL; name++)
            wanted |= strcmp(bpf_program__name(program), *name) == 0;
        bpf_program__set_autoload(program, wanted);
    }
    skeleton->rodata->answers_followed = skeleton->rodata->messages_followed = true;
    UT_CHECK(ut_bpf__load(skeleton) == 0);
    return skeleton;
}

int bench_enter_cgroup(const char *path)
{
    char file[4096];
    (void)snprintf(file, sizeof(file), "%s/cgroup.procs", path);
    int fd = open(file, O_WRONLY | O_CLOEXEC);
    UT_CHECK(fd >= 0 && write(fd, "0", 1) == 1);
    close(fd);
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    UT_CHECK(fd >= 0);
    return fd;
}

uint64_t bench_cgroup_id(int cgroup)
{
    struct stat status;
    UT_CHECK(fstat(cgroup, &status) == 0);
    return status.st_ino;
}
