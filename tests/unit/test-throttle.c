/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/throttle.h"
#include "random.h"

#define MIN 100
#define MAX 1000

static struct throttle t;
static int64_t now; /* the clock, µs */

static int
start(void **state)
{
	(void)state;
	t = (struct throttle){.fails = 0};
	now = 1000000;
	return 0;
}

/* A worker that was started at spawned dies now. */
static void
fail_one(int64_t spawned)
{
	throttle_failed(&t, (mono_t){spawned}, (mono_t){now}, MIN, MAX);
}

static bool
try(void)
{
	return throttle_try(&t, (mono_t){now}, MIN, MAX);
}

/* So many failures, one after the other, each as soon as may be. */
static void
fail_in_a_row(unsigned n)
{
	while (n--) {
		if (throttle_holds(&t))
			now = t.next_try.us;
		assert_true(try());
		now += 3;
		fail_one(now - 3);
	}
}

static void
test_nothing_failed(void **state)
{
	(void)state;
	assert_false(throttle_holds(&t));
	assert_true(try());
	assert_true(try());
	assert_false(throttle_proved(&t, (mono_t){now}));
	assert_false(throttle_survived(&t, (mono_t){now + 10 * MAX}));
}

static void
test_first_failure_at_once(void **state)
{
	(void)state;
	fail_one(now - 5);
	assert_int_equal(t.fails, 1);
	assert_false(throttle_holds(&t));
	assert_true(try());
	assert_true(try()); /* and side by side */
}

/* Spawns that fail have no life: those of one moment are one failure, while a process
 * that was started at that moment, and dies later, is the next. */
static void
test_burst_of_spawns(void **state)
{
	int64_t first = now;

	(void)state;
	for (int i = 0; i < 50; i++)
		fail_one(now);
	assert_int_equal(t.fails, 1);
	assert_true(try());
	now += 3;
	fail_one(first);
	assert_int_equal(t.fails, 2);
}

/* min, 2 min, 4 min … max, each counted from the failure, and not a µs sooner. */
static void
test_doubling(void **state)
{
	static const int64_t delays[] = {100, 200, 400, 800, 1000, 1000, 1000};

	(void)state;
	fail_in_a_row(2);
	for (size_t i = 0; i < sizeof(delays) / sizeof(delays[0]); i++) {
		int64_t failed = now;

		assert_int_equal(t.fails, 2 + i);
		assert_true(throttle_holds(&t));
		assert_false(try());
		now = failed + delays[i] - 1;
		assert_false(try());
		now = failed + delays[i];
		assert_true(try());
		now += 3;
		fail_one(now - 3);
	}
}

static void
test_delay_bounds(void **state)
{
	static const struct {
		int64_t min, max, delay; /* delay: after very many failures */
	} rows[] = {
		{1, 1, 1},
		{1, 3, 3},
		{500, 100, 100}, /* max is max */
		{1, INT64_MAX / 2 + 1, INT64_MAX / 2 + 1},
		{INT64_MAX / 2, INT64_MAX - 1, INT64_MAX - 1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		start(NULL);
		for (unsigned n = 0; n < 200; n++) {
			t.last_fail.us = -1; /* a moment ago */
			throttle_failed(&t, (mono_t){0}, (mono_t){0}, rows[i].min, rows[i].max);
		}
		assert_int_equal(t.fails, 200);
		assert_true(t.next_try.us == rows[i].delay);
	}
	start(NULL);
	for (unsigned n = 0; n < 200; n++, now++)
		throttle_failed(&t, (mono_t){now}, (mono_t){now}, 1, USEC_INFINITY);
	assert_true(mono_is_never(t.next_try));
}

static void
test_side_by_side(void **state)
{
	int64_t born = now;

	(void)state;
	for (int i = 0; i < 4; i++) { /* four at once */
		now += 10;
		fail_one(born);
	}
	assert_int_equal(t.fails, 1);
	born = now += 10; /* all are tried again, and all fail again */
	for (int i = 0; i < 4; i++) {
		now += 10;
		fail_one(born);
	}
	assert_int_equal(t.fails, 2);
	/* The first of them says when. */
	assert_int_equal(t.next_try.us, born + 10 + MIN);
}

/* A stranger's late failure does not end the try that is under way. */
static void
test_stragglers_leave_the_try(void **state)
{
	int64_t old = now - 50;

	(void)state;
	fail_in_a_row(2);
	now = t.next_try.us;
	assert_true(try());
	fail_one(old);
	assert_int_equal(t.fails, 2);
	now += 10 * MAX;
	assert_false(try()); /* it still has not failed: one at a time */
}

static void
test_one_try_at_a_time(void **state)
{
	int64_t born;

	(void)state;
	fail_in_a_row(2);
	born = now = t.next_try.us;
	assert_true(try());
	for (int i = 0; i < 5; i++, now += MAX)
		assert_false(try());
	fail_one(born);
	assert_false(try());
	now = t.next_try.us;
	assert_true(try());
	assert_false(try());
}

static void
test_proved(void **state)
{
	int64_t failed;

	(void)state;
	fail_in_a_row(3);
	failed = now;
	/* One that was there before the failure proves nothing. */
	assert_false(throttle_proved(&t, (mono_t){failed - 1}));
	assert_true(throttle_holds(&t));
	now = t.next_try.us;
	assert_true(try());
	assert_true(throttle_proved(&t, (mono_t){now}));
	assert_false(throttle_holds(&t));
	assert_int_equal(t.fails, 0);
	assert_true(try());
	assert_true(try());
	assert_false(throttle_proved(&t, (mono_t){now})); /* once */
	fail_in_a_row(2);				  /* and it begins from the beginning */
	assert_int_equal(t.next_try.us, now + MIN);
}

static void
test_proved_after_one_failure(void **state)
{
	(void)state;
	fail_in_a_row(1);
	assert_true(throttle_proved(&t, (mono_t){now}));
	fail_in_a_row(1);
	assert_false(throttle_holds(&t));
}

static void
test_survived(void **state)
{
	int64_t tried;

	(void)state;
	fail_in_a_row(3); /* the next try after 200, and the one behind that 200 later */
	now = t.next_try.us;
	assert_false(throttle_survived(&t, (mono_t){now})); /* nothing was tried */
	assert_true(try());
	tried = now;
	assert_false(throttle_survived(&t, (mono_t){tried + 199}));
	assert_true(throttle_holds(&t));
	assert_true(throttle_survived(&t, (mono_t){tried + 200}));
	assert_false(throttle_holds(&t));
	assert_false(throttle_survived(&t, (mono_t){tried + 200}));
}

static void
test_survived_not_when_it_failed(void **state)
{
	(void)state;
	fail_in_a_row(3);
	assert_false(throttle_survived(&t, (mono_t){now + 10 * MAX}));
}

static uint64_t seed = 88172645463325252u;

/* Whatever happens: while it holds, two tries are never nearer than the delay
 * that was due, and never side by side. */
static void
test_random(void **state)
{
	int64_t born = 0, due = 0;

	(void)state;
	for (unsigned n = 0; n < 20000; n++) {
		now += (int64_t)(random_next(&seed) % 300);
		if (throttle_holds(&t) && due)
			assert_true(t.next_try.us >= due);
		switch (random_next(&seed) % 4) {
		case 0:
		case 1:
			if (!try())
				break;
			if (throttle_holds(&t))
				assert_true(now >= due);
			born = now;
			break;
		case 2:
			if (!born)
				break;
			fail_one(born);
			due = throttle_holds(&t) ? t.last_fail.us + MIN : 0;
			born = 0;
			break;
		default:
			if (born && random_next(&seed) % 8 == 0 &&
			    throttle_proved(&t, (mono_t){born}))
				due = 0;
		}
		assert_true(t.fails < 2 || t.next_try.us <= now + MAX);
	}
}

#define TEST(f) cmocka_unit_test_setup(f, start)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_nothing_failed),
		TEST(test_first_failure_at_once),
		TEST(test_burst_of_spawns),
		TEST(test_doubling),
		TEST(test_delay_bounds),
		TEST(test_side_by_side),
		TEST(test_stragglers_leave_the_try),
		TEST(test_one_try_at_a_time),
		TEST(test_proved),
		TEST(test_proved_after_one_failure),
		TEST(test_survived),
		TEST(test_survived_not_when_it_failed),
		TEST(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
