/* SPDX-License-Identifier: MIT */
/*
 * map - a hash table of intrusive nodes.
 *
 * Floor 0. The caller hashes (map_hash_bytes() is keyed, so peers cannot choose
 * collisions) and compares: look-ups walk the nodes of equal hash. A zeroed map
 * is an empty one; map_free() frees the table, never the nodes. A table that
 * cannot grow for want of memory works on with longer chains.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct map_node {
	struct map_node *next;
	uint64_t hash;
};

struct map {
	struct map_node **buckets;
	size_t mask; /* buckets - 1; buckets is a power of two, or 0 */
	size_t count;
};

void map_free(struct map *m);
int map_add(struct map *m, struct map_node *n, uint64_t hash); /* 0, or -ENOMEM: no first table */
void map_remove(struct map *m, struct map_node *n);	       /* n is in m */

/* The first node with that hash, the next one with the same; NULL: no more. */
struct map_node *map_find(const struct map *m, uint64_t hash);
struct map_node *map_find_next(const struct map_node *n);

uint64_t map_hash_u64(uint64_t n);

/* SipHash-2-4 under a key drawn when the process starts; seed chains calls. */
uint64_t map_hash_bytes(const void *data, size_t len, uint64_t seed);

/* The function itself, for its test vectors. */
uint64_t map_siphash(const void *data, size_t len, uint64_t k0, uint64_t k1);
