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
	if (now.us < h->until)
		return;
	if (now.us < h->until + WINDOW_US) {
		memcpy(h->before, h->now, sizeof(h->before));
		h->n_before = h->n_now;
	} else {
		memset(h->before, 0, sizeof(h->before));
		h->n_before = 0;
	}
	memset(h->now, 0, sizeof(h->now));
	h->n_now = 0;
	h->until = (now.us / WINDOW_US + 1) * WINDOW_US;
}

void
histogram_add(struct histogram *h, int64_t us, uint64_t n, mono_t now)
{
	histogram_turn(h, now);
	h->now[bucket_of(us)] += (uint32_t)n;
	h->n_now += n;
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

const struct tally_bound tally_bounds[TALLY_BOUNDS] = {
	{100, "0.0001"},
	{300, "0.0003"},
	{1000, "0.001"},
	{3000, "0.003"},
	{10 * USEC_PER_MSEC, "0.01"},
	{30 * USEC_PER_MSEC, "0.03"},
	{100 * USEC_PER_MSEC, "0.1"},
	{300 * USEC_PER_MSEC, "0.3"},
	{1 * USEC_PER_SEC, "1.0"},
	{3 * USEC_PER_SEC, "3.0"},
	{10 * USEC_PER_SEC, "10.0"},
	{30 * USEC_PER_SEC, "30.0"},
	{100 * USEC_PER_SEC, "100.0"},
	{300 * USEC_PER_SEC, "300.0"},
	{1000 * USEC_PER_SEC, "1000.0"},
	{3000 * USEC_PER_SEC, "3000.0"},
};

static unsigned
bound_of(int64_t us)
{
	unsigned b = 0;

	while (b < TALLY_BOUNDS && us > tally_bounds[b].us)
		b++;
	return b;
}

void
tally_add(struct tally *t, int64_t us, uint64_t n)
{
	t->counts[bound_of(us)] += n;
	t->sum_us += us < 0 ? 0 : (uint64_t)us * n;
}

uint64_t
tally_up_to(const struct tally *t, unsigned bound)
{
	uint64_t n = 0;

	for (unsigned b = 0; b <= bound; b++)
		n += t->counts[b];
	return n;
}

void
timing_count(struct timing *t, mono_t now)
{
	if (!t->alike)
		return;
	histogram_add(&t->recent, t->us, t->alike, now);
	tally_add(&t->ever, t->us, t->alike);
	t->alike = 0;
}

/* A ring of n counts goes on from the one numbered *at to that numbered now. */
static void
ring_turn(uint64_t *counts, int64_t n, int64_t *at, int64_t now)
{
	if (now - *at >= n) {
		memset(counts, 0, (size_t)n * sizeof(*counts));
		*at = now;
	}
	while (*at < now)
		counts[++*at % n] = 0;
}

static void
window_turn(struct window *w, mono_t now)
{
	ring_turn(w->counts, WINDOW_SLOTS + 1, &w->slot, now.us / WINDOW_SLOT_US);
}

void
window_add(struct window *w, uint64_t n, mono_t now)
{
	window_turn(w, now);
	w->counts[w->slot % (WINDOW_SLOTS + 1)] += n;
}

uint64_t
window_sum(struct window *w, mono_t now)
{
	uint64_t sum = 0;

	window_turn(w, now);
	for (int i = 0; i <= WINDOW_SLOTS; i++)
		sum += w->counts[i];
	return sum;
}

static void
rate_turn(struct rate *r, mono_t now)
{
	ring_turn(r->counts, RATE_SECONDS + 1, &r->second, now.us / USEC_PER_SEC);
}

void
rate_add(struct rate *r, uint64_t n, mono_t now)
{
	rate_turn(r, now);
	r->counts[r->second % (RATE_SECONDS + 1)] += n;
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
