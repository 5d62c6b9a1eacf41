/* SPDX-License-Identifier: Apache-2.0 */
/* A TLS connection between its two ends in memory: bytes, ends and offences. */
#include "net/tls.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "tls_lab.h"

static struct lab lab;

static void set_up(void)
{
    lab_open(&lab);
}

static void tear_down(void)
{
    lab_close(&lab);
}

TestSuite(tls, .init = set_up, .fini = tear_down);

static void want_1_2(SSL_CTX *client)
{
    SSL_CTX_set_max_proto_version(client, TLS1_2_VERSION);
}

/* `size` bytes that tell where they stand. */
static uint8_t *pattern(size_t size)
{
    uint8_t *bytes = malloc(size);
    cr_assert_not_null(bytes);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 251);
    return bytes;
}

static void client_sends(struct pair *pair, const void *bytes, size_t size)
{
    size_t written;
    cr_assert_eq(SSL_write_ex(pair->client, bytes, size, &written), 1);
    cr_assert_eq(written, size);
}

/* What the client can read now, into `room`. */
static size_t client_reads(struct pair *pair, uint8_t *room, size_t size)
{
    size_t total = 0, got;
    while (total < size && SSL_read_ex(pair->client, room + total, size - total, &got) == 1)
        total += got;
    return total;
}

static void expect_echo(struct pair *pair, size_t size)
{
    uint8_t *bytes = pattern(size), *back = malloc(size);
    cr_assert_not_null(back);
    size_t had = pair->got_size;
    client_sends(pair, bytes, size);
    pair_move(pair);
    cr_assert_eq(pair->got_size, had + size);
    cr_expect_eq(memcmp(pair->got + had, bytes, size), 0);
    pair->out = bytes;
    pair->out_size = size;
    pair_move(pair);
    cr_expect_eq(pair->out_size, 0);
    cr_assert_eq(client_reads(pair, back, size), size);
    cr_expect_eq(memcmp(back, bytes, size), 0);
    free(bytes);
    free(back);
}

Test(tls, bytes_go_both_ways_in_both_versions)
{
    void (*const tunes[])(SSL_CTX *) = {NULL, want_1_2};
    static const int versions[] = {TLS1_3_VERSION, TLS1_2_VERSION};
    for (int i = 0; i < 2; i++) {
        struct pair *pair = pair_open(&lab, tunes[i]);
        cr_assert(pair_shake(pair));
        cr_expect_eq(SSL_version(pair->client), versions[i]);
        cr_expect_eq(pair->opened, 1);
        cr_expect_null(SSL_get_current_compression(pair->client));
        expect_echo(pair, 1);
        expect_echo(pair, 16384);
        expect_echo(pair, 16385);
        expect_echo(pair, 1 << 20);
        cr_expect_eq(pair->error, 0);
        pair_close(pair);
    }
}

Test(tls, pieces_of_any_size_are_the_same_as_the_whole)
{
    static const size_t pieces[] = {1, 2, 3, 5, 7, 64, 1000, 16383};
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        struct pair *pair = pair_open(&lab, i % 2 == 0 ? NULL : want_1_2);
        pair->piece = pieces[i];
        cr_assert(pair_shake(pair), "pieces of %zu", pieces[i]);
        expect_echo(pair, 40000);
        cr_expect_eq(pair->error, 0);
        pair_close(pair);
    }
}

Test(tls, records_of_one_byte_are_joined)
{
    struct pair *pair = pair_open(&lab, NULL);
    cr_assert(pair_shake(pair));
    for (int i = 0; i < 100; i++)
        client_sends(pair, "x", 1);
    pair_move_in(pair);
    cr_expect_eq(pair->got_size, 100);
    pair_close(pair);
}

/* One output buffer: what the socket of one has not taken is not lost to the other's. */
Test(tls, connections_share_a_buffer_and_keep_their_bytes)
{
    enum { PAIRS = 3, SIZE = 200000, PIECE = 7000 };
    struct pair *pairs[PAIRS];
    uint8_t *bytes = pattern(SIZE), *back = malloc(SIZE);
    for (int i = 0; i < PAIRS; i++) {
        pairs[i] = pair_open(&lab, NULL);
        cr_assert(pair_shake(pairs[i]));
        pairs[i]->out = bytes;
        pairs[i]->out_size = (size_t)(SIZE - i);
    }
    for (bool moved = true; moved;) {
        moved = false;
        for (int i = 0; i < PAIRS; i++) {
            struct iovec runs[2];
            int count = ut_tls_pending(&pairs[i]->tls, runs, 2);
            cr_assert_geq(count, 0);
            if (count == 0)
                continue;
            int size = (int)(runs[0].iov_len < PIECE ? runs[0].iov_len : PIECE);
            cr_assert_eq(BIO_write(pairs[i]->to_client, runs[0].iov_base, size), size);
            ut_tls_consumed(&pairs[i]->tls, (size_t)size);
            moved = true;
        }
    }
    for (int i = 0; i < PAIRS; i++) {
        cr_assert_eq(client_reads(pairs[i], back, SIZE), (size_t)(SIZE - i));
        cr_expect_eq(memcmp(back, bytes, (size_t)(SIZE - i)), 0);
        cr_expect_eq(ut_tls_port_bytes(&pairs[i]->tls.port), 0);
        pair_close(pairs[i]);
    }
    free(bytes);
    free(back);
}

Test(tls, an_idle_connection_holds_nothing_of_the_pool)
{
    struct pair *pair = pair_open(&lab, NULL);
    cr_assert(pair_shake(pair));
    expect_echo(pair, 100000);
    cr_expect_eq(lab.pool.in_use, 0);
    pair_close(pair);
}

Test(tls, an_end_is_announced_and_understood)
{
    struct pair *pair = pair_open(&lab, NULL);
    uint8_t byte;
    cr_assert(pair_shake(pair));
    client_sends(pair, "last", 4);
    cr_expect_eq(SSL_shutdown(pair->client), 0, "the other end has not said so yet");
    pair_move_in(pair);
    cr_expect_eq(pair->tls.state, UT_TLS_CLOSED);
    cr_expect_eq(pair->got_size, 4, "what came before the end counts");
    pair->out = (const uint8_t *)"answer";
    pair->out_size = 6;
    pair_move_out(pair);
    ut_tls_close(&pair->tls);
    ut_tls_close(&pair->tls);
    pair_move_out(pair);
    uint8_t answer[6];
    cr_expect_eq(client_reads(pair, answer, 6), 6, "an end of one half leaves the other");
    cr_expect_eq(SSL_read(pair->client, &byte, 1), 0);
    cr_expect_eq(SSL_get_error(pair->client, 0), SSL_ERROR_ZERO_RETURN);
    pair_close(pair);
}

Test(tls, half_a_record_is_never_handed_on)
{
    struct pair *pair = pair_open(&lab, NULL);
    uint8_t record[2000];
    size_t size;
    cr_assert(pair_shake(pair));
    client_sends(pair, record, 1000);
    cr_assert_eq(BIO_read_ex(pair->from_client, record, sizeof(record), &size), 1);
    cr_expect_eq(ut_tls_receive(&pair->tls, ut_slice_of(record, size - 1)), 0);
    cr_expect_eq(pair->got_size, 0);
    pair_close(pair);
}

Test(tls, a_changed_byte_ends_the_connection_with_an_alert)
{
    struct pair *pair = pair_open(&lab, NULL);
    uint8_t record[2000], byte;
    size_t size;
    cr_assert(pair_shake(pair));
    client_sends(pair, record, 1000);
    cr_assert_eq(BIO_read_ex(pair->from_client, record, sizeof(record), &size), 1);
    record[size / 2] ^= 1;
    cr_expect_eq(ut_tls_receive(&pair->tls, ut_slice_of(record, size)), -EPROTO);
    cr_expect_eq(pair->tls.why.failure, UT_TLS_FAILURE_PROTOCOL);
    cr_expect_eq(pair->got_size, 0);
    pair->out = &byte;
    pair->out_size = 1;
    pair_move_out(pair);
    cr_expect_eq(pair->out_size, 1, "nothing more is sent but the alert");
    cr_expect_leq(SSL_read(pair->client, &byte, 1), 0);
    cr_expect_eq(SSL_get_error(pair->client, -1), SSL_ERROR_SSL);
    cr_expect_eq(ut_tls_receive(&pair->tls, ut_slice_of(record, size)), -EPROTO);
    pair_close(pair);
}

Test(tls, renegotiation_is_refused)
{
    struct pair *pair = pair_open(&lab, want_1_2);
    cr_assert(pair_shake(pair));
    cr_assert_eq(SSL_renegotiate(pair->client), 1);
    (void)SSL_do_handshake(pair->client);
    pair_move_in(pair);
    pair_move_out(pair);
    cr_expect_leq(SSL_do_handshake(pair->client), 0);
    cr_expect_eq(pair->opened, 1, "no second handshake");
    pair_close(pair);
}

Test(tls, key_updates_are_answered_and_a_flood_of_them_ends_the_connection)
{
    struct pair *pair = pair_open(&lab, NULL);
    cr_assert(pair_shake(pair));
    for (int i = 0; i < 20; i++) {
        cr_assert_eq(SSL_key_update(pair->client, SSL_KEY_UPDATE_REQUESTED), 1);
        expect_echo(pair, 10);
    }
    cr_expect_eq(pair->error, 0);
    for (int i = 0; i < 200 && pair->error == 0; i++) {
        cr_assert_eq(SSL_key_update(pair->client, SSL_KEY_UPDATE_REQUESTED), 1);
        client_sends(pair, "x", 1);
        pair_move_in(pair);
        cr_assert_leq(ut_tls_port_bytes(&pair->tls.port), UT_TLS_OUT_BYTES);
    }
    cr_expect_eq(pair->error, -EPROTO);
    cr_expect_eq(pair->tls.why.failure, UT_TLS_FAILURE_FLOOD);
    pair_close(pair);
}

static void expect_plain(const char *sent, size_t size, enum ut_tls_failure failure,
                         const char *answer, size_t answer_size)
{
    struct pair *pair = pair_open(&lab, NULL);
    char *got;
    cr_expect_eq(ut_tls_receive(&pair->tls, ut_slice_of((const uint8_t *)sent, size)), -EPROTO);
    cr_expect_eq(pair->tls.why.failure, failure);
    pair_move_out(pair);
    long got_size = BIO_get_mem_data(pair->to_client, &got);
    cr_assert_geq((size_t)got_size, answer_size, "%s", sent);
    cr_expect(answer_size == 0 || memcmp(got, answer, answer_size) == 0);
    pair_close(pair);
}

Test(tls, whoever_sends_http_without_tls_is_told_so_in_http)
{
    static const char answer[] = "HTTP/1.1 400 Bad Request\r\n";
    static const char *const sent[] = {"GET /v1/traces HTTP/1.1\r\n\r\n", "P",
                                       "PRI * HTTP/2.0\r\n"};
    for (int i = 0; i < 3; i++)
        expect_plain(sent[i], strlen(sent[i]), UT_TLS_FAILURE_PLAIN, answer, sizeof(answer) - 1);
    expect_plain("\0\0\0", 3, UT_TLS_FAILURE_NOT_TLS, "", 0);
    expect_plain("\x16GET / HTTP", 11, UT_TLS_FAILURE_NOT_TLS, "", 0);
}
