/* SPDX-License-Identifier: Apache-2.0 */
/* containerd's messages as it sends them, and as nobody should. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "evidence/containerd_messages.h"
#include "otlp_bytes.h"

static struct otlp_bytes bytes;

static void begin(void)
{
    bytes = (struct otlp_bytes){0};
}

static void end(void)
{
    otlp_free(&bytes);
}

TestSuite(containerd_messages, .init = begin, .fini = end);

static ut_slice written(void)
{
    return ut_slice_of(bytes.data, bytes.size);
}

static void label(const char *key, const char *value)
{
    size_t entry = otlp_begin(&bytes, 2);
    otlp_text(&bytes, 1, key);
    otlp_text(&bytes, 2, value);
    otlp_end(&bytes, entry);
}

static struct ut_container_names container(const char *id, const char *image, const char *name)
{
    struct ut_container_names names;
    otlp_free(&bytes);
    begin();
    size_t message = otlp_begin(&bytes, 1);
    otlp_text(&bytes, 1, id);
    label("io.kubernetes.pod.name", "web-1");
    label("io.kubernetes.pod.namespace", "shops");
    if (name != NULL)
        label("io.kubernetes.container.name", name);
    otlp_text(&bytes, 3, image);
    otlp_text(&bytes, 5, "a spec that nobody asks for");
    otlp_end(&bytes, message);
    cr_assert_eq(ut_containerd_read_container(&names, written()), 0);
    cr_expect_eq(names.state, UT_NAMES_KNOWN);
    return names;
}

Test(containerd_messages, names_of_a_pods_container_are_its_labels)
{
    struct ut_container_names names = container("abcdef", "nginx", "main");
    cr_expect_str_eq(names.pod, "web-1");
    cr_expect_str_eq(names.pod_namespace, "shops");
    cr_expect_str_eq(names.pod_container, "main");
    cr_expect_str_eq(names.name, "main");
}

Test(containerd_messages, container_is_called_by_its_id_where_somebody_chose_that)
{
    cr_expect_str_eq(container("my-shop", "", NULL).name, "my-shop");
    cr_expect_str_eq(container("0123456789abcdef", "", NULL).name, "");
}

Test(containerd_messages, image_is_named_without_tag_and_digest)
{
    static const char *const rows[][2] = {
        {"docker.io/library/nginx:1.25", "docker.io/library/nginx"},
        {"registry.local:5000/team/shop", "registry.local:5000/team/shop"},
        {"registry.local:5000/team/shop:2@sha256:00ff", "registry.local:5000/team/shop"},
        {"shop@sha256:00ff", "shop"},
        {"sha256", "sha256"},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_expect_str_eq(container("a", rows[i][0], NULL).image, rows[i][1], "%s", rows[i][0]);
}

Test(containerd_messages, texts_that_do_not_fit_or_are_no_utf8_are_left_out)
{
    char lengthy[300];
    memset(lengthy, 'x', sizeof(lengthy) - 1);
    lengthy[sizeof(lengthy) - 1] = '\0';
    struct ut_container_names names = container("a", lengthy, "bad\xff");
    cr_expect_str_eq(names.image, "");
    cr_expect_str_eq(names.pod_container, "");
    cr_expect_str_eq(names.pod, "web-1");
}

Test(containerd_messages, message_that_ends_early_is_refused_or_says_less)
{
    (void)container("abcdef", "nginx", "main");
    size_t size = bytes.size;
    for (size_t cut = 0; cut < size; cut++) {
        struct ut_container_names names;
        uint8_t *exact = malloc(cut + 1);
        memcpy(exact, bytes.data, cut);
        cr_expect_eq(ut_containerd_read_container(&names, ut_slice_of(exact, cut)), -EBADMSG,
                     "cut at %zu of %zu", cut, size);
        free(exact);
    }
}

Test(containerd_messages, namespaces_are_taken_once_and_kubernetes_first)
{
    static const char *const names[] = {"default", "moby", "bad name", "k8s.io", "moby"};
    struct ut_containerd_namespaces ret;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        size_t entry = otlp_begin(&bytes, 1);
        otlp_text(&bytes, 1, names[i]);
        otlp_end(&bytes, entry);
    }
    cr_assert_eq(ut_containerd_read_namespaces(&ret, written()), 0);
    cr_assert_eq(ret.count, 3);
    cr_expect_str_eq(ret.names[0], "k8s.io");
    cr_expect_str_eq(ret.names[1], "default");
    cr_expect_str_eq(ret.names[2], "moby");
    for (int i = 0; i < 100; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "n%d", i);
        ut_containerd_add_namespace(&ret, name);
    }
    cr_expect_eq(ret.count, UT_CONTAINERD_NAMESPACES);
}

Test(containerd_messages, event_tells_which_container_of_which_namespace)
{
    struct ut_containerd_event event;
    otlp_text(&bytes, 2, "k8s.io");
    otlp_text(&bytes, 3, "/containers/delete");
    size_t any = otlp_begin(&bytes, 4);
    otlp_text(&bytes, 1, "containerd.events.ContainerDelete");
    size_t value = otlp_begin(&bytes, 2);
    otlp_text(&bytes, 1, "abc");
    otlp_end(&bytes, value);
    otlp_end(&bytes, any);
    cr_assert_eq(ut_containerd_read_event(&event, written()), 0);
    cr_expect_str_eq(event.namespace_name, "k8s.io");
    cr_expect_str_eq(event.id, "abc");
    cr_expect(event.is_deletion);
    cr_assert_eq(ut_containerd_read_event(&event, ut_slice_of("\x1a\x02/x", 4)), 0);
    cr_expect_str_eq(event.id, "");
    cr_expect_eq(ut_containerd_read_event(&event, ut_slice_of("\x1a\x09/x", 4)), -EBADMSG);
}

Test(containerd_messages, version_is_read)
{
    char version[UT_CONTAINERD_VERSION_TEXT];
    otlp_text(&bytes, 1, "1.6.20~ds1");
    otlp_text(&bytes, 2, "revision");
    cr_assert_eq(ut_containerd_read_version(version, written()), 0);
    cr_expect_str_eq(version, "1.6.20~ds1");
}

Test(containerd_messages, request_is_one_frame_with_its_length)
{
    uint8_t out[UT_CONTAINERD_REQUEST_MAX];
    cr_expect_eq(ut_containerd_write_empty(out), 5);
    cr_assert_eq(ut_containerd_write_get(out, "abc"), 10);
    cr_expect_eq(memcmp(out,
                        "\0\0\0\0\x05\x0a\x03"
                        "abc",
                        10),
                 0);
    size_t size = ut_containerd_write_subscribe(out);
    cr_expect_eq(size, 5U + out[4]);
    cr_expect_not_null(memmem(out, size, "^/containers/", 13));
}

/* ---- frames ---------------------------------------------------------------------------------- */

static void frame(const char *text)
{
    uint8_t prefix[5] = {0, 0, 0, 0, (uint8_t)strlen(text)};
    otlp_raw(&bytes, prefix, sizeof(prefix));
    otlp_raw(&bytes, text, strlen(text));
}

Test(containerd_messages, frames_are_put_together_however_they_come)
{
    frame("one");
    frame("");
    frame("three");
    for (size_t piece = 1; piece <= bytes.size; piece++) {
        struct ut_containerd_frames frames = {0};
        char seen[64] = "";
        for (size_t at = 0; at < bytes.size; at += piece) {
            size_t size = bytes.size - at < piece ? bytes.size - at : piece, passed = 0;
            ut_slice message;
            cr_assert_eq(ut_containerd_frames_add(&frames, ut_slice_of(bytes.data + at, size)), 0);
            while (ut_containerd_frames_next(&frames, &passed, &message)) {
                size_t said = strlen(seen);
                (void)snprintf(seen + said, sizeof(seen) - said, "%.*s,", (int)message.size,
                               (const char *)message.data);
            }
            ut_containerd_frames_cut(&frames, passed);
        }
        cr_expect_str_eq(seen, "one,,three,", "in pieces of %zu", piece);
        cr_expect_eq(frames.size, 0);
        ut_containerd_frames_done(&frames);
    }
}

Test(containerd_messages, frame_that_is_too_large_or_compressed_is_refused_at_its_prefix)
{
    static const uint8_t large[] = {0, 0, 0x10, 0, 1}, compressed[] = {1, 0, 0, 0, 0};
    struct ut_containerd_frames frames = {0};
    frame("one");
    otlp_raw(&bytes, large, sizeof(large));
    cr_expect_eq(ut_containerd_frames_add(&frames, written()), -EMSGSIZE, "behind a good one");
    ut_containerd_frames_done(&frames);
    cr_expect_eq(ut_containerd_frames_add(&frames, ut_slice_of(compressed, 5)), -EMSGSIZE);
    ut_containerd_frames_done(&frames);
}
