/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http_easy.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/clock.h"
#include "net/connector.h"
#include "net/tls_ciphers.h"

enum {
    DNS_CACHE_S = 1, /* a name that moved is found at once, many connections ask once */
    RETRY_AFTER_MAX_S = 3600,
    MS_PER_S = 1000,
};

/* ---- what libcurl asks a call ---------------------------------------------------------------- */

static size_t on_read(char *out, size_t size, size_t count, void *arg)
{
    struct ut_http_call *call = arg;
    size_t room = size * count, written = 0;
    while (room > 0 && call->run < call->run_count) {
        const struct iovec *run = &call->runs[call->run];
        size_t step = run->iov_len - call->offset;
        step = step < room ? step : room;
        memcpy(out + written, (const uint8_t *)run->iov_base + call->offset, step);
        written += step;
        room -= step;
        call->offset += step;
        if (call->offset == run->iov_len) {
            call->run++;
            call->offset = 0;
        }
    }
    return written;
}

/* The body is sent again from the beginning, where a connection that had been kept was gone. */
static int on_seek(void *arg, curl_off_t offset, int origin)
{
    struct ut_http_call *call = arg;
    if (origin != SEEK_SET || offset != 0)
        return CURL_SEEKFUNC_CANTSEEK;
    call->run = call->offset = 0;
    return CURL_SEEKFUNC_OK;
}

static bool keep(struct ut_http_call *call, ut_slice bytes)
{
    if (call->kept == NULL)
        call->kept = ut_pool_alloc(call->pool, UT_HTTP_CLIENT_BODY);
    if (call->kept == NULL)
        return false;
    size_t room = UT_HTTP_CLIENT_BODY - call->kept_size;
    size_t size = bytes.size < room ? bytes.size : room;
    memcpy(call->kept + call->kept_size, bytes.data, size);
    call->kept_size += size;
    return true;
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    struct ut_http_call *call = arg;
    size_t bytes = size * count;
    call->body_read += bytes;
    if (call->body_read > UT_HTTP_CLIENT_BODY_READ || !keep(call, ut_slice_of(data, bytes)))
        return 0;
    return bytes;
}

static void take_field(char out[UT_HTTP_CLIENT_FIELD_ROOM], ut_slice line, const char *name)
{
    size_t size = strlen(name);
    if (line.size <= size || line.data[size] != ':' ||
        strncasecmp((const char *)line.data, name, size) != 0)
        return;
    const uint8_t *p = line.data + size + 1, *end = line.data + line.size;
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    while (end > p && end[-1] <= ' ')
        end--;
    size = (size_t)(end - p);
    size = size < UT_HTTP_CLIENT_FIELD_ROOM ? size : UT_HTTP_CLIENT_FIELD_ROOM - 1;
    memcpy(out, p, size);
    out[size] = '\0';
}

static size_t on_head(char *data, size_t size, size_t count, void *arg)
{
    struct ut_http_call *call = arg;
    ut_slice line = ut_slice_of(data, size * count);
    call->head_read += line.size;
    if (call->head_read > UT_HTTP_CLIENT_HEAD_READ)
        return 0;
    if (ut_slice_starts(line, UT_SLICE("HTTP/"))) {
        /* Another answer: what came before was a proxy's, or 100 Continue. */
        call->type[0] = call->target[0] = '\0';
    }
    take_field(call->type, line, "content-type");
    take_field(call->target, line, "location");
    return line.size;
}

/* ---- the end --------------------------------------------------------------------------------- */

/* An answer that is too long for us is one all the same: its status is known. */
static bool is_answer(const struct ut_http_call *call, CURLcode code, long status)
{
    bool cut = code == CURLE_WRITE_ERROR && (call->body_read > UT_HTTP_CLIENT_BODY_READ ||
                                             call->head_read > UT_HTTP_CLIENT_HEAD_READ);
    return status >= 200 && (code == CURLE_OK || cut);
}

/* libcurl's own words are good but for one: with TLS 1.3 a server refuses a client without a
 * certificate only after the handshake, and what is left then is a socket that is gone. */
static bool is_cut_off(const struct ut_http_call *call, CURLcode code)
{
    return code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR || code == CURLE_GOT_NOTHING ||
           strstr(call->error, "getpeername") != NULL;
}

/* What to do about a certificate that does not hold. */
static const char *advise_certificate(CURL *handle)
{
    long verdict = X509_V_OK;
    (void)curl_easy_getinfo(handle, CURLINFO_SSL_VERIFYRESULT, &verdict);
    switch (verdict) {
    case X509_V_OK:
        return "";
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return "; renew it at the backend";
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return "; compare the clocks of both hosts";
    case X509_V_ERR_UNSPECIFIED: /* libcurl looks at the name before it asks for a verdict */
        return "; connect by a name that it has, or set tls.server_name_override to one";
    default:
        return "; is its CA in tls.ca_file?";
    }
}

static const char *advise_cut_off(const struct ut_http_easy *easy, CURLcode code)
{
    const struct ut_tls_settings *tls = &easy->options->settings->tls;
    bool secure = strncasecmp(easy->options->url, "https:", 6) == 0;
    if (secure && tls->cert_file == NULL && tls->cert_pem == NULL)
        return "; maybe the backend wants a client certificate (tls.cert_file)";
    return !secure && code == CURLE_GOT_NOTHING
               ? "; if the backend wants TLS, write the endpoint with https://"
               : "";
}

/* What to look at, behind the words that say what went wrong; "": they will do. */
static const char *advise(const struct ut_http_easy *easy, CURL *handle,
                          const struct ut_http_call *call, CURLcode code)
{
    if (is_cut_off(call, code))
        return advise_cut_off(easy, code);
    switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
        return advise_certificate(handle);
    case CURLE_COULDNT_RESOLVE_HOST:
        return ": is the name in the endpoint right, and do the name servers answer?";
    case CURLE_OPERATION_TIMEDOUT:
        return ": is it overloaded, or stands a firewall between? (timeout)";
    default:
        return "";
    }
}

bool ut_http_easy_connected(CURL *handle)
{
    curl_off_t connected_us = 0;
    (void)curl_easy_getinfo(handle, CURLINFO_PRETRANSFER_TIME_T, &connected_us);
    return connected_us > 0;
}

static void say_timed_out(const struct ut_http_easy *easy, CURL *handle, struct ut_http_call *call)
{
    (void)snprintf(call->error, sizeof(call->error), "%s within %" PRIu64 " ms",
                   ut_http_easy_connected(handle) ? "the backend did not answer" : "no connection",
                   easy->options->settings->timeout_ns / UT_NS_PER_MS);
}

static void say_why(const struct ut_http_easy *easy, CURL *handle, struct ut_http_call *call,
                    CURLcode code)
{
    char reason[96];
    long system_error = 0;
    (void)curl_easy_getinfo(handle, CURLINFO_OS_ERRNO, &system_error);
    const char *advice = advise(easy, handle, call, code);
    if (call->error[0] == '\0' && code == CURLE_OPERATION_TIMEDOUT)
        say_timed_out(easy, handle, call);
    else if (call->error[0] == '\0' || is_cut_off(call, code))
        (void)snprintf(call->error, sizeof(call->error), "%s", curl_easy_strerror(code));
    size_t size = strlen(call->error);
    if (code == CURLE_COULDNT_CONNECT && system_error != 0)
        (void)snprintf(call->error + size, sizeof(call->error) - size, ": %s%s",
                       strerror_r((int)system_error, reason, sizeof(reason)),
                       ut_connector_advice((int)-system_error));
    else
        (void)snprintf(call->error + size, sizeof(call->error) - size, "%s", advice);
}

void ut_http_easy_end(const struct ut_http_easy *easy, CURL *handle, struct ut_http_call *call,
                      CURLcode code)
{
    long status = 0;
    curl_off_t retry_after_s = 0;
    (void)curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
    (void)curl_easy_getinfo(handle, CURLINFO_RETRY_AFTER, &retry_after_s);
    if (retry_after_s > RETRY_AFTER_MAX_S)
        retry_after_s = RETRY_AFTER_MAX_S;
    call->retry_after_ms = retry_after_s > 0 ? (uint32_t)retry_after_s * MS_PER_S : 0;
    call->body = ut_slice_of(call->kept, call->kept_size);
    call->cause = code == CURLE_OPERATION_TIMEDOUT ? UT_SETBACK_TIMEOUT : UT_SETBACK_TRANSPORT;
    if (is_answer(call, code, status))
        call->status = (int)status;
    else
        say_why(easy, handle, call, code);
}

/* ---- options of a transfer ------------------------------------------------------------------- */

/* A chain of settings of which the first that is refused counts. */
struct setter {
    CURL *easy;
    CURLcode code;
};

#define SET(setter, option, value)                                                                 \
    ((setter)->code = (setter)->code == CURLE_OK ? curl_easy_setopt((setter)->easy, option, value) \
                                                 : (setter)->code)

static void set_text(struct setter *setter, CURLoption option, const char *text)
{
    if (text != NULL)
        SET(setter, option, text);
}

static void set_blob(struct setter *setter, CURLoption option, const char *text)
{
    if (text == NULL)
        return;
    struct curl_blob blob = {(void *)(uintptr_t)text, strlen(text), CURL_BLOB_NOCOPY};
    SET(setter, option, &blob);
}

static void set_tls(struct setter *setter, const struct ut_tls_settings *tls)
{
    static const long least[] = {CURL_SSLVERSION_TLSv1_2, CURL_SSLVERSION_TLSv1_3};
    static const long most[] = {CURL_SSLVERSION_MAX_TLSv1_2, CURL_SSLVERSION_MAX_TLSv1_3};
    SET(setter, CURLOPT_SSLVERSION, least[tls->min_version] | most[tls->max_version]);
    SET(setter, CURLOPT_SSL_VERIFYPEER, tls->insecure_skip_verify ? 0L : 1L);
    SET(setter, CURLOPT_SSL_VERIFYHOST, tls->insecure_skip_verify ? 0L : 2L);
    /* Certificate and key are read for each connection, and the CA as often as is configured. */
    SET(setter, CURLOPT_CA_CACHE_TIMEOUT, (long)(tls->reload_interval_ns / UT_NS_PER_S));
    struct ut_tls_cipher_lists ciphers;
    if (tls->cipher_suites.count > 0 && ut_tls_cipher_lists(&ciphers, &tls->cipher_suites) == 0) {
        SET(setter, CURLOPT_SSL_CIPHER_LIST, ciphers.tls_1_2);
        SET(setter, CURLOPT_TLS13_CIPHERS, ciphers.tls_1_3);
    }
    if ((tls->ca_file != NULL || tls->ca_pem != NULL) && !tls->include_system_ca_certs_pool)
        SET(setter, CURLOPT_CAPATH, NULL);
    set_text(setter, CURLOPT_CAINFO, tls->ca_file);
    set_blob(setter, CURLOPT_CAINFO_BLOB, tls->ca_pem);
    set_text(setter, CURLOPT_SSLCERT, tls->cert_file);
    set_blob(setter, CURLOPT_SSLCERT_BLOB, tls->cert_pem);
    set_text(setter, CURLOPT_SSLKEY, tls->key_file);
    set_blob(setter, CURLOPT_SSLKEY_BLOB, tls->key_pem);
}

/* libcurl reads the environment by itself, but for HTTP_PROXY, which a web server's CGI could have
 * set from a request; we are no CGI. What is sent to this host is never sent to a proxy. */
static void set_proxy(struct setter *setter, const struct ut_http_easy *easy)
{
    const char *configured = easy->options->settings->proxy_url;
    if (configured != NULL) {
        SET(setter, CURLOPT_PROXY, configured);
    } else if (ut_http_url_is_loopback(easy->options->url)) {
        SET(setter, CURLOPT_PROXY, "");
    } else if (strncasecmp(easy->options->url, "http://", 7) == 0 && getenv("http_proxy") == NULL) {
        set_text(setter, CURLOPT_PROXY, getenv("HTTP_PROXY"));
    }
}

static void set_callbacks(struct setter *setter)
{
    SET(setter, CURLOPT_READFUNCTION, on_read);
    SET(setter, CURLOPT_SEEKFUNCTION, on_seek);
    SET(setter, CURLOPT_WRITEFUNCTION, on_body);
    SET(setter, CURLOPT_HEADERFUNCTION, on_head);
}

CURL *ut_http_easy_new(const struct ut_http_easy *easy)
{
    struct setter setter = {.easy = curl_easy_init()};
    const struct ut_http_client_settings *settings = easy->options->settings;
    if (setter.easy == NULL)
        return NULL;
    SET(&setter, CURLOPT_URL, easy->url);
    SET(&setter, CURLOPT_PROTOCOLS_STR, "http,https");
    SET(&setter, CURLOPT_NOSIGNAL, 1L);
    /* Who gives a call up does not wait for the thread that still asks for its name: it ends by
     * itself, when the system's resolver gives up. */
    SET(&setter, CURLOPT_QUICK_EXIT, 1L);
    SET(&setter, CURLOPT_FOLLOWLOCATION, 0L);
    SET(&setter, CURLOPT_POST, 1L);
    SET(&setter, CURLOPT_USERAGENT, "undertrace/" UT_VERSION);
    SET(&setter, CURLOPT_DNS_CACHE_TIMEOUT, (long)DNS_CACHE_S);
    SET(&setter, CURLOPT_TCP_KEEPALIVE, 1L);
    SET(&setter, CURLOPT_CONNECT_TO, easy->connect_to);
    set_callbacks(&setter);
    set_tls(&setter, &settings->tls);
    set_proxy(&setter, easy);
    if (setter.code == CURLE_OK)
        return setter.easy;
    curl_easy_cleanup(setter.easy);
    return NULL;
}

int ut_http_easy_begin(const struct ut_http_easy *easy, CURL *handle, struct ut_http_call *call)
{
    struct setter setter = {.easy = handle};
    call->status = 0;
    call->error[0] = call->type[0] = call->target[0] = '\0';
    call->retry_after_ms = 0;
    call->body = (ut_slice){NULL, 0};
    call->run = call->offset = 0;
    call->kept = NULL;
    call->kept_size = call->head_read = call->body_read = 0;
    SET(&setter, CURLOPT_HTTPHEADER, easy->headers);
    SET(&setter, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->bytes);
    SET(&setter, CURLOPT_PRIVATE, call);
    SET(&setter, CURLOPT_READDATA, call);
    SET(&setter, CURLOPT_SEEKDATA, call);
    SET(&setter, CURLOPT_WRITEDATA, call);
    SET(&setter, CURLOPT_HEADERDATA, call);
    SET(&setter, CURLOPT_ERRORBUFFER, call->error);
    return setter.code == CURLE_OK ? 0 : -ENOMEM;
}

/* ---- what all transfers share ---------------------------------------------------------------- */

static bool add_line(struct curl_slist **list, const char *name, const char *separator,
                     const char *value)
{
    char *line = NULL;
    if (asprintf(&line, "%s%s%s", name, separator, value) < 0)
        return false;
    struct curl_slist *longer = curl_slist_append(*list, line);
    free(line);
    if (longer == NULL)
        return false;
    *list = longer;
    return true;
}

static bool make_headers(struct ut_http_easy *easy)
{
    const struct ut_http_client_options *options = easy->options;
    const struct ut_pairs *pairs = &options->settings->headers;
    bool fine = add_line(&easy->headers, "Content-Type", ": ", options->content_type) &&
                /* Without a value: libcurl's own field is left out. */
                add_line(&easy->headers, "Expect", ":", "");
    enum ut_coding coding = ut_http_client_coding(options->settings, options->url);
    if (fine && coding != UT_CODING_IDENTITY)
        fine = add_line(&easy->headers, "Content-Encoding", ": ", ut_coding_name(coding));
    for (size_t i = 0; fine && i < pairs->count; i++) {
        /* A field with an empty value is written to libcurl with a semicolon. */
        bool empty = pairs->items[i].value[0] == '\0';
        fine = add_line(&easy->headers, pairs->items[i].key, empty ? ";" : ": ",
                        pairs->items[i].value);
    }
    return fine;
}

/* The server is asked for under another name than it is found by: the URL gets the first, libcurl
 * is told to connect to the second, and the Host field stays as it would have been. */
static bool override_name(struct ut_http_easy *easy, CURLU *url, const char *name)
{
    char *host = NULL, *port = NULL, *line = NULL, *text = NULL;
    const char *authority = strstr(easy->options->url, "://") + 3;
    bool fine = curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
                curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
                asprintf(&line, "::%s:%s", host, port) > 0 &&
                add_line(&easy->connect_to, line, "", "");
    free(line);
    line = NULL;
    fine = fine && asprintf(&line, "%.*s", (int)strcspn(authority, "/?#"), authority) > 0 &&
           add_line(&easy->headers, "Host", ": ", line) &&
           curl_url_set(url, CURLUPART_HOST, name, 0) == CURLUE_OK &&
           curl_url_get(url, CURLUPART_URL, &text, 0) == CURLUE_OK;
    if (fine) {
        free(easy->url);
        easy->url = strdup(text);
    }
    curl_free(host);
    curl_free(port);
    curl_free(text);
    free(line);
    return fine && easy->url != NULL;
}

static bool make_url(struct ut_http_easy *easy)
{
    const char *name = easy->options->settings->tls.server_name_override;
    easy->url = strdup(easy->options->url);
    if (name == NULL || easy->url == NULL)
        return easy->url != NULL;
    CURLU *url = curl_url();
    bool fine = url != NULL && curl_url_set(url, CURLUPART_URL, easy->url, 0) == CURLUE_OK &&
                override_name(easy, url, name);
    curl_url_cleanup(url);
    return fine;
}

int ut_http_easy_init(struct ut_http_easy *easy, const struct ut_http_client_options *options)
{
    *easy = (struct ut_http_easy){.options = options};
    return make_headers(easy) && make_url(easy) ? 0 : -ENOMEM;
}

/* A copy of the list without the field that credentials have set. */
static struct curl_slist *copy_without(const struct curl_slist *list, const char *name)
{
    struct curl_slist *copy = NULL;
    size_t size = strlen(name);
    for (; list != NULL; list = list->next) {
        if (strncasecmp(list->data, name, size) == 0 && list->data[size] == ':')
            continue;
        struct curl_slist *longer = curl_slist_append(copy, list->data);
        if (longer == NULL) {
            curl_slist_free_all(copy);
            return NULL;
        }
        copy = longer;
    }
    return copy;
}

int ut_http_easy_show(struct ut_http_easy *easy, const char *name, const char *value)
{
    if (easy->former_count == UT_HTTP_EASY_FORMER)
        return -EBUSY;
    struct curl_slist *headers = copy_without(easy->headers, name);
    if (headers == NULL || !add_line(&headers, name, ": ", value)) {
        curl_slist_free_all(headers);
        return -ENOMEM;
    }
    easy->former[easy->former_count++] = easy->headers;
    easy->headers = headers;
    return 0;
}

void ut_http_easy_settle(struct ut_http_easy *easy)
{
    while (easy->former_count > 0)
        curl_slist_free_all(easy->former[--easy->former_count]);
}

void ut_http_easy_done(struct ut_http_easy *easy)
{
    ut_http_easy_settle(easy);
    curl_slist_free_all(easy->headers);
    curl_slist_free_all(easy->connect_to);
    free(easy->url);
}
