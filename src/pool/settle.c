/* SPDX-License-Identifier: MIT */
/*
 * settle - jobs whose end is recorded are moved to it: out of their worker's
 * hands, counted, told to those who wait, kept or forgotten. Part of the pump.
 */
#include "base/mem.h"
#include "base/parse.h"
#include "pool/pump.h"

#include <stdio.h>

static void
count_end(struct pool *p, const struct job *j, mono_t now)
{
	static const size_t failed_as[JOB_REASONS] = {
		[REASON_CRASHED] = offsetof(struct stats, crashed),
		[REASON_TIMEOUT] = offsetof(struct stats, timeout),
	};
	struct stats *st = &p->stats;

	switch ((enum job_state)j->state) {
	case JOB_DONE:
		st->done++;
		break;
	case JOB_FAILED:
		st->failed++;
		if (failed_as[j->reason])
			(*(uint64_t *)(void *)((char *)st + failed_as[j->reason]))++;
		break;
	case JOB_CANCELLED:
		st->cancelled++;
		break;
	case JOB_NEW:
	case JOB_QUEUED:
	case JOB_RUNNING:
		break;
	}
	if (!mono_is_never(j->run->started))
		timing_add(&st->run, mono_since(now, j->run->started), now);
}

static void
unkeep(struct pool *p, struct job *j)
{
	p->finished_count--;
	p->finished_bytes -= job_bytes(j);
	pool_forget(j);
}

bool
pool_drop(struct job *j)
{
	if (!job_is_over(j))
		return false;
	unkeep(job_pool(j), j);
	return true;
}

static void
keep(struct pool *p, struct job *j, mono_t now)
{
	int64_t keep_us = job_keep_us(j, p->conf->job.keep_us);

	list_remove(&j->link);
	list_append(&p->finished, &j->link);
	p->finished_count++;
	p->finished_bytes += job_bytes(j);
	j->run->timer.on_due = settle_on_job_due;
	timer_set(loop_timers(p->pools->loop), &j->run->timer, mono_add(now, keep_us));
}

static void
tell_waiters(struct job *j)
{
	struct job_waiter *w;

	while ((w = j->waiters)) {
		job_drop_waiter(w);
		w->on_done(w, j);
	}
}

/* When a job would have been timed out; its timer may be spent already. */
static mono_t
time_limit(const struct pool *p, const struct job *j)
{
	if (mono_is_never(j->run->started))
		return MONO_NEVER;
	return mono_add(j->run->started, job_timeout_us(j, p->conf->job.timeout_us));
}

/* A job is decided otherwise while its worker is still at it. */
static void
take_from_worker(struct pool *p, struct job *j, mono_t now)
{
	struct worker *w = p->workers[j->run->worker];
	bool polite = w->codec.level == CODEC_FRAME && j->reason == REASON_REQUEST;
	mono_t give_up = polite ? mono_add(now, p->conf->job.grace_us) : time_limit(p, j);

	if (slot_is_stopping(w->state)) {
		worker_forget(w, j);
		return;
	}
	worker_disown(w, j, give_up);
	if (polite)
		worker_cancel(w, j);
	else if (!worker_has_jobs(w) || j->reason != REASON_REQUEST)
		worker_term(w, now);
}

/* Those that have failed by a crash or a timeout are told of anyway. */
static void
log_end(const struct pool *p, const struct job *j)
{
	const char *reason = job_reason_name((enum job_reason)j->reason);
	const struct job_run *run = j->run;
	struct log_about about = {
		.pool = p->conf->name,
		.worker = run->pid ? (int)run->worker + 1 : 0,
		.pid = run->pid,
		.job = j->id,
	};
	char took[64] = "";

	if (!mono_is_never(run->started))
		(void)snprintf(took, sizeof(took), ", took %.3f ms",
			       (double)mono_since(run->ended, run->started) / USEC_PER_MSEC);
	log_about(&about, LOG_DEBUG, "job %s%s%s%s", job_state_name((enum job_state)j->state),
		  reason ? ": " : "", reason ? reason : "", took);
}

/* It leaves the list of those decided at the end, for another or for good. */
static void
finish(struct pool *p, struct job *j, mono_t now)
{
	bool was_running = j->state == JOB_RUNNING;

	if (was_running) {
		p->running--;
		p->running_bytes -= job_running_bytes(j);
	}
	if (j->in_flight)
		take_from_worker(p, j, now);
	timer_clear(loop_timers(p->pools->loop), &j->run->timer);
	j->run->ended = now;
	j->decided = false;
	job_move(j, (enum job_state)j->verdict, (enum job_reason)j->reason);
	count_end(p, j, now);
	if (log_wants(LOG_DEBUG))
		log_end(p, j);
	tell_job(j);
	tell_waiters(j);
	if (j->attached)
		pool_forget(j);
	else
		keep(p, j, now);
}

static void
settle_decided(struct pool *p, mono_t now)
{
	struct stats *st = &p->stats;
	uint64_t done = st->done, failed = st->failed;
	struct list *l;

	if (list_empty(&p->decided))
		return;
	while ((l = list_first(&p->decided)))
		finish(p, container_of(l, struct job, link), now);
	rate_add(&st->done_rate, st->done - done, now);
	window_add(&st->done_lately, st->done - done, now);
	window_add(&st->failed_lately, st->failed - failed, now);
}

void
settle_jobs(struct pool *p, mono_t now)
{
	struct list *l;

	settle_decided(p, now);
	if (!list_empty(&p->overdue))
		loop_stir(p->pools->loop);
	while ((l = list_first(&p->overdue)))
		unkeep(p, container_of(l, struct job, link));
	while (p->finished_bytes > p->conf->job.keep_memory && (l = list_first(&p->finished)))
		unkeep(p, container_of(l, struct job, link));
}

/* A job's timer: its attempt's end while it runs, the end of its keeping later. */
void
settle_on_job_due(struct timer *t, mono_t now)
{
	struct job *j = container_of(t, struct job_run, timer)->job;
	struct pool *p = job_pool(j);
	struct worker *w;
	char limit[FORMAT_MAX], text[FORMAT_MAX + 32];

	(void)now;
	if (job_is_over(j)) {
		list_remove(&j->link);
		list_append(&p->overdue, &j->link);
		pool_wake(p);
		return;
	}
	if (j->decided || !j->in_flight)
		return;
	/* An answer that is there already counts, however late this loop is. */
	w = p->workers[j->run->worker];
	stream_read(&w->chan);
	worker_read(w);
	if (w->chan.eof && !w->heard_eof) { /* the loop does not say it again */
		w->ended = w->heard_eof = true;
		worker_note(w);
	}
	if (j->decided || w->broken)
		return;
	format_duration(limit, job_timeout_us(j, p->conf->job.timeout_us));
	(void)snprintf(text, sizeof(text), "took longer than %s", limit);
	pool_decide(j, JOB_FAILED, REASON_TIMEOUT, text);
	mishap_job(w, j, LOG_EVENT_JOB_TIMEOUT,
		   w->answers ? "" :
				", and was its worker's first: is the output buffered? "
				"(stdbuf -oL, flush=True)");
}
