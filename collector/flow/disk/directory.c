/* SPDX-License-Identifier: Apache-2.0 */
#include "flow/disk/directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"

#define MIB ((uint64_t)1 << 20)
#define LOCK_PAUSE_US 10000

enum { LOCK_TRIES = 25 };

/* statfs(2), f_type. What FUSE has behind it cannot be told. */
static const struct {
    uint32_t magic;
    const char *name;
} unfit[] = {
    {0x01021994, "tmpfs"},  {0x858458f6, "ramfs"}, {0x6969, "NFS"},       {0xff534d42, "CIFS"},
    {0xfe534d42, "SMB2"},   {0x517b, "SMB"},       {0x01021997, "9p"},    {0x00c36400, "Ceph"},
    {0x5346414f, "AFS"},    {0x73757245, "Coda"},  {0x65735546, "FUSE"},  {0x0bd00bd0, "Lustre"},
    {0x47504653, "GPFS"},   {0x01161970, "GFS2"},  {0x7461636f, "OCFS2"}, {0xaad7aaea, "PanFS"},
    {0x786f4256, "vboxsf"},
};

static const char *unfit_for_durable(int fd)
{
    struct statfs info;
    if (fstatfs(fd, &info) != 0)
        return "a file system that cannot be asked what it is";
    for (size_t i = 0; i < sizeof(unfit) / sizeof(unfit[0]); i++) {
        if ((uint32_t)info.f_type == unfit[i].magic)
            return unfit[i].name;
    }
    return NULL;
}

__attribute__((format(printf, 3, 4))) static int refuse(char error[UT_DISK_ERROR_TEXT], int code,
                                                        const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(error, UT_DISK_ERROR_TEXT, format, args);
    va_end(args);
    return code;
}

static int open_folder(struct ut_disk_directory *directory, char error[UT_DISK_ERROR_TEXT])
{
    const char *path = directory->path;
    bool made = mkdir(path, 0700) == 0;
    if (!made && errno != EEXIST)
        return refuse(error, -errno, "%.160s cannot be made: %s", path, strerror(errno));
    directory->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory->fd < 0)
        return refuse(error, -errno, "%.160s cannot be opened: %s", path, strerror(errno));
    if (!made)
        return 0;
    /* Its own name has to survive a power cut too. */
    int parent = openat(directory->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int code = parent < 0 || fsync(parent) != 0 ? -errno : 0;
    if (parent >= 0)
        (void)close(parent);
    return code == 0 ? 0 : refuse(error, code, "%.160s: %s", path, strerror(-code));
}

static int check_fit(const struct ut_disk_directory *directory, bool durable,
                     char error[UT_DISK_ERROR_TEXT])
{
    struct stat info;
    const char *path = directory->path;
    if (fstat(directory->fd, &info) != 0)
        return refuse(error, -errno, "%.160s: %s", path, strerror(errno));
    if (info.st_uid != geteuid())
        return refuse(error, -EPERM, "%.160s belongs to uid %u, not to ours (%u): chown it", path,
                      (unsigned)info.st_uid, (unsigned)geteuid());
    if ((info.st_mode & 077) != 0)
        return refuse(error, -EPERM,
                      "%.160s is open to others (mode %04o), and spans are not for everyone: "
                      "chmod 0700",
                      path, (unsigned)info.st_mode & 07777);
    const char *bad = durable ? unfit_for_durable(directory->fd) : NULL;
    if (bad != NULL)
        return refuse(error, -EMEDIUMTYPE,
                      "%.128s is on %s, which does not keep what is written through a power cut: "
                      "take a local disk, or `ack: queued`",
                      path, bad);
    return 0;
}

static int lock(struct ut_disk_directory *directory, char error[UT_DISK_ERROR_TEXT])
{
    directory->lock_fd =
        openat(directory->fd, "hold.lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (directory->lock_fd < 0)
        return refuse(error, -errno, "%.160s/hold.lock: %s", directory->path, strerror(errno));
    /* A child that a killed process had just made holds its lock until it first runs. */
    for (int tries = 0; tries < LOCK_TRIES; tries++) {
        if (flock(directory->lock_fd, LOCK_EX | LOCK_NB) == 0)
            return 0;
        if (errno != EWOULDBLOCK)
            break;
        (void)usleep(LOCK_PAUSE_US);
    }
    return refuse(error, errno == EWOULDBLOCK ? -EBUSY : -errno,
                  "%.160s is in use by another process", directory->path);
}

int ut_disk_directory_open(struct ut_disk_directory *directory, const char *path, bool durable,
                           char error[UT_DISK_ERROR_TEXT])
{
    directory->fd = directory->lock_fd = -1;
    if (path[0] != '/' || strlen(path) >= sizeof(directory->path))
        return refuse(error, -EINVAL, "not an absolute path of a directory: %.160s", path);
    (void)snprintf(directory->path, sizeof(directory->path), "%s", path);
    int code = open_folder(directory, error);
    if (code == 0)
        code = check_fit(directory, durable, error);
    if (code == 0)
        code = lock(directory, error);
    if (code != 0)
        ut_disk_directory_close(directory);
    return code;
}

void ut_disk_directory_close(struct ut_disk_directory *directory)
{
    if (directory->lock_fd >= 0)
        (void)close(directory->lock_fd);
    if (directory->fd >= 0)
        (void)close(directory->fd);
    directory->fd = directory->lock_fd = -1;
}

int ut_disk_directory_has_room(const struct ut_disk_directory *directory, uint64_t bytes,
                               char error[UT_DISK_ERROR_TEXT])
{
    struct statvfs system;
    struct stat file = {.st_blocks = 0};
    if (fstatvfs(directory->fd, &system) != 0)
        return refuse(error, -errno, "%.160s: %s", directory->path, strerror(errno));
    (void)fstatat(directory->fd, "hold.mdb", &file, 0);
    uint64_t has = (uint64_t)system.f_bavail * system.f_frsize + (uint64_t)file.st_blocks * 512;
    if (has >= bytes)
        return 0;
    return refuse(error, -ENOSPC,
                  "%.128s has room for %" PRIu64 " MiB, max_bytes are %" PRIu64
                  " MiB: make room, or set max_bytes lower",
                  directory->path, has / MIB, bytes / MIB);
}

void ut_disk_directory_name(const struct ut_disk_directory *directory, const char *name,
                            char out[PATH_MAX])
{
    (void)snprintf(out, PATH_MAX, "%s/%s", directory->path, name);
}

int ut_disk_directory_sync(const struct ut_disk_directory *directory)
{
    return fsync(directory->fd) == 0 ? 0 : -errno;
}

int ut_disk_directory_set_aside(const struct ut_disk_directory *directory, char ret[PATH_MAX])
{
    char name[64];
    (void)snprintf(name, sizeof(name), "hold.mdb.damaged-%" PRIu64, ut_clock_unix_ns());
    if (renameat(directory->fd, "hold.mdb", directory->fd, name) != 0)
        return -errno;
    (void)unlinkat(directory->fd, "hold.mdb-lock", 0);
    ut_disk_directory_name(directory, name, ret);
    return ut_disk_directory_sync(directory);
}

static unsigned count_kept(const struct ut_disk_directory *directory)
{
    unsigned count = 0;
    int fd = openat(directory->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = fd >= 0 ? fdopendir(fd) : NULL;
    if (entries == NULL) {
        if (fd >= 0)
            (void)close(fd);
        return UT_DISK_ASIDE_MAX;
    }
    for (const struct dirent *entry; (entry = readdir(entries)) != NULL;)
        count += strncmp(entry->d_name, "damaged-", 8) == 0;
    (void)closedir(entries);
    return count;
}

void ut_disk_directory_keep(const struct ut_disk_directory *directory, uint64_t sequence,
                            ut_slice bytes)
{
    char name[64];
    if (count_kept(directory) >= UT_DISK_ASIDE_MAX)
        return;
    (void)snprintf(name, sizeof(name), "damaged-%" PRIu64, sequence);
    int fd = openat(directory->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    while (bytes.size > 0) {
        ssize_t wrote = write(fd, bytes.data, bytes.size);
        if (wrote <= 0)
            break;
        bytes = ut_slice_of(bytes.data + wrote, bytes.size - (size_t)wrote);
    }
    (void)close(fd);
}
