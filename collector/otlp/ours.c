/* SPDX-License-Identifier: Apache-2.0 */
#include "otlp/ours.h"

#include "otlp/encode.h"

enum { KEY_VALUE_KEY = 1, EVENT_NAME = 2 };

static const char *const EVIDENCE_EVENTS[] = {
    UT_EVENT_TCP_RETRANSMIT,   UT_EVENT_TCP_RESET,           UT_EVENT_TCP_ZERO_WINDOW,
    UT_EVENT_TCP_RECEIVE_DROP, UT_EVENT_TCP_LISTEN_OVERFLOW, UT_EVENT_MEMORY_STALL,
    UT_EVENT_MEMORY_OOM_KILL,
};

ut_slice ut_ours_key(ut_slice key_value)
{
    ut_slice key = {NULL, 0};
    struct ut_wire_field field;
    for (const uint8_t *p = key_value.data, *end = p + key_value.size; p < end;) {
        p = ut_wire_field(p, &field);
        if (field.number == KEY_VALUE_KEY)
            key = field.content;
    }
    return key;
}

bool ut_ours_attribute(ut_slice key_value)
{
    struct ut_wire_field field;
    for (const uint8_t *p = key_value.data, *end = p + key_value.size; p < end;) {
        p = ut_wire_field(p, &field);
        if (field.number == KEY_VALUE_KEY &&
            ut_ours_has_prefix(field.content.data, field.content.size))
            return true;
    }
    return false;
}

static bool is_evidence_name(ut_slice name)
{
    for (size_t i = 0; i < sizeof(EVIDENCE_EVENTS) / sizeof(EVIDENCE_EVENTS[0]); i++) {
        if (ut_slice_equal(name, ut_slice_str(EVIDENCE_EVENTS[i])))
            return true;
    }
    return false;
}

bool ut_ours_event(ut_slice event)
{
    bool named = false, marked = false;
    struct ut_wire_field field;
    for (const uint8_t *p = event.data, *end = p + event.size; p < end;) {
        p = ut_wire_field(p, &field);
        if (field.number == EVENT_NAME)
            named = is_evidence_name(field.content);
        else if (field.number == UT_FIELD_EVENT_ATTRIBUTES)
            marked = marked || ut_ours_attribute(field.content);
    }
    return named && marked;
}
