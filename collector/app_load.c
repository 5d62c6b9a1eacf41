/* SPDX-License-Identifier: Apache-2.0 */
#include "app_load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app_preset.h"
#include "config/yaml.h"

/* The file's bytes from malloc, one more than the config layer takes at most. NULL: errno. */
static char *read_file(const char *path, size_t *ret_size)
{
    size_t room = UT_YAML_SIZE_MAX + 1, size = 0;
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    char *text = malloc(room);
    bool failed = text == NULL || fstat(fd, &info) != 0;
    while (!failed && size < room) {
        ssize_t got = read(fd, text + size, room - size);
        if (got == 0)
            break;
        failed = got < 0 && errno != EINTR;
        size += got > 0 ? (size_t)got : 0;
    }
    int error = errno;
    close(fd);
    if (failed) {
        free(text);
        errno = error;
        return NULL;
    }
    *ret_size = size;
    return text;
}

static const char *read_env(const char *name)
{
    return getenv(name);
}

struct ut_config *ut_app_load(const char *path, const struct ut_app_types *types, FILE *out)
{
    struct ut_config_messages messages;
    struct ut_config *config = NULL;
    size_t size = 0;
    ut_config_messages_init(&messages, path != NULL ? path : "preset");
    messages.no_positions = path == NULL;
    char *text = path != NULL ? read_file(path, &size) : ut_app_preset(read_env, &messages, &size);
    if (text == NULL && path != NULL)
        ut_config_error(&messages, (struct ut_config_at){0, 0}, "", "cannot be read: %s",
                        strerror(errno));
    if (text != NULL && messages.errors == 0) {
        struct ut_config_source source = {.text = ut_slice_of(text, size), .env = read_env};
        config = ut_config_read(&source, &types->types, &messages);
    }
    ut_config_messages_print(&messages, out);
    ut_config_messages_done(&messages);
    free(text);
    return config;
}
