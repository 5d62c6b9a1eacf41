/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <string.h>

enum {
    RUNS = 256,
    /* OpenSSL's steps for key updates, refused renegotiations and the like, some four a message: so
     * many, and one more for each MiB. */
    IDLE_STEPS = 400,
    TLS_HANDSHAKE_RECORD = 0x16,
};

/* ---- life ----------------------------------------------------------------------------------- */

void ut_tls_init(struct ut_tls *tls, struct ut_tls_context *context, struct ut_tls_channel *channel,
                 const struct ut_tls_ops *ops)
{
    *tls = (struct ut_tls){
        .ops = ops,
        .port = {.channel = channel},
        .context = ut_tls_context_ref(context),
    };
}

void ut_tls_done(struct ut_tls *tls)
{
    /* OpenSSL would give the session up where no close_notify went; a lost connection is no reason
     * (RFC 8446 6.1). */
    if (tls->state == UT_TLS_OPEN || tls->state == UT_TLS_CLOSED)
        SSL_set_shutdown(tls->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(tls->ssl);
    tls->ssl = NULL;
    ut_tls_port_done(&tls->port);
    ut_tls_context_unref(tls->context);
    tls->context = NULL;
}

/* After the handshake: called for each step that a message of TLS itself takes, and each alert. */
static void on_info(const SSL *ssl, int where, int value)
{
    (void)value;
    struct ut_tls *tls = SSL_get_app_data(ssl);
    if (tls->state == UT_TLS_OPEN && (where & (SSL_CB_LOOP | SSL_CB_ALERT)) != 0)
        tls->idle_steps++;
}

static int start(struct ut_tls *tls)
{
    BIO *bio = ut_tls_port_bio(&tls->port);
    tls->ssl = SSL_new(tls->context->ssl);
    if (bio == NULL || tls->ssl == NULL) {
        BIO_free(bio);
        return -ENOMEM;
    }
    SSL_set_bio(tls->ssl, bio, bio);
    SSL_set_app_data(tls->ssl, tls);
    SSL_set_info_callback(tls->ssl, on_info);
    if (tls->context->role == UT_TLS_SERVER)
        SSL_set_accept_state(tls->ssl);
    else
        SSL_set_connect_state(tls->ssl);
    tls->state = UT_TLS_HANDSHAKE;
    return 0;
}

/* Names are sent along (RFC 6066 3), addresses are not. */
static bool expect_host(SSL *ssl, const char *host)
{
    if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1)
        return true;
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

int ut_tls_init_client(struct ut_tls *tls, struct ut_tls_context *context,
                       struct ut_tls_channel *channel, const struct ut_tls_ops *ops,
                       const char *host)
{
    ut_tls_init(tls, context, channel, ops);
    tls->host = host;
    ERR_clear_error();
    bool started = start(tls) == 0 && expect_host(tls->ssl, host);
    /* The server's name is checked in a full handshake only. */
    if (started && context->session != NULL && strcmp(context->session_host, host) == 0)
        (void)SSL_set_session(tls->ssl, context->session);
    if (started)
        (void)SSL_do_handshake(tls->ssl);
    ERR_clear_error();
    if (started)
        return 0;
    ut_tls_done(tls);
    return -ENOMEM;
}

/* ---- in ------------------------------------------------------------------------------------- */

static int fail(struct ut_tls *tls, enum ut_tls_failure failure, const char *detail)
{
    tls->state = UT_TLS_FAILED;
    tls->why = (struct ut_tls_why){failure, detail};
    return -EPROTO;
}

/* What whoever sends HTTP to a TLS port can read. HTTP/2 clients too: gRPC's take it for what it
 * is, say so and report that they cannot connect, which a GOAWAY would have them try again at once.
 */
static const char plain_answer[] =
    "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 60\r\n"
    "Connection: close\r\n\r\n"
    "this port speaks TLS: send with https:// instead of http://\n";

/* Whether the first byte is of a method of HTTP/1, or of the preface of HTTP/2. */
static bool is_http(ut_slice bytes)
{
    return bytes.data[0] >= 'A' && bytes.data[0] <= 'Z';
}

static int begin(struct ut_tls *tls, ut_slice bytes)
{
    if (is_http(bytes)) {
        /* Without room for the answer the connection ends without one. */
        (void)!ut_tls_port_write(&tls->port, plain_answer, sizeof(plain_answer) - 1);
        return fail(tls, UT_TLS_FAILURE_PLAIN, "HTTP without TLS");
    }
    if (bytes.data[0] != TLS_HANDSHAKE_RECORD)
        return fail(tls, UT_TLS_FAILURE_NOT_TLS, "no TLS record");
    return start(tls);
}

/* 0, or -EPROTO where what was agreed on is not what is needed. */
static int check_open(struct ut_tls *tls)
{
    if (tls->state != UT_TLS_HANDSHAKE || !SSL_is_init_finished(tls->ssl))
        return 0;
    if (tls->context->role == UT_TLS_CLIENT && ut_tls_protocol(tls) != UT_TLS_ALPN_H2)
        return fail(tls, UT_TLS_FAILURE_ALPN, "no HTTP/2 (ALPN h2)");
    tls->state = UT_TLS_OPEN;
    tls->ops->on_open(tls);
    return 0;
}

/* Why SSL_read gave nothing: 0 where it only wants more. */
static int explain(struct ut_tls *tls, int result)
{
    switch (SSL_get_error(tls->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return 0;
    case SSL_ERROR_ZERO_RETURN:
        tls->state = UT_TLS_CLOSED;
        return 0;
    case SSL_ERROR_SSL:
        tls->state = UT_TLS_FAILED;
        tls->why = ut_tls_error_why(tls->ssl);
        return -EPROTO;
    default: /* the output is full */
        return fail(tls, UT_TLS_FAILURE_FLOOD, "answers that the peer does not read");
    }
}

/* Reads all that there is; the plain bytes are behind each other in the channel's buffer. */
static int read_all(struct ut_tls *tls, size_t *ret_size)
{
    struct ut_tls_channel *channel = tls->port.channel;
    for (;;) {
        size_t got;
        int result = SSL_read_ex(tls->ssl, channel->plain + *ret_size,
                                 sizeof(channel->plain) - *ret_size, &got);
        int error = check_open(tls);
        if (error != 0)
            return error;
        if (result != 1)
            return explain(tls, result);
        *ret_size += got;
        UT_CHECK(*ret_size < sizeof(channel->plain));
    }
}

static bool is_flood(const struct ut_tls *tls)
{
    return tls->idle_steps > IDLE_STEPS + (tls->bytes_in >> 20);
}

int ut_tls_receive(struct ut_tls *tls, ut_slice bytes)
{
    size_t size = 0;
    UT_CHECK(bytes.size > 0 && bytes.size <= UT_TLS_IN_BYTES);
    if (tls->state >= UT_TLS_CLOSED)
        return tls->state == UT_TLS_FAILED ? -EPROTO : 0;
    int error = tls->state == UT_TLS_NEW ? begin(tls, bytes) : 0;
    if (error != 0)
        return error;
    ERR_clear_error();
    tls->bytes_in += bytes.size;
    tls->port.input = bytes;
    error = read_all(tls, &size);
    tls->port.input = ut_slice_of(NULL, 0);
    ERR_clear_error();
    if (error == 0 && is_flood(tls))
        return fail(tls, UT_TLS_FAILURE_FLOOD, "too many messages that carry nothing");
    if (size == 0 || error == -EPROTO)
        return error;
    return tls->ops->on_bytes(tls, ut_slice_of(tls->port.channel->plain, size));
}

/* ---- out ------------------------------------------------------------------------------------ */

static int write_record(struct ut_tls *tls, const void *bytes, size_t size)
{
    size_t written;
    ERR_clear_error();
    if (SSL_write_ex(tls->ssl, bytes, size, &written) == 1 && written == size)
        return 0;
    ERR_clear_error();
    return fail(tls, UT_TLS_FAILURE_PROTOCOL, "a record could not be written");
}

/* Encrypts the runs as far as the output takes them: long ones as they are, short ones gathered.
 * Returns the bytes, or a negative errno. */
static ssize_t encrypt_runs(struct ut_tls *tls, const struct iovec *runs, size_t count)
{
    uint8_t *record = tls->port.channel->record;
    size_t gathered = 0, done = 0, run = 0, at = 0;
    int error = 0;
    for (int records = 0; records < UT_TLS_OUT_RECORDS && run < count && error == 0;) {
        const uint8_t *data = (const uint8_t *)runs[run].iov_base + at;
        size_t left = runs[run].iov_len - at, room = UT_TLS_RECORD - gathered;
        size_t size = left < room ? left : room;
        if (size == UT_TLS_RECORD) {
            error = write_record(tls, data, size);
        } else {
            memcpy(record + gathered, data, size);
            gathered += size;
        }
        at += size;
        done += size;
        if (at == runs[run].iov_len) {
            run++;
            at = 0;
        }
        bool full = size == UT_TLS_RECORD || gathered == UT_TLS_RECORD || run == count;
        if (full && gathered > 0 && error == 0) {
            error = write_record(tls, record, gathered);
            gathered = 0;
        }
        records += full;
    }
    return error != 0 ? error : (ssize_t)done;
}

static int encrypt_pending(struct ut_tls *tls)
{
    struct iovec runs[RUNS];
    int count = tls->ops->pending(tls, runs, RUNS);
    if (count <= 0)
        return count;
    ssize_t done = encrypt_runs(tls, runs, (size_t)count);
    if (done < 0)
        return (int)done;
    tls->ops->consumed(tls, (size_t)done);
    return 0;
}

int ut_tls_pending(struct ut_tls *tls, struct iovec *runs, size_t room)
{
    UT_CHECK(room >= 2);
    bool may_send = tls->state == UT_TLS_OPEN || tls->state == UT_TLS_CLOSED;
    if (may_send && !tls->notified && ut_tls_port_bytes(&tls->port) == 0) {
        int error = encrypt_pending(tls);
        if (error != 0)
            return error;
    }
    return ut_tls_port_peek(&tls->port, runs);
}

void ut_tls_consumed(struct ut_tls *tls, size_t bytes)
{
    ut_tls_port_consume(&tls->port, bytes);
}

void ut_tls_close(struct ut_tls *tls)
{
    if (tls->notified || (tls->state != UT_TLS_OPEN && tls->state != UT_TLS_CLOSED))
        return;
    tls->notified = true;
    ERR_clear_error();
    (void)SSL_shutdown(tls->ssl);
    ERR_clear_error();
}

/* ---- what was agreed on --------------------------------------------------------------------- */

enum ut_tls_protocol ut_tls_protocol(const struct ut_tls *tls)
{
    const unsigned char *name = NULL;
    unsigned size = 0;
    SSL_get0_alpn_selected(tls->ssl, &name, &size);
    if (size == 0)
        return UT_TLS_ALPN_NONE;
    return size == 2 ? UT_TLS_ALPN_H2 : UT_TLS_ALPN_HTTP1;
}

bool ut_tls_is_resumed(const struct ut_tls *tls)
{
    return SSL_session_reused(tls->ssl) == 1;
}
