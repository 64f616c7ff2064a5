/* SPDX-License-Identifier: MIT */
/* Waiting for submitted jobs, one or all of many. */
#include "base/buf.h"
#include "base/mono.h"
#include "base/parse.h"
#include "ctl/args.h"
#include "ctl/json.h"
#include "ctl/reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IDS_MAX 1000 /* in one command */

struct waiting {
	struct ctl *ctl;
	mono_t until;
	bool any;
	int finished, failed; /* jobs so far */
};

static int
compare_words(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The ids, each once: the daemon answers no more often either. In order. */
static int
distinct(char **ids, int n)
{
	int kept = 0;

	qsort(ids, (size_t)n, sizeof(*ids), compare_words);
	for (int i = 0; i < n; i++)
		if (kept == 0 || strcmp(ids[i], ids[kept - 1]) != 0)
			ids[kept++] = ids[i];
	return kept;
}

/* A line: id, state, and the result or why there is none. */
static void
print_job(const struct ctl *ctl, const redisReply *job)
{
	const redisReply *id = job->element[0], *state = job->element[1], *text = job->element[2];
	bool done = strcmp(state->str, "done") == 0, has = reply_is_text(text);
	struct buf b = {0};

	if (ctl->json) {
		buf_puts(&b, "{\"id\":");
		json_string(&b, id->str, id->len);
		buf_puts(&b, ",\"state\":");
		json_string(&b, state->str, state->len);
		buf_putc(&b, ',');
		if (has)
			json_bytes(&b, done ? "result" : "error", text->str, text->len);
		else
			buf_puts(&b, done ? "\"result\":null" : "\"error\":null");
		buf_putc(&b, '}');
		json_finish(&b);
		return;
	}
	char *shown = ctl_escape(has ? text->str : "", has ? text->len : 0);
	printf("%s\t%s\t%s\n", id->str, state->str, shown);
	free(shown);
}

static bool
is_job(const redisReply *r)
{
	return reply_is_array(r) && r->elements == 3 && reply_is_text(r->element[0]) &&
	       reply_is_text(r->element[1]);
}

static void
take_jobs(struct waiting *w, const redisReply *jobs)
{
	for (size_t i = 0; reply_is_array(jobs) && i < jobs->elements; i++) {
		const redisReply *job = jobs->element[i];
		if (!is_job(job))
			continue;
		print_job(w->ctl, job);
		w->finished++;
		w->failed += strcmp(job->element[1]->str, "done") != 0;
	}
	fflush(stdout);
}

static int
await_some(struct waiting *w, char **ids, int n)
{
	char left[FORMAT_MAX];
	mono_t now = mono_now();
	struct command c = {0};
	redisReply *r = NULL;

	int64_t us = mono_is_never(w->until)	? USEC_INFINITY :
		     mono_before(now, w->until) ? mono_since(w->until, now) :
						  0;
	command_add(&c, "AWAIT");
	command_add(&c, w->any ? "ANY" : "ALL");
	command_add(&c, format_duration(left, us));
	for (int i = 0; i < n; i++)
		command_add(&c, ids[i]);
	int status = ctl_call(w->ctl, &c, &r);
	if (!status)
		take_jobs(w, r);
	freeReplyObject(r);
	return status;
}

static int
judge(const struct waiting *w, int asked)
{
	int missing = w->any ? w->finished == 0 : asked - w->finished;

	if (missing > 0 && w->any)
		ctl_warn("none of %d jobs is finished", asked);
	else if (missing > 0)
		ctl_warn("%d of %d jobs are not finished", missing, asked);
	if (missing > 0)
		return STATUS_LATER;
	if (w->failed == 0)
		return STATUS_OK;
	ctl_warn("%d of %d finished jobs failed or were cancelled", w->failed, w->finished);
	return STATUS_FAILED;
}

int
verb_await(struct ctl *ctl, const struct args *args)
{
	struct waiting w = {.ctl = ctl, .any = args->values[OPT_ANY], .until = MONO_NEVER};
	int n = distinct(args->words, args->count), status = STATUS_OK;
	const char *wait = args->values[OPT_WAIT];
	int64_t us = USEC_INFINITY;

	if (w.any && n > IDS_MAX)
		return args_usage(verb_find("await"), "--any takes at most %d jobs", IDS_MAX);
	if (wait && parse_duration(wait, strlen(wait), &us) == 0)
		w.until = mono_add(mono_now(), us);
	for (int i = 0; i < n && !status; i += IDS_MAX)
		status = await_some(&w, args->words + i, n - i < IDS_MAX ? n - i : IDS_MAX);
	return status ? status : judge(&w, n);
}
