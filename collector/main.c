/* SPDX-License-Identifier: Apache-2.0 */
/* The command line. Exit codes: 0 done, 1 it did not work, 2 the command line is wrong. */
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "admin_client.h"
#include "app.h"
#include "app_load.h"
#include "doctor.h"
#include "status.h"

struct arguments {
    const char *command; /* "run" where none is named */
    const char *config;  /* NULL: the preset */
    const char *admin;   /* NULL: as the configuration says, or the default */
    bool help, version, json;
};

static const char usage_text[] =
    "Usage: undertrace [run] [--config FILE]\n"
    "       undertrace validate FILE\n"
    "       undertrace doctor [--config FILE | --admin PATH]\n"
    "       undertrace reload [--config FILE | --admin PATH]\n"
    "       undertrace status [--json] [--config FILE | --admin PATH]\n"
    "       undertrace --version | --help\n";

static const char help_text[] =
    "\n"
    "Receives OTLP spans, adds what the kernel did under each of them, and forwards them.\n"
    "\n"
    "  run        Runs until SIGTERM. Without --config: OTLP on localhost:4317 (gRPC)\n"
    "             and :4318 (HTTP), kernel events where allowed, out to\n"
    "             OTEL_EXPORTER_OTLP_ENDPOINT if set, else to the terminal.\n"
    "  validate   Checks a configuration and says everything that is wrong with it.\n"
    "  doctor     Shows what works on this host, what is missing, what would help, and\n"
    "             what a running program says of itself. Exit code 1 if something is\n"
    "             missing.\n"
    "  reload     Has a running program read its configuration again, and says how that\n"
    "             went. SIGHUP does the same.\n"
    "  status     What a running program has taken, sent, holds and has dropped, for each\n"
    "             exporter, and why something is not sent.\n"
    "\n"
    "  -c, --config FILE   the configuration, in the shape of the OpenTelemetry Collector's;\n"
    "                      doctor, reload and status take undertrace.admin from it,\n"
    "                      doctor also what is asked of the kernel\n"
    "      --admin PATH    admin socket of the running program, also as unix://PATH\n"
    "                      (" UT_ADMIN_PATH ")\n"
    "      --json          status as JSON\n"
    "      --version       the version\n"
    "  -h, --help          this text\n";

/* Reads the options; false where getopt has complained. */
static bool parse_options(struct arguments *out, int argc, char **argv)
{
    enum { ADMIN = 256, JSON, VERSION };
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'}, {"admin", required_argument, NULL, ADMIN},
        {"json", no_argument, NULL, JSON},        {"version", no_argument, NULL, VERSION},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
    };
    for (int option; (option = getopt_long(argc, argv, "c:h", options, NULL)) != -1;) {
        switch (option) {
        case 'c':
            out->config = optarg;
            break;
        case ADMIN:
            out->admin = optarg;
            break;
        case JSON:
            out->json = true;
            break;
        case VERSION:
            out->version = true;
            break;
        case 'h':
            out->help = true;
            break;
        default:
            return false;
        }
    }
    return true;
}

/* The command and what follows it. */
static bool parse_command(struct arguments *out, int argc, char **argv)
{
    int left = argc - optind;
    if (left > 0)
        out->command = argv[optind++];
    if (strcmp(out->command, "validate") == 0 && left == 2)
        out->config = argv[optind++];
    bool known = strcmp(out->command, "run") == 0 || strcmp(out->command, "validate") == 0 ||
                 strcmp(out->command, "doctor") == 0 || strcmp(out->command, "reload") == 0 ||
                 strcmp(out->command, "status") == 0;
    if (!known)
        fprintf(stderr, "undertrace: unknown command \"%s\"\n", out->command);
    else if (optind < argc)
        fprintf(stderr, "undertrace: unexpected argument \"%s\"\n", argv[optind]);
    else if (strcmp(out->command, "validate") == 0 && out->config == NULL)
        fprintf(stderr, "undertrace: validate needs a file\n");
    else
        return true;
    return false;
}

/* Connections follow from the descriptors that we may have; the soft limit is for programs that use
 * select(2). */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* Tables are taken zeroed, at their largest, and fill slowly: what is mapped for them costs memory
 * only as it is used. By itself glibc maps less and less once large blocks have been freed, as when
 * the kernel programs have been loaded. */
static void map_what_is_large(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, 128 << 10);
}

static int run(const struct arguments *arguments)
{
    struct ut_app_types types;
    map_what_is_large();
    raise_descriptors();
    ut_app_types_init(&types);
    return ut_app_run(arguments->config, &types);
}

static int validate(const struct arguments *arguments)
{
    struct ut_app_types types;
    ut_app_types_init(&types);
    struct ut_config *config = ut_app_load(arguments->config, &types, stderr);
    if (config == NULL)
        return 1;
    printf("%s: valid, %zu %s\n", arguments->config, config->pipeline_count,
           config->pipeline_count == 1 ? "pipeline" : "pipelines");
    ut_config_free(config);
    return 0;
}

static int reload(const char *admin)
{
    char *answer;
    int status = ut_admin_ask(admin, "POST", "/reload", &answer);
    if (status < 0) {
        ut_admin_complain(admin, status);
        return 1;
    }
    fputs(answer, status == 200 ? stdout : stderr);
    free(answer);
    return status == 200 ? 0 : 1;
}

/* doctor, reload or status, of the program at `admin`. */
static int ask(const struct arguments *arguments, const char *admin, const struct ut_config *config)
{
    if (strcmp(arguments->command, "doctor") == 0)
        return ut_doctor(admin, config);
    if (admin[0] == '\0') {
        fprintf(stderr, "undertrace: %s: undertrace.admin is empty, so nobody can be asked\n",
                arguments->config);
        return 1;
    }
    return strcmp(arguments->command, "reload") == 0 ? reload(admin)
                                                     : ut_status(admin, arguments->json);
}

static int ask_configured(const struct arguments *arguments)
{
    struct ut_app_types types;
    ut_app_types_init(&types);
    struct ut_config *config = ut_app_load(arguments->config, &types, stderr);
    if (config == NULL)
        return 1;
    int code =
        ask(arguments, arguments->admin != NULL ? arguments->admin : config->program.admin, config);
    ut_config_free(config);
    return code;
}

int main(int argc, char **argv)
{
    struct arguments arguments = {.command = "run"};
    if (!parse_options(&arguments, argc, argv)) {
        fputs(usage_text, stderr);
        return 2;
    }
    if (arguments.help)
        return printf("%s%s", usage_text, help_text) < 0;
    if (arguments.version)
        return puts("undertrace " UT_VERSION) < 0;
    if (!parse_command(&arguments, argc, argv)) {
        fputs(usage_text, stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file at its limit is an error like any other */
    if (strcmp(arguments.command, "validate") == 0)
        return validate(&arguments);
    if (strcmp(arguments.command, "run") == 0)
        return run(&arguments);
    if (arguments.config != NULL)
        return ask_configured(&arguments);
    return ask(&arguments, arguments.admin != NULL ? arguments.admin : UT_ADMIN_PATH, NULL);
}
