/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/stint.h"

static const struct {
	unsigned stint;
	uint64_t done;
	int64_t us;
	unsigned max;
	unsigned next;
} rows[] = {
	/* a whole one in time: a job more, up to what a worker can have */
	{1, 1, 0, 128, 2},
	{1, 1, STINT_US, 128, 2},
	{2, 2, 7, 128, 3},
	{2, 50, 7, 128, 3},
	{127, 127, 7, 128, 128},
	{128, 128, 7, 128, 128},
	{1, 1, 7, 1, 1},
	/* a part of one says nothing */
	{2, 1, 7, 128, 2},
	{128, 127, STINT_US, 128, 128},
	/* as much shorter as it took longer */
	{128, 128, STINT_US + 1, 128, 127},
	{128, 128, 2 * STINT_US, 128, 64},
	{128, 1, 2 * STINT_US, 128, 64},
	{128, 128, 127 * STINT_US, 128, 1},
	{128, 1, 129 * STINT_US, 128, 1},
	{1, 1, INT64_MAX, 128, 1},
	{1024, 1, INT64_MAX, 1024, 1},
	/* another worker can have less, and the pool's first one has none yet */
	{128, 128, 7, 4, 4},
	{128, 128, 2 * STINT_US, 4, 4},
	{0, 1, 7, 4, 1},
	{0, 1, STINT_US + 1, 4, 1},
};

static void
test_next(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		unsigned next = stint_next(rows[i].stint, rows[i].done, rows[i].us, rows[i].max);

		if (next != rows[i].next)
			fail_msg("row %zu: %u instead of %u", i, next, rows[i].next);
	}
}

/* One long job in so many: no stint is longer than the number of them since that one. */
static void
test_one_long_in_many(void **state)
{
	unsigned stint = 1;

	(void)state;
	for (unsigned i = 0; i < 10000; i++) {
		stint = stint_next(stint, stint, i % 50 ? 10 : 1000000, 128);
		assert_true(stint <= 1 + i % 50);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_next),
		cmocka_unit_test(test_one_long_in_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
