/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/bucket.h"

#define RATE 100
#define BURST 500

static struct bucket b;
static int64_t now; /* the clock, µs */

static int
start(void **state)
{
	(void)state;
	b = (struct bucket){.refused = 0};
	now = 7 * USEC_PER_SEC;
	return 0;
}

/* How many of n are let. */
static unsigned
take(unsigned n)
{
	unsigned got = 0;

	while (n--)
		got += bucket_take(&b, (mono_t){now}, RATE, BURST);
	return got;
}

static void
test_burst(void **state)
{
	(void)state;
	assert_int_equal(take(BURST), BURST);
	assert_int_equal(take(20), 0);
	assert_int_equal(bucket_take_refused(&b), 20);
	assert_int_equal(bucket_take_refused(&b), 0);
}

/* Each part of a second frees its part, however often somebody looks. */
static void
test_rate(void **state)
{
	static const int64_t steps[] = {1, 7, 333, 9999, 10000, 10001, 1234567};

	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		unsigned got = 0;
		int64_t end;

		(void)start(state);
		take(BURST + 1);
		end = now + 4 * USEC_PER_SEC;
		while (now + steps[i] <= end) {
			now += steps[i];
			got += take(200);
		}
		assert_in_range(got, 360, 400); /* a step at the end may be missing */
	}
}

/* It is never fuller than full, and a clock that stands still or a very long pause
 * change nothing. */
static void
test_pauses(void **state)
{
	static const int64_t pauses[] = {5 * USEC_PER_SEC, USEC_PER_SEC * 86400 * 365 * 200,
					 INT64_MAX / 4};

	(void)state;
	for (size_t i = 0; i < sizeof pauses / sizeof *pauses; i++) {
		now = 0;
		b = (struct bucket){.refused = 0};
		assert_int_equal(take(BURST * 2), BURST);
		now += pauses[i];
		assert_int_equal(take(BURST * 2), BURST);
		assert_int_equal(take(1), 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_burst, start),
		cmocka_unit_test_setup(test_rate, start),
		cmocka_unit_test_setup(test_pauses, start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
