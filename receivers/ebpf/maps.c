/* SPDX-License-Identifier: Apache-2.0 */
#include "maps.h"

#include <bpf/libbpf.h>
#include <bpf_skeletons/undertrace.skel.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t map_bytes(int fd)
{
    static const char key[] = "memlock:";
    char path[64], line[128];
    uint64_t bytes = 0;
    (void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, key, sizeof(key) - 1) == 0)
            bytes = strtoull(line + sizeof(key) - 1, NULL, 10);
    }
    (void)fclose(file);
    return bytes;
}

uint64_t ut_ebpf_maps_bytes(const struct ut_bpf *skeleton)
{
    uint64_t sum = 0;
    struct bpf_map *map;
    bpf_object__for_each_map(map, skeleton->obj)
    {
        if (bpf_map__fd(map) >= 0)
            sum += map_bytes(bpf_map__fd(map));
    }
    return sum;
}
