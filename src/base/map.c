/* SPDX-License-Identifier: MIT */
#include "base/map.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/random.h>

#define MAP_FIRST 16

void
map_free(struct map *m)
{
	free(m->buckets);
	*m = (struct map){0};
}

static size_t
map_size(const struct map *m)
{
	return m->buckets ? m->mask + 1 : 0;
}

static void
map_link(struct map *m, struct map_node *n)
{
	struct map_node **bucket = &m->buckets[n->hash & m->mask];

	n->next = *bucket;
	*bucket = n;
}

/* Twice the buckets; without memory for them the map stays as it is. */
static void
map_grow(struct map *m)
{
	size_t size = map_size(m);
	struct map_node **old = m->buckets;
	struct map_node **buckets = calloc(size ? size * 2 : MAP_FIRST, sizeof *buckets);

	if (!buckets)
		return;
	m->buckets = buckets;
	m->mask = (size ? size * 2 : MAP_FIRST) - 1;
	for (size_t i = 0; i < size; i++)
		for (struct map_node *n = old[i], *next; n; n = next) {
			next = n->next;
			map_link(m, n);
		}
	free(old);
}

int
map_add(struct map *m, struct map_node *n, uint64_t hash)
{
	if (m->count >= map_size(m))
		map_grow(m);
	if (!m->buckets)
		return -ENOMEM;
	n->hash = hash;
	map_link(m, n);
	m->count++;
	return 0;
}

void
map_remove(struct map *m, struct map_node *n)
{
	struct map_node **at = &m->buckets[n->hash & m->mask];

	while (*at != n) {
		assert(*at);
		at = &(*at)->next;
	}
	*at = n->next;
	n->next = NULL;
	m->count--;
}

static struct map_node *
map_match(struct map_node *n, uint64_t hash)
{
	while (n && n->hash != hash)
		n = n->next;
	return n;
}

struct map_node *
map_find(const struct map *m, uint64_t hash)
{
	return m->buckets ? map_match(m->buckets[hash & m->mask], hash) : NULL;
}

struct map_node *
map_find_next(const struct map_node *n)
{
	return map_match(n->next, n->hash);
}

/* The finaliser of splitmix64: every bit of n reaches the low ones. */
uint64_t
map_hash_u64(uint64_t n)
{
	n = (n ^ (n >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	n = (n ^ (n >> 27)) * UINT64_C(0x94d049bb133111eb);
	return n ^ (n >> 31);
}

static inline uint64_t
rotl(uint64_t x, int by)
{
	return x << by | x >> (64 - by);
}

static void
sip_rounds(uint64_t v[4], int rounds)
{
	while (rounds-- > 0) {
		v[0] += v[1];
		v[1] = rotl(v[1], 13) ^ v[0];
		v[0] = rotl(v[0], 32);
		v[2] += v[3];
		v[3] = rotl(v[3], 16) ^ v[2];
		v[0] += v[3];
		v[3] = rotl(v[3], 21) ^ v[0];
		v[2] += v[1];
		v[1] = rotl(v[1], 17) ^ v[2];
		v[2] = rotl(v[2], 32);
	}
}

static void
sip_word(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	sip_rounds(v, 2);
	v[0] ^= word;
}

/* Up to eight bytes, the first one lowest, on every machine. */
static uint64_t
sip_load(const unsigned char *p, size_t n)
{
	uint64_t word = 0;

	for (size_t i = 0; i < n; i++)
		word |= (uint64_t)p[i] << (8 * i);
	return word;
}

uint64_t
map_siphash(const void *data, size_t len, uint64_t k0, uint64_t k1)
{
	const unsigned char *p = data;
	size_t whole = len - len % 8;
	uint64_t v[4] = {
		k0 ^ UINT64_C(0x736f6d6570736575),
		k1 ^ UINT64_C(0x646f72616e646f6d),
		k0 ^ UINT64_C(0x6c7967656e657261),
		k1 ^ UINT64_C(0x7465646279746573),
	};

	for (size_t i = 0; i < whole; i += 8)
		sip_word(v, sip_load(p + i, 8));
	sip_word(v, (uint64_t)len << 56 | (len > whole ? sip_load(p + whole, len - whole) : 0));
	v[2] ^= 0xff;
	sip_rounds(v, 4);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static const uint64_t *
map_key(void)
{
	static uint64_t key[2];
	static bool drawn;

	if (drawn)
		return key;
	/* Early in a boot getrandom() would wait; the kernel gave this process
	 * sixteen random bytes when it was executed, which serve as well here. */
	if (getrandom(key, sizeof key, GRND_NONBLOCK) != sizeof key)
		memcpy(key, (const void *)getauxval(AT_RANDOM), sizeof key);
	drawn = true;
	return key;
}

uint64_t
map_hash_bytes(const void *data, size_t len, uint64_t seed)
{
	const uint64_t *key = map_key();

	return map_siphash(data, len, key[0] ^ seed, key[1]);
}
