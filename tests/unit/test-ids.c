/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/ids.h"

#include "aborts.h"
#include "random.h"

static struct ids ids;

static int
set_up(void **state)
{
	(void)state;
	ids_init(&ids);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	ids_free(&ids);
	return 0;
}

static void
test_empty(void **state)
{
	(void)state;
	assert_null(ids_find(&ids, 0));
	assert_null(ids_find(&ids, UINT64_MAX));
	assert_null(ids_next(&ids, 0));
	assert_null(ids_next(&ids, UINT64_MAX));
	assert_int_equal(ids.count, 0);
}

/* Around the ends of leaves, and of the numbers. */
static void
test_edges(void **state)
{
	static struct job jobs[] = {{.id = 0},
				    {.id = 1},
				    {.id = 63},
				    {.id = 64},
				    {.id = 127},
				    {.id = 1U << 20},
				    {.id = (1U << 20) + 200},
				    {.id = UINT64_MAX - 1},
				    {.id = UINT64_MAX}};
	const size_t n = sizeof(jobs) / sizeof(jobs[0]);

	(void)state;
	for (size_t i = 0; i < n; i++)
		assert_int_equal(ids_add(&ids, &jobs[i]), 0);
	for (size_t i = 0; i < n; i++) {
		assert_ptr_equal(ids_find(&ids, jobs[i].id), &jobs[i]);
		assert_ptr_equal(ids_next(&ids, jobs[i].id), i + 1 < n ? &jobs[i + 1] : NULL);
		if (i)
			assert_ptr_equal(ids_next(&ids, jobs[i].id - 1), &jobs[i]);
	}
	assert_null(ids_find(&ids, 2));
	assert_null(ids_find(&ids, 1U << 21));
	for (size_t i = 0; i < n; i++)
		ids_remove(&ids, &jobs[i]);
	assert_int_equal(ids.count, 0);
	assert_null(ids_next(&ids, 0));
}

static void
remove_again(void *job)
{
	ids_remove(&ids, job);
}

static void
test_only_what_is_there(void **state)
{
	struct job a = {.id = 5}, b = {.id = 6};

	(void)state;
	ids_add(&ids, &a);
	assert_true(aborts(remove_again, &b)); /* its leaf is there */
	ids_remove(&ids, &a);
	assert_true(aborts(remove_again, &a));
}

#define JOBS 5000

/* Against a plain array; ids ascend with gaps, and go in any order. */
static void
test_random(void **state)
{
	static struct job jobs[JOBS];
	static bool in[JOBS];
	uint64_t seed = 7, id = 100, count = 0;
	size_t made = 0;

	(void)state;
	for (unsigned round = 0; round < 60000; round++) {
		size_t i = random_next(&seed) % JOBS;
		size_t above = i + 1;

		if (made < JOBS && random_next(&seed) % 8 == 0) {
			jobs[made].id = id += 1 + random_next(&seed) % 50 * (made % 3 == 0);
			assert_int_equal(ids_add(&ids, &jobs[made]), 0);
			in[made++] = true;
			count++;
		}
		if (i >= made)
			continue;
		assert_ptr_equal(ids_find(&ids, jobs[i].id), in[i] ? &jobs[i] : NULL);
		while (above < made && !in[above])
			above++;
		assert_ptr_equal(ids_next(&ids, jobs[i].id), above < made ? &jobs[above] : NULL);
		if (in[i] && random_next(&seed) % 2) {
			ids_remove(&ids, &jobs[i]);
			in[i] = false;
			count--;
		}
		assert_int_equal(ids.count, count);
	}
	assert_int_equal(made, JOBS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_empty, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_edges, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_only_what_is_there, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_random, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
