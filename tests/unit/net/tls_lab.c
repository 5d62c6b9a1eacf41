/* SPDX-License-Identifier: Apache-2.0 */
#include "tls_lab.h"

#include <criterion/criterion.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <unistd.h>

static void make_folder(struct lab *lab)
{
    (void)snprintf(lab->folder, sizeof(lab->folder), "/tmp/undertrace-tls-XXXXXX");
    cr_assert_not_null(mkdtemp(lab->folder));
    (void)snprintf(lab->cert, sizeof(lab->cert), "%s/server.pem", lab->folder);
    (void)snprintf(lab->key, sizeof(lab->key), "%s/server.key", lab->folder);
    (void)snprintf(lab->ca, sizeof(lab->ca), "%s/ca.pem", lab->folder);
}

void lab_open(struct lab *lab)
{
    *lab = (struct lab){0};
    make_folder(lab);
    lab->authority = test_identity_make(&(struct test_wish){.name = "authority"});
    lab->server = test_identity_make(&(struct test_wish){
        .name = "server",
        .alternatives = "DNS:localhost,IP:127.0.0.1",
        .issuer = &lab->authority,
    });
    test_write_certificate(&lab->authority, lab->ca);
    test_write_certificate(&lab->server, lab->cert);
    test_write_key(&lab->server, lab->key);
    lab->settings = (struct ut_tls_settings){
        .cert_file = lab->cert,
        .key_file = lab->key,
        .min_version = UT_TLS_1_2,
        .max_version = UT_TLS_1_3,
    };
    ut_pool_init(&lab->pool, 1 << 20);
    lab->channel = ut_tls_channel_new(&lab->pool);
    cr_assert_not_null(lab->channel);
    lab_renew(lab);
}

void lab_renew(struct lab *lab)
{
    struct ut_tls_error error;
    ut_tls_context_unref(lab->context);
    cr_assert_eq(ut_tls_context_new(&lab->context, &lab->settings, UT_TLS_SERVER, &error), 0,
                 "%s: %s", error.key, error.text);
}

void lab_close(struct lab *lab)
{
    ut_tls_channel_free(lab->channel);
    ut_tls_context_unref(lab->context);
    ut_pool_done(&lab->pool);
    test_identity_free(&lab->authority);
    test_identity_free(&lab->server);
    unlink(lab->cert);
    unlink(lab->key);
    unlink(lab->ca);
    rmdir(lab->folder);
}

static struct pair *pair_of(struct ut_tls *tls)
{
    return UT_CONTAINER_OF(tls, struct pair, tls);
}

static void on_open(struct ut_tls *tls)
{
    cr_expect_eq(pair_of(tls)->got_size, 0);
    pair_of(tls)->opened++;
}

static int on_bytes(struct ut_tls *tls, ut_slice bytes)
{
    struct pair *pair = pair_of(tls);
    cr_assert_leq(pair->got_size + bytes.size, LAB_BYTES);
    memcpy(pair->got + pair->got_size, bytes.data, bytes.size);
    pair->got_size += bytes.size;
    return 0;
}

/* In two runs, so that records are gathered from several. */
static int on_pending(struct ut_tls *tls, struct iovec *runs, size_t room)
{
    struct pair *pair = pair_of(tls);
    size_t first = pair->out_size < 9 ? pair->out_size : 9;
    cr_assert_geq(room, 2);
    runs[0] = (struct iovec){(void *)(uintptr_t)pair->out, first};
    runs[1] = (struct iovec){(void *)(uintptr_t)(pair->out + first), pair->out_size - first};
    return (first > 0) + (pair->out_size > first);
}

static void on_consumed(struct ut_tls *tls, size_t bytes)
{
    pair_of(tls)->out += bytes;
    pair_of(tls)->out_size -= bytes;
}

static const struct ut_tls_ops ops = {
    .on_open = on_open,
    .on_bytes = on_bytes,
    .pending = on_pending,
    .consumed = on_consumed,
};

struct pair *pair_open(struct lab *lab, void (*tune)(SSL_CTX *client))
{
    struct pair *pair = calloc(1, sizeof(*pair));
    SSL_CTX *client = SSL_CTX_new(TLS_client_method());
    cr_assert(pair != NULL && client != NULL);
    pair->got = malloc(LAB_BYTES);
    cr_assert_not_null(pair->got);
    cr_assert_eq(SSL_CTX_load_verify_file(client, lab->ca), 1);
    SSL_CTX_set_verify(client, SSL_VERIFY_PEER, NULL);
    if (tune != NULL)
        tune(client);
    pair->client = SSL_new(client);
    SSL_CTX_free(client);
    pair->to_client = BIO_new(BIO_s_mem());
    pair->from_client = BIO_new(BIO_s_mem());
    SSL_set_bio(pair->client, pair->to_client, pair->from_client);
    SSL_set_connect_state(pair->client);
    ut_tls_init(&pair->tls, lab->context, lab->channel, &ops);
    return pair;
}

void pair_close(struct pair *pair)
{
    ut_tls_done(&pair->tls);
    SSL_free(pair->client);
    free(pair->got);
    free(pair);
}

void pair_move_in(struct pair *pair)
{
    uint8_t bytes[65536];
    size_t piece = pair->piece > 0 ? pair->piece : sizeof(bytes), got;
    while (BIO_read_ex(pair->from_client, bytes, piece, &got) == 1) {
        int error = ut_tls_receive(&pair->tls, ut_slice_of(bytes, got));
        pair->error = pair->error != 0 ? pair->error : error;
    }
}

void pair_move_out(struct pair *pair)
{
    struct iovec runs[2];
    int count;
    while ((count = ut_tls_pending(&pair->tls, runs, 2)) > 0) {
        size_t size = runs[0].iov_len;
        if (pair->piece > 0 && size > pair->piece)
            size = pair->piece;
        cr_assert_eq(BIO_write(pair->to_client, runs[0].iov_base, (int)size), (int)size);
        ut_tls_consumed(&pair->tls, size);
    }
    cr_assert_eq(count, 0);
}

void pair_move(struct pair *pair)
{
    size_t before;
    do {
        before = BIO_number_written(pair->from_client) + BIO_number_written(pair->to_client);
        if (!SSL_is_init_finished(pair->client)) {
            ERR_clear_error();
            (void)SSL_do_handshake(pair->client);
        }
        pair_move_in(pair);
        pair_move_out(pair);
    } while (BIO_number_written(pair->from_client) + BIO_number_written(pair->to_client) > before);
}

bool pair_shake(struct pair *pair)
{
    pair_move(pair);
    return SSL_is_init_finished(pair->client) == 1 && pair->tls.state == UT_TLS_OPEN;
}
