/* SPDX-License-Identifier: MIT */
/*
 * stats - what a pool counts: totals, a rate, what was lately, and how long things took.
 *
 * Floor 2. No timer behind it: windows are turned when something is recorded or
 * read. A histogram is log-linear (eight steps to a power of two, so a quantile
 * is right to 12.5 %) and tells of the last one to two minutes; a tally has few,
 * round bounds and tells of everything since the start, so that who reads it now
 * and then can take the difference.
 */
#pragma once

#include "base/mono.h"

#include <stdint.h>

#define HISTOGRAM_BUCKETS 304 /* 0 … 2^40 µs; what is longer counts as that */

struct histogram {
	uint32_t now[HISTOGRAM_BUCKETS], before[HISTOGRAM_BUCKETS];
	uint64_t n_now, n_before;
	int64_t until; /* µs: when the minute is over that now is of */
};

#define TALLY_BOUNDS 16
struct tally_bound {
	int64_t us;
	const char *seconds; /* the same as a decimal */
};
extern const struct tally_bound tally_bounds[TALLY_BOUNDS]; /* ascending */

struct tally {
	uint64_t counts[TALLY_BOUNDS + 1]; /* above the bound before, up to this one; the last: above
					    * all */
	uint64_t sum_us;
};

/* How long things took: lately, and ever. Those of a batch are often alike, so that they
 * are counted together: when another one comes, and at the batch's end. */
struct timing {
	struct histogram recent;
	struct tally ever;
	int64_t us;	/* how long the last one took */
	uint64_t alike; /* so many as that are not counted yet */
};

/* How many there were in the last five minutes: as many whole slots, and this one. */
#define WINDOW_SLOTS 30
#define WINDOW_SLOT_US (10 * USEC_PER_SEC)

struct window {
	uint64_t counts[WINDOW_SLOTS + 1];
	int64_t slot; /* that counts[slot % …] belongs to */
};

#define RATE_SECONDS 10

struct rate {
	uint64_t counts[RATE_SECONDS + 1];
	int64_t second; /* that counts[second % …] belongs to */
};

struct stats {
	uint64_t done, failed, crashed, timeout, cancelled,
		rejected;	  /* jobs; failed: all three kinds */
	uint64_t broken;	  /* workers that broke the protocol */
	uint64_t spawned, exited; /* workers */
	struct rate done_rate;
	struct window done_lately, failed_lately;
	struct timing wait, run;
};

/* Count what was added since. Who reads t has it done before. */
void timing_count(struct timing *t, mono_t now);

static inline void
timing_add(struct timing *t, int64_t us, mono_t now)
{
	if (us != t->us) {
		timing_count(t, now);
		t->us = us;
	}
	t->alike++;
}

/* n of them took so long. */
void tally_add(struct tally *t, int64_t us, uint64_t n);
/* How many were at most tally_bounds[bound]; TALLY_BOUNDS: all of them. */
uint64_t tally_up_to(const struct tally *t, unsigned bound);

void histogram_add(struct histogram *h, int64_t us, uint64_t n, mono_t now);

/* The value (µs) that permille of 1000 are at or below; -1 when there is none. */
int64_t histogram_quantile(struct histogram *h, unsigned permille, mono_t now);

void window_add(struct window *w, uint64_t n, mono_t now);
uint64_t window_sum(struct window *w, mono_t now);

void rate_add(struct rate *r, uint64_t n, mono_t now);
/* Per second, over the last RATE_SECONDS whole seconds, times 10. */
uint64_t rate_per_10s(struct rate *r, mono_t now);
