/* SPDX-License-Identifier: MIT */
#include "ctl/args.h"

#include <string.h>

const struct option_row options[OPT_MAX] = {
	[OPT_SOCKET] = {"socket", 's', KIND_WORD, "PATH", NULL, "the daemon's control socket"},
	[OPT_JSON] = {"json", 0, KIND_FLAG, NULL, NULL, "print JSON"},
	[OPT_HELP] = {"help", 'h', KIND_FLAG, NULL, NULL, "print help"},
	[OPT_VERSION] = {"version", 'V', KIND_FLAG, NULL, NULL, "print the version"},
	[OPT_TIMEOUT] = {"timeout", 't', KIND_DURATION, "D", "TIMEOUT",
			 "how long the job may run (30s, 5m, infinity)"},
	[OPT_KEY] = {"key", 'k', KIND_WORD, "K", "KEY",
		     "names the job: the same key again gives the same job, not a second one"},
	[OPT_KEEP] = {"keep", 0, KIND_DURATION, "D", "KEEP",
		      "how long the finished job is remembered"},
	[OPT_WAIT] = {"wait", 'w', KIND_DURATION, "D", "WAIT",
		      "how long to wait for the result; past that: exit status 75"},
	[OPT_RAW] = {"raw", 0, KIND_FLAG, NULL, NULL,
		     "keep a newline at the end of standard input"},
	[OPT_POOL] = {"pool", 'p', KIND_WORD, "P", "POOL", "only jobs of this pool"},
	[OPT_STATE] = {"state", 0, KIND_WORD, "S", "STATE",
		       "only jobs in this state (queued, running, done, failed, cancelled)"},
	[OPT_REASON] = {"reason", 0, KIND_WORD, "R", "REASON",
			"only failed jobs with this reason (error, crashed, timeout)"},
	[OPT_COUNT] = {"count", 'n', KIND_NUMBER, "N", "COUNT", "at most so many (100)"},
	[OPT_AFTER] = {"after", 0, KIND_WORD, "ID", "AFTER", "only jobs behind this one"},
	[OPT_NOW] = {"now", 0, KIND_FLAG, NULL, NULL, "do not wait for running jobs"},
	[OPT_WORKERS] = {"workers", 'j', KIND_NUMBER, "N", NULL, "so many workers (one a CPU)"},
	[OPT_FILTER] = {"filter", 0, KIND_FLAG, NULL, NULL,
			"the command is a filter: prints one plain line for each input line"},
	[OPT_FRAME] = {"frame", 0, KIND_FLAG, NULL, NULL, "the command speaks the frame protocol"},
};

const struct verb verbs[] = {
	{"status", NULL, NULL, "how the daemon is, what is wrong first", NULL, OPT(JSON), 0, 0, 0,
	 verb_status},
	{"run", "POOL", "[PAYLOAD... | -]", "run a job, print its result",
	 "Several words of payload are joined by spaces. Without any, or with -, the payload is\n"
	 "standard input, less one newline at its end. The result is printed as it is; on a\n"
	 "terminal a newline follows where it has none.",
	 OPT(TIMEOUT) | OPT(KEY) | OPT(KEEP) | OPT(WAIT) | OPT(RAW) | OPT(JSON), 1, -1, 1,
	 verb_run},
	{"submit", "POOL", "[PAYLOAD... | -]", "queue a job, print its id",
	 "The payload is taken as by run. The result is fetched with result.",
	 OPT(TIMEOUT) | OPT(KEY) | OPT(KEEP) | OPT(RAW) | OPT(JSON), 1, -1, 1, verb_submit},
	{"result", "ID", NULL, "print the result of a submitted job",
	 "Exit status 75 when it is not finished (within --wait).", OPT(WAIT) | OPT(JSON), 1, 1, 0,
	 verb_result},
	{"cancel", "ID...", NULL, "cancel jobs, queued or running", NULL, OPT(JSON), 1, -1, 0,
	 verb_cancel},
	{"job", "ID", NULL, "all that is known about a job", NULL, OPT(JSON), 1, 1, 0, verb_job},
	{"jobs", NULL, NULL, "list jobs", NULL,
	 OPT(POOL) | OPT(STATE) | OPT(REASON) | OPT(COUNT) | OPT(AFTER) | OPT(JSON), 0, 0, 0,
	 verb_jobs},
	{"pools", NULL, NULL, "list the pools", NULL, OPT(JSON), 0, 0, 0, verb_pools},
	{"pool", "NAME", NULL, "all that is known about a pool", NULL, OPT(JSON), 1, 1, 0,
	 verb_pool},
	{"workers", "[POOL]", NULL, "list the workers", NULL, OPT(JSON), 0, 1, 0, verb_workers},
	{"pause", "POOL...", NULL, "start no more jobs of a pool; go on accepting", NULL, OPT(JSON),
	 1, -1, 0, verb_pause},
	{"resume", "POOL...", NULL, "undo pause", NULL, OPT(JSON), 1, -1, 0, verb_resume},
	{"drain", NULL, NULL, "refuse new jobs, finish those there are", NULL, OPT(JSON), 0, 0, 0,
	 verb_drain},
	{"stop", NULL, NULL, "stop the daemon and wait until it is gone", NULL,
	 OPT(NOW) | OPT(JSON), 0, 0, 0, verb_stop},
	{"ping", NULL, NULL, "see whether the daemon answers", NULL, OPT(JSON), 0, 0, 0, verb_ping},
	{"map", "POOL | -- COMMAND...", "< INPUT",
	 "run each input line as a job, print the results in order",
	 "With a command instead of a pool it is run by a daemon of its own, which ends with\n"
	 "this. -j, --filter and --frame are for that form. The command answers OK text or\n"
	 "ERR text to each line, see preforkd-worker(7), or is an existing --filter.\n"
	 "A line whose job fails is named on standard error, has an empty line for a result,\n"
	 "and makes the exit status 1. Lines are tried again while the pool is full.",
	 OPT(WORKERS) | OPT(FILTER) | OPT(FRAME) | OPT(TIMEOUT), 0, -1, 0, verb_map},
	{"help", "[VERB]", NULL, "print help", NULL, 0, 0, 1, 0, verb_help},
	{"version", NULL, NULL, "print the versions of the client and of the daemon", NULL,
	 OPT(JSON), 0, 0, 0, verb_version},
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
