/* SPDX-License-Identifier: MIT */
#include "ctl/args.h"

#include <string.h>

const char *const verb_groups[GROUP_MAX] = {
	[GROUP_JOBS] = "Jobs",
	[GROUP_LOOK] = "Looking",
	[GROUP_POOLS] = "Pools",
	[GROUP_DAEMON] = "The daemon",
};

const struct verb verbs[] = {
	/* jobs */
	{.name = "map",
	 .group = GROUP_JOBS,
	 .before = "POOL | -- COMMAND...",
	 .after = "< INPUT",
	 .summary = "run each input line as a job, print the results in order",
	 .more = "With a command instead of a pool it is run by a daemon of its own, which ends with\n"
		 "this. -j, --filter and --frame are for that form. The command answers OK text or\n"
		 "ERR text to each line, see preforkd-worker(7), or is an existing --filter.\n"
		 "A line whose job fails is named on standard error, has an empty line for a result,\n"
		 "and makes the exit status 1. Lines are tried again while the pool is full.",
	 .options = OPT(WORKERS) | OPT(FILTER) | OPT(FRAME) | OPT(EACH) | OPT(TIMEOUT) | OPT(NULL) |
		    OPT(UNORDERED) | OPT(TAG) | OPT(RETRIES) | OPT(HALT) | OPT(JOBLOG) |
		    OPT(RESUME) | OPT(RETRY_FAILED) | OPT(PROGRESS) | OPT(NO_PROGRESS) |
		    OPT(SUMMARY),
	 .max = -1,
	 .words = {COMPLETE_POOL},
	 .command = COMPLETE_COMMAND,
	 .run = verb_map},
	{.name = "run",
	 .group = GROUP_JOBS,
	 .before = "POOL",
	 .after = "[PAYLOAD... | -]",
	 .summary = "run a job, print its result",
	 .more = "Several words of payload are joined by spaces. Without any, or with -, the payload is\n"
		 "standard input, less one newline at its end. The result is printed as it is; on a\n"
		 "terminal a newline follows where it has none.",
	 .options = OPT(TIMEOUT) | OPT(KEY) | OPT(KEEP) | OPT(WAIT) | OPT(RAW) | OPT(JSON),
	 .min = 1,
	 .max = -1,
	 .payload_at = 1,
	 .words = {COMPLETE_POOL},
	 .run = verb_run},
	{.name = "submit",
	 .group = GROUP_JOBS,
	 .before = "POOL",
	 .after = "[PAYLOAD... | -]",
	 .summary = "queue a job, or many; print their ids",
	 .more = "The payload is taken as by run. The result is fetched with result or await.\n"
		 "With --lines each line of standard input is a job, and each id is a line of the\n"
		 "output; while the queue is full, lines wait. A line that is refused is named on\n"
		 "standard error, and the first such decides the exit status. For the results of\n"
		 "many jobs at once there is map.",
	 .options = OPT(TIMEOUT) | OPT(KEY) | OPT(KEEP) | OPT(RAW) | OPT(LINES) | OPT(NULL) |
		    OPT(NO_RETRY) | OPT(JSON),
	 .min = 1,
	 .max = -1,
	 .payload_at = 1,
	 .words = {COMPLETE_POOL},
	 .run = verb_submit},
	{.name = "result",
	 .group = GROUP_JOBS,
	 .before = "ID",
	 .summary = "print the result of a submitted job",
	 .more = "Exit status 75 when it is not finished (within --wait).",
	 .options = OPT(WAIT) | OPT(JSON),
	 .min = 1,
	 .max = 1,
	 .words = {COMPLETE_JOB},
	 .run = verb_result},
	{.name = "await",
	 .group = GROUP_JOBS,
	 .before = "ID...",
	 .summary = "wait until submitted jobs are finished, print how they ended",
	 .more = "A line for each job, in the order in which they end: its id, its state and its\n"
		 "result, or what was wrong, with tabs between. Exit status 1 when one did not end\n"
		 "well, 75 when not all (with --any: none) are finished within --wait.",
	 .options = OPT(ANY) | OPT(WAIT) | OPT(JSON),
	 .min = 1,
	 .max = -1,
	 .words = {COMPLETE_JOB, COMPLETE_JOB},
	 .run = verb_await},
	{.name = "follow",
	 .group = GROUP_JOBS,
	 .before = "ID",
	 .summary = "watch a submitted job, then print its result",
	 .more = "What it puts out before its end goes to standard output as it comes, and how far it\n"
		 "is to standard error; at the end it is as result. Of a job that is running or\n"
		 "finished what is kept comes first. Ctrl-C leaves the job alone (exit status 75).",
	 .options = OPT(JSON),
	 .min = 1,
	 .max = 1,
	 .words = {COMPLETE_JOB},
	 .run = verb_follow},
	{.name = "cancel",
	 .group = GROUP_JOBS,
	 .before = "ID...",
	 .summary = "cancel jobs, queued or running",
	 .options = OPT(JSON),
	 .min = 1,
	 .max = -1,
	 .words = {COMPLETE_JOB, COMPLETE_JOB},
	 .run = verb_cancel},

	/* looking */
	{.name = "status",
	 .group = GROUP_LOOK,
	 .summary = "how the daemon is, what is wrong first",
	 .options = OPT(JSON),
	 .run = verb_status},
	{.name = "metrics",
	 .group = GROUP_LOOK,
	 .summary = "print all counts as OpenMetrics, for a monitoring system",
	 .more = "The figures of status --json and pools --json, and histograms, in that format.",
	 .run = verb_metrics},
	{.name = "pools",
	 .group = GROUP_LOOK,
	 .summary = "list the pools",
	 .options = OPT(JSON),
	 .run = verb_pools},
	{.name = "pool",
	 .group = GROUP_LOOK,
	 .before = "NAME",
	 .summary = "all that is known about a pool",
	 .options = OPT(JSON),
	 .min = 1,
	 .max = 1,
	 .words = {COMPLETE_POOL},
	 .run = verb_pool},
	{.name = "workers",
	 .group = GROUP_LOOK,
	 .before = "[POOL]",
	 .summary = "list the workers",
	 .options = OPT(JSON),
	 .max = 1,
	 .words = {COMPLETE_POOL},
	 .run = verb_workers},
	{.name = "monitor",
	 .group = GROUP_LOOK,
	 .before = "[KIND | POOL | ID]...",
	 .summary = "print what happens, a line each, until Ctrl-C",
	 .more = "Kinds are job, pool, worker, out and progress; the last two only where they are\n"
		 "named, or an id is. With pools or ids only what is about those:\n"
		 "  preforkctl monitor job thumbs",
	 .options = OPT(JSON),
	 .max = -1,
	 .words = {COMPLETE_EVENTS, COMPLETE_EVENTS},
	 .run = verb_monitor},
	{.name = "jobs",
	 .group = GROUP_LOOK,
	 .summary = "list jobs",
	 .more = "The oldest first, 100 of them; behind the last one it says how to see the next.\n"
		 "--sort looks at all jobs that match, and then shows so many:\n"
		 "  preforkctl jobs --state running --sort -run -n 10",
	 .options = OPT(POOL) | OPT(STATE) | OPT(REASON) | OPT(COUNT) | OPT(AFTER) | OPT(SORT) |
		    OPT(ALL) | OPT(JSON),
	 .run = verb_jobs},
	{.name = "job",
	 .group = GROUP_LOOK,
	 .before = "ID",
	 .summary = "all that is known about a job",
	 .options = OPT(JSON),
	 .min = 1,
	 .max = 1,
	 .words = {COMPLETE_JOB},
	 .run = verb_job},

	/* pools */
	{.name = "pause",
	 .group = GROUP_POOLS,
	 .before = "POOL...",
	 .summary = "start no more jobs of a pool; go on accepting",
	 .options = OPT(JSON),
	 .min = 1,
	 .max = -1,
	 .words = {COMPLETE_POOL, COMPLETE_POOL},
	 .run = verb_pause},
	{.name = "resume",
	 .group = GROUP_POOLS,
	 .before = "POOL...",
	 .summary = "undo pause",
	 .options = OPT(JSON),
	 .min = 1,
	 .max = -1,
	 .words = {COMPLETE_POOL, COMPLETE_POOL},
	 .run = verb_resume},

	/* the daemon */
	{.name = "ping",
	 .group = GROUP_DAEMON,
	 .summary = "see whether the daemon answers",
	 .options = OPT(JSON),
	 .run = verb_ping},
	{.name = "drain",
	 .group = GROUP_DAEMON,
	 .summary = "refuse new jobs, finish those there are",
	 .options = OPT(JSON),
	 .run = verb_drain},
	{.name = "stop",
	 .group = GROUP_DAEMON,
	 .summary = "stop the daemon and wait until it is gone",
	 .options = OPT(NOW) | OPT(JSON),
	 .run = verb_stop},
	{.name = "version",
	 .group = GROUP_DAEMON,
	 .summary = "print the versions of the client and of the daemon",
	 .options = OPT(JSON),
	 .run = verb_version},
	{.name = "call",
	 .group = GROUP_DAEMON,
	 .before = "COMMAND [WORD...]",
	 .summary = "send any command of the control socket, print its reply",
	 .more = "Commands are those of preforkd-control(7): preforkctl help commands.\n"
		 "On a terminal the reply is shown as redis-cli does, elsewhere each text or\n"
		 "number of it is a line.",
	 .options = OPT(JSON),
	 .min = 1,
	 .max = -1,
	 .payload_at = 1,
	 .run = verb_call},
	{.name = "help",
	 .group = GROUP_DAEMON,
	 .before = "[VERB | commands | COMMAND]",
	 .summary = "print help on a verb, or on a COMMAND of the control socket",
	 .more = "Verbs are in lower case, commands in upper case: help run, help RUN.",
	 .max = 1,
	 .words = {COMPLETE_VERB},
	 .run = verb_help},
	{.name = "complete",
	 .group = GROUP_HIDDEN,
	 .before = "--",
	 .after = "WORD...",
	 .summary = "say what may stand at the cursor, for a shell",
	 .max = -1,
	 .run = verb_complete},
	{0},
};

const struct verb *
verb_find(const char *name)
{
	for (const struct verb *v = verbs; v->name; v++)
		if (strcmp(v->name, name) == 0)
			return v;
	return NULL;
}
