/* SPDX-License-Identifier: MIT */
/*
 * The pump: the one place where work moves. It takes the news that the loop has
 * left (workers' first, since their last words may decide jobs), settles the
 * jobs whose end is recorded, gives queued jobs to workers, and fills empty
 * slots as fast as the throttle lets it.
 */
#include "pool/pump.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define SPAWNS_A_TURN 8 /* a spawn costs about half a millisecond: others want the loop too */
#define FAST_GRACE_US USEC_PER_SEC

/* ---- jobs to workers ---- */

/* A worker that is given several jobs in a row. */
struct row {
	struct worker *worker;
	unsigned length, left;
};

/* A stint; but one of the jobs may be long after all, so not more than twice the worker's
 * part of what is queued. */
static unsigned
row_length(const struct pool *p)
{
	uint64_t most = p->up ? 2 * (p->queue.count - p->queue.passed) / p->up : 0;
	unsigned length = most < p->stint ? (unsigned)most : p->stint;

	return length ? length : 1;
}

/* The least loaded worker, among equals the one used last, so that spares go idle. */
static struct worker *
pick_worker(struct pool *p)
{
	unsigned n = p->lowest;

	while (n < p->loads && list_empty(&p->by_load[n]))
		n++;
	p->lowest = n;
	return n < p->loads ? container_of(p->by_load[n].next, struct worker, load) : NULL;
}

static struct worker *
next_worker(struct pool *p, struct row *r)
{
	if (!r->left || !r->worker->load_room) {
		r->worker = pick_worker(p);
		r->left = r->length;
	}
	r->left--;
	return r->worker;
}

/* Nothing marks which answer of a filter belongs to which line, nor of a line
 * worker to which job: one that speaks without having been asked is ended before
 * it can answer the wrong job. (A line worker may have had something to log.) */
static bool
speaks_unasked(struct worker *w)
{
	if (w->count || w->conf->protocol == PROTOCOL_FRAME || w->conf->one_to_one ||
	    worker_is_silent(w))
		return false;
	if (w->conf->protocol == PROTOCOL_FILTER) {
		worker_break(w, mem_strdup("wrote more than one line for a job: a filter prints "
					   "one line for each"));
	} else {
		stream_read(&w->chan);
		worker_read(w);
	}
	if (w->broken)
		worker_shelve(w);
	return !w->load_room; /* broken, or the read has shown that it has gone */
}

/* The queue's head; jobs whose results nobody takes are passed over. */
static struct job *
next_job(struct pool *p)
{
	struct job *j;

	while ((j = queue_pop(&p->queue)) && job_is_unwanted(j)) {
		queue_push(&p->queue, j);
		queue_park(&p->queue, j);
	}
	return j;
}

/* Since a reload a worker may speak another protocol than j was accepted for. An old
 * one that cannot carry it makes room for a new one; where that cannot either, nobody
 * ever will. */
static bool
is_carried(struct pool *p, struct worker *w, struct job *j)
{
	const char *why =
		codec_payload_fits((enum codec_level)w->conf->protocol, j->payload, j->payload_len);
	char *text;

	if (!why)
		return true;
	queue_push_front(&p->queue, j);
	if (w->conf->protocol != p->conf->protocol) {
		worker_retire(w, true);
		return false;
	}
	text = mem_printf("a reload has changed the pool's protocol: %s", why);
	pool_decide(j, JOB_CANCELLED, REASON_RELOAD, text);
	free(text);
	return false;
}

static void
dispatch(struct pool *p, mono_t now)
{
	struct row row = {.length = row_length(p)};
	struct worker *w;

	if (p->paused || pool_mode(p) == POOLS_STOPPING)
		return;
	while (p->queue.count && (w = next_worker(p, &row))) {
		struct job *j;

		if (speaks_unasked(w))
			continue;
		j = next_job(p);
		if (!j)
			return;
		if (p->mixed && !is_carried(p, w, j))
			continue;
		job_move(j, JOB_RUNNING, REASON_NONE);
		j->attempt++;
		p->running++;
		p->running_bytes += job_running_bytes(j);
		timing_add(&p->stats.wait, mono_since(now, j->queued), now);
		worker_give(w, j, now);
		tell_job(j);
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
	if (r < 0) {
		life_failed_start(p, w, -r, mem_printf("cannot be spawned: %s", strerror(-r)), now);
		tell_worker(w, PHASE_DOWN, p->last_error);
	}
	return r == 0;
}

/* Has one that was started after the last failure come up? Being there is not
 * enough where READY is waited for. */
static bool
tried_is_up(const struct pool *p)
{
	for (unsigned i = 0; i < p->slots; i++) {
		const struct worker *w = p->workers[i];

		if (w->state == SLOT_UP && !mono_before(w->spawned, p->throttle.last_fail))
			return true;
	}
	return false;
}

/* When empty slots are to be looked at again, where no news comes before. Without a
 * throttle that holds, what is empty now could not be spawned: it is tried at once. */
static mono_t
fill_again(const struct pool *p, mono_t now)
{
	const struct throttle *t = &p->throttle;
	bool waits = t->trying && !mono_before(now, t->next_try); /* for the one tried to be up */

	if (!throttle_holds(t))
		return list_empty(&p->down) ? MONO_NEVER : now;
	return waits ? MONO_NEVER : t->next_try;
}

static void
fill_slots(struct pool *p, mono_t now)
{
	struct timers *ts = loop_timers(p->pools->loop);
	unsigned spawned = 0;

	if (pool_mode(p) == POOLS_STOPPING)
		return;
	if (throttle_holds(&p->throttle) && tried_is_up(p) && throttle_survived(&p->throttle, now))
		life_recovered(p);
	list_foreach(it, next, &p->down) {
		if (spawned == SPAWNS_A_TURN) {
			timer_set(ts, &p->timer, now);
			return;
		}
		spawned += fill_slot(p, container_of(it, struct worker, load), now);
	}
	timer_set(ts, &p->timer, fill_again(p, now));
}

/* ---- turning jobs away ---- */

/* End queued jobs: all, or only those that a connection waits for. */
static void
turn_away(struct pool *p, bool all, enum job_reason reason, const char *text)
{
	queue_unpark_all(&p->queue);
	list_foreach(it, next, &p->queue.jobs) {
		struct job *j = container_of(it, struct job, link);

		if (all || j->attached)
			pool_decide(j, JOB_CANCELLED, reason, text);
	}
}

void
pool_clear(struct pool *p)
{
	turn_away(p, true, REASON_REQUEST, NULL);
}

static void
check_down(struct pool *p)
{
	bool down = pool_is_down(p);
	char *why;

	if (down && !p->was_down) {
		why = pool_trouble(p);
		turn_away(p, false, REASON_DOWN, why);
		free(why);
	}
	p->was_down = down;
}

/* Why jobs of p are not done any more. */
static enum job_reason
stop_reason(const struct pool *p, const char **ret_text)
{
	if (p->mode != POOLS_OPEN) {
		*ret_text = "the pool was taken out of the configuration";
		return REASON_RELOAD;
	}
	*ret_text = "preforkd is stopping";
	return REASON_STOPPING;
}

static void
check_drain(struct pool *p)
{
	enum job_reason reason;
	const char *text;

	if (pool_mode(p) != POOLS_DRAINING || p->was_draining)
		return;
	p->was_draining = true;
	reason = stop_reason(p, &text);
	if (reason == REASON_RELOAD)
		turn_away(p, false, reason, text);
	else
		turn_away(p, false, REASON_DRAINING, NULL);
}

static void
stop_worker(struct worker *w, bool fast, mono_t now)
{
	const char *text;
	enum job_reason reason = stop_reason(w->pool, &text);

	for (unsigned i = 0; i < w->count; i++) {
		struct job *j = worker_job(w, i);

		if (j && !j->decided)
			pool_decide(j, JOB_CANCELLED, reason, text);
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
	enum job_reason reason;
	const char *text;

	if (pool_mode(p) != POOLS_STOPPING || (p->was_stopping && (p->was_fast || !fast)))
		return;
	p->was_stopping = true;
	p->was_fast = fast;
	timer_clear(loop_timers(p->pools->loop), &p->timer);
	reason = stop_reason(p, &text);
	turn_away(p, true, reason, text);
	if (p->mode != POOLS_OPEN)
		p->wanted = 0;
	for (unsigned i = 0; i < p->slots; i++)
		stop_worker(p->workers[i], fast, now);
}

void
pool_pump(struct pool *p, mono_t now)
{
	life_news(p, now);
	check_drain(p);
	check_stop(p, now);
	settle_jobs(p, now);
	restart_turn(p, now);
	fill_slots(p, now);
	dispatch(p, now);
	check_down(p);
	settle_jobs(p, now);
	timing_count(&p->stats.wait, now);
	timing_count(&p->stats.run, now);
	adopt_turn(p);
	tell_pool(p, NULL);
}
