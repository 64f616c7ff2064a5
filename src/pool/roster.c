/* SPDX-License-Identifier: MIT */
/* roster - the slots of a pool: how many there are, and which of them it wants. */
#include "base/mem.h"
#include "pool/pump.h"

#include <stdlib.h>

/* Have slots 0 … n-1. They are never freed before the pool is: a worker stays where
 * it is, whoever points at it. */
static void
roster_grow(struct pool *p, unsigned n)
{
	struct worker **workers;

	if (n <= p->slots)
		return;
	workers = reallocarray(p->workers, n, sizeof(struct worker *));
	if (!workers)
		mem_out();
	p->workers = workers;
	for (; p->slots < n; p->slots++) {
		struct worker *w = mem_new(sizeof(*w));

		p->workers[p->slots] = w;
		worker_init(w, p, p->slots);
		w->failed = throttle_holds(&p->throttle);
	}
}

void
roster_init(struct pool *p)
{
	p->wanted = p->conf->workers;
	roster_grow(p, p->wanted);
}

void
roster_fini(struct pool *p)
{
	for (unsigned i = 0; i < p->slots; i++) {
		worker_fini(p->workers[i]);
		free(p->workers[i]);
	}
	free(p->workers);
}

/* ---- more and fewer of them ---- */

static void
roster_dismiss(struct worker *w)
{
	if (w->state == SLOT_DOWN) {
		worker_shelve(w);
	} else {
		if (w->failed)
			throttle_withdraw(&w->pool->throttle);
		if (!slot_is_stopping(w->state))
			worker_retire(w, true);
	}
	w->failed = false;
	list_remove(&w->restart);
}

/* One that is being ended already is filled again when it is down. */
static void
roster_recall(struct worker *w)
{
	w->failed = throttle_holds(&w->pool->throttle);
	if (w->state == SLOT_DOWN)
		worker_shelve(w);
	else if (!slot_is_stopping(w->state))
		worker_retire(w, false);
}

/* Is there a slot whose workers cannot start? */
static bool
any_failed(const struct pool *p)
{
	for (unsigned i = 0; i < p->wanted; i++)
		if (p->workers[i]->failed)
			return true;
	return false;
}

void
pool_scale(struct pool *p, unsigned n)
{
	unsigned was = p->wanted;

	p->wanted = n;
	for (unsigned i = n; i < was; i++)
		roster_dismiss(p->workers[i]);
	for (unsigned i = was; i < n && i < p->slots; i++)
		roster_recall(p->workers[i]);
	roster_grow(p, n);
	if (throttle_holds(&p->throttle) && !any_failed(p))
		life_forgive(p); /* those that could not start are not wanted any more */
	pool_wake(p);
}

unsigned
pool_leaving(const struct pool *p, unsigned n)
{
	unsigned leaving = 0;

	for (unsigned i = n; i < p->slots; i++)
		leaving += p->workers[i]->state != SLOT_DOWN;
	return leaving;
}
