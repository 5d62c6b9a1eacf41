/* SPDX-License-Identifier: Apache-2.0 */
#include "tls_backend.h"

#include "tls_harness.h"

struct tls_backend {
    struct tls_harness harness;
};

struct tls_backend *tls_backend_new(void)
{
    struct tls_backend *backend = calloc(1, sizeof(*backend));
    cr_assert_not_null(backend);
    tls_harness_defaults(&backend->harness);
    return backend;
}

void tls_backend_free(struct tls_backend *backend)
{
    tls_harness_done(&backend->harness);
    free(backend);
}

static struct ut_otlp_grpc_settings *grpc_of(struct tls_backend *backend)
{
    return &backend->harness.base.settings.protocols.grpc;
}

struct ut_tls_settings *tls_backend_settings(struct tls_backend *backend)
{
    return &grpc_of(backend)->tls;
}

void tls_backend_without_tls(struct tls_backend *backend)
{
    grpc_of(backend)->has_tls = false;
}

void tls_backend_requests_max(struct tls_backend *backend, uint64_t requests)
{
    grpc_of(backend)->limits.max_requests_per_connection = requests;
}

uint16_t tls_backend_start(struct tls_backend *backend)
{
    tls_harness_start(&backend->harness);
    return backend->harness.grpc_port;
}

struct ut_worker *tls_backend_worker(struct tls_backend *backend)
{
    return &backend->harness.base.worker;
}

char *tls_backend_ca(struct tls_backend *backend)
{
    return backend->harness.ca;
}

void tls_backend_turn(struct tls_backend *backend)
{
    harness_turn(&backend->harness.base);
}

uint64_t tls_backend_spans(const struct tls_backend *backend)
{
    return backend->harness.base.target.spans;
}

double tls_backend_metric(const struct tls_backend *backend, const char *line)
{
    return harness_metric(&backend->harness.base, line);
}

void tls_backend_change_authority(struct tls_backend *backend)
{
    struct tls_harness *harness = &backend->harness;
    test_identity_free(&harness->authority);
    harness->authority = test_identity_make(&(struct test_wish){.name = "another authority"});
    tls_harness_certify(harness);
    ut_receiver_otlp.reread_files(harness->base.receiver);
}

void tls_backend_publish_authority(struct tls_backend *backend)
{
    test_write_certificate(&backend->harness.authority, backend->harness.ca);
}
