/* SPDX-License-Identifier: MIT */
#include "core/timer.h"

#include "base/list.h"
#include "base/mem.h"

void
timers_free(struct timers *ts)
{
	heap_free(&ts->heap);
}

void
timer_set(struct timers *ts, struct timer *t, mono_t at)
{
	if (mono_is_never(at))
		heap_remove(&ts->heap, &t->node);
	else if (heap_set(&ts->heap, &t->node, at.us < ts->soonest ? ts->soonest : at.us) < 0)
		mem_out();
}

void
timers_expire(struct timers *ts, mono_t now)
{
	struct heap_node *n;

	ts->soonest = mono_add(now, 1).us;
	while ((n = heap_min(&ts->heap)) && n->key <= now.us) {
		struct timer *t = container_of(n, struct timer, node);

		heap_remove(&ts->heap, n);
		if (t->on_due)
			t->on_due(t, now);
	}
	ts->soonest = 0;
}

mono_t
timers_next(const struct timers *ts)
{
	const struct heap_node *n = heap_min(&ts->heap);

	return !n ? MONO_NEVER : (mono_t){n->key};
}
