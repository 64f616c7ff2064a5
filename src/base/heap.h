/* SPDX-License-Identifier: MIT */
/*
 * heap - a binary heap of intrusive nodes, least key first.
 *
 * Floor 0. Nodes know their place, so a node is removed or moved in O(log n).
 * A zeroed node is in no heap, a zeroed heap is an empty one; heap_free() frees
 * the array, never the nodes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_node {
	int64_t key;
	size_t place; /* index + 1; 0: in no heap */
};

struct heap {
	struct heap_node **nodes;
	size_t count, cap;
};

void heap_free(struct heap *h);

/* Put a node in, or move the one that is in already. 0 or -ENOMEM (and then a
 * node that was not in is still not in; one that was is always moved). */
int heap_set(struct heap *h, struct heap_node *n, int64_t key);
void heap_remove(struct heap *h, struct heap_node *n); /* no-op when not in */

static inline struct heap_node *
heap_min(const struct heap *h)
{
	return h->count ? h->nodes[0] : NULL;
}
