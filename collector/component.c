/* SPDX-License-Identifier: Apache-2.0 */
#include "component.h"

#include <string.h>

const struct ut_extension *ut_build_extension(const struct ut_build *build, const char *id)
{
    for (size_t i = 0; i < build->extension_count; i++) {
        if (strcmp(build->extensions[i].id, id) == 0)
            return &build->extensions[i];
    }
    return NULL;
}

struct ut_client_extension ut_build_client_extension(const struct ut_build *build, const char *id)
{
    const struct ut_extension *extension = id != NULL ? ut_build_extension(build, id) : NULL;
    if (extension == NULL)
        return (struct ut_client_extension){.id = NULL};
    return (struct ut_client_extension){extension->id, extension->type, extension->config};
}
