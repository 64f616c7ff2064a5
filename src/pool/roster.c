/* SPDX-License-Identifier: MIT */
/* roster - the slots of a pool: how many there are, and which of them it wants. */
#include "base/mem.h"
#include "pool/worker.h"

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
