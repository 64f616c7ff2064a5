/* SPDX-License-Identifier: MIT */
#include "base/heap.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define HEAP_FIRST 16

void
heap_free(struct heap *h)
{
	free(h->nodes);
	*h = (struct heap){0};
}

static void
heap_put(struct heap *h, size_t i, struct heap_node *n)
{
	h->nodes[i] = n;
	n->place = i + 1;
}

static void
heap_sift_up(struct heap *h, size_t i, struct heap_node *n)
{
	while (i > 0) {
		size_t parent = (i - 1) / 2;

		if (h->nodes[parent]->key <= n->key)
			break;
		heap_put(h, i, h->nodes[parent]);
		i = parent;
	}
	heap_put(h, i, n);
}

static void
heap_sift_down(struct heap *h, size_t i, struct heap_node *n)
{
	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= h->count)
			break;
		if (child + 1 < h->count && h->nodes[child + 1]->key < h->nodes[child]->key)
			child++;
		if (n->key <= h->nodes[child]->key)
			break;
		heap_put(h, i, h->nodes[child]);
		i = child;
	}
	heap_put(h, i, n);
}

/* n, with any key, belongs somewhere above or below the hole at i. */
static void
heap_settle(struct heap *h, size_t i, struct heap_node *n)
{
	if (i > 0 && n->key < h->nodes[(i - 1) / 2]->key)
		heap_sift_up(h, i, n);
	else
		heap_sift_down(h, i, n);
}

static int
heap_grow(struct heap *h)
{
	size_t cap = h->cap ? h->cap * 2 : HEAP_FIRST;
	struct heap_node **nodes = reallocarray(h->nodes, cap, sizeof *nodes);

	if (!nodes)
		return -ENOMEM;
	h->nodes = nodes;
	h->cap = cap;
	return 0;
}

int
heap_set(struct heap *h, struct heap_node *n, int64_t key)
{
	if (n->place > 0) {
		n->key = key;
		heap_settle(h, n->place - 1, n);
		return 0;
	}
	if (h->count == h->cap && heap_grow(h) < 0)
		return -ENOMEM;
	n->key = key;
	heap_sift_up(h, h->count++, n);
	return 0;
}

void
heap_remove(struct heap *h, struct heap_node *n)
{
	size_t i = n->place - 1;
	struct heap_node *last;

	if (n->place == 0)
		return;
	assert(i < h->count && h->nodes[i] == n);
	n->place = 0;
	last = h->nodes[--h->count];
	if (last != n)
		heap_settle(h, i, last);
}
