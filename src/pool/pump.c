/* SPDX-License-Identifier: MIT */
/*
 * The pump: the one place where work moves. It takes the news that the loop has
 * left (workers' first, since their last words may decide jobs), settles the
 * jobs whose end is recorded, gives queued jobs to workers, and fills empty
 * slots as fast as the throttle lets it.
 */
#include "base/mem.h"
#include "base/parse.h"
#include "pool/worker.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define SPAWNS_A_TURN 8 /* a spawn costs about half a millisecond: others want the loop too */
#define FAST_GRACE_US USEC_PER_SEC

static struct log_about
about_worker(const struct worker *w)
{
	return (struct log_about){
		.pool = w->pool->conf->name,
		.worker = (int)w->index + 1,
		.pid = w->proc.pid,
	};
}

static void
replace(char **text, const char *with)
{
	free(*text);
	*text = mem_strdup(with);
}

/* ---- jobs that are over ---- */

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
		rate_add(&st->done_rate, now);
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
		histogram_add(&st->run, mono_since(now, j->run->started), now);
}

static void
unkeep(struct pool *p, struct job *j)
{
	p->finished_count--;
	p->finished_bytes -= job_bytes(j);
	pool_forget(j);
}

static void
keep(struct pool *p, struct job *j, mono_t now)
{
	int64_t keep_us = job_keep_us(j, p->conf->job.keep_us);
	struct list *oldest;

	list_append(&p->finished, &j->link);
	p->finished_count++;
	p->finished_bytes += job_bytes(j);
	timer_set(loop_timers(p->pools->loop), &j->timer, mono_add(now, keep_us));
	while (p->finished_bytes > p->conf->job.keep_memory && (oldest = list_first(&p->finished)))
		unkeep(p, container_of(oldest, struct job, link));
}

static void
tell_waiters(struct job *j)
{
	struct job_waiter *w;

	while ((w = j->waiters)) {
		j->waiters = w->next;
		w->next = NULL;
		w->on_done(w, j);
	}
}

/* A job is decided otherwise while its worker is still at it. */
static void
take_from_worker(struct pool *p, struct job *j, mono_t now)
{
	struct worker *w = &p->workers[j->run->worker];
	bool alone = w->count == 1;
	bool polite = w->codec.level == CODEC_FRAME && j->reason == REASON_REQUEST;
	mono_t give_up = polite ? mono_add(now, p->conf->job.grace_us) : timer_at(&j->timer);

	if (slot_is_stopping(w->state)) {
		worker_forget(w, j);
		return;
	}
	worker_disown(w, j, give_up);
	if (polite)
		worker_cancel(w, j);
	else if (alone || j->reason != REASON_REQUEST)
		worker_term(w, now);
}

static void
finish(struct pool *p, struct job *j, mono_t now)
{
	bool was_running = j->state == JOB_RUNNING;

	if (was_running) {
		p->running--;
		p->running_bytes -= j->payload_len;
	}
	if (j->in_flight)
		take_from_worker(p, j, now);
	timer_clear(loop_timers(p->pools->loop), &j->timer);
	j->run->ended = now;
	j->decided = false;
	job_move(j, (enum job_state)j->verdict, (enum job_reason)j->reason);
	count_end(p, j, now);
	if (j->state == JOB_CANCELLED)
		pool_release_key(j);
	tell_waiters(j);
	if (j->attached)
		pool_forget(j);
	else
		keep(p, j, now);
}

static void
settle_jobs(struct pool *p, mono_t now)
{
	struct list *l;

	while ((l = list_first(&p->decided))) {
		list_remove(l);
		finish(p, container_of(l, struct job, link), now);
	}
	while ((l = list_first(&p->overdue)))
		unkeep(p, container_of(l, struct job, link));
}

/* A job's timer: its attempt's end while it runs, the end of its keeping later. */
void
pump_on_job_due(struct timer *t, mono_t now)
{
	struct job *j = container_of(t, struct job, timer);
	struct pool *p = job_pool(j);
	struct worker *w;
	char limit[FORMAT_MAX];

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
	w = &p->workers[j->run->worker];
	stream_read(&w->chan);
	worker_read(w);
	if (j->decided || w->broken)
		return;
	format_duration(limit, job_timeout_us(j, p->conf->job.timeout_us));
	pool_decide(j, JOB_FAILED, REASON_TIMEOUT, mem_printf("took longer than %s", limit));
	if (!w->answers) {
		struct log_about about = about_worker(w);

		about.job = j->id;
		log_about(&about, LOG_WARNING,
			  "no answer to the first job within %s: is its output buffered? "
			  "(stdbuf -oL, flush=True)",
			  limit);
	}
}

/* ---- workers that died ---- */

/* The last words of a worker: answers it gave before it went count. */
static void
hear_out(struct worker *w)
{
	for (int turns = 0; turns < 1000 && w->count && !w->broken; turns++) {
		size_t before = buf_len(&w->chan.in);

		stream_read(&w->chan);
		if (buf_len(&w->chan.in) == before)
			break;
		worker_read(w);
	}
	if (w->count && !w->broken &&
	    codec_cut_short(&w->codec, buf_head(&w->chan.in), buf_len(&w->chan.in)))
		w->broken = mem_strdup(w->codec.error);
	errlog_drain(&w->err);
}

/* How it went, in words. malloc'ed. */
static char *
death_text(const struct worker *w)
{
	char how[96];

	proc_describe(w->proc.status, how, sizeof(how));
	if (w->broken && slot_is_stopping(w->state))
		return mem_strdup(w->broken); /* that is what it was ended for */
	if (w->broken)
		return mem_printf("%s; %s", how, w->broken);
	if (w->ended_early)
		return mem_printf("closed its channel");
	return mem_strdup(how);
}

static void
requeue(struct pool *p, struct job *j)
{
	timer_clear(loop_timers(p->pools->loop), &j->timer);
	p->running--;
	p->running_bytes -= j->payload_len;
	j->attempt--;
	j->run->pid = 0;
	job_move(j, JOB_QUEUED, REASON_NONE);
	queue_push_front(&p->queue, j);
}

static void
charge(struct job *j, const struct worker *w, const char *how)
{
	const char *last = w->err.last;

	pool_decide(j, JOB_FAILED, REASON_CRASHED,
		    last ? mem_printf("worker %s: %s", how, last) : mem_printf("worker %s", how));
	replace(&j->run->last_stderr, last);
}

/* What becomes of the jobs that it had: those it cannot have begun go back to the
 * queue's head, newest first so that the oldest is in front. True when one was
 * charged. */
static bool
settle_flights(struct worker *w, const char *how)
{
	struct pool *p = w->pool;
	bool charged = false;

	for (unsigned i = w->count; i-- > 0;) {
		struct job *j = worker_job(w, i);

		if (!j || j->decided)
			continue;
		if (worker_never_read(w, i) || (p->conf->in_order && i > 0)) {
			requeue(p, j);
		} else {
			charge(j, w, how);
			charged = true;
		}
	}
	worker_disown_all(w);
	return charged;
}

/* Why the pool's workers cannot start, as the pool says it. malloc'ed. */
static char *
start_error(const struct worker *w, const char *how)
{
	char limit[FORMAT_MAX];

	if (buf_len(&w->report_text)) {
		size_t len = buf_len(&w->report_text);

		len -= buf_head(&w->report_text)[len - 1] == '\n';
		return mem_printf("%.*s", (int)len, buf_head(&w->report_text));
	}
	if (w->blame) {
		format_duration(limit, w->pool->conf->start.timeout_us);
		return mem_printf("is not ready within %s", limit);
	}
	if (w->broken)
		return mem_printf("breaks the protocol at start: %s", w->broken);
	if (WIFEXITED(w->proc.status))
		return mem_printf("exits at start (status %d)", WEXITSTATUS(w->proc.status));
	return mem_printf("dies at start (%s)", how);
}

static void
note_failed_start(struct pool *p, struct worker *w, char *take_error, mono_t now)
{
	struct log_about about = about_worker(w);
	bool held = throttle_holds(&p->throttle);

	w->failed = true;
	throttle_failed(&p->throttle, w->spawned, now, p->conf->start.backoff_min_us,
			p->conf->start.backoff_max_us);
	free(p->last_error);
	p->last_error = take_error;
	replace(&p->last_stderr, w->err.last);
	log_about(&about, LOG_WARNING, "worker %s", p->last_error);
	if (!held && throttle_holds(&p->throttle)) {
		about = (struct log_about){.pool = p->conf->name};
		log_about(&about, LOG_ERR, "degraded: %s", p->last_error);
	}
}

static void
recovered(struct pool *p)
{
	struct log_about about = {.pool = p->conf->name};

	if (p->last_error)
		log_about(&about, LOG_NOTICE, "workers start again");
	free(p->last_error);
	free(p->last_stderr);
	p->last_error = p->last_stderr = NULL;
	for (unsigned i = 0; i < p->conf->workers; i++)
		p->workers[i].failed = false;
}

static void
log_death(const struct worker *w, const char *how, bool expected)
{
	struct log_about about = about_worker(w);

	log_about(&about, expected ? LOG_INFO : LOG_WARNING, "worker %s after %llu job%s", how,
		  (unsigned long long)w->answers, w->answers == 1 ? "" : "s");
}

static void
pump_dead(struct worker *w, mono_t now)
{
	struct pool *p = w->pool;
	bool ours; /* it was ended for a reason that is not its start */
	bool charged;
	char *how;

	hear_out(w);
	how = death_text(w);
	charged = settle_flights(w, how);
	ours = slot_is_stopping(w->state) && !w->blame && !w->broken && !w->ended_early;
	w->failed = false;
	if (w->answers || charged || ours)
		log_death(w, how, ours || (!charged && WIFEXITED(w->proc.status)));
	else
		note_failed_start(p, w, start_error(w, how), now);
	free(how);
	worker_bury(w);
}

/* ---- workers with other news ---- */

static void
pump_deadline(struct worker *w, mono_t now)
{
	struct log_about about = about_worker(w);

	if (w->ended && !slot_is_stopping(w->state)) {
		w->ended_early = true;
		worker_kill(w, now);
		return;
	}
	switch (w->state) {
	case SLOT_SPAWNED:
	case SLOT_STARTING:
		w->blame = true;
		worker_term(w, now);
		return;
	case SLOT_UP:
		if (!mono_before(now, worker_patience(w))) {
			worker_term(w, now);
		} else {
			worker_deadline(w, worker_patience(w));
		}
		return;
	case SLOT_CLOSING:
		worker_term(w, now);
		return;
	case SLOT_TERM:
		log_about(&about, LOG_WARNING,
			  "worker still there after SIGTERM and its grace: SIGKILL");
		worker_kill(w, now);
		return;
	case SLOT_KILL:
	case SLOT_DOWN:
		return;
	}
}

static void
pump_broken(struct worker *w, mono_t now)
{
	struct log_about about = about_worker(w);

	log_about(&about, LOG_ERR, "worker %s: killed", w->broken);
	worker_kill(w, now);
}

static void
pump_worker(struct worker *w, mono_t now)
{
	if (w->due) {
		w->due = false;
		pump_deadline(w, now);
	}
	if (w->execed)
		worker_execed(w);
	if (w->ready && w->state == SLOT_STARTING)
		worker_ready(w);
	if (w->answers && throttle_proved(&w->pool->throttle, w->spawned))
		recovered(w->pool);
	if (w->broken && w->state != SLOT_KILL && !w->proc.exited)
		pump_broken(w, now);
	if (w->proc.exited)
		pump_dead(w, now);
	else if (w->ended && !slot_is_stopping(w->state))
		worker_linger(w, now);
}

static void
settle_workers(struct pool *p, mono_t now)
{
	struct list *l;

	while ((l = list_first(&p->changed))) {
		list_remove(l);
		pump_worker(container_of(l, struct worker, changed), now);
	}
}

/* ---- jobs to workers ---- */

/* The least loaded worker, among equals the one used last, so that spares go idle. */
static struct worker *
pick_worker(struct pool *p)
{
	struct list *l = NULL;

	while (p->lowest < p->conf->pipeline && !(l = list_first(&p->by_load[p->lowest])))
		p->lowest++;
	return l ? container_of(l, struct worker, load) : NULL;
}

/* Nothing marks which answer of a filter belongs to which line, nor of a line
 * worker to which job: one that speaks without having been asked is ended before
 * it can answer the wrong job. (A line worker may have had something to log.) */
static bool
speaks_unasked(struct pool *p, struct worker *w)
{
	if (p->conf->protocol == PROTOCOL_FRAME || p->conf->one_to_one || w->count ||
	    worker_is_silent(w))
		return false;
	if (p->conf->protocol == PROTOCOL_FILTER) {
		worker_break(w, mem_strdup("wrote more than one line for a job: a filter prints "
					   "one line for each"));
	} else {
		stream_read(&w->chan);
		worker_read(w);
	}
	if (w->broken)
		worker_shelve(w);
	return w->broken;
}

static void
dispatch(struct pool *p, mono_t now)
{
	struct worker *w;

	if (p->paused || p->pools->mode == POOLS_STOPPING)
		return;
	while (p->queue.count && (w = pick_worker(p))) {
		struct job *j;

		if (speaks_unasked(p, w))
			continue;
		j = queue_pop(&p->queue);
		job_move(j, JOB_RUNNING, REASON_NONE);
		j->attempt++;
		p->running++;
		p->running_bytes += j->payload_len;
		histogram_add(&p->stats.wait, mono_since(now, j->queued), now);
		worker_give(w, j, now);
	}
}

/* ---- processes into slots ---- */

static bool
fill_slot(struct pool *p, struct worker *w, mono_t now)
{
	int r;

	if (w->failed && !throttle_try(&p->throttle, now, p->conf->start.backoff_min_us,
				       p->conf->start.backoff_max_us))
		return false;
	w->spawned = now;
	r = worker_spawn(w, now);
	if (r < 0)
		note_failed_start(p, w, mem_printf("cannot be spawned: %s", strerror(-r)), now);
	return r == 0;
}

static void
fill_slots(struct pool *p, mono_t now)
{
	struct timers *ts = loop_timers(p->pools->loop);
	unsigned spawned = 0;

	if (p->pools->mode == POOLS_STOPPING)
		return;
	if (throttle_survived(&p->throttle, now))
		recovered(p);
	list_foreach(it, next, &p->down) {
		if (spawned == SPAWNS_A_TURN) {
			timer_set(ts, &p->timer, now);
			return;
		}
		spawned += fill_slot(p, container_of(it, struct worker, load), now);
	}
	timer_set(ts, &p->timer, throttle_holds(&p->throttle) ? p->throttle.next_try : MONO_NEVER);
}

/* ---- turning jobs away ---- */

/* End queued jobs: all, or only those that a connection waits for. */
static void
turn_away(struct pool *p, bool all, enum job_reason reason, const char *text)
{
	list_foreach(it, next, &p->queue.jobs) {
		struct job *j = container_of(it, struct job, link);

		if (all || j->attached)
			pool_decide(j, JOB_CANCELLED, reason, mem_strdup(text));
	}
}

static void
check_down(struct pool *p)
{
	bool down = pool_is_down(p);

	if (down && !p->was_down)
		turn_away(p, false, REASON_DOWN, p->last_error);
	p->was_down = down;
}

static void
check_drain(struct pool *p)
{
	if (p->pools->mode == POOLS_OPEN || p->was_draining)
		return;
	p->was_draining = true;
	turn_away(p, false, REASON_DRAINING, NULL);
}

static void
stop_worker(struct worker *w, bool fast, mono_t now)
{
	for (unsigned i = 0; i < w->count; i++) {
		struct job *j = worker_job(w, i);

		if (j && !j->decided)
			pool_decide(j, JOB_CANCELLED, REASON_STOPPING,
				    mem_strdup("preforkd is stopping"));
	}
	if (w->state == SLOT_DOWN || w->state == SLOT_KILL)
		return;
	if (!fast && !w->count) {
		if (!slot_is_stopping(w->state))
			worker_close(w, now);
		return;
	}
	worker_term(w, now);
	if (fast && w->pool->conf->job.grace_us > FAST_GRACE_US)
		worker_deadline(w, mono_add(now, FAST_GRACE_US));
}

static void
check_stop(struct pool *p, mono_t now)
{
	bool fast = p->pools->fast;

	if (p->pools->mode != POOLS_STOPPING || (p->was_stopping && (p->was_fast || !fast)))
		return;
	p->was_stopping = true;
	p->was_fast = fast;
	timer_clear(loop_timers(p->pools->loop), &p->timer);
	turn_away(p, true, REASON_STOPPING, "preforkd is stopping");
	for (unsigned i = 0; i < p->conf->workers; i++)
		stop_worker(&p->workers[i], fast, now);
}

void
pool_pump(struct pool *p, mono_t now)
{
	settle_workers(p, now);
	check_drain(p);
	check_stop(p, now);
	settle_jobs(p, now);
	fill_slots(p, now);
	dispatch(p, now);
	check_down(p);
	settle_jobs(p, now);
}
