/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The otlp receiver with TLS as a backend for tests of exporters, behind functions: the headers of
 * the two ends of HTTP/2 do not go into one file.
 */
#ifndef UT_TEST_TLS_BACKEND_H
#define UT_TEST_TLS_BACKEND_H

#include "loop/worker.h"
#include "net/tls_settings.h"

struct tls_backend;

struct tls_backend *tls_backend_new(void);
void tls_backend_free(struct tls_backend *backend);
/* Before the start: of its port of gRPC. */
struct ut_tls_settings *tls_backend_settings(struct tls_backend *backend);
void tls_backend_without_tls(struct tls_backend *backend);
void tls_backend_requests_max(struct tls_backend *backend, uint64_t requests);
uint16_t tls_backend_start(struct tls_backend *backend); /* its port */

struct ut_worker *tls_backend_worker(struct tls_backend *backend);
char *tls_backend_ca(struct tls_backend *backend); /* a file, of its certificate's CA */
void tls_backend_turn(struct tls_backend *backend);
uint64_t tls_backend_spans(const struct tls_backend *backend);
double tls_backend_metric(const struct tls_backend *backend, const char *line);
/* Its certificate becomes one of another authority, in force for new connections. */
void tls_backend_change_authority(struct tls_backend *backend);
/* Puts the certificate of the authority into the file of tls_backend_ca. */
void tls_backend_publish_authority(struct tls_backend *backend);

#endif
