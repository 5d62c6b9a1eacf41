/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_channel.h"

#include <stdlib.h>
#include <string.h>

struct ut_tls_kept {
    size_t start, end, size;
    uint8_t data[];
};

/* ---- the BIO -------------------------------------------------------------------------------- */

static int on_read(BIO *bio, char *room, int size)
{
    struct ut_tls_port *port = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (port->input.size == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    size_t taken = port->input.size < (size_t)size ? port->input.size : (size_t)size;
    memcpy(room, port->input.data, taken);
    port->input.data += taken;
    port->input.size -= taken;
    return (int)taken;
}

static int on_write(BIO *bio, const char *bytes, int size)
{
    BIO_clear_retry_flags(bio);
    return ut_tls_port_write(BIO_get_data(bio), bytes, (size_t)size) ? size : -1;
}

static long on_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static int on_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

static BIO_METHOD *new_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "undertrace");
    if (method == NULL)
        return NULL;
    UT_CHECK(BIO_meth_set_read(method, on_read) == 1 && BIO_meth_set_write(method, on_write) == 1 &&
             BIO_meth_set_ctrl(method, on_control) == 1 &&
             BIO_meth_set_create(method, on_create) == 1);
    return method;
}

BIO *ut_tls_port_bio(struct ut_tls_port *port)
{
    BIO *bio = BIO_new(port->channel->method);
    if (bio != NULL)
        BIO_set_data(bio, port);
    return bio;
}

/* ---- the channel ---------------------------------------------------------------------------- */

struct ut_tls_channel *ut_tls_channel_new(struct ut_pool *pool)
{
    struct ut_tls_channel *channel = malloc(sizeof(*channel));
    if (channel == NULL)
        return NULL;
    channel->pool = pool;
    channel->holder = NULL;
    channel->start = channel->end = 0;
    channel->method = new_method();
    if (channel->method != NULL)
        return channel;
    free(channel);
    return NULL;
}

void ut_tls_channel_free(struct ut_tls_channel *channel)
{
    if (channel == NULL)
        return;
    UT_CHECK(channel->holder == NULL);
    BIO_meth_free(channel->method);
    free(channel);
}

/* ---- output --------------------------------------------------------------------------------- */

static size_t kept_bytes(const struct ut_tls_port *port)
{
    return port->kept != NULL ? port->kept->end - port->kept->start : 0;
}

/* Room for `more` bytes behind what is kept. */
static bool grow_kept(struct ut_tls_port *port, size_t more)
{
    struct ut_pool *pool = port->channel->pool;
    size_t had = kept_bytes(port);
    if (port->kept != NULL && port->kept->size - port->kept->end >= more)
        return true;
    struct ut_tls_kept *kept = ut_pool_alloc(pool, sizeof(*kept) + had + more);
    if (kept == NULL)
        return false;
    kept->start = 0;
    kept->end = had;
    kept->size = ut_pool_usable(kept) - sizeof(*kept);
    if (had > 0)
        memcpy(kept->data, port->kept->data + port->kept->start, had);
    ut_pool_free(pool, port->kept);
    port->kept = kept;
    return true;
}

/* Makes the buffer the port's own; what the holder had in it becomes the holder's to keep. */
static bool take_buffer(struct ut_tls_port *port)
{
    struct ut_tls_channel *channel = port->channel;
    struct ut_tls_port *holder = channel->holder;
    size_t left = channel->end - channel->start;
    if (holder == port)
        return true;
    if (holder != NULL) {
        if (!grow_kept(holder, left))
            return false;
        memcpy(holder->kept->data + holder->kept->end, channel->out + channel->start, left);
        holder->kept->end += left;
    }
    channel->holder = port;
    channel->start = channel->end = 0;
    return true;
}

static void release_buffer(struct ut_tls_channel *channel)
{
    channel->holder = NULL;
    channel->start = channel->end = 0;
}

bool ut_tls_port_write(struct ut_tls_port *port, const void *bytes, size_t size)
{
    struct ut_tls_channel *channel = port->channel;
    if (size > UT_TLS_OUT_BYTES - ut_tls_port_bytes(port) || !take_buffer(port))
        return false;
    if (size > sizeof(channel->out) - channel->end) {
        memmove(channel->out, channel->out + channel->start, channel->end - channel->start);
        channel->end -= channel->start;
        channel->start = 0;
    }
    memcpy(channel->out + channel->end, bytes, size);
    channel->end += size;
    return true;
}

int ut_tls_port_peek(const struct ut_tls_port *port, struct iovec runs[2])
{
    struct ut_tls_channel *channel = port->channel;
    int count = 0;
    if (kept_bytes(port) > 0)
        runs[count++] = (struct iovec){port->kept->data + port->kept->start, kept_bytes(port)};
    if (channel->holder == port && channel->end > channel->start)
        runs[count++] =
            (struct iovec){channel->out + channel->start, channel->end - channel->start};
    return count;
}

void ut_tls_port_consume(struct ut_tls_port *port, size_t bytes)
{
    struct ut_tls_channel *channel = port->channel;
    size_t kept = kept_bytes(port);
    size_t of_kept = bytes < kept ? bytes : kept;
    if (port->kept != NULL) {
        port->kept->start += of_kept;
        if (of_kept == kept) {
            ut_pool_free(channel->pool, port->kept);
            port->kept = NULL;
        }
    }
    if (bytes == of_kept)
        return;
    UT_CHECK(channel->holder == port && bytes - of_kept <= channel->end - channel->start);
    channel->start += bytes - of_kept;
    if (channel->start == channel->end)
        release_buffer(channel);
}

size_t ut_tls_port_bytes(const struct ut_tls_port *port)
{
    const struct ut_tls_channel *channel = port->channel;
    return kept_bytes(port) + (channel->holder == port ? channel->end - channel->start : 0);
}

void ut_tls_port_done(struct ut_tls_port *port)
{
    if (port->channel->holder == port)
        release_buffer(port->channel);
    ut_pool_free(port->channel->pool, port->kept);
    port->kept = NULL;
}
