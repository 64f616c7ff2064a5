/* SPDX-License-Identifier: MIT */
/*
 * adopt - another configuration for pools that are at work: those that are new, those
 * that go, those that change; and whether what was started for it is any good.
 */
#include "base/log.h"
#include "base/mem.h"
#include "pool/pump.h"

#include <stdlib.h>
#include <string.h>

/* ---- a pool that stays ---- */

/* Of workers that are still to be started; or have been, since an earlier reload that
 * has not got it either. */
static void
need_proof(struct pool *p)
{
	if (!p->unproven) {
		p->unproven_past = p->generation;
		p->unproven_since = loop_now(p->pools->loop);
	}
	p->unproven = true;
}

/* It was taken out, and is there again before it was gone. */
static void
take_back(struct pool *p)
{
	p->mode = POOLS_OPEN;
	p->was_draining = p->was_stopping = p->was_fast = false;
	p->pools->leaving--;
	timer_clear(loop_timers(p->pools->loop), &p->leave);
	need_proof(p);
	pool_scale(p, p->conf->workers);
}

/* True: some of its workers, or those that it cannot start, are not as they are to be. */
static bool
adopt_workers(struct pool *p, const struct conf_pool *was)
{
	bool other = throttle_holds(&p->throttle) && !conf_pool_same_worker(was, p->conf);

	pool_reserve_loads(p);
	for (unsigned i = 0; i < p->slots; i++)
		other |= !worker_adopt(p->workers[i]);
	return other;
}

/* SCALE's number stays where the configuration's has not changed. */
static void
adopt_number(struct pool *p, const struct conf_pool *was)
{
	unsigned wanted = p->wanted;

	if (p->conf->workers == was->workers)
		return;
	pool_scale(p, p->conf->workers);
	if (p->wanted > wanted)
		need_proof(p);
}

static void
pool_adopt(struct pool *p, const struct conf_pool *conf, struct adoption *a)
{
	const struct conf_pool *was = p->conf;

	p->conf = conf;
	p->mixed |= was->protocol != conf->protocol;
	if (adopt_workers(p, was)) {
		a->restarted++;
		need_proof(p);
		pool_renew(p);
	}
	if (p->mode != POOLS_OPEN)
		take_back(p);
	else
		adopt_number(p, was);
	pool_wake(p);
}

/* ---- a pool that goes ---- */

static void
pool_leave(struct pool *p, int64_t within_us, mono_t now)
{
	struct log_about about = {.pool = p->conf->name};

	if (p->mode != POOLS_OPEN)
		return;
	log_about(&about, LOG_NOTICE, "taken out: %llu running and %llu queued jobs are finished",
		  (unsigned long long)p->running, (unsigned long long)p->queue.count);
	p->mode = POOLS_DRAINING;
	p->pools->leaving++;
	timer_set(loop_timers(p->pools->loop), &p->leave, mono_add(now, within_us));
	pool_wake(p);
}

static void
leave_end(struct pool *p)
{
	struct log_about about = {.pool = p->conf->name};

	if (p->running || p->queue.count)
		log_about(&about, LOG_WARNING,
			  "taken out: %llu running and %llu queued jobs are cancelled",
			  (unsigned long long)p->running, (unsigned long long)p->queue.count);
	timer_clear(loop_timers(p->pools->loop), &p->leave);
	p->mode = POOLS_STOPPING;
	pool_wake(p);
}

void
adopt_on_leave_due(struct timer *t, mono_t now)
{
	(void)now;
	leave_end(container_of(t, struct pool, leave));
}

/* Do all workers speak what jobs are accepted for? */
static bool
is_of_one_tongue(const struct pool *p)
{
	for (unsigned i = 0; i < p->slots; i++)
		if (p->workers[i]->conf->protocol != p->conf->protocol)
			return false;
	return true;
}

/* Of a pool that goes those who wait have been answered when it has begun to drain. */
void
adopt_turn(struct pool *p)
{
	if (p->mixed && !p->queue.count && !p->running && is_of_one_tongue(p))
		p->mixed = false;
	if (p->mode == POOLS_DRAINING && p->was_draining && pool_is_finished(p) &&
	    list_empty(&p->decided))
		leave_end(p);
	if (p->mode == POOLS_STOPPING && !pool_leaving(p, 0))
		throttle_reset(&p->throttle); /* results may keep it: it wants no worker */
}

static bool
is_spent(const struct pool *p)
{
	if (p->mode != POOLS_STOPPING || !p->was_stopping || p->running || p->queue.count ||
	    p->finished_count || !list_empty(&p->decided) || !list_empty(&p->overdue))
		return false;
	return !pool_leaving(p, 0);
}

struct pool *
pools_spent(const struct pools *ps)
{
	for (size_t i = 0; ps->leaving && i < ps->count; i++)
		if (is_spent(ps->v[i]))
			return ps->v[i];
	return NULL;
}

void
pools_remove(struct pools *ps, struct pool *p)
{
	struct log_about about = {.pool = p->conf->name};
	size_t i = 0;

	log_about(&about, LOG_INFO, "gone");
	while (ps->v[i] != p)
		i++;
	ps->count--;
	memmove(&ps->v[i], &ps->v[i + 1], (ps->count - i) * sizeof(*ps->v));
	ps->leaving--;
	ps->outdated = true;
	ps->found = NULL;
	pool_free(p);
}

/* ---- all of them ---- */

/* The lowest number that no pool has: tables by it stay as small as they can. */
static unsigned
free_place(struct pools *ps, struct pool *const *more, size_t n)
{
	bool *taken = mem_array(ps->places + 1, sizeof(*taken));
	unsigned place = 0;

	for (size_t i = 0; i < ps->count; i++)
		taken[ps->v[i]->place] = true;
	for (size_t i = 0; i < n; i++)
		taken[more[i]->place] = true;
	while (taken[place])
		place++;
	free(taken);
	if (place == ps->places)
		ps->places++;
	return place;
}

static bool
is_in(const struct conf_pool *p, const struct conf *conf)
{
	return p >= conf->pools && p < conf->pools + conf->n_pools;
}

/* In the order of the configuration, and those that go behind the others. */
struct adoption
pools_adopt(struct pools *ps, const struct conf *conf, mono_t now)
{
	struct pool **v = mem_array(conf->n_pools + ps->count, sizeof(struct pool *));
	struct adoption a = {0};
	size_t n = 0;

	for (size_t i = 0; i < conf->n_pools; i++) {
		const struct conf_pool *c = &conf->pools[i];
		struct pool *p = pools_find(ps, c->name, strlen(c->name));

		if (p) {
			pool_adopt(p, c, &a);
		} else {
			p = pool_new(ps, free_place(ps, v, n), c);
			need_proof(p);
			a.added++;
		}
		v[n++] = p;
	}
	for (size_t i = 0; i < ps->count; i++) {
		if (is_in(ps->v[i]->conf, conf))
			continue;
		a.removed += ps->v[i]->mode == POOLS_OPEN;
		pool_leave(ps->v[i], conf->drain_us, now);
		v[n++] = ps->v[i];
	}
	free(ps->v);
	ps->v = v;
	ps->count = n;
	ps->outdated = true;
	return a;
}

static bool
pool_uses(const struct pool *p, const struct conf *conf)
{
	if (is_in(p->conf, conf))
		return true;
	for (unsigned i = 0; i < p->slots; i++)
		if (is_in(p->workers[i]->conf, conf))
			return true;
	return false;
}

bool
pools_use(const struct pools *ps, const struct conf *conf)
{
	for (size_t i = 0; i < ps->count; i++)
		if (pool_uses(ps->v[i], conf))
			return true;
	return false;
}

/* ---- proof ---- */

/* Is it good, no good, or when is it to be asked again? Those from before count only in
 * that others cannot be started in their place: before they have finished their jobs, or
 * where not even SIGKILL ends them. Their end itself has limits of its own. */
static enum pool_proof
worker_proof(const struct worker *w, mono_t *ret_next, mono_t now)
{
	const struct pool *p = w->pool;
	mono_t at;

	if (w->state == SLOT_DOWN)
		return PROOF_AWAITED;
	if (w->generation <= p->unproven_past || w->conf != p->conf)
		return w->state == SLOT_CLOSING || w->state == SLOT_TERM ? PROOF_AWAITED :
									   PROOF_HELD_UP;
	if (w->blame)
		return PROOF_FAILED;
	if (!worker_is_up(w))
		return PROOF_AWAITED;
	at = restart_proven_at(w);
	if (!mono_before(now, at))
		return PROOF_GIVEN;
	if (mono_before(at, *ret_next))
		*ret_next = at;
	return PROOF_AWAITED;
}

enum pool_proof
pool_proof(const struct pool *p, mono_t *ret_next, mono_t now)
{
	enum pool_proof proof = PROOF_HELD_UP;

	*ret_next = MONO_NEVER;
	if (!p->unproven || pool_mode(p) != POOLS_OPEN)
		return PROOF_GIVEN;
	if (throttle_holds(&p->throttle))
		return PROOF_FAILED;
	for (unsigned i = 0; i < p->wanted; i++) {
		enum pool_proof one = worker_proof(p->workers[i], ret_next, now);

		if (one == PROOF_GIVEN || one == PROOF_FAILED)
			return one;
		if (one == PROOF_AWAITED)
			proof = one;
	}
	/* All are there, and none is to be replaced: what was changed was changed back. */
	return proof == PROOF_HELD_UP && !p->restarting ? PROOF_GIVEN : proof;
}
