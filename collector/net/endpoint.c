/* SPDX-License-Identifier: Apache-2.0 */
#include "net/endpoint.h"

#include <errno.h>
#include <string.h>

#include "base/slice.h"
#include "net/unix_socket.h"

static ut_slice cut(ut_slice text, size_t from)
{
    return (ut_slice){text.data + from, text.size - from};
}

static ut_slice take_scheme(ut_slice text, enum ut_endpoint_scheme *ret)
{
    *ret = UT_SCHEME_NONE;
    if (ut_slice_starts(text, UT_SLICE("http://"))) {
        *ret = UT_SCHEME_HTTP;
        return cut(text, 7);
    }
    if (ut_slice_starts(text, UT_SLICE("https://"))) {
        *ret = UT_SCHEME_HTTPS;
        return cut(text, 8);
    }
    return text;
}

/* `text` is ":PORT" or empty. */
static const char *parse_port(ut_slice text, uint16_t default_port, uint16_t *ret)
{
    if (text.size == 0) {
        *ret = default_port;
        return default_port != 0 ? NULL : "a port is missing";
    }
    uint32_t port = 0;
    if (text.data[0] != ':' || text.size < 2 || text.size > 6)
        return "the port is not a number from 0 to 65535";
    for (size_t i = 1; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return "the port is not a number from 0 to 65535";
        port = port * 10 + (uint32_t)(text.data[i] - '0');
    }
    if (port > UINT16_MAX)
        return "the port is not a number from 0 to 65535";
    *ret = (uint16_t)port;
    return NULL;
}

/* Splits "host:port" or "[v6]:port" into host and the rest that begins with the colon. */
static const char *split(ut_slice text, ut_slice *ret_host, ut_slice *ret_rest)
{
    if (text.size > 0 && text.data[0] == '[') {
        const uint8_t *end = memchr(text.data, ']', text.size);
        if (end == NULL)
            return "the bracket of the IPv6 address is not closed";
        *ret_host = ut_slice_of(text.data + 1, (size_t)(end - text.data) - 1);
        *ret_rest = cut(text, (size_t)(end - text.data) + 1);
        return ret_host->size > 0 ? NULL : "the IPv6 address is empty";
    }
    const uint8_t *colon = memchr(text.data, ':', text.size);
    size_t size = colon != NULL ? (size_t)(colon - text.data) : text.size;
    if (colon != NULL && memchr(colon + 1, ':', text.size - size - 1) != NULL)
        return "an IPv6 address needs brackets: [::1]:4317";
    *ret_host = ut_slice_of(text.data, size);
    *ret_rest = cut(text, size);
    return NULL;
}

static const char *check_host(ut_slice host)
{
    if (host.size >= UT_ENDPOINT_HOST)
        return "the host name is too long";
    for (size_t i = 0; i < host.size; i++) {
        if (host.data[i] <= ' ' || host.data[i] >= 0x7f || strchr("/@?#\\\"<>[]", host.data[i]))
            return "the host name holds a character that it must not";
    }
    return NULL;
}

static const char *parse(struct ut_endpoint_text *ret, ut_slice text, uint16_t default_port)
{
    text = take_scheme(text, &ret->scheme);
    if (text.size > 0 && text.data[text.size - 1] == '/')
        text.size--;
    if (text.size == 0)
        return "an endpoint is missing: host:port";
    if (memchr(text.data, '/', text.size) != NULL)
        return "an endpoint has no path and no other scheme than http and https";
    ut_slice host = {0}, rest = {0};
    const char *error = split(text, &host, &rest);
    if (error == NULL)
        error = parse_port(rest, default_port, &ret->port);
    if (error == NULL)
        error = check_host(host);
    if (error == NULL)
        memcpy(ret->host, host.data, host.size);
    return error;
}

int ut_endpoint_parse(struct ut_endpoint_text *ret, const char *text, uint16_t default_port,
                      const char **ret_error)
{
    memset(ret, 0, sizeof(*ret));
    const char *error = parse(ret, ut_slice_str(text), default_port);
    if (ret_error != NULL)
        *ret_error = error;
    return error == NULL ? 0 : -EINVAL;
}

static const char *parse_unix(struct ut_endpoint_text *ret, const char *text)
{
    struct ut_unix_place place;
    const char *error = NULL;
    if (ut_unix_place_parse(&place, text, &error) != 0)
        return error;
    if (strlen(text) >= sizeof(ret->host))
        return "the path is too long";
    ret->scheme = UT_SCHEME_UNIX;
    memcpy(ret->host, text, strlen(text) + 1);
    return NULL;
}

static const char *parse_destination(struct ut_endpoint_text *ret, const char *text,
                                     uint16_t default_port)
{
    static const char dns[] = "dns:", slashes[] = "///";
    if (ut_unix_is_endpoint(text))
        return parse_unix(ret, text);
    if (strncmp(text, dns, strlen(dns)) == 0) {
        text += strlen(dns);
        ret->all_addresses = true;
        if (strncmp(text, slashes, strlen(slashes)) == 0)
            text += strlen(slashes);
        else if (text[0] == '/')
            return "a DNS server cannot be named: write dns:///host:port";
    }
    const char *error = parse(ret, ut_slice_str(text), default_port);
    if (error == NULL && ret->all_addresses && ret->scheme != UT_SCHEME_NONE)
        return "dns: and http:// or https:// do not go together";
    if (error == NULL && ret->host[0] == '\0')
        return "names no host";
    return error;
}

int ut_destination_parse(struct ut_endpoint_text *ret, const char *text, uint16_t default_port,
                         const char **ret_error)
{
    memset(ret, 0, sizeof(*ret));
    const char *error = parse_destination(ret, text, default_port);
    if (ret_error != NULL)
        *ret_error = error;
    return error == NULL ? 0 : -EINVAL;
}
