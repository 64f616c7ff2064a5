/* SPDX-License-Identifier: MIT */
/*
 * throttle - how fast a pool whose workers die at start may try again.
 *
 * Floor 2. The first failure is tried again at once, the next ones after min,
 * 2 min, 4 min … max. Workers that were started side by side and fail side by
 * side are one failure. While it holds back, one worker at a time is tried; the
 * first answer of a worker that was started after the last failure ends it, or
 * its still being there when the next try is due (and, up to max, twice the time
 * that the others lived is over: what takes long to start takes long to fail).
 */
#pragma once

#include "base/mono.h"

#include <stdbool.h>

struct throttle {
	unsigned fails; /* tries in a row that failed */
	mono_t last_fail;
	mono_t next_try;  /* not before this */
	int64_t lived_us; /* the longest that one of them lived */
	bool trying;	  /* a worker started under the throttle has not failed yet */
};

/* Begin anew: nothing has failed. */
void throttle_reset(struct throttle *t);

/* The worker that was tried is ended for another reason: it says nothing. */
void throttle_withdraw(struct throttle *t);

/* A worker that was started at spawned has died before it was any good. */
void throttle_failed(struct throttle *t, mono_t spawned, mono_t now, int64_t min_us,
		     int64_t max_us);

/* A worker that was started at spawned has answered. True: that ended it. */
bool throttle_proved(struct throttle *t, mono_t spawned);

/* Is the worker that was tried last still there, now that the next try is due?
 * True: that ended it. */
bool throttle_survived(struct throttle *t, mono_t now);

/* May a slot whose last worker failed be filled now? True also notes the try,
 * when it is one. */
bool throttle_try(struct throttle *t, mono_t now, int64_t min_us, int64_t max_us);

/* Workers cannot start: the second failure in a row. */
static inline bool
throttle_holds(const struct throttle *t)
{
	return t->fails >= 2;
}
