/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence/unix_links.h"

#include <errno.h>
#include <stdlib.h>

int ut_unix_links_init(struct ut_unix_links *links)
{
    links->uses = 0;
    links->links = calloc((size_t)UT_UNIX_LINK_SETS * UT_UNIX_LINK_WAYS, sizeof(links->links[0]));
    return links->links != NULL ? 0 : -ENOMEM;
}

void ut_unix_links_done(struct ut_unix_links *links)
{
    free(links->links);
    links->links = NULL;
}

struct ut_unix_link *ut_unix_links_get(struct ut_unix_links *links, uint64_t cookie)
{
    /* Cookies are counted up, so that their low bits spread well. */
    struct ut_unix_link *set = &links->links[cookie % UT_UNIX_LINK_SETS * UT_UNIX_LINK_WAYS];
    struct ut_unix_link *oldest = set;
    for (int i = 0; i < UT_UNIX_LINK_WAYS; i++) {
        if (set[i].cookie == cookie) {
            set[i].used = ++links->uses;
            return &set[i];
        }
        if (set[i].used < oldest->used)
            oldest = &set[i];
    }
    *oldest = (struct ut_unix_link){.cookie = cookie, .used = ++links->uses};
    return oldest;
}
