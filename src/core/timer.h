/* SPDX-License-Identifier: MIT */
/*
 * timer - deadlines, under a clock that is handed in.
 *
 * Floor 2. A timer is part of the object that waits; that object's owner clears
 * it before the object goes. The daemon has one struct timers, and the loop
 * sleeps until the earliest one. on_due records and wakes; it may set and clear
 * timers, its own too.
 */
#pragma once

#include "base/heap.h"
#include "base/mono.h"

struct timer {
	struct heap_node node;
	void (*on_due)(struct timer *t, mono_t now); /* NULL: the turn that follows looks */
};

struct timers {
	struct heap heap;
	int64_t soonest; /* µs; while timers expire: what is set sooner waits till then */
};

void timers_free(struct timers *ts);

/* Set (or move) t; MONO_NEVER clears it. */
void timer_set(struct timers *ts, struct timer *t, mono_t at);
static inline void timer_clear(struct timers *ts, struct timer *t);

/* Call what is due at now, earliest first; each once: what on_due sets to a time
 * that has come already is for the next call. */
void timers_expire(struct timers *ts, mono_t now);

/* The earliest deadline, MONO_NEVER without one. */
mono_t timers_next(const struct timers *ts);

static inline bool
timer_is_set(const struct timer *t)
{
	return t->node.place != 0;
}

static inline mono_t
timer_at(const struct timer *t)
{
	return !t->node.place ? MONO_NEVER : (mono_t){t->node.key};
}

static inline void
timer_clear(struct timers *ts, struct timer *t)
{
	if (timer_is_set(t))
		heap_remove(&ts->heap, &t->node);
}
