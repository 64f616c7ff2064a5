/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/heap.h"
#include "random.h"

#include <stdlib.h>

#define N_NODES 300

static uint64_t seed;

static void
check_shape(const struct heap *h)
{
	for (size_t i = 0; i < h->count; i++) {
		assert_int_equal(h->nodes[i]->place, i + 1);
		assert_true(h->nodes[i]->key >= h->nodes[i > 0 ? (i - 1) / 2 : 0]->key);
	}
}

/* The reference: a plain walk over all nodes. */
static void
check_min(const struct heap *h, const struct heap_node *nodes)
{
	size_t count = 0;
	int64_t min = INT64_MAX;

	for (size_t i = 0; i < N_NODES; i++) {
		if (nodes[i].place == 0)
			continue;
		count++;
		if (nodes[i].key < min)
			min = nodes[i].key;
	}
	assert_int_equal(h->count, count);
	if (count == 0)
		assert_null(heap_min(h));
	else
		assert_true(heap_min(h)->key == min);
}

static int
by_key(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/* Empty the heap from its head and compare with the keys, sorted. */
static void
check_drain(struct heap *h)
{
	int64_t keys[N_NODES];
	size_t n = h->count;

	for (size_t i = 0; i < n; i++)
		keys[i] = h->nodes[i]->key;
	qsort(keys, n, sizeof keys[0], by_key);
	for (size_t i = 0; i < n; i++) {
		struct heap_node *min = heap_min(h);

		assert_true(min->key == keys[i]);
		heap_remove(h, min);
		assert_int_equal(min->place, 0);
	}
	assert_null(heap_min(h));
}

static void
random_run(uint64_t with_seed, int64_t key_range)
{
	struct heap_node nodes[N_NODES] = {0};
	struct heap h = {0};

	seed = with_seed;
	for (int op = 0; op < 5000; op++) {
		struct heap_node *n = &nodes[random_next(&seed) % N_NODES];

		if (random_next(&seed) % 3 == 0)
			heap_remove(&h, n);
		else
			assert_int_equal(
				heap_set(&h, n,
					 (int64_t)(random_next(&seed) % (uint64_t)key_range)),
				0);
		check_min(&h, nodes);
		if (op % 50 == 0)
			check_shape(&h);
	}
	check_drain(&h);
	heap_free(&h);
}

static void
test_random(void **state)
{
	(void)state;
	for (uint64_t s = 1; s <= 8; s++)
		random_run(s * UINT64_C(0x9e3779b97f4a7c15), s % 2 ? INT64_MAX : 5);
}

static void
test_few(void **state)
{
	struct heap h = {0};
	struct heap_node a = {0}, b = {0};

	(void)state;
	assert_null(heap_min(&h));
	heap_remove(&h, &a); /* in no heap: nothing happens */
	assert_int_equal(heap_set(&h, &a, INT64_MAX), 0);
	assert_int_equal(heap_set(&h, &b, INT64_MIN), 0);
	assert_ptr_equal(heap_min(&h), &b);
	assert_int_equal(heap_set(&h, &b, INT64_MAX), 0);
	assert_int_equal(heap_set(&h, &a, 0), 0);
	assert_ptr_equal(heap_min(&h), &a);
	assert_int_equal(h.count, 2);
	heap_remove(&h, &a);
	heap_remove(&h, &a);
	assert_ptr_equal(heap_min(&h), &b);
	heap_remove(&h, &b);
	assert_null(heap_min(&h));
	heap_free(&h);
	assert_null(h.nodes);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_few),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
