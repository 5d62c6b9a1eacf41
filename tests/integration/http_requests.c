/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to the HTTP port that are wrong, or look wrong and are not: each with its exact status
 * and whether the connection lives on. */
#include "http_harness.h"

static struct harness harness;

static void set_up(void)
{
    http_harness_defaults(&harness);
    harness.settings.protocols.http.max_request_body_size = 1 << 20;
    harness.settings.protocols.http.limits.max_header_bytes = 2048;
    harness.settings.protocols.http.limits.max_header_fields = 20;
    http_harness_start(&harness, (size_t)64 << 20);
}

static void tear_down(void)
{
    harness_done(&harness);
}

TestSuite(http_requests, .init = set_up, .fini = tear_down);

enum { DIES, LIVES };

struct row {
    const char *name, *text;
    int status, life;
};

#define H "Host: localhost\r\n"
#define PB "Content-Type: application/x-protobuf\r\n"
#define JS "Content-Type: application/json\r\n"
#define POST "POST /v1/traces HTTP/1.1\r\n"
#define CHUNKED POST H PB "Transfer-Encoding: chunked\r\n\r\n"
#define CHUNKED_GZIP POST H PB "Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
#define TWENTY(x) x x x x x x x x x x x x x x x x x x x x

/* clang-format off */
static const struct row table[] = {
    /* Fine, though unusual. */
    {"no length is an empty request", POST H PB "\r\n", 200, LIVES},
    {"no length, JSON", POST H JS "\r\n", 200, LIVES},
    {"an empty JSON object", POST H JS "Content-Length: 2\r\n\r\n{}", 200, LIVES},
    {"length 0", POST H PB "Content-Length: 0\r\n\r\n", 200, LIVES},
    {"length with zeros before it", POST H PB "Content-Length: 0000\r\n\r\n", 200, LIVES},
    {"empty chunked body", CHUNKED "0\r\n\r\n", 200, LIVES},
    {"last chunk of many zeros", CHUNKED "000\r\n\r\n", 200, LIVES},
    {"a trailer", CHUNKED "0\r\nX-Sum: 1\r\n\r\n", 200, LIVES},
    {"a trailer that is a Content-Length", CHUNKED "0\r\nContent-Length: 9\r\n\r\n", 200, LIVES},
    {"chunked in capitals", POST H PB "Transfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n", 200, LIVES},
    {"names in any case", "POST /v1/traces HTTP/1.1\r\nhOST: x\r\ncONTENT-tYPE: Application/X-Protobuf\r\n\r\n", 200, LIVES},
    {"type with a parameter", POST H "Content-Type: application/x-protobuf; charset=utf-8\r\n\r\n", 200, LIVES},
    {"type with blanks before the parameter", POST H "Content-Type: application/json ;x=y\r\n\r\n", 200, LIVES},
    {"no blank behind the colon", POST "Host:x\r\nContent-Type:application/x-protobuf\r\n\r\n", 200, LIVES},
    {"blanks around a value", POST H "Content-Type: \t application/x-protobuf \t \r\n\r\n", 200, LIVES},
    {"an empty field", POST H PB "X-Empty:\r\n\r\n", 200, LIVES},
    {"a query", "POST /v1/traces?a=b HTTP/1.1\r\n" H PB "\r\n", 200, LIVES},
    {"an absolute target", "POST http://localhost:4318/v1/traces HTTP/1.1\r\n" H PB "\r\n", 200, LIVES},
    {"an absolute target in capitals", "POST HTTPS://h/v1/traces HTTP/1.1\r\n" H PB "\r\n", 200, LIVES},
    {"empty lines before the request", "\r\n\r\n" POST H PB "\r\n", 200, LIVES},
    {"Upgrade: h2c without a body", POST H PB "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n", 200, LIVES},
    {"Upgrade: h2c with a body", POST H PB "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\n\x78\x01", 200, LIVES},
    {"Upgrade: websocket", POST H PB "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 200, LIVES},
    {"Content-Encoding: identity", POST H PB "Content-Encoding: identity\r\n\r\n", 200, LIVES},
    {"an unknown expectation", POST H PB "Expect: miracles\r\n\r\n", 200, LIVES},
    {"Connection: close", POST H PB "Connection: close\r\n\r\n", 200, DIES},
    {"HTTP/1.0", "POST /v1/traces HTTP/1.0\r\n" PB "\r\n", 200, DIES},
    {"HTTP/1.0 that asks for keep-alive", "POST /v1/traces HTTP/1.0\r\nConnection: keep-alive\r\n" PB "\r\n", 200, DIES},
    {"OPTIONS", "OPTIONS /v1/traces HTTP/1.1\r\n" H "\r\n", 204, LIVES},
    {"OPTIONS *", "OPTIONS * HTTP/1.1\r\n" H "\r\n", 204, LIVES},

    /* Refused, and the connection lives on. */
    {"bad JSON", POST H JS "Content-Length: 1\r\n\r\n{", 400, LIVES},
    {"JSON of another schema", POST H JS "Content-Length: 2\r\n\r\n[]", 400, LIVES},
    {"bytes that do not parse", POST H PB "Content-Length: 2\r\n\r\n\x0a\x05", 400, LIVES},
    {"the same in a chunk", CHUNKED "2\r\n\x0a\x05\r\n0\r\n\r\n", 400, LIVES},
    {"an unknown path", "POST /v1/trace HTTP/1.1\r\n" H PB "\r\n", 404, LIVES},
    {"an unknown path with a body", "POST / HTTP/1.1\r\n" H PB "Content-Length: 5\r\n\r\nhello", 404, LIVES},
    {"an unknown path with chunks", "POST / HTTP/1.1\r\n" H PB "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 404, LIVES},
    {"a slash at the end", "POST /v1/traces/ HTTP/1.1\r\n" H PB "\r\n", 404, LIVES},
    {"a path in capitals", "POST /V1/TRACES HTTP/1.1\r\n" H PB "\r\n", 404, LIVES},
    {"an encoded path", "POST /v1%2ftraces HTTP/1.1\r\n" H PB "\r\n", 404, LIVES},
    {"an absolute target without a path", "POST http://localhost HTTP/1.1\r\n" H PB "\r\n", 404, LIVES},
    {"metrics", "POST /v1/metrics HTTP/1.1\r\n" H PB "Content-Length: 3\r\n\r\nabc", 404, LIVES},
    {"logs", "POST /v1/logs HTTP/1.1\r\n" H JS "Content-Length: 2\r\n\r\n{}", 404, LIVES},
    {"GET", "GET /v1/traces HTTP/1.1\r\n" H "\r\n", 405, LIVES},
    {"GET of nothing", "GET / HTTP/1.1\r\n" H "\r\n", 404, LIVES},
    {"PUT", "PUT /v1/traces HTTP/1.1\r\n" H PB "Content-Length: 3\r\n\r\nabc", 405, LIVES},
    {"DELETE", "DELETE /v1/traces HTTP/1.1\r\n" H "\r\n", 405, LIVES},
    {"TRACE", "TRACE /v1/traces HTTP/1.1\r\n" H "\r\n", 405, LIVES},
    {"POST *", "POST * HTTP/1.1\r\n" H PB "\r\n", 404, LIVES},
    {"no type", POST H "Content-Length: 2\r\n\r\nxx", 415, LIVES},
    {"type text", POST H "Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nxx", 415, LIVES},
    {"type of a form, as curl -d has it", POST H "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 2\r\n\r\n{}", 415, LIVES},
    {"type protobuf without x-", POST H "Content-Type: application/protobuf\r\n\r\n", 415, LIVES},
    {"two types in one field", POST H "Content-Type: application/json, text/plain\r\n\r\n", 415, LIVES},
    {"gRPC over HTTP/1.1", "POST /opentelemetry.proto.collector.trace.v1.TraceService/Export HTTP/1.1\r\n" H "Content-Type: application/grpc\r\n\r\n", 415, LIVES},
    {"gRPC's type on the path of HTTP", POST H "Content-Type: application/grpc\r\n\r\n", 415, LIVES},
    {"gRPC's path with HTTP's type", "POST /opentelemetry.proto.collector.trace.v1.TraceService/Export HTTP/1.1\r\n" H PB "\r\n", 415, LIVES},
    {"gzip without a body", POST H PB "Content-Encoding: gzip\r\n\r\n", 200, LIVES},
    {"what is no gzip", POST H PB "Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx", 400, LIVES},
    {"what is no gzip, in a chunk", CHUNKED_GZIP "b\r\nnot of gzip\r\n0\r\n\r\n", 400, LIVES},
    {"what is no zstd", POST H PB "Content-Encoding: zstd\r\nContent-Length: 11\r\n\r\nnot of zstd", 400, LIVES},
    {"gzip twice", POST H PB "Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n\r\n", 415, LIVES},
    {"gzip in a list", POST H PB "Content-Encoding: gzip, zstd\r\n\r\n", 415, LIVES},
    {"gzip and identity", POST H PB "Content-Encoding: gzip\r\nContent-Encoding: identity\r\n\r\n", 200, LIVES},
    {"unknown coding", POST H PB "Content-Encoding: br\r\nContent-Length: 1\r\n\r\nx", 415, LIVES},
    {"two codings", POST H PB "Content-Encoding: identity\r\nContent-Encoding: br\r\n\r\n", 415, LIVES},
    {"OPTIONS of nothing", "OPTIONS /x HTTP/1.1\r\n" H "\r\n", 404, LIVES},

    /* Refused, and the connection ends. */
    {"a body over the limit", POST H PB "Content-Length: 1048577\r\n\r\n", 413, DIES},
    {"a body of nearly all lengths there are", POST H PB "Content-Length: 18446744073709551615\r\n\r\n", 413, DIES},
    {"a refused path with a long body", "POST / HTTP/1.1\r\n" H PB "Content-Length: 300000\r\n\r\n", 404, DIES},
    {"an expectation before a refusal", "POST / HTTP/1.1\r\n" H PB "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n", 404, DIES},
    {"CONNECT", "CONNECT localhost:80 HTTP/1.1\r\n" H "\r\n", 404, DIES},

    /* No HTTP/1.1, or forms that requests are smuggled in. */
    {"two lengths that differ", POST H PB "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 400, DIES},
    {"two lengths that agree", POST H PB "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400, DIES},
    {"two lengths in one field", POST H PB "Content-Length: 1, 1\r\n\r\nx", 400, DIES},
    {"length with a sign", POST H PB "Content-Length: +1\r\n\r\nx", 400, DIES},
    {"negative length", POST H PB "Content-Length: -1\r\n\r\nx", 400, DIES},
    {"length in hex", POST H PB "Content-Length: 0x1\r\n\r\nx", 400, DIES},
    {"length that overflows", POST H PB "Content-Length: 18446744073709551616\r\n\r\n", 400, DIES},
    {"empty length", POST H PB "Content-Length: \r\n\r\n", 400, DIES},
    {"length and chunked", POST H PB "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, DIES},
    {"chunked and length", POST H PB "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400, DIES},
    {"transfer coding identity", POST H PB "Transfer-Encoding: identity\r\n\r\n", 400, DIES},
    {"transfer coding gzip, chunked", POST H PB "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400, DIES},
    {"transfer coding chunked, identity", POST H PB "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400, DIES},
    {"transfer coding chunked twice", POST H PB "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, DIES},
    {"transfer coding xchunked", POST H PB "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400, DIES},
    {"transfer coding with a vertical tab", POST H PB "Transfer-Encoding: \x0b""chunked\r\n\r\n0\r\n\r\n", 400, DIES},
    {"chunked on HTTP/1.0", "POST /v1/traces HTTP/1.0\r\n" PB "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, DIES},
    {"bare LF at the request's line", "POST /v1/traces HTTP/1.1\n" H PB "\r\n", 400, DIES},
    {"bare LF before the request", "\n" POST H PB "\r\n", 400, DIES},
    {"bare LF at a field", POST "Host: x\n" PB "\r\n", 400, DIES},
    {"bare LF at the header's end", POST H PB "\n", 400, DIES},
    {"bare CR in a field", POST "Host: x\ry\r\n" PB "\r\n", 400, DIES},
    {"a folded line", POST H "Content-Type:\r\n application/x-protobuf\r\n\r\n", 400, DIES},
    {"a line folded by a tab", POST H PB "X: a\r\n\tb\r\n\r\n", 400, DIES},
    {"a blank before the first field", POST " " H PB "\r\n", 400, DIES},
    {"a blank before the colon", POST H PB "Content-Length : 1\r\n\r\nx", 400, DIES},
    {"a blank within a name", POST H PB "X Y: 1\r\n\r\n", 400, DIES},
    {"an empty name", POST H PB ": 1\r\n\r\n", 400, DIES},
    {"a name that is no token", POST H PB "X(Y): 1\r\n\r\n", 400, DIES},
    {"a name beyond ASCII", POST H PB "X\xc3\xa9: 1\r\n\r\n", 400, DIES},
    {"a field without a colon", POST H PB "nonsense\r\n\r\n", 400, DIES},
    {"a control character in a value", POST H PB "X: a\x01""b\r\n\r\n", 400, DIES},
    {"no Host", POST PB "\r\n", 400, DIES},
    {"two Hosts", POST H H PB "\r\n", 400, DIES},
    {"a chunk extension", CHUNKED "1;a=b\r\nx\r\n0\r\n\r\n", 400, DIES},
    {"a chunk extension without a value", CHUNKED "1;a\r\nx\r\n0\r\n\r\n", 400, DIES},
    {"a chunk extension without a name", CHUNKED "1;\r\nx\r\n0\r\n\r\n", 400, DIES},
    {"an extension of the last chunk", CHUNKED "0;a=b\r\n\r\n", 400, DIES},
    {"a chunk size with 0x", CHUNKED "0x1\r\nx\r\n0\r\n\r\n", 400, DIES},
    {"a chunk size with a sign", CHUNKED "+1\r\nx\r\n0\r\n\r\n", 400, DIES},
    {"a chunk size with a blank behind", CHUNKED "1 \r\nx\r\n0\r\n\r\n", 400, DIES},
    {"a chunk size with a blank before", CHUNKED " 1\r\nx\r\n0\r\n\r\n", 400, DIES},
    {"a chunk size that overflows", CHUNKED "11111111111111111\r\n", 400, DIES},
    {"no chunk size", CHUNKED "\r\nx\r\n0\r\n\r\n", 400, DIES},
    {"a chunk size that ends in LF", CHUNKED "1\nx\r\n0\r\n\r\n", 400, DIES},
    {"a chunk that ends in LF", CHUNKED "1\r\nx\n0\r\n\r\n", 400, DIES},
    {"a chunk that ends in other bytes", CHUNKED "1\r\nxAB0\r\n\r\n", 400, DIES},
    {"a chunk that ends in CR and another byte", CHUNKED "1\r\nx\rB0\r\n\r\n", 400, DIES},
    {"a trailer with a bare LF", CHUNKED "0\r\nX: 1\n\r\n", 400, DIES},
    {"a trailer that is folded", CHUNKED "0\r\nX: 1\r\n 2\r\n\r\n", 400, DIES},
    {"a trailer whose name has a blank", CHUNKED "0\r\nX : 1\r\n\r\n", 400, DIES},
    {"HTTP/1.2", "POST /v1/traces HTTP/1.2\r\n" H PB "\r\n", 400, DIES},
    {"HTTP/2.0 by name", "POST /v1/traces HTTP/2.0\r\n" H PB "\r\n", 400, DIES},
    {"HTTP/0.9", "POST /v1/traces\r\n\r\n", 400, DIES},
    {"an unknown method", "BREW /v1/traces HTTP/1.1\r\n" H "\r\n", 400, DIES},
    {"a method in small letters", "post /v1/traces HTTP/1.1\r\n" H PB "\r\n", 400, DIES},
    {"a blank in the path", "POST /v1/ traces HTTP/1.1\r\n" H PB "\r\n", 400, DIES},
    {"no HTTP at all", "hello\r\n\r\n", 400, DIES},
    {"header fields over the limit", POST H PB TWENTY("X: 1\r\n") "\r\n", 400, DIES},
    {"a header over the limit", POST H PB TWENTY("0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345: 1\r\n"), 400, DIES},
    {"a target over the limit", "POST /" TWENTY("0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345"), 400, DIES},
};
/* clang-format on */

enum { ROWS = sizeof(table) / sizeof(table[0]) };

/* A request after it tells whether the connection lives. */
static void expect_life(const struct row *row, struct http_client *client)
{
    if (row->life == DIES) {
        cr_expect(http_is_ended(&harness, client), "%s: the connection ends", row->name);
        cr_expect_eq(client->in_size, 0, "%s: one answer, not more", row->name);
        return;
    }
    http_send(&harness, client, POST H PB "\r\n");
    cr_expect_eq(http_await(&harness, client, false).status, 200, "%s: lives on", row->name);
}

static void play(const struct row *row, size_t piece)
{
    struct http_client *client = http_connect(&harness);
    http_send_pieces(&harness, client, row->text, strlen(row->text), piece);
    struct http_answer answer = http_await(&harness, client, false);
    cr_expect_eq(answer.status, row->status, "%s (pieces of %zu): %d %s", row->name, piece,
                 answer.status, answer.body);
    bool closes = strstr(answer.head, "\r\nConnection: close\r\n") != NULL;
    cr_expect_eq(closes, row->life == DIES, "%s: the answer says whether it ends", row->name);
    if (row->status >= 400)
        cr_expect_gt(answer.body_size, 10, "%s: a Status", row->name);
    expect_life(row, client);
    http_disconnect(client);
}

Test(http_requests, each_has_its_status_and_leaves_the_connection_as_it_must)
{
    _Static_assert(ROWS >= 130, "a table that has lost rows");
    for (size_t i = 0; i < ROWS; i++)
        play(&table[i], SIZE_MAX / 2);
    cr_expect_eq(harness.worker.budget.used, 0);
}

Test(http_requests, each_has_the_same_answer_however_its_bytes_are_cut)
{
    for (size_t i = 0; i < ROWS; i++) {
        if (strlen(table[i].text) < 1000)
            play(&table[i], 1);
    }
}

Test(http_requests, error_body_is_in_the_encoding_of_the_request)
{
    struct http_client *client = http_connect(&harness);
    http_send(&harness, client, "POST /x HTTP/1.1\r\n" H PB "\r\n");
    struct http_answer answer = http_await(&harness, client, false);
    cr_expect_not_null(strstr(answer.head, "\r\nContent-Type: application/x-protobuf\r\n"));
    cr_expect_eq(memcmp(answer.body, "\x08\x05\x12", 3), 0, "NOT_FOUND and a message");
    http_send(&harness, client, "POST /x HTTP/1.1\r\n" H "Content-Type: text/html\r\n\r\n");
    answer = http_await(&harness, client, false);
    cr_expect_not_null(strstr(answer.head, "\r\nContent-Type: application/json\r\n"));
    cr_expect_eq(strncmp(answer.body, "{\"code\":5,\"message\":\"", 21), 0, "%s", answer.body);
    http_send(&harness, client, "PUT /v1/traces HTTP/1.1\r\n" H "\r\n");
    answer = http_await(&harness, client, false);
    cr_expect_not_null(strstr(answer.head, "\r\nAllow: POST, OPTIONS\r\n"));
    http_send(&harness, client, POST H PB "Content-Encoding: br\r\n\r\n");
    answer = http_await(&harness, client, false);
    cr_expect_not_null(
        strstr(answer.head, "\r\nAccept-Encoding: gzip, deflate, zstd, identity\r\n"));
    http_disconnect(client);
}

Test(http_requests, head_is_answered_without_a_body)
{
    struct http_client *client = http_connect(&harness);
    http_send(&harness, client, "HEAD /v1/traces HTTP/1.1\r\n" H "\r\n");
    struct http_answer answer = http_await(&harness, client, true);
    cr_expect_eq(answer.status, 405);
    cr_expect_not_null(strstr(answer.head, "\r\nContent-Length: "));
    http_send(&harness, client, POST H PB "\r\n");
    cr_expect_eq(http_await(&harness, client, false).status, 200);
    http_disconnect(client);
}

Test(http_requests, body_that_follows_a_refusal_is_swallowed_up_to_a_bound)
{
    struct http_client *client = http_connect(&harness);
    http_send(&harness, client, "POST /x HTTP/1.1\r\n" H PB "Content-Length: 200000\r\n\r\n");
    cr_expect_eq(http_await(&harness, client, false).status, 404);
    static char body[400000];
    http_send_pieces(&harness, client, body, 200000, 7000);
    http_send(&harness, client, POST H PB "\r\n");
    cr_expect_eq(http_await(&harness, client, false).status, 200, "the next request is found");
    http_send(&harness, client, "POST /x HTTP/1.1\r\n" H PB "Transfer-Encoding: chunked\r\n\r\n");
    cr_expect_eq(http_await(&harness, client, false).status, 404);
    http_send(&harness, client, "61a80\r\n");
    http_send_pieces(&harness, client, body, 400000, 50000);
    cr_expect(http_is_ended(&harness, client), "more than the bound");
    http_disconnect(client);
}

Test(http_requests, chunks_over_the_limit_are_refused_as_they_come)
{
    static char body[1200000];
    struct http_client *client = http_connect(&harness);
    http_send(&harness, client, CHUNKED "124f80\r\n");
    http_send_pieces(&harness, client, body, sizeof(body), 100000);
    struct http_answer answer = http_await(&harness, client, false);
    cr_expect_eq(answer.status, 413);
    cr_expect_not_null(strstr(answer.head, "\r\nConnection: close\r\n"),
                       "what is still to come may be more than what is swallowed");
    cr_expect_eq(harness.worker.budget.used, 0);
    http_disconnect(client);
}

Test(http_requests, answer_reaches_a_client_that_is_still_sending)
{
    static char body[900000];
    struct http_client *client = http_connect(&harness);
    http_send(&harness, client, "POST /x HTTP/1.1\r\n" H PB "Content-Length: 900000\r\n\r\n");
    http_send_pieces(&harness, client, body, sizeof(body), 10000);
    cr_expect_eq(http_await(&harness, client, false).status, 404);
    http_disconnect(client);
}
