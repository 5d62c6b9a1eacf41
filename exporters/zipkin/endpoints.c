/* SPDX-License-Identifier: Apache-2.0 */
#include "zipkin_exporter/endpoints.h"

#include "model/address.h"
#include "otlp/json_output.h"
#include "otlp/json_token.h"

static const char *const names[UT_ZIPKIN_NAMES] = {
    "peer.service",       "server.address", "net.peer.name", "server.socket.domain",
    "net.sock.peer.name", "peer.hostname",  "peer.address",  "db.name"};

struct keys {
    const char *address, *port;
};

static const struct keys remote_keys[UT_ZIPKIN_PLACES] = {
    {"network.peer.address", "network.peer.port"},
    {"server.socket.address", "server.socket.port"},
    {"net.sock.peer.addr", "net.sock.peer.port"},
    {"net.peer.ip", "net.peer.port"},
};
static const struct keys local_keys[UT_ZIPKIN_PLACES] = {
    {"network.local.address", "network.local.port"},
    {"net.sock.host.addr", "net.sock.host.port"},
    {"net.host.ip", "net.host.port"},
    {"server.address", "server.port"},
};

static bool is_key(ut_slice key, const char *text)
{
    return ut_slice_equal(key, ut_slice_str(text));
}

static void note_place(struct ut_zipkin_place *places, const struct keys *keys, ut_slice key,
                       ut_slice any)
{
    for (size_t i = 0; i < UT_ZIPKIN_PLACES; i++) {
        if (is_key(key, keys[i].address))
            places[i].address = any;
        else if (is_key(key, keys[i].port))
            places[i].port = any;
    }
}

void ut_zipkin_ends_note(struct ut_zipkin_ends *ends, ut_slice key, ut_slice any)
{
    /* All keys of interest begin with one of these letters. */
    if (key.size == 0 || strchr("dnps", key.data[0]) == NULL)
        return;
    for (size_t i = 0; i < UT_ZIPKIN_NAMES; i++) {
        if (is_key(key, names[i]))
            ends->names[i] = any;
    }
    note_place(ends->remote, remote_keys, key, any);
    note_place(ends->local, local_keys, key, any);
}

/* ---- values ---------------------------------------------------------------------------------- */

static ut_slice text_of(ut_slice any)
{
    struct ut_wire_field value = ut_visit_value(any);
    return value.number == UT_VALUE_TEXT ? value.content : (ut_slice){NULL, 0};
}

/* An integer, or a text of one; 0: there is none. */
static uint16_t port_of(ut_slice any)
{
    struct ut_wire_field value = ut_visit_value(any);
    uint64_t port = value.number == UT_VALUE_INT ? value.value : 0;
    if (value.number == UT_VALUE_TEXT) {
        struct ut_json_input in = {.begin = value.content.data,
                                   .end = value.content.data + value.content.size};
        ut_slice number;
        if (ut_json_number(&in, in.begin, &number) != in.end ||
            !ut_json_to_unsigned(number, UINT16_MAX, &port))
            return 0;
    }
    return port <= UINT16_MAX ? (uint16_t)port : 0;
}

struct end {
    ut_slice name;
    struct ut_address address;
    uint16_t port;
    bool has_address;
};

static void find_address(const struct ut_zipkin_place *places, struct end *end)
{
    for (size_t i = 0; i < UT_ZIPKIN_PLACES; i++) {
        ut_slice text = text_of(places[i].address);
        if (text.size > 0 && ut_address_parse(&end->address, text) == 0) {
            end->has_address = true;
            end->port = port_of(places[i].port);
            return;
        }
    }
}

static void write_end(struct ut_blocks *out, const struct end *end)
{
    const char *comma = "";
    char address[UT_ADDRESS_TEXT];
    ut_blocks_byte(out, '{');
    if (end->name.size > 0) {
        UT_BLOCKS_LITERAL(out, "\"serviceName\":");
        ut_json_output_text(out, end->name);
        comma = ",";
    }
    if (end->has_address) {
        ut_blocks_put(out, ut_slice_str(comma));
        ut_blocks_put(out, ut_address_is_v4(&end->address) ? UT_SLICE("\"ipv4\":")
                                                           : UT_SLICE("\"ipv6\":"));
        ut_json_output_text(out, ut_slice_str(ut_address_text(address, &end->address)));
        comma = ",";
    }
    if (end->port != 0) {
        ut_blocks_put(out, ut_slice_str(comma));
        UT_BLOCKS_LITERAL(out, "\"port\":");
        ut_json_output_unsigned(out, end->port);
    }
    ut_blocks_byte(out, '}');
}

void ut_zipkin_ends_write_local(const struct ut_zipkin_ends *ends, ut_slice service,
                                struct ut_blocks *out)
{
    struct end end = {.name = service};
    find_address(ends->local, &end);
    UT_BLOCKS_LITERAL(out, ",\"localEndpoint\":");
    write_end(out, &end);
}

void ut_zipkin_ends_write_remote(const struct ut_zipkin_ends *ends, bool named,
                                 struct ut_blocks *out)
{
    struct end end = {.name = {NULL, 0}};
    for (size_t i = 0; i < UT_ZIPKIN_NAMES && named && end.name.size == 0; i++)
        end.name = text_of(ends->names[i]);
    find_address(ends->remote, &end);
    if (end.name.size == 0 && !end.has_address)
        return;
    UT_BLOCKS_LITERAL(out, ",\"remoteEndpoint\":");
    write_end(out, &end);
}
