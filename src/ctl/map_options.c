/* SPDX-License-Identifier: MIT */
#include "ctl/map_options.h"

#include "base/parse.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PRIVATE_POOL "map"
#define PLACES_MAX UINT64_C(1000000000)
#define WORKERS_MAX 4096

/* CPUs that this process may use. */
static long
count_cpus(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		return CPU_COUNT(&set);
	long n = sysconf(_SC_NPROCESSORS_ONLN);
	return n > 0 ? n : 1;
}

/* --- halt --- */

/* Does *text start with the word? Then go on behind it. */
static bool
take(const char **text, const char *word)
{
	size_t n = strlen(word);

	if (strncmp(*text, word, n) != 0)
		return false;
	*text += n;
	return true;
}

bool
map_parse_halt(const char *text, struct map_halt *ret)
{
	struct map_halt h = {.what = HALT_FAIL, .limit = 1};

	if (strcmp(text, "never") == 0) {
		*ret = h;
		return true;
	}
	h.when = take(&text, "now") ? HALT_NOW : take(&text, "soon") ? HALT_SOON : HALT_NEVER;
	if (h.when != HALT_NEVER && *text) {
		h.what = take(&text, ",fail=")	  ? HALT_FAIL :
			 take(&text, ",success=") ? HALT_SUCCESS :
			 take(&text, ",done=")	  ? HALT_DONE :
						    HALT_NOTHING;
		size_t len = strlen(text);
		h.is_percent = len > 1 && text[len - 1] == '%';
		if (h.what == HALT_NOTHING ||
		    parse_u64(text, len - h.is_percent, h.is_percent ? 100 : PLACES_MAX,
			      &h.limit) != 0)
			return false;
	}
	*ret = h;
	return h.when != HALT_NEVER && h.limit > 0;
}

/* --- what goes together --- */

static int
count_given(const char *const *values, const enum opt *which, size_t n)
{
	int given = 0;

	for (size_t i = 0; i < n; i++)
		given += values[which[i]] != NULL;
	return given;
}

static int
check_together(const char *const *values)
{
	static const enum opt levels[] = {OPT_FILTER, OPT_FRAME, OPT_EACH};
	static const enum opt logs[] = {OPT_JOBLOG, OPT_RESUME, OPT_RETRY_FAILED};
	const struct verb *v = verb_find("map");

	if (count_given(values, levels, 3) > 1)
		return args_usage(v, "one of --filter, --frame and --each, not several");
	if (count_given(values, logs, 3) > 1)
		return args_usage(v, "one of --joblog, --resume and --retry-failed: they name the "
				     "same file");
	return STATUS_OK;
}

/* What a daemon can have; it would say so itself, but not of -j. */
static int
check_workers(const char *value)
{
	if (value && strtol(value, NULL, 10) > WORKERS_MAX)
		return args_usage(verb_find("map"), "-j \"%s\" is not a number from 1 to %d", value,
				  WORKERS_MAX);
	return STATUS_OK;
}

static int
check_words(const struct args *args)
{
	static const enum opt own[] = {OPT_WORKERS, OPT_FILTER, OPT_FRAME, OPT_EACH};
	const struct verb *v = verb_find("map");

	/* "map POOL -- COMMAND", or "map COMMAND ARGUMENT" */
	int first = args->command > 0 && args->command < args->count ? args->command : 0;

	if (args->count == 0)
		return args_usage(v, "map wants a pool, or a command behind --");
	if (!*args->words[0])
		return args_usage(v, "the %s must not be empty",
				  args->command == 0 ? "command" : "pool's name");
	if (args->command == 0)
		return check_workers(args->values[OPT_WORKERS]);
	if (args->count > 1)
		return args_usage(v, "one pool, or a command behind --: preforkctl map -- %s ...",
				  args->words[first]);
	if (count_given(args->values, own, 4))
		return args_usage(v,
				  "-j, --filter, --frame and --each are for a command behind --; "
				  "the pool \"%s\" has its own settings",
				  args->words[0]);
	return STATUS_OK;
}

/* --- the plan --- */

static void
plan_daemon(struct map_plan *p, const struct args *args)
{
	const char *const *values = args->values;
	const char *workers = values[OPT_WORKERS];

	p->setup.own = args->command == 0;
	p->setup.pool = p->setup.own ? PRIVATE_POOL : args->words[0];
	if (!p->setup.own)
		return;
	/* the words go to execve as they are */
	args->words[args->count] = NULL;
	p->own.command = args->words;
	p->own.workers = workers ? strtol(workers, NULL, 10) : count_cpus();
	p->own.each = values[OPT_EACH] != NULL;
	p->own.protocol = values[OPT_FILTER]		   ? "filter" :
			  values[OPT_FRAME] || p->own.each ? "frame" :
							     "line";
}

static void
plan_log(struct map_plan *p, const char *const *values)
{
	static const struct {
		enum opt opt;
		enum log_use use;
	} uses[] = {{OPT_JOBLOG, LOG_NEW}, {OPT_RESUME, LOG_RESUME}, {OPT_RETRY_FAILED, LOG_RETRY}};

	for (size_t i = 0; i < sizeof(uses) / sizeof(uses[0]); i++) {
		if (!values[uses[i].opt])
			continue;
		p->log_use = uses[i].use;
		p->log_path = values[uses[i].opt];
	}
}

int
map_plan(struct map_plan *p, const struct args *args)
{
	const char *const *values = args->values;
	const struct verb *v = verb_find("map");
	struct map_setup *s = &p->setup;
	int status;

	*p = (struct map_plan){0};
	if ((status = check_together(values)) || (status = check_words(args)))
		return status;
	if (values[OPT_HALT] && !map_parse_halt(values[OPT_HALT], &s->halt))
		return args_usage(v,
				  "--halt \"%s\": never, now or soon, or now or soon with ,fail=N "
				  "or ,success=N or ,done=N, or N%%",
				  values[OPT_HALT]);
	plan_daemon(p, args);
	plan_log(p, values);
	s->timeout = values[OPT_TIMEOUT];
	s->nul = values[OPT_NULL];
	s->unordered = values[OPT_UNORDERED];
	s->tag = values[OPT_TAG];
	s->each = values[OPT_EACH];
	s->retries = values[OPT_RETRIES] ? (unsigned)strtoul(values[OPT_RETRIES], NULL, 10) : 0;
	/* not into what a person types */
	p->progress = isatty(STDERR_FILENO) && !isatty(STDIN_FILENO);
	p->progress = !values[OPT_NO_PROGRESS] && (values[OPT_PROGRESS] || p->progress);
	p->summary = values[OPT_SUMMARY] || isatty(STDERR_FILENO);
	return STATUS_OK;
}
