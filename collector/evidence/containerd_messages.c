/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence/containerd_messages.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "containerd_api.pb-c.h"
#include "otlp/text.h"

enum { PREFIX = 5 }; /* a flag for compression, four bytes of length */

/* ---- frames ---------------------------------------------------------------------------------- */

static size_t length_at(const uint8_t *prefix)
{
    return (size_t)prefix[1] << 24 | (size_t)prefix[2] << 16 | (size_t)prefix[3] << 8 | prefix[4];
}

static int check_first(const struct ut_containerd_frames *frames, size_t at)
{
    if (frames->size - at < PREFIX)
        return 0;
    const uint8_t *prefix = frames->data + at;
    bool fine = prefix[0] == 0 && length_at(prefix) <= UT_CONTAINERD_MESSAGE_MAX;
    return fine ? 0 : -EMSGSIZE;
}

int ut_containerd_frames_add(struct ut_containerd_frames *frames, ut_slice bytes)
{
    size_t size = frames->size + bytes.size;
    if (size > frames->room) {
        size_t room = size < 4096 ? 4096 : 2 * size;
        uint8_t *grown = realloc(frames->data, room);
        if (grown == NULL)
            return -ENOMEM;
        frames->data = grown;
        frames->room = room;
    }
    if (bytes.size > 0)
        memcpy(frames->data + frames->size, bytes.data, bytes.size);
    frames->size = size;
    int error = check_first(frames, 0);
    ut_slice message;
    for (size_t at = 0; error == 0 && ut_containerd_frames_next(frames, &at, &message);)
        error = check_first(frames, at);
    return error;
}

bool ut_containerd_frames_next(const struct ut_containerd_frames *frames, size_t *at, ut_slice *ret)
{
    if (frames->size - *at < PREFIX)
        return false;
    size_t length = length_at(frames->data + *at);
    if (frames->size - *at - PREFIX < length)
        return false;
    *ret = ut_slice_of(frames->data + *at + PREFIX, length);
    *at += PREFIX + length;
    return true;
}

void ut_containerd_frames_cut(struct ut_containerd_frames *frames, size_t at)
{
    if (at > 0)
        memmove(frames->data, frames->data + at, frames->size - at);
    frames->size -= at;
}

void ut_containerd_frames_done(struct ut_containerd_frames *frames)
{
    free(frames->data);
    *frames = (struct ut_containerd_frames){0};
}

/* ---- requests -------------------------------------------------------------------------------- */

static size_t write_message(uint8_t *out, const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    UT_CHECK(size <= UT_CONTAINERD_REQUEST_MAX - PREFIX);
    protobuf_c_message_pack(message, out + PREFIX);
    memset(out, 0, PREFIX);
    out[3] = (uint8_t)(size >> 8);
    out[4] = (uint8_t)size;
    return PREFIX + size;
}

size_t ut_containerd_write_empty(uint8_t out[UT_CONTAINERD_REQUEST_MAX])
{
    memset(out, 0, PREFIX);
    return PREFIX;
}

size_t ut_containerd_write_get(uint8_t out[UT_CONTAINERD_REQUEST_MAX], const char *id)
{
    ContainerdApi__GetContainerRequest request = CONTAINERD_API__GET_CONTAINER_REQUEST__INIT;
    request.id = (char *)(uintptr_t)id;
    return write_message(out, &request.base);
}

size_t ut_containerd_write_subscribe(uint8_t out[UT_CONTAINERD_REQUEST_MAX])
{
    ContainerdApi__SubscribeRequest request = CONTAINERD_API__SUBSCRIBE_REQUEST__INIT;
    char filter[] = "topic~=\"^/containers/\"";
    char *filters[] = {filter};
    request.n_filters = 1;
    request.filters = filters;
    return write_message(out, &request.base);
}

/* ---- responses ------------------------------------------------------------------------------- */

static void copy_text(char *out, size_t room, const char *text)
{
    size_t size = strlen(text);
    if (size < room && ut_text_is_fine((const uint8_t *)text, size))
        memcpy(out, text, size + 1);
}

int ut_containerd_read_version(char ret[UT_CONTAINERD_VERSION_TEXT], ut_slice message)
{
    ContainerdApi__VersionResponse *response =
        containerd_api__version_response__unpack(NULL, message.size, message.data);
    if (response == NULL)
        return -EBADMSG;
    ret[0] = '\0';
    copy_text(ret, UT_CONTAINERD_VERSION_TEXT, response->version);
    containerd_api__version_response__free_unpacked(response, NULL);
    return 0;
}

void ut_containerd_add_namespace(struct ut_containerd_namespaces *namespaces, const char *name)
{
    for (size_t i = 0; i < namespaces->count; i++) {
        if (strcmp(namespaces->names[i], name) == 0)
            return;
    }
    bool fits = strlen(name) < UT_CONTAINERD_NAMESPACE_TEXT && name[0] != '\0';
    for (const char *c = name; *c != '\0'; c++)
        fits = fits && *c > ' ' && *c <= '~'; /* it goes into a header field */
    if (fits && namespaces->count < UT_CONTAINERD_NAMESPACES)
        memcpy(namespaces->names[namespaces->count++], name, strlen(name) + 1);
}

int ut_containerd_read_namespaces(struct ut_containerd_namespaces *ret, ut_slice message)
{
    ContainerdApi__ListNamespacesResponse *response =
        containerd_api__list_namespaces_response__unpack(NULL, message.size, message.data);
    if (response == NULL)
        return -EBADMSG;
    ret->count = 0;
    for (size_t i = 0; i < response->n_namespaces; i++) {
        if (strcmp(response->namespaces[i]->name, "k8s.io") == 0)
            ut_containerd_add_namespace(ret, "k8s.io"); /* first: nearly all of them are there */
    }
    for (size_t i = 0; i < response->n_namespaces; i++)
        ut_containerd_add_namespace(ret, response->namespaces[i]->name);
    containerd_api__list_namespaces_response__free_unpacked(response, NULL);
    return 0;
}

/* "docker.io/library/nginx:1.25@sha256:…" without what follows the name; a port is none of that. */
static void copy_image(char *out, size_t room, const char *image)
{
    char name[1024];
    size_t size = strcspn(image, "@");
    if (size >= sizeof(name))
        return;
    memcpy(name, image, size);
    name[size] = '\0';
    char *tag = strrchr(name, ':');
    if (tag != NULL && strchr(tag, '/') == NULL)
        *tag = '\0';
    copy_text(out, room, name);
}

static void take_label(struct ut_container_names *names, const char *key, const char *value)
{
    if (strcmp(key, "io.kubernetes.pod.name") == 0)
        copy_text(names->pod, sizeof(names->pod), value);
    else if (strcmp(key, "io.kubernetes.pod.namespace") == 0)
        copy_text(names->pod_namespace, sizeof(names->pod_namespace), value);
    else if (strcmp(key, "io.kubernetes.container.name") == 0)
        copy_text(names->pod_container, sizeof(names->pod_container), value);
    else if (strcmp(key, "nerdctl/name") == 0)
        copy_text(names->name, sizeof(names->name), value);
}

static bool is_hex(const char *text)
{
    return strspn(text, "0123456789abcdef") == strlen(text);
}

int ut_containerd_read_container(struct ut_container_names *ret, ut_slice message)
{
    ContainerdApi__GetContainerResponse *response =
        containerd_api__get_container_response__unpack(NULL, message.size, message.data);
    if (response == NULL)
        return -EBADMSG;
    const ContainerdApi__Container *container = response->container;
    *ret = (struct ut_container_names){.state = UT_NAMES_KNOWN};
    for (size_t i = 0; container != NULL && i < container->n_labels; i++)
        take_label(ret, container->labels[i]->key, container->labels[i]->value);
    if (container != NULL)
        copy_image(ret->image, sizeof(ret->image), container->image);
    /* Its id is its name where somebody gave it one. */
    if (ret->name[0] == '\0' && ret->pod_container[0] != '\0')
        copy_text(ret->name, sizeof(ret->name), ret->pod_container);
    else if (ret->name[0] == '\0' && container != NULL && !is_hex(container->id))
        copy_text(ret->name, sizeof(ret->name), container->id);
    int error = container != NULL ? 0 : -EBADMSG;
    containerd_api__get_container_response__free_unpacked(response, NULL);
    return error;
}

int ut_containerd_read_event(struct ut_containerd_event *ret, ut_slice message)
{
    ContainerdApi__Envelope *envelope =
        containerd_api__envelope__unpack(NULL, message.size, message.data);
    *ret = (struct ut_containerd_event){0};
    if (envelope == NULL)
        return -EBADMSG;
    copy_text(ret->namespace_name, sizeof(ret->namespace_name), envelope->namespace_name);
    ret->is_deletion = strcmp(envelope->topic, "/containers/delete") == 0;
    ContainerdApi__ContainerEvent *event =
        envelope->event != NULL ? containerd_api__container_event__unpack(
                                      NULL, envelope->event->value.len, envelope->event->value.data)
                                : NULL;
    if (event != NULL)
        copy_text(ret->id, sizeof(ret->id), event->id);
    if (event != NULL)
        containerd_api__container_event__free_unpacked(event, NULL);
    containerd_api__envelope__free_unpacked(envelope, NULL);
    return 0;
}
