/* SPDX-License-Identifier: Apache-2.0 */
#include "app_preset.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "component.h"
#include "config/scalar.h"

#define NAME_MAX_BYTES 64
#define SHOWN_MAX 96

struct preset {
    ut_config_env env;
    struct ut_config_messages *messages;
    FILE *out;
};

/* The value of OTEL_EXPORTER_OTLP_<name>, that of traces first; NULL where neither is set. `found`
 * is the name of the one that counts. */
static const char *get(const struct preset *preset, const char *name, char found[NAME_MAX_BYTES])
{
    static const char *const prefixes[] = {"OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_"};
    for (int i = 0; i < 2; i++) {
        snprintf(found, NAME_MAX_BYTES, "%s%s", prefixes[i], name);
        const char *value = preset->env(found);
        if (value != NULL && value[0] != '\0')
            return value;
    }
    return NULL;
}

/* Says of a variable that is set why it is not used. */
static void leave_out(struct preset *preset, const char *name, const char *why)
{
    char found[NAME_MAX_BYTES];
    if (get(preset, name, found) != NULL)
        ut_config_notice(preset->messages, (struct ut_config_at){0, 0}, found, "%s", why);
}

static void refuse(struct preset *preset, const char *name, const char *value, const char *why)
{
    char shown[SHOWN_MAX];
    ut_config_error(preset->messages, (struct ut_config_at){0, 0}, name, "%s is refused: %s",
                    ut_log_quote(shown, sizeof(shown), value), why);
}

/* A double-quoted YAML scalar that no `${…}` is looked for in. */
static void write_quoted(FILE *out, const char *text, size_t size)
{
    fputc('"', out);
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '$')
            fputs("$$", out);
        else if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < ' ' || c == 0x7f)
            fprintf(out, "\\x%02x", c);
        else
            fputc(c, out);
    }
    fputc('"', out);
}

/* The value of PROTOCOL: "grpc", which is what we take for granted, "http/protobuf" or "http/json".
 */
static const char *get_protocol(struct preset *preset)
{
    static const char *const known[] = {"grpc", "http/protobuf", "http/json"};
    char name[NAME_MAX_BYTES];
    const char *value = get(preset, "PROTOCOL", name);
    if (value == NULL)
        return known[0];
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(value, known[i]) == 0)
            return known[i];
    }
    refuse(preset, name, value, "expected grpc, http/protobuf or http/json");
    return known[0];
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Undoes percent encoding (W3C Baggage, which the variable follows) into `out`, as long as `text`.
 */
static size_t decode(char *out, const char *text, size_t size)
{
    size_t count = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '%' && i + 2 < size && hex_digit(text[i + 1]) >= 0 &&
            hex_digit(text[i + 2]) >= 0) {
            out[count++] = (char)(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
            i += 2;
        } else {
            out[count++] = text[i];
        }
    }
    return count;
}

static void trim(const char **text, size_t *size)
{
    while (*size > 0 && isspace((unsigned char)**text)) {
        ++*text;
        --*size;
    }
    while (*size > 0 && isspace((unsigned char)(*text)[*size - 1]))
        --*size;
}

/* One `key=value` of OTEL_EXPORTER_OTLP_HEADERS; false where it has no key. */
static bool write_header(struct preset *preset, const char *pair, size_t size)
{
    const char *equals = memchr(pair, '=', size);
    if (equals == NULL)
        return false;
    const char *key = pair, *value = equals + 1;
    size_t key_size = (size_t)(equals - pair), value_size = size - key_size - 1;
    trim(&key, &key_size);
    trim(&value, &value_size);
    char *decoded = malloc(size);
    UT_CHECK_MEMORY(decoded != NULL);
    fputs("      ", preset->out);
    write_quoted(preset->out, decoded, decode(decoded, key, key_size));
    fputs(": ", preset->out);
    write_quoted(preset->out, decoded, decode(decoded, value, value_size));
    fputc('\n', preset->out);
    free(decoded);
    return key_size != 0;
}

static void write_headers(struct preset *preset)
{
    char name[NAME_MAX_BYTES];
    const char *value = get(preset, "HEADERS", name);
    if (value == NULL)
        return;
    fputs("    headers:\n", preset->out);
    for (const char *at = value; *at != '\0';) {
        size_t size = strcspn(at, ",");
        const char *pair = at;
        size_t pair_size = size;
        trim(&pair, &pair_size);
        /* The value may be a secret, so it is not shown. */
        if (pair_size != 0 && !write_header(preset, pair, pair_size))
            ut_config_error(preset->messages, (struct ut_config_at){0, 0}, name,
                            "expected key=value pairs with commas between them");
        at += size + (at[size] == ',');
    }
}

static void write_timeout(struct preset *preset)
{
    char name[NAME_MAX_BYTES];
    uint64_t ms;
    const char *value = get(preset, "TIMEOUT", name);
    if (value == NULL)
        return;
    if (ut_scalar_uint(&ms, value) != NULL || ms == 0 || ms > 3600000)
        refuse(preset, name, value, "expected milliseconds, 1 to 3600000");
    else
        fprintf(preset->out, "    timeout: %llums\n", (unsigned long long)ms);
}

/* A row of the exporter's `tls`, which begins with the first. */
static FILE *begin_tls_row(struct preset *preset, bool *begun)
{
    if (!*begun)
        fputs("    tls:\n", preset->out);
    *begun = true;
    return preset->out;
}

static void write_insecure(struct preset *preset, bool *begun)
{
    char name[NAME_MAX_BYTES];
    bool insecure;
    const char *value = get(preset, "INSECURE", name);
    if (value == NULL)
        return;
    if (ut_scalar_bool(&insecure, value) != NULL)
        refuse(preset, name, value, "expected true or false");
    else
        fprintf(begin_tls_row(preset, begun), "      insecure: %s\n", insecure ? "true" : "false");
}

static void write_tls_files(struct preset *preset, bool *begun)
{
    static const struct {
        const char *name, *key;
    } files[] = {{"CERTIFICATE", "ca_file"},
                 {"CLIENT_CERTIFICATE", "cert_file"},
                 {"CLIENT_KEY", "key_file"}};
    char name[NAME_MAX_BYTES];
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        const char *value = get(preset, files[i].name, name);
        if (value == NULL)
            continue;
        fprintf(begin_tls_row(preset, begun), "      %s: ", files[i].key);
        write_quoted(preset->out, value, strlen(value));
        fputc('\n', preset->out);
    }
}

/* The endpoint for traces alone is the whole URL of OTLP/HTTP, the general one has no path yet. */
static void write_http(struct preset *preset, const char *endpoint, bool for_traces, bool json)
{
    fprintf(preset->out, "  otlp_http:\n    %s: ", for_traces ? "traces_endpoint" : "endpoint");
    write_quoted(preset->out, endpoint, strlen(endpoint));
    fprintf(preset->out, "\n    encoding: %s\n", json ? "json" : "proto");
}

static void write_compression(struct preset *preset)
{
    char name[NAME_MAX_BYTES];
    const char *value = get(preset, "COMPRESSION", name);
    if (value == NULL)
        return;
    if (strcmp(value, "none") != 0 && strcmp(value, "gzip") != 0 && strcmp(value, "zstd") != 0)
        refuse(preset, name, value, "expected none, gzip or zstd");
    else
        fprintf(preset->out, "    compression: %s\n", value);
}

/* Without an endpoint there is nothing that the others could be about. */
static void write_debug(struct preset *preset)
{
    static const char *const others[] = {"PROTOCOL",    "HEADERS",           "TIMEOUT",
                                         "COMPRESSION", "INSECURE",          "CERTIFICATE",
                                         "CLIENT_KEY",  "CLIENT_CERTIFICATE"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        leave_out(preset, others[i],
                  "has no effect: OTEL_EXPORTER_OTLP_ENDPOINT is not set, so traces are printed");
    fputs("  debug:\n", preset->out);
}

/* Writes the exporter and returns its id. */
static const char *write_exporter(struct preset *preset)
{
    char name[NAME_MAX_BYTES];
    bool tls = false;
    const char *endpoint = get(preset, "ENDPOINT", name);
    if (endpoint == NULL) {
        write_debug(preset);
        return "debug";
    }
    const char *protocol = get_protocol(preset);
    bool http = strcmp(protocol, "grpc") != 0;
    if (http) {
        write_http(preset, endpoint, strstr(name, "TRACES") != NULL,
                   strcmp(protocol, "http/json") == 0);
        leave_out(preset, "INSECURE",
                  "has no effect over HTTP: the endpoint says http:// or https://");
    } else {
        fputs("  otlp_grpc:\n    endpoint: ", preset->out);
        write_quoted(preset->out, endpoint, strlen(endpoint));
        fputc('\n', preset->out);
        write_insecure(preset, &tls);
    }
    write_tls_files(preset, &tls);
    write_compression(preset);
    write_timeout(preset);
    write_headers(preset);
    return http ? "otlp_http" : "otlp_grpc";
}

static bool has_receiver(const char *name)
{
    for (size_t i = 0; ut_receiver_types[i] != NULL; i++) {
        if (strcmp(ut_receiver_types[i]->name, name) == 0)
            return true;
    }
    return false;
}

char *ut_app_preset(ut_config_env env, struct ut_config_messages *messages, size_t *ret_size)
{
    char *text = NULL;
    size_t errors = messages->errors;
    struct preset preset = {.env = env, .messages = messages};
    preset.out = open_memstream(&text, ret_size);
    UT_CHECK_MEMORY(preset.out != NULL);
    bool ebpf = has_receiver("ebpf");
    fprintf(preset.out, "receivers:\n  otlp: {protocols: {grpc: , http: }}\n%s",
            ebpf ? "  ebpf:\n" : "");
    fputs("processors:\n  correlate:\n  batch:\nexporters:\n", preset.out);
    const char *exporter = write_exporter(&preset);
    fprintf(preset.out,
            "service:\n  pipelines:\n    traces: {receivers: [otlp%s], processors: "
            "[correlate, batch], exporters: [%s]}\n",
            ebpf ? ", ebpf" : "", exporter);
    UT_CHECK_MEMORY(fclose(preset.out) == 0);
    if (messages->errors == errors)
        return text;
    free(text);
    return NULL;
}
