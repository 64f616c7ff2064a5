/* SPDX-License-Identifier: MIT */
/*
 * args - the command line, by tables: options, verbs, and what they take.
 * Dispatch, usage and help all come from the table of verbs in verbs.c.
 */
#pragma once

#include "ctl/ctl.h"

#include <stdbool.h>

enum opt {
	OPT_SOCKET,
	OPT_INSTANCE,
	OPT_JSON,
	OPT_HELP,
	OPT_VERSION,
	OPT_TIMEOUT,
	OPT_KEY,
	OPT_KEEP,
	OPT_WAIT,
	OPT_RAW,
	OPT_POOL,
	OPT_STATE,
	OPT_REASON,
	OPT_COUNT,
	OPT_AFTER,
	OPT_SORT,
	OPT_ALL,
	OPT_LINES,
	OPT_NULL,
	OPT_NO_RETRY,
	OPT_ANY,
	OPT_NO_WAIT,
	OPT_NOW,
	OPT_WORKERS,
	OPT_FILTER,
	OPT_FRAME,
	OPT_EACH,
	OPT_UNORDERED,
	OPT_TAG,
	OPT_RETRIES,
	OPT_HALT,
	OPT_JOBLOG,
	OPT_RESUME,
	OPT_RETRY_FAILED,
	OPT_PROGRESS,
	OPT_NO_PROGRESS,
	OPT_SUMMARY,
	OPT_HTTP,
	OPT_ANSWER,
	OPT_OLDEST,
	OPT_QUEUED,
	OPT_FAILURES,
	OPT_BUSY,
	OPT_FOLLOW,
	OPT_LAST,
	OPT_SINCE,
	OPT_WORKER,
	OPT_OF_JOB,
	OPT_LEVEL,
	OPT_OUTPUT,
	OPT_MAX
};

_Static_assert(OPT_MAX <= 64, "a set of options is an uint64_t");

#define OPT(name) (UINT64_C(1) << OPT_##name)
#define OPT_GLOBAL (OPT(SOCKET) | OPT(INSTANCE) | OPT(HELP) | OPT(VERSION))

enum opt_kind { KIND_FLAG, KIND_WORD, KIND_DURATION, KIND_NUMBER };

/* What a shell can propose for a word. */
enum complete {
	COMPLETE_NOTHING,
	COMPLETE_POOL,
	COMPLETE_JOB,
	COMPLETE_WORKER, /* POOL[/WORKER] */
	COMPLETE_VERB,
	COMPLETE_EVENTS, /* kinds of events, and pools */
	COMPLETE_INSTANCE,
	COMPLETE_FILE,
	COMPLETE_COMMAND, /* a program */
};

struct option_row {
	const char *name; /* without the dashes */
	char letter;	  /* 0: none */
	enum opt_kind kind;
	const char *value;   /* what the value is called; NULL for a flag */
	const char *wire;    /* the option of the control protocol that it is sent as, or NULL */
	const char *choices; /* the values there are, with spaces between, or NULL */
	enum complete complete;
	const char *summary; /* for help */
};

extern const struct option_row options[OPT_MAX];

/* What was found. Words are those of argv. */
struct args {
	const char *values[OPT_MAX]; /* NULL: not given; a flag's is "" */
	char **words;		     /* what is not an option; the verb itself is not in it */
	int count;
	int command; /* words[] from here on stood behind "--"; -1: there was none */
};

enum verb_group { GROUP_JOBS, GROUP_LOOK, GROUP_POOLS, GROUP_DAEMON, GROUP_HIDDEN, GROUP_MAX };

extern const char *const verb_groups[GROUP_MAX]; /* titles in help; NULL: not shown there */

struct verb {
	const char *name;
	enum verb_group group;
	const char *before;	/* words before the options, for usage; NULL: none */
	const char *after;	/* words behind them; NULL: none */
	const char *summary;	/* one line */
	const char *more;	/* further lines of help, or NULL */
	uint64_t options;	/* OPT() of each that it takes, beside OPT_GLOBAL */
	int min, max;		/* words; max -1: any number */
	int payload_at;		/* options end at this word; 0: nowhere */
	enum complete words[2]; /* the first word, and those behind it */
	enum complete command;	/* what stands behind "--", where that is another thing */
	bool plugin;		/* of a monitoring system: mistakes are said in its way, too */
	int (*run)(struct ctl *ctl, const struct args *args);
};

extern const struct verb verbs[]; /* ends with a row without a name */

const struct verb *verb_find(const char *name);

/* Sort argv (n words) into *args. The first word that is not an option is the
 * verb, and comes back in *ret_verb (NULL: there was none). 0, or STATUS_USAGE
 * when the mistake has been printed. args->words is allocated. */
int args_parse(int n, char **argv, struct args *args, const struct verb **ret_verb);

/* The options that a verb takes, or those before it (NULL). */
uint64_t args_allowed(const struct verb *verb);

/* The option that word names; *ret_value: the value that is part of the word, or
 * NULL. NULL: there is none. */
const struct option_row *args_find_option(const struct verb *verb, const char *word,
					  const char **ret_value);

/* There is no such verb; says so, and what may have been meant. STATUS_USAGE. */
int args_bad_verb(const char *name);

/* Print a mistake and the verb's synopsis; returns STATUS_USAGE, or what a plugin's is. */
int args_usage(const struct verb *verb, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Add the options that were given and that the protocol knows, as name, value. */
void args_add_options(const struct args *args, struct command *c, uint64_t which);

/* "preforkctl run POOL [--timeout D] …", malloc'ed. */
char *verb_synopsis(const struct verb *verb);

/* --- the verbs --- */

int verb_logs(struct ctl *ctl, const struct args *args);
int verb_check(struct ctl *ctl, const struct args *args);
int verb_status(struct ctl *ctl, const struct args *args);
int verb_run(struct ctl *ctl, const struct args *args);
int verb_submit(struct ctl *ctl, const struct args *args);
int verb_result(struct ctl *ctl, const struct args *args);
int verb_await(struct ctl *ctl, const struct args *args);
int verb_follow(struct ctl *ctl, const struct args *args);
int verb_forget(struct ctl *ctl, const struct args *args);
int verb_cancel(struct ctl *ctl, const struct args *args);
int verb_job(struct ctl *ctl, const struct args *args);
int verb_jobs(struct ctl *ctl, const struct args *args);
int verb_pools(struct ctl *ctl, const struct args *args);
int verb_pool(struct ctl *ctl, const struct args *args);
int verb_workers(struct ctl *ctl, const struct args *args);
int verb_monitor(struct ctl *ctl, const struct args *args);
int verb_scale(struct ctl *ctl, const struct args *args);
int verb_restart(struct ctl *ctl, const struct args *args);
int verb_clear(struct ctl *ctl, const struct args *args);
int verb_pause(struct ctl *ctl, const struct args *args);
int verb_resume(struct ctl *ctl, const struct args *args);
int verb_drain(struct ctl *ctl, const struct args *args);
int verb_reload(struct ctl *ctl, const struct args *args);
int verb_stop(struct ctl *ctl, const struct args *args);
int verb_call(struct ctl *ctl, const struct args *args);
int verb_metrics(struct ctl *ctl, const struct args *args);
int verb_ping(struct ctl *ctl, const struct args *args);
int verb_map(struct ctl *ctl, const struct args *args);
int verb_help(struct ctl *ctl, const struct args *args);
int verb_complete(struct ctl *ctl, const struct args *args);
int verb_version(struct ctl *ctl, const struct args *args);
