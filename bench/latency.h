/* SPDX-License-Identifier: MIT */
/* latency - how long jobs took, as what bench/load and the others' client print. */
#pragma once

#include <stdint.h>
#include <time.h>

#define STEPS 32 /* to each power of two: within 3 % */
#define UNIT 64	 /* ns of the finest step */
#define BUCKETS (STEPS * 40)

struct latency {
	uint64_t count;
	uint64_t buckets[BUCKETS];
};

static int64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void
latency_count(struct latency *l, int64_t ns)
{
	uint64_t n = (uint64_t)ns / UNIT;
	unsigned shift = n < 2 * STEPS ? 0 : 58 - (unsigned)__builtin_clzll(n);
	uint64_t bucket = shift * STEPS + (n >> shift);

	l->buckets[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
	l->count++;
}

/* In microseconds. */
static double
latency_percentile(const struct latency *l, unsigned percent)
{
	uint64_t rest = (l->count * percent + 99) / 100;
	unsigned i = 0;
	unsigned shift;

	while (i < BUCKETS - 1 && l->buckets[i] < rest)
		rest -= l->buckets[i++];
	shift = i < 2 * STEPS ? 0 : i / STEPS - 1;
	return (double)((uint64_t)(i - shift * STEPS) << shift) * UNIT / 1000;
}
