/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration of a program that was given none: OTLP on localhost:4317 (gRPC) and
 * localhost:4318 (HTTP), kernel events where this build and this host have them, and out to
 * OTEL_EXPORTER_OTLP_ENDPOINT if that is set, else to the terminal. The OTEL_EXPORTER_OTLP_*
 * variables (each also as OTEL_EXPORTER_OTLP_TRACES_*, which goes first) are honoured or refused
 * with a reason; see the OTLP exporter specification.
 */
#ifndef UT_APP_PRESET_H
#define UT_APP_PRESET_H

#include "config/expand.h"

/* YAML text from malloc; NULL after an error, which is reported. */
char *ut_app_preset(ut_config_env env, struct ut_config_messages *messages,
                    size_t *ret_size) UT_MUST_USE;

#endif
