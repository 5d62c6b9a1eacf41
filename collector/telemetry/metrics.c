/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Families in the order in which they were first asked for, each with its samples in the same
 * order, so that two looks at an idle program give the same text. Look-ups are linear: they happen
 * when components are made, never on the data path.
 *
 * Invariants: 1. a family has one type and one help text, those of its first sample; 2. labels are
 * unique within a family; 3. a family without samples is not written.
 */
#include "telemetry/metrics.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLES_MAX 4096

struct reader {
    struct reader *older;
    double (*read)(void *arg);
    void *arg;
};

struct sample {
    struct sample *next;
    char *labels;
    uint64_t cell; /* where there is no reader */
    struct reader *newest;
};

struct writer {
    struct writer *older;
    void (*write)(void *arg, struct ut_metrics_out *out);
    void *arg;
};

struct family {
    struct family *next;
    char *name, *help;
    const char *type;
    struct sample *first;
    struct writer *newest; /* NULL: it has the samples of `first` */
};

struct ut_metrics_out {
    FILE *file;
    const struct family *family;
    bool begun; /* the family's head is written */
};

struct ut_metrics {
    struct family *first;
    size_t samples;
};

static char *copy_text(const char *text)
{
    char *copy = strdup(text);
    UT_CHECK_MEMORY(copy != NULL);
    return copy;
}

struct ut_metrics *ut_metrics_new(void)
{
    return calloc(1, sizeof(struct ut_metrics));
}

static void free_sample(struct sample *sample)
{
    for (struct reader *reader = sample->newest, *older; reader != NULL; reader = older) {
        older = reader->older;
        free(reader);
    }
    free(sample->labels);
    free(sample);
}

void ut_metrics_free(struct ut_metrics *metrics)
{
    if (metrics == NULL)
        return;
    for (struct family *family = metrics->first, *next; family != NULL; family = next) {
        next = family->next;
        for (struct sample *sample = family->first, *after; sample != NULL; sample = after) {
            after = sample->next;
            free_sample(sample);
        }
        for (struct writer *writer = family->newest, *older; writer != NULL; writer = older) {
            older = writer->older;
            free(writer);
        }
        free(family->name);
        free(family->help);
        free(family);
    }
    free(metrics);
}

static struct family *find_family(struct ut_metrics *metrics, const char *name, const char *type,
                                  const char *help)
{
    struct family **at = &metrics->first;
    for (; *at != NULL; at = &(*at)->next) {
        if (strcmp((*at)->name, name) == 0) {
            UT_CHECK(strcmp((*at)->type, type) == 0);
            return *at;
        }
    }
    struct family *family = calloc(1, sizeof(*family));
    UT_CHECK_MEMORY(family != NULL);
    family->name = copy_text(name);
    family->help = copy_text(help);
    family->type = type;
    *at = family;
    return family;
}

/* The sample with these labels, made where there is none. */
static struct sample *find_sample(struct ut_metrics *metrics, struct family *family,
                                  const char *labels)
{
    struct sample **at = &family->first;
    for (; *at != NULL; at = &(*at)->next) {
        if (strcmp((*at)->labels, labels) == 0)
            return *at;
    }
    UT_CHECK(metrics->samples < SAMPLES_MAX);
    struct sample *sample = calloc(1, sizeof(*sample));
    UT_CHECK_MEMORY(sample != NULL);
    sample->labels = copy_text(labels);
    metrics->samples++;
    *at = sample;
    return sample;
}

uint64_t *ut_metrics_counter(struct ut_metrics *metrics, const char *name, const char *labels,
                             const char *help)
{
    struct sample *sample =
        find_sample(metrics, find_family(metrics, name, "counter", help), labels);
    UT_CHECK(sample->newest == NULL);
    return &sample->cell;
}

uint64_t *ut_metrics_level(struct ut_metrics *metrics, const char *name, const char *labels,
                           const char *help)
{
    struct sample *sample = find_sample(metrics, find_family(metrics, name, "gauge", help), labels);
    UT_CHECK(sample->newest == NULL);
    return &sample->cell;
}

static void add_reader(struct sample *sample, double (*read)(void *arg), void *arg)
{
    struct reader *reader = calloc(1, sizeof(*reader));
    UT_CHECK_MEMORY(reader != NULL);
    *reader = (struct reader){.older = sample->newest, .read = read, .arg = arg};
    sample->newest = reader;
}

void ut_metrics_gauge(struct ut_metrics *metrics, const char *name, const char *labels,
                      const char *help, double (*read)(void *arg), void *arg)
{
    struct sample *sample = find_sample(metrics, find_family(metrics, name, "gauge", help), labels);
    add_reader(sample, read, arg);
}

void ut_metrics_counter_read(struct ut_metrics *metrics, const char *name, const char *labels,
                             const char *help, double (*read)(void *arg), void *arg)
{
    struct sample *sample =
        find_sample(metrics, find_family(metrics, name, "counter", help), labels);
    add_reader(sample, read, arg);
}

static void add_writer(struct family *family, void (*write)(void *arg, struct ut_metrics_out *out),
                       void *arg)
{
    struct writer *writer = calloc(1, sizeof(*writer));
    UT_CHECK(writer != NULL && family->first == NULL);
    *writer = (struct writer){.older = family->newest, .write = write, .arg = arg};
    family->newest = writer;
}

void ut_metrics_family(struct ut_metrics *metrics, const char *name, const char *help,
                       void (*write)(void *arg, struct ut_metrics_out *out), void *arg)
{
    add_writer(find_family(metrics, name, "counter", help), write, arg);
}

void ut_metrics_gauge_family(struct ut_metrics *metrics, const char *name, const char *help,
                             void (*write)(void *arg, struct ut_metrics_out *out), void *arg)
{
    add_writer(find_family(metrics, name, "gauge", help), write, arg);
}

static void remove_writers(struct family *family, const void *arg)
{
    struct writer **at = &family->newest;
    while (*at != NULL) {
        struct writer *writer = *at;
        if (writer->arg != arg) {
            at = &writer->older;
            continue;
        }
        *at = writer->older;
        free(writer);
    }
}

/* Whether it had one and has none left. */
static bool remove_readers(struct sample *sample, const void *arg)
{
    bool had = sample->newest != NULL;
    struct reader **at = &sample->newest;
    while (*at != NULL) {
        struct reader *reader = *at;
        if (reader->arg != arg) {
            at = &reader->older;
            continue;
        }
        *at = reader->older;
        free(reader);
    }
    return had && sample->newest == NULL;
}

void ut_metrics_remove(struct ut_metrics *metrics, void *arg)
{
    for (struct family *family = metrics->first; family != NULL; family = family->next) {
        struct sample **at = &family->first;
        remove_writers(family, arg);
        while (*at != NULL) {
            struct sample *sample = *at;
            if (!remove_readers(sample, arg)) {
                at = &sample->next;
                continue;
            }
            *at = sample->next;
            metrics->samples--;
            free_sample(sample);
        }
    }
}

static double value_of(const struct sample *sample)
{
    const struct reader *reader = sample->newest;
    return reader != NULL ? reader->read(reader->arg) : (double)sample->cell;
}

double ut_metrics_sum(const struct ut_metrics *metrics, const char *name)
{
    double sum = 0;
    for (const struct family *family = metrics->first; family != NULL; family = family->next) {
        if (strcmp(family->name, name) != 0)
            continue;
        for (const struct sample *sample = family->first; sample != NULL; sample = sample->next)
            sum += value_of(sample);
    }
    return sum;
}

/* ---- the text (exposition format 0.0.4) ------------------------------------------------------ */

static void write_help(FILE *out, const char *help)
{
    for (; *help != '\0'; help++) {
        if (*help == '\\')
            fputs("\\\\", out);
        else if (*help == '\n')
            fputs("\\n", out);
        else
            fputc(*help, out);
    }
}

static void write_number(FILE *out, double value)
{
    if (isnan(value))
        fputs("NaN", out);
    else if (isinf(value))
        fputs(value > 0 ? "+Inf" : "-Inf", out);
    else if (fabs(value) < 9007199254740992.0 && value == (double)(int64_t)value)
        fprintf(out, "%" PRId64, (int64_t)value);
    else
        fprintf(out, "%.15g", value);
}

static void write_sample(FILE *out, const char *name, const struct sample *sample)
{
    fputs(name, out);
    if (sample->labels[0] != '\0')
        fprintf(out, "{%s}", sample->labels);
    fputc(' ', out);
    if (sample->newest != NULL)
        write_number(out, value_of(sample));
    else
        fprintf(out, "%llu", (unsigned long long)sample->cell);
    fputc('\n', out);
}

static void write_head(FILE *out, const struct family *family)
{
    fprintf(out, "# HELP %s ", family->name);
    write_help(out, family->help);
    fprintf(out, "\n# TYPE %s %s\n", family->name, family->type);
}

void ut_metrics_tell(struct ut_metrics_out *out, const char *labels, double value)
{
    if (!out->begun)
        write_head(out->file, out->family);
    out->begun = true;
    fprintf(out->file, "%s{%s} ", out->family->name, labels);
    write_number(out->file, value);
    fputc('\n', out->file);
}

char *ut_metrics_escape(char *out, size_t size, const char *text)
{
    size_t used = 0;
    for (; *text != '\0' && used + 2 < size; text++) {
        if (*text == '\\' || *text == '"' || *text == '\n')
            out[used++] = '\\';
        out[used++] = *text == '\n' ? 'n' : *text;
    }
    out[used] = '\0';
    return out;
}

char *ut_metrics_text(struct ut_metrics *metrics, size_t *ret_size)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, ret_size);
    if (out == NULL)
        return NULL;
    for (const struct family *family = metrics->first; family != NULL; family = family->next) {
        if (family->newest != NULL)
            family->newest->write(family->newest->arg,
                                  &(struct ut_metrics_out){.file = out, .family = family});
        if (family->first == NULL)
            continue;
        write_head(out, family);
        for (const struct sample *sample = family->first; sample != NULL; sample = sample->next)
            write_sample(out, family->name, sample);
    }
    bool failed = ferror(out) != 0;
    if (fclose(out) != 0 || failed) {
        free(text);
        return NULL;
    }
    return text;
}
