/* SPDX-License-Identifier: Apache-2.0 */
/* The load's request as HTTP/1.1: what SDKs send to port 4318. */
#include "body.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define START_NS UINT64_C(1760000000000000000)

static void put_attribute(FILE *out, const struct body_attribute *attribute)
{
    fprintf(out, "{\"key\":\"%s\",\"value\":{", attribute->key);
    if (attribute->text != NULL)
        fprintf(out, "\"stringValue\":\"%s\"}}", attribute->text);
    else
        fprintf(out, "\"intValue\":%u}}", attribute->number);
}

static void put_attributes(FILE *out, const struct body_attribute *all, unsigned of, unsigned count)
{
    fprintf(out, "\"attributes\":[");
    for (unsigned i = 0; i < count; i++) {
        fprintf(out, i > 0 ? "," : "");
        put_attribute(out, &all[i % of]);
    }
    fprintf(out, "],\"droppedAttributesCount\":0");
}

static void put_span(FILE *out, const struct body_options *options, uint64_t number)
{
    uint64_t id = (number + 1) * UINT64_C(0x9e3779b97f4a7c15); /* all of its bits in use */
    uint64_t start = options->start_ns != 0 ? options->start_ns : START_NS + id % 1000000000;
    uint64_t end = options->end_ns != 0 ? options->end_ns : start + 5000000;
    fprintf(out,
            "{\"traceId\":\"%016" PRIx64 "%016" PRIx64 "\",\"spanId\":\"%016" PRIx64
            "\",\"parentSpanId\":\"%016" PRIx64 "\",\"name\":\"HTTP GET /api/v1/orders/{id}\","
            "\"kind\":%u,\"startTimeUnixNano\":\"%" PRIu64 "\",\"endTimeUnixNano\":\"%" PRIu64
            "\",",
            id, ~id, id ^ START_NS, id + START_NS, options->kind, start, end);
    put_attributes(out, body_attributes, BODY_ATTRIBUTES, options->attributes);
    fprintf(out, ",\"events\":[],\"droppedEventsCount\":0,\"status\":{\"code\":1},\"links\":[],"
                 "\"droppedLinksCount\":0,\"flags\":257}");
}

/* The members in the order in which the SDK for Node writes them. */
static void put_json(FILE *out, const struct body_options *options)
{
    fprintf(out, "{\"resourceSpans\":[{\"resource\":{");
    put_attributes(out, body_resource, BODY_RESOURCE, BODY_RESOURCE);
    fprintf(out, "},\"scopeSpans\":[{\"scope\":{\"name\":\"io.opentelemetry.tomcat-10.0\","
                 "\"version\":\"2.9.0\"},\"spans\":[");
    for (unsigned i = 0; i < options->spans; i++) {
        fprintf(out, i > 0 ? "," : "");
        put_span(out, options, i);
    }
    fprintf(out, "]}]}]}");
}

uint8_t *body_http(uint8_t *framed, const struct body_options *options, const char *form,
                   size_t *size)
{
    enum { FRAME_HEAD = 5 };
    char *body = (char *)framed + FRAME_HEAD, *whole = NULL, *json = NULL;
    size_t body_size = *size - FRAME_HEAD;
    if (strcmp(form, "json") == 0) {
        FILE *out = open_memstream(&json, &body_size);
        put_json(out, options);
        fclose(out);
        body = json;
    }
    FILE *out = open_memstream(&whole, size);
    fprintf(out,
            "POST /v1/traces HTTP/1.1\r\nContent-Type: application/%s\r\n"
            "User-Agent: OTel-OTLP-Exporter-JavaScript/0.301.0\r\nHost: localhost:4318\r\n"
            "Connection: keep-alive\r\n",
            json != NULL ? "json" : "x-protobuf");
    if (strcmp(form, "chunked") == 0)
        fprintf(out, "Transfer-Encoding: chunked\r\n\r\n%zx\r\n", body_size);
    else
        fprintf(out, "Content-Length: %zu\r\n\r\n", body_size);
    fwrite(body, 1, body_size, out);
    if (strcmp(form, "chunked") == 0)
        fprintf(out, "\r\n0\r\n\r\n");
    fclose(out);
    free(json);
    free(framed);
    return (uint8_t *)whole;
}
