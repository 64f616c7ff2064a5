/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/list.h"
#include "base/map.h"

#include <stdlib.h>
#include <string.h>

#define N_ITEMS 5000

struct item {
	unsigned value;
	struct map_node node;
};

static struct item *
find(const struct map *m, uint64_t hash, unsigned value)
{
	struct map_node *n = map_find(m, hash);

	for (; n; n = map_find_next(n)) {
		struct item *item = container_of(n, struct item, node);

		assert_true(n->hash == hash);
		if (item->value == value)
			return item;
	}
	return NULL;
}

static void
test_empty(void **state)
{
	struct map m = {0};

	(void)state;
	assert_null(map_find(&m, 0));
	assert_null(map_find(&m, UINT64_MAX));
	map_free(&m);
}

/* Every hash function, down to those that put all nodes into few chains. */
static void
fill_and_empty(uint64_t (*hash)(unsigned), unsigned n)
{
	static struct item items[N_ITEMS];
	struct map m = {0};

	memset(items, 0, sizeof items);
	for (unsigned i = 0; i < n; i++) {
		items[i].value = i;
		assert_null(find(&m, hash(i), i));
		assert_int_equal(map_add(&m, &items[i].node, hash(i)), 0);
	}
	assert_int_equal(m.count, n);
	for (unsigned i = 0; i < n; i++)
		assert_ptr_equal(find(&m, hash(i), i), &items[i]);
	for (unsigned i = 0; i < n; i += 2)
		map_remove(&m, &items[i].node);
	for (unsigned i = 0; i < n; i++)
		assert_ptr_equal(find(&m, hash(i), i), i % 2 ? &items[i] : NULL);
	for (unsigned i = 1; i < n; i += 2)
		map_remove(&m, &items[i].node);
	assert_int_equal(m.count, 0);
	map_free(&m);
	assert_null(m.buckets);
}

static uint64_t
hash_spread(unsigned value)
{
	return map_hash_u64(value);
}

static uint64_t
hash_bytes(unsigned value)
{
	return map_hash_bytes(&value, sizeof value, 0);
}

static uint64_t
hash_same(unsigned value)
{
	(void)value;
	return UINT64_MAX;
}

static uint64_t
hash_high(unsigned value)
{
	return (uint64_t)value << 60;
}

static void
test_fill(void **state)
{
	(void)state;
	fill_and_empty(hash_spread, 1);
	fill_and_empty(hash_spread, 16);
	fill_and_empty(hash_spread, 17);
	fill_and_empty(hash_spread, N_ITEMS);
	fill_and_empty(hash_bytes, N_ITEMS);
	fill_and_empty(hash_same, 200);
	fill_and_empty(hash_high, 200);
}

/* Chains stay short: that is what the growing is for. */
static void
test_chains(void **state)
{
	static struct item items[N_ITEMS];
	struct map m = {0};
	size_t longest = 0;

	(void)state;
	for (unsigned i = 0; i < N_ITEMS; i++)
		assert_int_equal(map_add(&m, &items[i].node, map_hash_u64(i)), 0);
	for (size_t i = 0; i <= m.mask; i++) {
		size_t len = 0;

		for (struct map_node *n = m.buckets[i]; n; n = n->next)
			len++;
		longest = len > longest ? len : longest;
	}
	assert_true(m.mask + 1 >= N_ITEMS);
	assert_true(longest <= 10);
	map_free(&m);
}

/* The published vectors of SipHash-2-4: key 00 … 0f, input 00 01 02 … */
static void
test_siphash(void **state)
{
	static const struct {
		size_t len;
		uint64_t hash;
	} vectors[] = {
		{0, UINT64_C(0x726fdb47dd0e0e31)},  {1, UINT64_C(0x74f839c593dc67fd)},
		{2, UINT64_C(0x0d6c8009d9a94f5a)},  {3, UINT64_C(0x85676696d7fb7e2d)},
		{4, UINT64_C(0xcf2794e0277187b7)},  {5, UINT64_C(0x18765564cd99a68d)},
		{6, UINT64_C(0xcbc9466e58fee3ce)},  {7, UINT64_C(0xab0200f58b01d137)},
		{8, UINT64_C(0x93f5f5799a932462)},  {9, UINT64_C(0x9e0082df0ba9e4b0)},
		{15, UINT64_C(0xa129ca6149be45e5)}, {16, UINT64_C(0x3f2acc7f57c29bdb)},
		{63, UINT64_C(0x958a324ceb064572)},
	};
	unsigned char input[64];

	(void)state;
	for (size_t i = 0; i < sizeof input; i++)
		input[i] = (unsigned char)i;
	for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++)
		assert_true(map_siphash(input, vectors[i].len, UINT64_C(0x0706050403020100),
					UINT64_C(0x0f0e0d0c0b0a0908)) == vectors[i].hash);
	assert_true(map_siphash(NULL, 0, 0, 0) == map_siphash("", 0, 0, 0));
}

static void
test_hash_bytes(void **state)
{
	uint64_t a = map_hash_bytes("pool", 4, 0);

	(void)state;
	assert_true(map_hash_bytes("pool", 4, 0) == a);
	assert_true(map_hash_bytes("poom", 4, 0) != a);
	assert_true(map_hash_bytes("pool", 4, 1) != a);
	assert_true(map_hash_bytes("pool", 4, a) != map_hash_bytes("pool", 4, a ^ 1));
	/* Drawn at start, so not the key of zeros. */
	assert_true(map_siphash("pool", 4, 0, 0) != a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),	   cmocka_unit_test(test_fill),
		cmocka_unit_test(test_chains),	   cmocka_unit_test(test_siphash),
		cmocka_unit_test(test_hash_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
