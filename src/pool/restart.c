/* SPDX-License-Identifier: MIT */
/*
 * restart - a pool's workers are replaced while it works on: one after the other,
 * each when it has finished its jobs, and the next one when the new one is some good.
 * A program that cannot be started any more costs one worker, not all. Part of the
 * pump.
 */
#include "base/log.h"
#include "pool/pump.h"

/* A worker that says nothing by itself (no READY, and no job to answer) is taken for
 * good when it is still there after the shortest back-off, or after so long. */
#define PROBATION_MAX_US (10 * USEC_PER_SEC)

mono_t
restart_proven_at(const struct worker *w)
{
	int64_t backoff = w->pool->conf->start.backoff_min_us;

	if (w->ready || w->answers)
		return w->spawned;
	return mono_add(w->spawned, backoff < PROBATION_MAX_US ? backoff : PROBATION_MAX_US);
}

/* Is it one that is to be replaced, and not in hand yet? What has died meanwhile comes
 * back by itself, and anew. */
static bool
is_old(const struct worker *w)
{
	const struct pool *p = w->pool;

	return w->index < p->wanted && w->state != SLOT_DOWN && !list_linked(&w->restart) &&
	       (w->generation <= p->restart_generation || (p->renewing && w->conf != p->conf));
}

struct worker *
restart_next(const struct pool *p)
{
	struct worker *busy = NULL;

	if (!list_empty(&p->in_hand))
		return NULL;
	for (unsigned i = 0; i < p->wanted; i++) {
		struct worker *w = p->workers[i];

		if (!is_old(w))
			continue;
		if (!w->count)
			return w;
		busy = busy ? busy : w;
	}
	return busy;
}

unsigned
pool_restarting(const struct pool *p)
{
	unsigned n = 0;

	for (unsigned i = 0; p->restarting && i < p->wanted; i++)
		n += is_old(p->workers[i]) || list_linked(&p->workers[i]->restart);
	return n;
}

static void
take_in_hand(struct worker *w)
{
	if (!list_linked(&w->restart))
		list_append(&w->pool->in_hand, &w->restart);
	if (w->state != SLOT_DOWN && !slot_is_stopping(w->state))
		worker_retire(w, true);
}

/* Who restarts a pool whose workers cannot start has repaired them: they are tried at
 * once, before one that is up is given up for them. */
static void
restart_begin(struct pool *p)
{
	p->restarting = true;
	if (throttle_holds(&p->throttle)) {
		life_forgive(p);
		list_foreach(it, next, &p->down)
			take_in_hand(container_of(it, struct worker, load));
	}
	pool_wake(p);
}

void
pool_restart(struct pool *p)
{
	struct log_about about = {.pool = p->conf->name};

	restart_begin(p);
	p->restart_generation = p->generation;
	log_about(&about, LOG_INFO, "restart of %u workers begins", pool_restarting(p));
}

void
pool_renew(struct pool *p)
{
	struct log_about about = {.pool = p->conf->name};

	p->renewing = true;
	restart_begin(p);
	for (unsigned i = 0; i < p->slots; i++) {
		struct worker *w = p->workers[i];

		if ((w->state == SLOT_SPAWNED || w->state == SLOT_STARTING) && w->conf != p->conf)
			worker_retire(w, true); /* it is of no use to anybody yet */
	}
	log_about(&about, LOG_INFO, "changed: restart of %u workers begins", pool_restarting(p));
}

void
pool_restart_slot(struct pool *p, unsigned slot)
{
	restart_begin(p);
	take_in_hand(p->workers[slot]);
}

static void
restart_end(struct pool *p, const char *event)
{
	p->restarting = p->renewing = false;
	p->restart_generation = 0;
	timer_clear(loop_timers(p->pools->loop), &p->probation);
	tell_pool(p, event);
}

/* The others stay as they are, and so do those that have not been told yet. */
static void
restart_abandon(struct pool *p)
{
	struct log_about about = {.pool = p->conf->name};
	unsigned left = pool_restarting(p);

	about.event = LOG_EVENT_RESTART_FAILED;
	if (throttle_holds(&p->throttle))
		log_about(&about, LOG_ERR,
			  "restart abandoned, a new worker %s: %u of %u are not replaced; "
			  "when the program is repaired: RESTART %s",
			  p->last_error, left, p->wanted, p->conf->name);
	else if (p->mode == POOLS_OPEN)
		log_about(&about, LOG_NOTICE,
			  "restart abandoned, preforkd is about to end: %u of %u are not replaced",
			  left, p->wanted);
	list_foreach(it, next, &p->in_hand) {
		struct worker *w = container_of(it, struct worker, restart);

		list_remove(it);
		if (w->retiring && !slot_is_stopping(w->state))
			worker_retire(w, false);
	}
	restart_end(p, "restart-failed");
}

/* Let go of those that are replaced. When are the next of them proven? */
static mono_t
let_go(struct pool *p, mono_t now)
{
	mono_t first = MONO_NEVER;

	list_foreach(it, next, &p->in_hand) {
		struct worker *w = container_of(it, struct worker, restart);
		mono_t at = worker_is_up(w) ? restart_proven_at(w) : MONO_NEVER;

		if (!mono_before(now, at))
			list_remove(it);
		else if (mono_before(at, first))
			first = at;
	}
	return first;
}

void
restart_turn(struct pool *p, mono_t now)
{
	struct log_about about = {.pool = p->conf->name};
	struct worker *w;
	mono_t wake;

	if (!p->restarting)
		return;
	if (throttle_holds(&p->throttle) || pool_mode(p) != POOLS_OPEN) {
		restart_abandon(p);
		return;
	}
	wake = let_go(p, now);
	w = restart_next(p);
	if (w)
		take_in_hand(w);
	timer_set(loop_timers(p->pools->loop), &p->probation, wake);
	if (!list_empty(&p->in_hand))
		return;
	about.event = LOG_EVENT_RESTARTED;
	log_about(&about, LOG_NOTICE, "restarted");
	restart_end(p, "restarted");
}

mono_t
pool_proven_at(const struct pool *p)
{
	mono_t last = {0};

	for (unsigned i = 0; i < p->wanted; i++) {
		const struct worker *w = p->workers[i];

		if (worker_is_up(w) && mono_before(last, restart_proven_at(w)))
			last = restart_proven_at(w);
	}
	return last;
}
