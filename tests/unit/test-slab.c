/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/slab.h"
#include "random.h"

#include <stdbool.h>

#define SLAB_BYTES (64 * 1024)

/* Every size, the last that a slab has and the first that it has not, too: all bytes of a
 * block are its owner's alone. */
static void
test_sizes(void **state)
{
	unsigned char *blocks[SLAB_MAX + 2];

	(void)state;
	for (size_t size = 0; size <= SLAB_MAX + 1; size++) {
		blocks[size] = slab_alloc(size);
		assert_non_null(blocks[size]);
		assert_int_equal((uintptr_t)blocks[size] % _Alignof(max_align_t), 0);
		memset(blocks[size], (int)(size & 0xff), size);
	}
	assert_int_equal(slab_count(), SLAB_MAX / 16);
	for (size_t size = 0; size <= SLAB_MAX + 1; size++) {
		for (size_t i = 0; i < size; i++)
			assert_int_equal(blocks[size][i], size & 0xff);
		slab_free(blocks[size], size);
	}
	assert_int_equal(slab_count(), SLAB_MAX / 16); /* they stay */
}

static void
test_last_in_first_out(void **state)
{
	void *a = slab_alloc(100), *b = slab_alloc(100);

	(void)state;
	slab_free(a, 100);
	slab_free(b, 100);
	assert_ptr_equal(slab_alloc(98), b); /* of the same size, to 16 bytes */
	assert_ptr_equal(slab_alloc(112), a);
	slab_free(a, 112);
	slab_free(b, 98);
}

/* As many as fill some slabs; they go back when they are empty, whatever the order, but
 * for a few, so that the next ones need no new ones. */
static void
test_give_back(void **state)
{
	static void *blocks[10 * SLAB_BYTES / 64];
	const size_t n = sizeof(blocks) / sizeof(blocks[0]);
	size_t before = slab_count();

	(void)state;
	for (unsigned round = 0; round < 2; round++) {
		for (size_t i = 0; i < n; i++)
			assert_non_null(blocks[i] = slab_alloc(64));
		/* There was one of that size already; and each has a head. */
		assert_in_range(slab_count(), before + 9, before + 10);
		for (size_t i = 0; i < n; i++)
			slab_free(blocks[round ? i : n - 1 - i], 64);
		assert_int_equal(slab_count(), before + SLAB_STAYING - 1);
		for (size_t i = 0; i < n / 10 * (SLAB_STAYING - 1); i++)
			assert_non_null(blocks[i] = slab_alloc(64));
		for (size_t i = 0; i < n / 10 * (SLAB_STAYING - 1); i++)
			slab_free(blocks[i], 64);
		assert_int_equal(slab_count(), before + SLAB_STAYING - 1);
	}
}

/* None is given out twice, and none is written to by another's owner. */
static void
test_random(void **state)
{
	static struct {
		size_t size;
		unsigned char *bytes;
	} have[5000];
	const size_t n = sizeof(have) / sizeof(have[0]);
	uint64_t seed = 42;

	(void)state;
	for (unsigned round = 0; round < 200000; round++) {
		size_t i = random_next(&seed) % n;

		if (have[i].bytes) {
			assert_int_equal(have[i].bytes[0], i & 0xff);
			assert_int_equal(have[i].bytes[have[i].size - 1], i & 0xff);
			slab_free(have[i].bytes, have[i].size);
			have[i].bytes = NULL;
			continue;
		}
		have[i].size = 1 + random_next(&seed) % (SLAB_MAX + 50);
		assert_non_null(have[i].bytes = slab_alloc(have[i].size));
		memset(have[i].bytes, (int)(i & 0xff), have[i].size);
	}
	for (size_t i = 0; i < n; i++)
		if (have[i].bytes)
			slab_free(have[i].bytes, have[i].size);
	assert_in_range(slab_count(), SLAB_MAX / 16, SLAB_MAX / 16 * SLAB_STAYING);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_last_in_first_out),
		cmocka_unit_test(test_give_back),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
