/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/stats.h"
#include "random.h"

#include <stdlib.h>
#include <string.h>

#define MINUTE (60 * USEC_PER_SEC)

static struct histogram h;
static struct rate r;

static int
start(void **state)
{
	(void)state;
	memset(&h, 0, sizeof(h));
	memset(&r, 0, sizeof(r));
	return 0;
}

static mono_t
at(int64_t us)
{
	return (mono_t){us};
}

static void
add(int64_t us, int64_t now)
{
	histogram_add(&h, us, 1, at(now));
}

/* Is got within an eighth of exact? */
static void
check_near(int64_t got, int64_t exact)
{
	if (llabs(got - exact) > exact / 8)
		fail_msg("%lld for %lld", (long long)got, (long long)exact);
}

static void
test_nothing(void **state)
{
	(void)state;
	assert_int_equal(histogram_quantile(&h, 500, at(0)), -1);
	assert_int_equal(histogram_quantile(&h, 500, at(5 * MINUTE)), -1);
}

/* Every power of two, its neighbours, and what lies between them. */
static void
test_one_value(void **state)
{
	(void)state;
	for (int bit = 0; bit < 40; bit++)
		for (int64_t eighth = 8; eighth < 16; eighth++)
			for (int64_t d = -1; d <= 1; d++) {
				int64_t v = (eighth << bit) / 8 + d;

				if (v < 0 || v >= INT64_C(1) << 40)
					continue;
				start(NULL);
				add(v, 0);
				for (unsigned permille = 0; permille <= 1000; permille += 250)
					check_near(histogram_quantile(&h, permille, at(0)), v);
			}
}

static void
test_small_values_are_exact(void **state)
{
	(void)state;
	for (int64_t v = 0; v < 16; v++) {
		start(NULL);
		add(v, 0);
		assert_int_equal(histogram_quantile(&h, 500, at(0)), v);
	}
}

static void
test_out_of_range(void **state)
{
	static const int64_t longer[] = {INT64_C(1) << 40, INT64_C(1) << 41, INT64_MAX};

	(void)state;
	add(-5, 0);
	assert_int_equal(histogram_quantile(&h, 500, at(0)), 0);
	for (size_t i = 0; i < sizeof(longer) / sizeof(longer[0]); i++) {
		start(NULL);
		add(longer[i], 0);
		check_near(histogram_quantile(&h, 500, at(0)), INT64_C(1) << 40);
	}
}

static void
test_ranks(void **state)
{
	static const struct {
		unsigned permille;
		int64_t value;
	} rows[] = {{0, 1},   {1, 1},	{100, 1},  {101, 2},  {200, 2},
		    {500, 5}, {501, 6}, {990, 10}, {1000, 10}};

	(void)state;
	for (int64_t v = 10; v >= 1; v--)
		add(v, 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(histogram_quantile(&h, rows[i].permille, at(0)), rows[i].value);
}

static uint64_t seed;

static int
by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/* Against a sorted array. The values are spread over the powers of two. */
static void
test_random(void **state)
{
	static int64_t v[5000];
	static const unsigned permilles[] = {1, 10, 250, 500, 900, 990, 999, 1000};

	(void)state;
	for (uint64_t s = 1; s <= 20; s++) {
		size_t n = 1 + s * s * 12;

		seed = s * 88172645463325252u;
		start(NULL);
		for (size_t i = 0; i < n; i++) {
			v[i] = (int64_t)(random_next(&seed) >> (24 + random_next(&seed) % 40));
			add(v[i], 0);
		}
		qsort(v, n, sizeof(v[0]), by_value);
		for (size_t i = 0; i < sizeof(permilles) / sizeof(permilles[0]); i++) {
			size_t rank = (n * permilles[i] + 999) / 1000;

			check_near(histogram_quantile(&h, permilles[i], at(0)), v[rank - 1]);
		}
	}
}

/* A value is told of in its own minute and in the next one. */
static void
test_windows(void **state)
{
	static const struct {
		int64_t now, value;
	} rows[] = {
		{5 * MINUTE + 1, 7}, {6 * MINUTE - 1, 7}, {6 * MINUTE, 7},
		{7 * MINUTE - 1, 7}, {7 * MINUTE, -1},	  {99 * MINUTE, -1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		start(NULL);
		add(7, 5 * MINUTE);
		assert_int_equal(histogram_quantile(&h, 500, at(rows[i].now)), rows[i].value);
	}
}

static void
test_windows_mix(void **state)
{
	(void)state;
	for (int i = 0; i < 9; i++)
		add(1, 5 * MINUTE);
	for (int i = 0; i < 9; i++)
		add(3, 6 * MINUTE);
	assert_int_equal(histogram_quantile(&h, 500, at(6 * MINUTE)), 1);
	assert_int_equal(histogram_quantile(&h, 501, at(6 * MINUTE)), 3);
	add(5, 7 * MINUTE); /* the ones are gone */
	assert_int_equal(histogram_quantile(&h, 0, at(7 * MINUTE)), 3);
	assert_int_equal(histogram_quantile(&h, 1000, at(7 * MINUTE)), 5);
	assert_int_equal(histogram_quantile(&h, 0, at(8 * MINUTE)), 5);
	add(2, 20 * MINUTE); /* after a long silence nothing of it is left */
	assert_int_equal(histogram_quantile(&h, 1000, at(20 * MINUTE)), 2);
}

static uint64_t
rate_at(int64_t second)
{
	return rate_per_10s(&r, at(second * USEC_PER_SEC));
}

static void
test_rate_counts_whole_seconds(void **state)
{
	static const struct {
		int64_t now;
		uint64_t rate;
	} rows[] = {
		{100 * USEC_PER_SEC, 0}, /* this second is not over */
		{101 * USEC_PER_SEC - 1, 0}, {101 * USEC_PER_SEC, 5}, {105 * USEC_PER_SEC, 5},
		{111 * USEC_PER_SEC - 1, 5}, {111 * USEC_PER_SEC, 0}, {1000 * USEC_PER_SEC, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		start(NULL);
		for (int n = 0; n < 5; n++)
			rate_add(&r, 1, at(100 * USEC_PER_SEC + n));
		assert_int_equal(rate_per_10s(&r, at(rows[i].now)), rows[i].rate);
	}
}

/* Reading as often as one likes changes nothing. */
static void
test_rate_steady(void **state)
{
	(void)state;
	for (int64_t second = 0; second < 40; second++) {
		int64_t full = second < 10 ? second : 10;

		assert_int_equal(rate_at(second), 7 * full);
		for (int n = 0; n < 4; n++) /* 0 + … + 3, and 1 */
			rate_add(&r, (uint64_t)n, at(second * USEC_PER_SEC + n * 1000));
		rate_add(&r, 1, at(second * USEC_PER_SEC + 4000));
		assert_int_equal(rate_at(second), 7 * full);
	}
	for (int64_t gone = 0; gone <= 12; gone++) /* and runs out */
		assert_int_equal(rate_at(40 + gone), gone < 10 ? 7 * (10 - gone) : 0);
}

/* Gaps of every length, against what was added when. */
static void
test_rate_gaps(void **state)
{
	static unsigned added[4000];
	int64_t second = 3;

	(void)state;
	seed = 88172645463325252u;
	while (second < 3900) {
		uint64_t want = 0;

		for (uint64_t n = random_next(&seed) % 5; n > 0; n--) {
			rate_add(&r, 1, at(second * USEC_PER_SEC));
			added[second]++;
		}
		second += (int64_t)(random_next(&seed) % 16);
		for (int64_t s = second < 10 ? 0 : second - 10; s < second; s++)
			want += added[s];
		assert_int_equal(rate_at(second), want);
	}
}

/* What happened is told of for five minutes at least, and ten seconds more at most;
 * against what was added when, over gaps of every length. */
static void
test_window(void **state)
{
	static uint64_t added[30000]; /* by the second */
	static struct window w;
	int64_t second = 1000;

	(void)state;
	seed = 88172645463325252u;
	while (second < 29000) {
		int64_t oldest = second / 10 * 10 - 300;
		uint64_t want = 0;

		for (uint64_t n = random_next(&seed) % 5; n > 0; n--) {
			window_add(&w, 1, at(second * USEC_PER_SEC));
			added[second]++;
		}
		for (int64_t s = oldest; s <= second; s++)
			want += added[s];
		assert_int_equal(window_sum(&w, at(second * USEC_PER_SEC)), want);
		second += (int64_t)(random_next(&seed) % (random_next(&seed) % 8 ? 30 : 500));
	}
	assert_int_equal(window_sum(&w, at((second + 311) * USEC_PER_SEC)), 0);
}

#define TEST(f) cmocka_unit_test_setup(f, start)

/* ---- tally ---- */

/* The bounds are what they are called, in ascending order. */
static void
test_tally_bounds(void **state)
{
	(void)state;
	for (unsigned b = 0; b < TALLY_BOUNDS; b++) {
		assert_int_equal((int64_t)(strtod(tally_bounds[b].seconds, NULL) * 1e6 + 0.5),
				 tally_bounds[b].us);
		assert_non_null(strchr(tally_bounds[b].seconds, '.'));
		assert_true(!b || tally_bounds[b].us > tally_bounds[b - 1].us);
	}
}

/* A bound is in its own bucket, one more in the next. */
static void
test_tally_edges(void **state)
{
	struct tally t = {0};
	uint64_t sum = 0;

	(void)state;
	for (unsigned b = 0; b < TALLY_BOUNDS; b++) {
		tally_add(&t, tally_bounds[b].us, 1);
		tally_add(&t, tally_bounds[b].us + 1, 1);
		sum += (uint64_t)tally_bounds[b].us * 2 + 1;
	}
	for (unsigned b = 0; b < TALLY_BOUNDS; b++)
		assert_int_equal(tally_up_to(&t, b), 2 * b + 1);
	assert_int_equal(tally_up_to(&t, TALLY_BOUNDS), 2 * TALLY_BOUNDS);
	assert_int_equal(t.sum_us, sum);
	tally_add(&t, 0, 1);
	tally_add(&t, -5, 1); /* a clock that a caller read too late */
	tally_add(&t, INT64_MAX, 1);
	assert_int_equal(tally_up_to(&t, 0), 3);
	assert_int_equal(tally_up_to(&t, TALLY_BOUNDS), 2 * TALLY_BOUNDS + 3);
	assert_true(t.sum_us == sum + INT64_MAX);
}

/* Unlike the histogram beside it, it forgets nothing. */
static void
test_timing(void **state)
{
	static struct timing t;

	(void)state;
	timing_add(&t, 0, at(0));
	timing_count(&t, at(0));
	assert_int_equal(histogram_quantile(&t.recent, 1000, at(0)), 0);
	assert_int_equal(tally_up_to(&t.ever, 0), 1);
	memset(&t, 0, sizeof(t));
	timing_add(&t, 200, at(0));
	timing_add(&t, 2000, at(0));
	timing_count(&t, at(0));
	assert_int_equal(tally_up_to(&t.ever, 1), 1);
	check_near(histogram_quantile(&t.recent, 1000, at(0)), 2000);
	assert_int_equal(histogram_quantile(&t.recent, 1000, at(10 * MINUTE)), -1);
	assert_int_equal(tally_up_to(&t.ever, TALLY_BOUNDS), 2);
	assert_int_equal(t.ever.sum_us, 2200);
}

/* Batches of one kind and of several: each is counted once, in its own minute. */
static void
test_timing_batches(void **state)
{
	static const struct {
		int64_t us[5];
		uint64_t sum;
	} batches[] = {
		{{5, 5, 5, 5, 5}, 25}, {{5, 5, 5, 5, 5}, 25}, {{5, 6, 5, 6, 6}, 28},
		{{7, 7, 0, 0, 0}, 14}, {{0, 7, 7, 7, 7}, 28}, {{-1, -1, 5, 5, 7}, 17},
	};
	static struct timing t;
	uint64_t sum = 0;

	(void)state;
	for (size_t b = 0; b < sizeof(batches) / sizeof(batches[0]); b++) {
		mono_t now = at((int64_t)(10 + b) * MINUTE);

		for (size_t i = 0; i < 5; i++)
			timing_add(&t, batches[b].us[i], now);
		timing_count(&t, now);
		timing_count(&t, now); /* what is counted is counted */
		sum += batches[b].sum;
		assert_int_equal(t.recent.n_now, 5);
		assert_int_equal(tally_up_to(&t.ever, 0), 5 * (b + 1));
		assert_int_equal(t.ever.sum_us, sum);
	}
	/* the last two: 0 0 0 5 5 7 7 7 7 7 */
	assert_int_equal(histogram_quantile(&t.recent, 300, at(15 * MINUTE)), 0);
	assert_int_equal(histogram_quantile(&t.recent, 500, at(15 * MINUTE)), 5);
	assert_int_equal(histogram_quantile(&t.recent, 501, at(15 * MINUTE)), 7);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_nothing),
		TEST(test_one_value),
		TEST(test_small_values_are_exact),
		TEST(test_out_of_range),
		TEST(test_ranks),
		TEST(test_random),
		TEST(test_windows),
		TEST(test_windows_mix),
		TEST(test_rate_counts_whole_seconds),
		TEST(test_rate_steady),
		TEST(test_rate_gaps),
		TEST(test_window),
		TEST(test_tally_bounds),
		TEST(test_tally_edges),
		TEST(test_timing),
		TEST(test_timing_batches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
