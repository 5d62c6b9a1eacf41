/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a configuration: read or refused with a message, never anything else. What is read
 * can be read through. */
#include <stdio.h>
#include <stdlib.h>

#include "config_types.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libfyaml 0.7.12 forgets a buffer of some KiB when a scalar has very many pieces (escapes, lines).
 * A configuration is read once, so that is a fact to know and nothing to work around. */
const char *__lsan_default_suppressions(void)
{
    return "leak:libfyaml.so";
}

static const char *no_env(const char *name)
{
    return name[0] == 'H' ? "host" : NULL;
}

/* Touches every text, so that the sanitizer sees what is not there. */
static size_t read_through(const struct ut_config *config)
{
    size_t sum = strlen(config->program.admin) + strlen(config->telemetry.metrics.address);
    for (size_t i = 0; i < config->pipeline_count; i++) {
        const struct ut_config_pipeline *pipeline = &config->pipelines[i];
        sum += strlen(pipeline->id);
        for (size_t j = 0; j < pipeline->receiver_count; j++)
            sum += strlen(pipeline->receivers[j]->id);
        for (size_t j = 0; j < pipeline->exporter_count; j++)
            sum += strlen(pipeline->exporters[j]->path);
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static FILE *out;
    struct ut_config_messages messages;
    struct ut_config_source source = {.text = ut_slice_of(data, size), .env = no_env};
    if (out == NULL && (out = fopen("/dev/null", "w")) == NULL)
        abort();
    ut_config_messages_init(&messages, "fuzz");
    struct ut_config *config = ut_config_read(&source, &test_types, &messages);
    if ((config == NULL) != (messages.errors != 0))
        abort();
    if (config != NULL)
        fprintf(out, "%zu", read_through(config));
    ut_config_messages_print(&messages, out);
    ut_config_messages_done(&messages);
    ut_config_free(config);
    return 0;
}
