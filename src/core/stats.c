/* SPDX-License-Identifier: MIT */
#include "core/stats.h"

#include <string.h>

#define STEP_BITS 3 /* eight steps to a power of two */
#define STEPS (1 << STEP_BITS)
#define WINDOW_US (60 * USEC_PER_SEC)

static unsigned
bucket_of(int64_t us)
{
	uint64_t v = us < 0 ? 0 : (uint64_t)us;
	unsigned exp, b;

	if (v < STEPS)
		return (unsigned)v;
	exp = 63 - (unsigned)__builtin_clzll(v);
	b = (exp - STEP_BITS + 1) * STEPS + (unsigned)((v >> (exp - STEP_BITS)) & (STEPS - 1));
	return b < HISTOGRAM_BUCKETS ? b : HISTOGRAM_BUCKETS - 1;
}

/* The middle of a bucket. */
static int64_t
bucket_value(unsigned b)
{
	unsigned shift = b / STEPS - 1;

	if (b < STEPS)
		return b;
	return ((int64_t)(STEPS + b % STEPS) << shift) + ((INT64_C(1) << shift) >> 1);
}

static void
histogram_turn(struct histogram *h, mono_t now)
{
	int64_t window = now.us / WINDOW_US;

	if (window == h->window)
		return;
	if (window == h->window + 1) {
		memcpy(h->before, h->now, sizeof(h->before));
		h->n_before = h->n_now;
	} else {
		memset(h->before, 0, sizeof(h->before));
		h->n_before = 0;
	}
	memset(h->now, 0, sizeof(h->now));
	h->n_now = 0;
	h->window = window;
}

void
histogram_add(struct histogram *h, int64_t us, mono_t now)
{
	histogram_turn(h, now);
	h->now[bucket_of(us)]++;
	h->n_now++;
}

int64_t
histogram_quantile(struct histogram *h, unsigned permille, mono_t now)
{
	uint64_t n, want, seen = 0;

	histogram_turn(h, now);
	n = h->n_now + h->n_before;
	if (!n)
		return -1;
	want = (n * permille + 999) / 1000;
	for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++) {
		seen += h->now[b] + h->before[b];
		if (seen >= want && seen)
			return bucket_value(b);
	}
	return bucket_value(HISTOGRAM_BUCKETS - 1);
}

static void
rate_turn(struct rate *r, mono_t now)
{
	int64_t second = now.us / USEC_PER_SEC;

	if (second - r->second > RATE_SECONDS) {
		memset(r->counts, 0, sizeof(r->counts));
		r->second = second;
	}
	while (r->second < second)
		r->counts[++r->second % (RATE_SECONDS + 1)] = 0;
}

void
rate_add(struct rate *r, mono_t now)
{
	rate_turn(r, now);
	r->counts[r->second % (RATE_SECONDS + 1)]++;
}

uint64_t
rate_per_10s(struct rate *r, mono_t now)
{
	uint64_t sum = 0;

	rate_turn(r, now);
	for (int i = 0; i <= RATE_SECONDS; i++)
		if (i != r->second % (RATE_SECONDS + 1))
			sum += r->counts[i];
	return sum;
}
