/* SPDX-License-Identifier: MIT */
#include "core/job.h"

#include "base/mem.h"
#include "base/slab.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const state_names[JOB_STATES] = {
	[JOB_NEW] = "new",   [JOB_QUEUED] = "queued", [JOB_RUNNING] = "running",
	[JOB_DONE] = "done", [JOB_FAILED] = "failed", [JOB_CANCELLED] = "cancelled",
};

static const char *const reason_names[JOB_REASONS] = {
	[REASON_ERROR] = "error",	[REASON_CRASHED] = "crashed",
	[REASON_TIMEOUT] = "timeout",	[REASON_REQUEST] = "request",
	[REASON_DOWN] = "down",		[REASON_DRAINING] = "draining",
	[REASON_STOPPING] = "stopping", [REASON_RELOAD] = "reload",
};

/* Where a job may go from each state: bits. */
static const uint8_t moves[JOB_STATES] = {
	[JOB_NEW] = 1 << JOB_QUEUED,
	[JOB_QUEUED] = 1 << JOB_RUNNING | 1 << JOB_CANCELLED,
	[JOB_RUNNING] = 1 << JOB_QUEUED | 1 << JOB_DONE | 1 << JOB_FAILED | 1 << JOB_CANCELLED,
};

static size_t
job_size(size_t payload_len)
{
	return sizeof(struct job) + payload_len;
}

struct job *
job_new(uint64_t id, void *owner, uid_t uid, const char *payload, size_t len,
	struct job_opts *take_opts)
{
	struct job *j = slab_alloc(job_size(len));

	if (!j)
		return NULL;
	*j = (struct job){
		.id = id,
		.owner = owner,
		.uid = uid,
		.opts = take_opts,
		.payload_len = (uint32_t)len,
		.state = JOB_NEW,
	};
	list_init(&j->link);
	if (len)
		memcpy(j->payload, payload, len);
	return j;
}

/* What was said beside the text; mostly nothing. */
static void
run_drop_rest(struct job_run *run)
{
	if (!run->last_stderr && !run->news)
		return;
	free(run->last_stderr);
	news_free(run->news);
	run->last_stderr = NULL;
	run->news = NULL;
}

void
job_run_free(struct job_run *run)
{
	assert(!timer_is_set(&run->timer));
	if (run->text != run->small)
		slab_free(run->text, run->text_len);
	run_drop_rest(run);
	slab_free(run, sizeof(*run));
}

void
job_free(struct job *j)
{
	assert(!j->waiters && !list_linked(&j->link));
	if (j->run)
		job_run_free(j->run);
	if (j->opts)
		free(j->opts);
	slab_free(j, job_size(j->payload_len));
}

struct job_opts *
job_opts_new(const char *key, size_t key_len)
{
	struct job_opts *o = malloc(sizeof(*o) + key_len);

	if (!o)
		return NULL;
	*o = (struct job_opts){.timeout_us = -1, .keep_us = -1, .key_len = key_len};
	if (key_len)
		memcpy(o->key, key, key_len);
	return o;
}

void
job_move(struct job *j, enum job_state to, enum job_reason reason)
{
	assert(moves[j->state] >> to & 1);
	j->state = (uint8_t)to;
	j->reason = (uint8_t)reason;
}

/* Field by field, since a large struct is zeroed by an instruction that takes long to start. */
static struct job_run *
run_new(struct job *j)
{
	struct job_run *run = mem_slab(sizeof(*run));

	run->started = MONO_NEVER;
	run->ended = MONO_NEVER;
	run->worker = 0;
	run->pid = 0;
	run->text = run->small;
	run->text_len = 0;
	run->last_stderr = NULL;
	run->news = NULL;
	run->timer = (struct timer){.on_due = NULL};
	run->job = j;
	return run;
}

struct job_run *
job_need_run(struct job *j)
{
	if (!j->run)
		j->run = run_new(j);
	return j->run;
}

void
job_add_waiter(struct job *j, struct job_waiter *w)
{
	w->next = j->waiters;
	w->at = &j->waiters;
	if (w->next)
		w->next->at = &w->next;
	j->waiters = w;
}

void
job_drop_waiter(struct job_waiter *w)
{
	if (!w->at)
		return;
	*w->at = w->next;
	if (w->next)
		w->next->at = w->at;
	w->next = NULL;
	w->at = NULL;
}

bool
job_is_unwanted(const struct job *j)
{
	for (const struct job_waiter *w = j->waiters; j->attached && w; w = w->next)
		if (w->taker && w->taker->full && w->taker->next != w)
			return true;
	return false;
}

/* It has none yet. False: there is no memory for it. */
static bool
run_set_text(struct job_run *run, const char *text, size_t len)
{
	char *memory = len <= sizeof(run->small) ? run->small : slab_alloc(len);

	if (!memory)
		return false;
	run->text = memory;
	run->text_len = len;
	if (len)
		memcpy(memory, text, len);
	return true;
}

void
job_decide(struct job *j, enum job_state verdict, enum job_reason reason, const char *text,
	   size_t len)
{
	static const char no_memory[] = "out of memory for the result";
	struct job_run *run = job_need_run(j);

	assert(!j->decided && !job_is_over(j) && !run->text_len);
	j->decided = true;
	j->verdict = (uint8_t)verdict;
	j->reason = (uint8_t)reason;
	if (!run_set_text(run, text, len)) {
		j->verdict = JOB_FAILED;
		j->reason = REASON_ERROR;
		run_set_text(run, no_memory, sizeof(no_memory) - 1);
	}
}

struct job_run *
job_take_run(struct job *j)
{
	struct job_run *run = j->run, *copy;

	if (j->attached && !j->waiters) {
		run_drop_rest(run);
		j->run = NULL;
		return run;
	}
	copy = run_new(NULL);
	if (run_set_text(copy, run->text, run->text_len))
		return copy;
	job_run_free(copy);
	return NULL;
}

size_t
job_running_bytes(const struct job *j)
{
	return j->payload_len + (j->run && j->run->news ? j->run->news->bytes : 0);
}

size_t
job_bytes(const struct job *j)
{
	return job_running_bytes(j) + (j->run ? j->run->text_len : 0);
}

struct news *
job_need_news(struct job *j)
{
	struct job_run *run = job_need_run(j);

	if (!run->news)
		run->news = news_new();
	return run->news;
}

void
job_drop_news(struct job *j)
{
	if (!j->run)
		return;
	news_free(j->run->news);
	j->run->news = NULL;
}

const char *
job_state_name(enum job_state s)
{
	return state_names[s];
}

const char *
job_reason_name(enum job_reason r)
{
	return reason_names[r];
}

static int
name_parse(const char *const *names, int n, const char *s, size_t len)
{
	for (int i = 0; i < n; i++)
		if (names[i] && strlen(names[i]) == len && !strncasecmp(names[i], s, len))
			return i;
	return -EINVAL;
}

int
job_state_parse(const char *s, size_t len, enum job_state *ret)
{
	int i = name_parse(state_names, JOB_STATES, s, len);

	if (i <= JOB_NEW)
		return -EINVAL;
	*ret = (enum job_state)i;
	return 0;
}

int
job_reason_parse(const char *s, size_t len, enum job_reason *ret)
{
	int i = name_parse(reason_names, JOB_REASONS, s, len);

	if (i < 0)
		return i;
	*ret = (enum job_reason)i;
	return 0;
}
