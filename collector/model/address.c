/* SPDX-License-Identifier: Apache-2.0 */
#include "model/address.h"

#include <arpa/inet.h>
#include <errno.h>

static const uint8_t MAPPED_PREFIX[12] = {[10] = 0xff, [11] = 0xff};

struct ut_address ut_address_v4(const uint8_t bytes[4])
{
    struct ut_address address;
    memcpy(address.bytes, MAPPED_PREFIX, sizeof(MAPPED_PREFIX));
    memcpy(address.bytes + sizeof(MAPPED_PREFIX), bytes, 4);
    return address;
}

bool ut_address_is_v4(const struct ut_address *address)
{
    return memcmp(address->bytes, MAPPED_PREFIX, sizeof(MAPPED_PREFIX)) == 0;
}

/* "[fe80::1%eth0]" → "fe80::1". Brackets come in pairs or not at all; a zone is never empty. */
static int strip_brackets_and_zone(ut_slice *text)
{
    bool opened = text->size > 0 && text->data[0] == '[';
    bool closed = text->size > 0 && text->data[text->size - 1] == ']';
    if (opened != closed || (opened && text->size < 2))
        return -EINVAL;
    if (opened)
        *text = ut_slice_of(text->data + 1, text->size - 2);
    const uint8_t *zone = text->size > 0 ? memchr(text->data, '%', text->size) : NULL;
    if (zone == NULL)
        return 0;
    size_t before = (size_t)(zone - text->data);
    if (before + 1 == text->size)
        return -EINVAL;
    text->size = before;
    return 0;
}

/* Four decimal numbers without leading zeros, as inet_pton() takes them, without its copy. */
static bool parse_v4(struct ut_address *ret, ut_slice text)
{
    uint8_t bytes[4];
    size_t i = 0;
    for (int part = 0; part < 4; part++) {
        size_t begin = i;
        unsigned value = 0;
        for (; i < text.size && i < begin + 3 && (uint8_t)(text.data[i] - '0') < 10; i++)
            value = value * 10 + (uint8_t)(text.data[i] - '0');
        if (i == begin || value > 255 || (text.data[begin] == '0' && i > begin + 1))
            return false;
        bytes[part] = (uint8_t)value;
        if (part < 3 && (i == text.size || text.data[i++] != '.'))
            return false;
    }
    if (i != text.size)
        return false;
    *ret = ut_address_v4(bytes);
    return true;
}

int ut_address_parse(struct ut_address *ret, ut_slice text)
{
    if (parse_v4(ret, text))
        return 0;
    size_t bare_size = text.size;
    if (strip_brackets_and_zone(&text) != 0)
        return -EINVAL;
    char copy[INET6_ADDRSTRLEN];
    if (text.size == 0 || text.size >= sizeof(copy) || memchr(text.data, '\0', text.size) != NULL)
        return -EINVAL;
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';

    uint8_t v4[4];
    struct ut_address address;
    if (text.size == bare_size && inet_pton(AF_INET, copy, v4) == 1)
        address = ut_address_v4(v4);
    else if (inet_pton(AF_INET6, copy, address.bytes) != 1)
        return -EINVAL;
    *ret = address;
    return 0;
}

const char *ut_address_text(char out[UT_ADDRESS_TEXT], const struct ut_address *address)
{
    bool v4 = ut_address_is_v4(address);
    const uint8_t *bytes = v4 ? address->bytes + sizeof(MAPPED_PREFIX) : address->bytes;
    if (inet_ntop(v4 ? AF_INET : AF_INET6, bytes, out, UT_ADDRESS_TEXT) == NULL)
        out[0] = '\0';
    return out;
}
