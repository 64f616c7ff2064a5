/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/list.h"
#include "core/timer.h"
#include "random.h"

#include <string.h>

#define N 200

/* A timer that notes that it was called, and then does as it is told. */
struct clock {
	struct timer timer;
	int id;
	int64_t again;	     /* set itself to so long after now; -1: no */
	struct clock *other; /* to be set or cleared, or NULL */
	int64_t other_at;    /* INT64_MAX: cleared */
};

static struct timers ts;
static int called[4 * N];
static size_t n_called;
static struct clock c[N];

static void
on_due(struct timer *t, mono_t now)
{
	struct clock *k = container_of(t, struct clock, timer);

	assert_false(timer_is_set(t));
	assert_true(n_called < sizeof(called) / sizeof(called[0]));
	called[n_called++] = k->id;
	if (k->again >= 0)
		timer_set(&ts, t, mono_add(now, k->again));
	if (k->other)
		timer_set(&ts, &k->other->timer, (mono_t){k->other_at});
}

static int
start(void **state)
{
	(void)state;
	n_called = 0;
	for (int i = 0; i < N; i++)
		c[i] = (struct clock){.timer.on_due = on_due, .id = i, .again = -1};
	return 0;
}

static int
stop(void **state)
{
	(void)state;
	timers_free(&ts);
	return 0;
}

static void
set(int i, int64_t when)
{
	timer_set(&ts, &c[i].timer, (mono_t){when});
}

/* Expire; what was called, as letters from a. */
static const char *
expire(int64_t now)
{
	static char letters[4 * N + 1];

	n_called = 0;
	timers_expire(&ts, (mono_t){now});
	for (size_t i = 0; i < n_called; i++)
		letters[i] = (char)('a' + called[i]);
	letters[n_called] = 0;
	return letters;
}

static void
test_none(void **state)
{
	(void)state;
	assert_true(mono_is_never(timers_next(&ts)));
	assert_string_equal(expire(1000), "");
	assert_false(timer_is_set(&c[0].timer));
	assert_true(mono_is_never(timer_at(&c[0].timer)));
	timer_clear(&ts, &c[0].timer);
}

/* Whoever waits for a turn alone. */
static void
test_nobody_to_call(void **state)
{
	(void)state;
	c[1].timer.on_due = NULL;
	set(0, 10);
	set(1, 10);
	set(2, 10);
	assert_true(strspn(expire(10), "ac") == 2);
	assert_false(timer_is_set(&c[1].timer));
	assert_true(mono_is_never(timers_next(&ts)));
}

static void
test_order(void **state)
{
	(void)state;
	set(0, 30);
	set(1, 10);
	set(2, 40);
	set(3, 20);
	assert_int_equal(timers_next(&ts).us, 10);
	assert_int_equal(timer_at(&c[2].timer).us, 40);
	assert_string_equal(expire(9), "");
	assert_string_equal(expire(10), "b");
	assert_string_equal(expire(10), "");
	assert_int_equal(timers_next(&ts).us, 20);
	assert_string_equal(expire(39), "da");
	assert_string_equal(expire(1000), "c");
	assert_true(mono_is_never(timers_next(&ts)));
}

static void
test_moving(void **state)
{
	(void)state;
	set(0, 10);
	set(1, 20);
	set(0, 30); /* later */
	assert_int_equal(timers_next(&ts).us, 20);
	set(0, 5); /* sooner */
	assert_int_equal(timers_next(&ts).us, 5);
	timer_clear(&ts, &c[0].timer);
	assert_false(timer_is_set(&c[0].timer));
	assert_string_equal(expire(100), "b");
}

static void
test_never(void **state)
{
	(void)state;
	timer_set(&ts, &c[0].timer, MONO_NEVER);
	assert_false(timer_is_set(&c[0].timer));
	set(0, 10);
	timer_set(&ts, &c[0].timer, MONO_NEVER);
	assert_false(timer_is_set(&c[0].timer));
	set(0, 10);
	timer_set(&ts, &c[0].timer, mono_add((mono_t){10}, USEC_INFINITY));
	assert_true(mono_is_never(timer_at(&c[0].timer)));
	assert_string_equal(expire(INT64_MAX - 1), "");
	set(0, INT64_MAX - 1);
	assert_string_equal(expire(INT64_MAX - 1), "a");
}

static void
test_rearming(void **state)
{
	(void)state;
	c[0].again = 10;
	set(0, 100);
	set(1, 105);
	assert_string_equal(expire(100), "a");
	assert_int_equal(timers_next(&ts).us, 105);
	assert_string_equal(expire(109), "b");
	assert_string_equal(expire(300), "a"); /* from now on, not once for each that was missed */
	assert_int_equal(timers_next(&ts).us, 310);
	timer_clear(&ts, &c[0].timer);
}

/* What is set to a time that has come already waits for the next call. */
static void
test_rearming_due(void **state)
{
	(void)state;
	c[0].again = 0;
	set(0, 100);
	set(1, 100);
	set(2, 50);
	c[2].other = &c[3];
	c[2].other_at = 20;
	expire(100);
	assert_int_equal(n_called, 3);
	assert_int_equal(called[0], 2);
	assert_true(timer_is_set(&c[0].timer));
	assert_true(timer_is_set(&c[3].timer));
	c[0].again = -1;
	expire(101);
	assert_int_equal(n_called, 2);
	assert_true(mono_is_never(timers_next(&ts)));
}

static void
test_one_clears_another(void **state)
{
	(void)state;
	c[0].other = &c[1];
	c[0].other_at = INT64_MAX;
	set(0, 10);
	set(1, 20);
	set(2, 30);
	assert_string_equal(expire(100), "ac");
	c[0].other_at = 200; /* or moves it */
	set(0, 110);
	set(1, 120);
	assert_string_equal(expire(150), "a");
	assert_string_equal(expire(200), "b");
}

static uint64_t seed = 88172645463325252u;

/* Against a plain array of deadlines. */
static void
test_random(void **state)
{
	static int64_t due[N]; /* 0: not set */
	int64_t now = 1;

	(void)state;
	for (int n = 0; n < 3000; n++) {
		int i = (int)(random_next(&seed) % N);
		int64_t last = 0, next = INT64_MAX;
		size_t want = 0;

		if (random_next(&seed) % 4) {
			due[i] = now + 1 + (int64_t)(random_next(&seed) % 500);
			set(i, due[i]);
		} else {
			due[i] = 0;
			timer_clear(&ts, &c[i].timer);
		}
		now += (int64_t)(random_next(&seed) % 8);
		for (i = 0; i < N; i++)
			want += due[i] && due[i] <= now;
		n_called = 0;
		timers_expire(&ts, (mono_t){now});
		assert_int_equal(n_called, want);
		for (size_t k = 0; k < n_called; k++) {
			assert_in_range(due[called[k]], 1, now);
			assert_true(due[called[k]] >= last);
			last = due[called[k]];
			due[called[k]] = 0;
		}
		for (i = 0; i < N; i++)
			next = due[i] && due[i] < next ? due[i] : next;
		assert_true(timers_next(&ts).us == next);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_none),	 TEST(test_nobody_to_call),
		TEST(test_order),	 TEST(test_moving),
		TEST(test_never),	 TEST(test_rearming),
		TEST(test_rearming_due), TEST(test_one_clears_another),
		TEST(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
