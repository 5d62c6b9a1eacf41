/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our end of one TLS connection, a server's or a client's, between a stream and its protocol, on
 * OpenSSL: encrypted bytes in and out on one side, plain ones on the other. No socket.
 *
 * What arrives is decrypted into the worker's buffer and handed on in one piece; what the protocol
 * has pending is encrypted in full records when the socket has taken all that came before, so the
 * protocol's own back-pressure stays in force. An idle connection holds OpenSSL's state and nothing
 * else; one that has not said a word, not even that.
 *
 * States: new → handshake → open → closed (the peer's close_notify) or failed (an alert of ours may
 * be pending; what still comes is thrown away).
 */
#ifndef UT_NET_TLS_H
#define UT_NET_TLS_H

#include "net/tls_channel.h"
#include "net/tls_context.h"
#include "net/tls_error.h"

struct ut_tls;

struct ut_tls_ops {
    /* The handshake is through; before any plain byte. */
    void (*on_open)(struct ut_tls *tls);
    /* Plain bytes, valid during the call. A negative errno is passed on by ut_tls_receive. */
    int (*on_bytes)(struct ut_tls *tls, ut_slice bytes);
    /* As in ut_stream_ops, of plain bytes. */
    int (*pending)(struct ut_tls *tls, struct iovec *runs, size_t room);
    void (*consumed)(struct ut_tls *tls, size_t bytes);
};

enum ut_tls_state {
    UT_TLS_NEW,
    UT_TLS_HANDSHAKE,
    UT_TLS_OPEN,
    UT_TLS_CLOSED,
    UT_TLS_FAILED,
};

struct ut_tls {
    const struct ut_tls_ops *ops;
    struct ut_tls_port port;
    struct ut_tls_context *context; /* a reference */
    const char *host;               /* of a client: who the server must be; borrowed */
    SSL *ssl;                       /* NULL while new */
    uint8_t state;                  /* enum ut_tls_state */
    bool notified;                  /* our close_notify is out */
    uint32_t idle_steps;            /* after the handshake: for messages of TLS itself */
    uint64_t bytes_in;
    struct ut_tls_why why; /* it failed */
};

/* A server's end. Takes a reference to the context that new connections are to have. */
void ut_tls_init(struct ut_tls *tls, struct ut_tls_context *context, struct ut_tls_channel *channel,
                 const struct ut_tls_ops *ops);
/* A client's end, whose first words are pending at once. `host` is the name, or the numeric
 * address, that the server's certificate must have; it outlives the context. A session that was
 * opened with the same host is resumed. 0; -ENOMEM: then nothing is to be done. */
int ut_tls_init_client(struct ut_tls *tls, struct ut_tls_context *context,
                       struct ut_tls_channel *channel, const struct ut_tls_ops *ops,
                       const char *host) UT_MUST_USE;
void ut_tls_done(struct ut_tls *tls);

/* At most UT_TLS_IN_BYTES at once. 0; what on_bytes said; -EPROTO: it has failed, tls->why says
 * why, an answer may be pending, and nothing more is to be done with it; -ENOMEM. */
int ut_tls_receive(struct ut_tls *tls, ut_slice bytes) UT_MUST_USE;
/* For ut_stream_ops. Their number, or a negative errno. */
int ut_tls_pending(struct ut_tls *tls, struct iovec *runs, size_t room) UT_MUST_USE;
void ut_tls_consumed(struct ut_tls *tls, size_t bytes);
/* Nothing more is to be sent but a close_notify, which is pending now. May be called again. */
void ut_tls_close(struct ut_tls *tls);

/* ---- what was agreed on, of an open connection ----------------------------------------------- */

enum ut_tls_protocol { UT_TLS_ALPN_NONE, UT_TLS_ALPN_H2, UT_TLS_ALPN_HTTP1 };

enum ut_tls_protocol ut_tls_protocol(const struct ut_tls *tls);
bool ut_tls_is_resumed(const struct ut_tls *tls);

/* Why a client's connection failed, and what to do about it, for people. Returns `out`. */
const char *ut_tls_client_trouble(const struct ut_tls *tls, char *out, size_t size);

/* The names in the peer's certificate, which was verified; none if it has shown none. */
enum ut_tls_name {
    UT_TLS_NAME_COMMON, /* CN of the subject */
    UT_TLS_NAME_DNS,    /* of the subject's alternative names, as the rest */
    UT_TLS_NAME_URI,
    UT_TLS_NAME_EMAIL,
};

/* Calls visit for each (valid during the call) until it answers true; returns whether it did. Names
 * with a NUL in them are left out. */
bool ut_tls_find_name(const struct ut_tls *tls,
                      bool (*visit)(void *arg, enum ut_tls_name kind, ut_slice name), void *arg);

#endif
