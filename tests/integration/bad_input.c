/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of malformed bodies in every encoding and over every carrier, and what is wrong in JSON
 * and in the header of an HTTP/2 request: each row with its exact status and body, on a connection
 * that lives on. What is wrong in HTTP/1.1 itself is http_requests.c's, and frames are played in
 * tests/attacks.
 */
#include <sys/un.h>

#include "compress.h"
#include "malformed.h"
#include "tls_tunnel.h"

#define MIB ((size_t)1 << 20)

/* What a connection runs on. */
enum bed { ON_TCP, ON_UNIX, ON_TLS };

static struct tls_harness secure;
static struct harness *const harness = &secure.base;
static struct tls_tunnel tunnel;
static enum bed bed;
static char folder[64], path[96], endpoint[128];

static void set_up(void)
{
    tls_harness_defaults(&secure);
    harness->settings.invalid_utf8 = UT_OTLP_UTF8_REJECT; /* as the table has it */
}

static void tear_down(void)
{
    if (bed == ON_TLS)
        tls_tunnel_close(&tunnel);
    tls_harness_done(&secure);
    if (folder[0] != '\0')
        cr_expect_eq(rmdir(folder), 0);
}

TestSuite(bad_input, .init = set_up, .fini = tear_down);

/* ---- carriers ------------------------------------------------------------------------------- */

struct carrier {
    struct http_client *http1;
    struct harness_client *http2;
    bool grpc, chunked, json;
    const char *coding; /* NULL: none */
    enum compress_form form;
};

/* The answer in one form: HTTP's status, or the one that gRPC's code stands for. */
struct reply {
    int status;
    uint8_t body[4096]; /* without gRPC's prefix */
    size_t size;
    bool retryable;
};

static struct reply over_http1(const struct carrier *carrier, const void *body, size_t size)
{
    char head[256], coding[64] = "";
    if (carrier->coding != NULL)
        (void)snprintf(coding, sizeof(coding), "Content-Encoding: %s\r\n", carrier->coding);
    int length =
        snprintf(head, sizeof(head),
                 "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/%s\r\n%s",
                 carrier->json ? "json" : "x-protobuf", coding);
    length += snprintf(head + length, sizeof(head) - (size_t)length,
                       carrier->chunked ? "Transfer-Encoding: chunked\r\n\r\n%zx\r\n"
                                        : "Content-Length: %zu\r\n\r\n",
                       size);
    http_send_pieces(harness, carrier->http1, head, (size_t)length, SIZE_MAX / 2);
    http_send_pieces(harness, carrier->http1, body, size, SIZE_MAX / 2);
    if (carrier->chunked)
        http_send(harness, carrier->http1, "\r\n0\r\n\r\n");
    struct http_answer answer = http_await(harness, carrier->http1, false);
    struct reply reply = {.status = answer.status,
                          .size = answer.body_size,
                          .retryable = strstr(answer.head, "Retry-After") != NULL};
    memcpy(reply.body, answer.body, answer.body_size);
    return reply;
}

static int status_of(const struct grpc_reply *reply)
{
    if (reply->http_status != 200 || reply->grpc_status < 0)
        return reply->http_status;
    return reply->grpc_status == UT_GRPC_OK                 ? 200
           : reply->grpc_status == UT_GRPC_INVALID_ARGUMENT ? 400
                                                            : 1000 + reply->grpc_status;
}

static struct reply over_http2(const struct carrier *carrier, const void *body, size_t size)
{
    uint8_t *bytes = malloc(size + 5);
    cr_assert_not_null(bytes);
    size_t prefix = carrier->grpc ? 5 : 0;
    const uint8_t head[5] = {carrier->coding != NULL, (uint8_t)(size >> 24), (uint8_t)(size >> 16),
                             (uint8_t)(size >> 8), (uint8_t)size};
    memcpy(bytes, head, 5);
    if (size > 0)
        memcpy(bytes + prefix, body, size);
    nghttp2_nv coding = {(uint8_t *)"content-encoding", (uint8_t *)(uintptr_t)carrier->coding, 16,
                         carrier->coding != NULL ? strlen(carrier->coding) : 0, 0};
    struct grpc_request request = {.body = bytes, .size = size + prefix};
    if (carrier->grpc) {
        request.encoding = carrier->coding;
    } else {
        request.path = "/v1/traces";
        request.content_type = carrier->json ? "application/json" : "application/x-protobuf";
        request.extra = &coding;
        request.extra_count = carrier->coding != NULL;
    }
    const struct grpc_reply *got = grpc_peer_send(&carrier->http2->peer, &request);
    harness_await(harness, carrier->http2, got);
    struct reply reply = {.status = status_of(got), .retryable = got->details[0] != '\0'};
    reply.size = got->body_size > prefix ? got->body_size - prefix : 0;
    memcpy(reply.body, got->body + prefix, reply.size);
    free(bytes);
    return reply;
}

static struct reply deliver(const struct carrier *carrier, const void *body, size_t size)
{
    uint8_t *packed = NULL;
    if (carrier->coding != NULL)
        body = packed = compress_bytes(carrier->form, body, size, &size);
    struct reply reply =
        carrier->http1 != NULL ? over_http1(carrier, body, size) : over_http2(carrier, body, size);
    free(packed);
    return reply;
}

static void let_go(struct carrier *carrier)
{
    struct reply reply = deliver(carrier, "", 0);
    cr_expect_eq(reply.status, 200, "lives on");
    if (bed == ON_TLS)
        cr_expect_eq(SSL_get_state(tunnel.ssl), TLS_ST_OK);
    if (carrier->http1 != NULL)
        http_disconnect(carrier->http1);
    else
        harness_disconnect(carrier->http2);
}

static int reach_unix(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_geq(fd, 0);
    memcpy(address.sun_path, path, strlen(path));
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static int reach(bool http2)
{
    if (bed == ON_UNIX)
        return reach_unix();
    int fd = harness_socket(harness, false);
    return bed == ON_TLS ? tls_tunnel_open(&tunnel, &secure, fd, http2 ? "\2h2" : NULL) : fd;
}

static void connect_carrier(struct carrier *carrier, bool http2, enum bed on)
{
    struct ut_otlp_protocols *protocols = &harness->settings.protocols;
    bed = on;
    protocols->grpc.has_tls = protocols->http.has_tls = on == ON_TLS;
    protocols->has_http = on != ON_UNIX && !carrier->grpc;
    if (on == ON_UNIX) {
        (void)snprintf(folder, sizeof(folder), "/tmp/ut-bad-XXXXXX");
        cr_assert_not_null(mkdtemp(folder));
        (void)snprintf(path, sizeof(path), "%s/otlp.sock", folder);
        (void)snprintf(endpoint, sizeof(endpoint), "unix://%s", path);
        protocols->grpc.endpoint = endpoint; /* it takes HTTP as well */
    }
    harness_start(harness, 64 * MIB);
    int fd = reach(http2);
    if (http2) {
        carrier->http2 = calloc(1, sizeof(*carrier->http2));
        cr_assert_not_null(carrier->http2);
        grpc_peer_init(&carrier->http2->peer);
        carrier->http2->fd = fd;
    } else {
        carrier->http1 = calloc(1, sizeof(*carrier->http1));
        cr_assert_not_null(carrier->http1);
        carrier->http1->fd = fd;
    }
}

/* ---- protobuf ------------------------------------------------------------------------------- */

/* partial_success.rejected_spans. */
static unsigned rejected_spans(const struct reply *reply)
{
    if (reply->size < 4)
        return 0;
    const uint8_t *p = reply->body + 2 + ((reply->body[1] & 0x80) != 0);
    unsigned value = p[1] & 0x7fu;
    return (p[1] & 0x80) != 0 ? value | (unsigned)p[2] << 7 : value;
}

static void check_row(const struct malformed *row, const struct carrier *carrier,
                      const struct reply *reply)
{
    int status = row->answer == MALFORMED_REFUSED ? 400 : 200;
    cr_expect_eq(reply->status, status, "%s: %d", row->name, reply->status);
    cr_expect_not(reply->retryable, "%s", row->name);
    if (row->answer == MALFORMED_OK)
        cr_expect_eq(reply->size, 0, "%s: no partial_success", row->name);
    if (row->answer == MALFORMED_PARTIAL)
        cr_expect_eq(rejected_spans(reply), row->left_out, "%s: rejected_spans", row->name);
    if (row->answer == MALFORMED_REFUSED && !carrier->grpc)
        cr_expect_eq(memcmp(reply->body, "\x08\x03\x12", 3), 0, "%s: a Status", row->name);
}

static void play_bodies(struct carrier carrier, bool http2, enum bed on)
{
    connect_carrier(&carrier, http2, on);
    struct otlp_bytes body = {0};
    for (size_t i = 0; i < MALFORMED_COUNT; i++) {
        malformed_build(&body, &MALFORMED[i]);
        struct reply reply = deliver(&carrier, body.data, body.size);
        check_row(&MALFORMED[i], &carrier, &reply);
    }
    otlp_free(&body);
    let_go(&carrier);
}

#define GZIP .coding = "gzip", .form = COMPRESS_GZIP
#define ZSTD .coding = "zstd", .form = COMPRESS_ZSTD
#define DEFLATE .coding = "deflate", .form = COMPRESS_ZLIB

Test(bad_input, protobuf_in_gzip_over_grpc)
{
    play_bodies((struct carrier){.grpc = true, GZIP}, true, ON_TCP);
}

Test(bad_input, protobuf_in_zstd_over_grpc)
{
    play_bodies((struct carrier){.grpc = true, ZSTD}, true, ON_TCP);
}

Test(bad_input, protobuf_over_grpc_on_a_unix_socket)
{
    play_bodies((struct carrier){.grpc = true}, true, ON_UNIX);
}

Test(bad_input, protobuf_over_http2)
{
    play_bodies((struct carrier){0}, true, ON_TCP);
}

Test(bad_input, protobuf_in_gzip_over_http2)
{
    play_bodies((struct carrier){GZIP}, true, ON_TCP);
}

Test(bad_input, protobuf_in_gzip_over_http1)
{
    play_bodies((struct carrier){GZIP}, false, ON_TCP);
}

Test(bad_input, protobuf_in_zstd_in_chunks_over_http1)
{
    play_bodies((struct carrier){ZSTD, .chunked = true}, false, ON_TCP);
}

Test(bad_input, protobuf_in_deflate_over_http1)
{
    play_bodies((struct carrier){DEFLATE}, false, ON_TCP);
}

Test(bad_input, protobuf_over_http1_on_a_unix_socket)
{
    play_bodies((struct carrier){0}, false, ON_UNIX);
}

Test(bad_input, protobuf_over_grpc_with_tls)
{
    play_bodies((struct carrier){.grpc = true}, true, ON_TLS);
}

Test(bad_input, protobuf_in_zstd_over_http2_with_tls)
{
    play_bodies((struct carrier){ZSTD}, true, ON_TLS);
}

Test(bad_input, protobuf_in_gzip_in_chunks_over_http1_with_tls)
{
    play_bodies((struct carrier){GZIP, .chunked = true}, false, ON_TLS);
}

/* ---- JSON ----------------------------------------------------------------------------------- */

#define IDS "\"traceId\":\"5B8EFFF798038103D269B633813FC60C\",\"spanId\":\"EEE19B7EC3C1B174\""
#define IN_SPANS(spans) "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[" spans "]}]}]}"
#define IN_SPAN_JSON(members) IN_SPANS("{" IDS "," members "}")
#define VALUE(value) IN_SPAN_JSON("\"attributes\":[{\"key\":\"k\",\"value\":" value "}]")

/* Taken; taken but for a span; refused. */
enum { TAKEN, LEFT_OUT, REFUSED };

/* clang-format off */
static const struct {
    const char *name, *text;
    int answer;
} json_rows[] = {
    {"an empty object", "{}", TAKEN},
    {"blanks around it", " \t\r\n{ } \n", TAKEN},
    {"unknown keys", "{\"a\":{\"b\":[1,null,true,\"c\"]}}", TAKEN},
    {"null for a list", "{\"resourceSpans\":null}", TAKEN},
    {"an empty list", "{\"resourceSpans\":[]}", TAKEN},
    {"a sound span", IN_SPANS("{" IDS "}"), TAKEN},
    {"the same key twice", IN_SPAN_JSON("\"name\":\"a\",\"name\":\"b\""), TAKEN},
    {"a time as text", IN_SPAN_JSON("\"startTimeUnixNano\":\"1\""), TAKEN},
    {"a time as number", IN_SPAN_JSON("\"startTimeUnixNano\":1"), TAKEN},
    {"a time of a fraction of nothing", IN_SPAN_JSON("\"startTimeUnixNano\":1.0"), TAKEN},
    {"the largest time", IN_SPAN_JSON("\"endTimeUnixNano\":\"18446744073709551615\""), TAKEN},
    {"an int as text", VALUE("{\"intValue\":\"-9223372036854775808\"}"), TAKEN},
    {"a double as NaN", VALUE("{\"doubleValue\":\"NaN\"}"), TAKEN},
    {"bytes in base64", VALUE("{\"bytesValue\":\"AAEC\"}"), TAKEN},
    {"an empty value", VALUE("{}"), TAKEN},
    {"an escape for each plane", IN_SPAN_JSON("\"name\":\"\\u0000\\u00e9\\ud83d\\udc1d\""), TAKEN},
    {"a trace id of 31 digits", IN_SPANS("{\"traceId\":\"5B8EFFF798038103D269B633813FC60\",\"spanId\":\"EEE19B7EC3C1B174\"}"), REFUSED},
    {"a trace id of 30 digits", IN_SPANS("{\"traceId\":\"5B8EFFF798038103D269B633813FC6\",\"spanId\":\"EEE19B7EC3C1B174\"}"), LEFT_OUT},
    {"a trace id of zeros", IN_SPANS("{\"traceId\":\"00000000000000000000000000000000\",\"spanId\":\"EEE19B7EC3C1B174\"}"), LEFT_OUT},
    {"no span id", IN_SPANS("{\"traceId\":\"5B8EFFF798038103D269B633813FC60C\"}"), LEFT_OUT},
    {"an empty span id", IN_SPANS("{\"traceId\":\"5B8EFFF798038103D269B633813FC60C\",\"spanId\":\"\"}"), LEFT_OUT},
    {"a name that is no UTF-8", IN_SPAN_JSON("\"name\":\"\xff\""), LEFT_OUT},
    {"nothing but blanks", "  ", REFUSED},
    {"an array", "[]", REFUSED},
    {"a number", "1", REFUSED},
    {"text", "\"a\"", REFUSED},
    {"null", "null", REFUSED},
    {"an object cut off", "{", REFUSED},
    {"a key cut off", "{\"a", REFUSED},
    {"a key without a value", "{\"a\"}", REFUSED},
    {"a colon without a value", "{\"a\":}", REFUSED},
    {"a comma at the end", "{\"a\":1,}", REFUSED},
    {"a comma at the beginning", "{,\"a\":1}", REFUSED},
    {"no comma", "{\"a\":1 \"b\":2}", REFUSED},
    {"a key without quotes", "{a:1}", REFUSED},
    {"single quotes", "{'a':1}", REFUSED},
    {"a comment", "{/**/}", REFUSED},
    {"bytes behind", "{}x", REFUSED},
    {"two objects", "{}{}", REFUSED},
    {"a byte order mark", "\xef\xbb\xbf{}", REFUSED},
    {"a list closed by a brace", "{\"a\":[1}", REFUSED},
    {"a control character in text", "{\"a\":\"\x01\"}", REFUSED},
    {"an escape that is none", "{\"a\":\"\\x41\"}", REFUSED},
    {"an escape cut off", "{\"a\":\"\\u00\"}", REFUSED},
    {"a lone surrogate", IN_SPAN_JSON("\"name\":\"\\ud83d\""), REFUSED},
    {"a number with a zero before", "{\"a\":01}", REFUSED},
    {"a number with a plus", "{\"a\":+1}", REFUSED},
    {"a number that ends in a dot", "{\"a\":1.}", REFUSED},
    {"a number that begins with a dot", "{\"a\":.1}", REFUSED},
    {"an exponent without digits", "{\"a\":1e}", REFUSED},
    {"a number in hex", "{\"a\":0x1}", REFUSED},
    {"NaN without quotes", "{\"a\":NaN}", REFUSED},
    {"true in capitals", "{\"a\":TRUE}", REFUSED},
    {"an object for a list", "{\"resourceSpans\":{}}", REFUSED},
    {"text for an object", "{\"resourceSpans\":[\"a\"]}", REFUSED},
    {"a number for a name", IN_SPAN_JSON("\"name\":1"), REFUSED},
    {"an id that is no hex", IN_SPANS("{\"traceId\":\"xB8EFFF798038103D269B633813FC60C\",\"spanId\":\"EEE19B7EC3C1B174\"}"), REFUSED},
    {"an id as number", IN_SPANS("{\"traceId\":5,\"spanId\":\"EEE19B7EC3C1B174\"}"), REFUSED},
    {"a time below zero", IN_SPAN_JSON("\"startTimeUnixNano\":\"-1\""), REFUSED},
    {"a time beyond 64 bits", IN_SPAN_JSON("\"startTimeUnixNano\":\"18446744073709551616\""), REFUSED},
    {"a time with a fraction", IN_SPAN_JSON("\"startTimeUnixNano\":1.5"), REFUSED},
    {"a time as words", IN_SPAN_JSON("\"startTimeUnixNano\":\"now\""), REFUSED},
    {"an empty time", IN_SPAN_JSON("\"startTimeUnixNano\":\"\""), REFUSED},
    {"a bool as text", VALUE("{\"boolValue\":\"true\"}"), REFUSED},
    {"a bool as number", VALUE("{\"boolValue\":1}"), REFUSED},
    {"a value as text", VALUE("\"text\""), REFUSED},
    {"bytes that are no base64", VALUE("{\"bytesValue\":\"*\"}"), REFUSED},
    {"attributes as an object", IN_SPAN_JSON("\"attributes\":{\"k\":\"v\"}"), REFUSED},
};
/* clang-format on */

static void check_json(const char *name, int answer, const struct reply *reply)
{
    static const char *const bodies[] = {
        [TAKEN] = "{}",
        [LEFT_OUT] = "{\"partialSuccess\":{\"rejectedSpans\":\"1\",\"errorMessage\":\"1 span was "
                     "left out; the first: ",
        [REFUSED] = "{\"code\":3,\"message\":\"",
    };
    cr_expect_eq(reply->status, answer == REFUSED ? 400 : 200, "%s: %d %s", name, reply->status,
                 reply->body);
    size_t size = strlen(bodies[answer]);
    cr_expect_geq(reply->size, size, "%s", name);
    cr_expect_eq(memcmp(reply->body, bodies[answer], size), 0, "%s: %s", name, reply->body);
    if (answer == TAKEN)
        cr_expect_eq(reply->size, size, "%s", name);
    cr_expect_not(reply->retryable, "%s", name);
}

enum { JSON_ROWS = sizeof(json_rows) / sizeof(json_rows[0]) };
_Static_assert(JSON_ROWS >= 65, "a table that has lost rows");

static void play_json(struct carrier carrier, bool http2, enum bed on)
{
    carrier.json = true;
    connect_carrier(&carrier, http2, on);
    for (size_t i = 0; i < JSON_ROWS; i++) {
        const char *text = json_rows[i].text;
        struct reply reply = deliver(&carrier, text, strlen(text));
        check_json(json_rows[i].name, json_rows[i].answer, &reply);
    }
    let_go(&carrier);
}

Test(bad_input, json_over_http1)
{
    play_json((struct carrier){0}, false, ON_TCP);
}

Test(bad_input, json_in_chunks_over_http1)
{
    play_json((struct carrier){.chunked = true}, false, ON_TCP);
}

Test(bad_input, json_in_gzip_over_http1)
{
    play_json((struct carrier){GZIP}, false, ON_TCP);
}

Test(bad_input, json_over_http2)
{
    play_json((struct carrier){0}, true, ON_TCP);
}

Test(bad_input, json_in_zstd_over_http2)
{
    play_json((struct carrier){ZSTD}, true, ON_TCP);
}

Test(bad_input, json_over_http1_on_a_unix_socket)
{
    play_json((struct carrier){0}, false, ON_UNIX);
}

Test(bad_input, json_over_http1_with_tls)
{
    play_json((struct carrier){0}, false, ON_TLS);
}

Test(bad_input, json_over_http2_with_tls)
{
    play_json((struct carrier){0}, true, ON_TLS);
}
