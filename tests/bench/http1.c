/* SPDX-License-Identifier: Apache-2.0 */
#include "http1.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct http1 {
    bool due;
    struct exchange exchange;
    char answer[1024];
    size_t size;
};

struct http1 *bench_http1_new(void)
{
    return calloc(1, sizeof(struct http1));
}

void bench_http1_begin(struct peer *peer, void *user)
{
    struct http1 *http1 = peer->http1;
    http1->due = true;
    http1->size = 0;
    http1->exchange = (struct exchange){.peer = peer, .status = -1, .user = user};
}

bool bench_http1_receive(struct peer *peer, const uint8_t *bytes, size_t size)
{
    static const char fine[] = "HTTP/1.1 200 ", length[] = "\r\nContent-Length: ";
    struct http1 *http1 = peer->http1;
    if (!http1->due || size >= sizeof(http1->answer) - http1->size)
        return false;
    memcpy(http1->answer + http1->size, bytes, size);
    http1->size += size;
    http1->answer[http1->size] = 0;
    const char *head_end = strstr(http1->answer, "\r\n\r\n");
    if (head_end == NULL)
        return true;
    const char *field = strcasestr(http1->answer, length);
    size_t body_size = field == NULL ? 0 : strtoul(field + sizeof(length) - 1, NULL, 10);
    if ((size_t)(head_end + 4 - http1->answer) + body_size > http1->size)
        return true;
    http1->due = false;
    http1->exchange.status = strncmp(http1->answer, fine, sizeof(fine) - 1) == 0 ? 0 : 1;
    peer->ops->on_response(&http1->exchange);
    return true;
}
