/* SPDX-License-Identifier: MIT */
#include "base/slab.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#define SLAB_SIZE (SLAB_ALIGN - 64) /* so that slabs lie side by side in malloc()'s memory */

struct slab *slabs_with_room[SLAB_SIZES];
static struct slab *kept[SLAB_SIZES][SLAB_KEPT]; /* of these, that were empty, and stayed */
static size_t count;

static void
slab_link(struct slab *s, struct slab **all)
{
	s->next = *all;
	s->at = all;
	if (s->next)
		s->next->at = &s->next;
	*all = s;
}

static void
slab_unlink(struct slab *s)
{
	assert(s->at);
	*s->at = s->next;
	if (s->next)
		s->next->at = s->at;
	s->at = NULL;
}

static struct slab *
slab_new(struct slab **all)
{
	void *memory;
	struct slab *s;

	if (posix_memalign(&memory, SLAB_ALIGN, SLAB_SIZE) != 0)
		return NULL;
	s = memory;
	*s = (struct slab){.cut = sizeof(*s)};
	POISON(s->blocks, SLAB_SIZE - sizeof(*s));
	slab_link(s, all);
	count++;
	return s;
}

/* Let go of one that is empty; but a few a size stay, since what was needed a moment ago
 * is needed again in a moment. */
static void
slab_drop(struct slab *s, size_t i)
{
	struct slab **place = NULL;

	for (struct slab **k = kept[i]; k < kept[i] + SLAB_KEPT; k++)
		if (!*k || (*k)->used || *k == s) {
			*k = NULL;
			place = k;
		}
	if (place) {
		*place = s;
		return;
	}
	slab_unlink(s);
	UNPOISON(s->blocks, SLAB_SIZE - sizeof(*s));
	free(s);
	count--;
}

/* The first slab that has a block to give; those that have none leave the list. */
static struct slab *
slab_find(struct slab **all, size_t block_size)
{
	struct slab *s;

	while ((s = *all) && !s->freed && s->cut + block_size > SLAB_SIZE)
		slab_unlink(s);
	return s ? s : slab_new(all);
}

/* One that was none yet becomes a block that is free. False: there is no memory. */
static bool
block_cut(struct slab **all, size_t block_size)
{
	struct slab *s = slab_find(all, block_size);
	struct slab_block *b;

	if (!s || s->freed)
		return s;
	b = (struct slab_block *)((char *)s + s->cut);
	UNPOISON(b, block_size);
	b->next = NULL;
	s->freed = b;
	s->cut += block_size;
	return true;
}

void *
slab_alloc_slowly(size_t size)
{
	struct slab **all;

	if (!slab_has(size))
		return malloc(size);
	all = &slabs_with_room[slab_index(size)];
	return block_cut(all, slab_block_size(size)) ? slab_take(*all, size) : NULL;
}

void
slab_free_slowly(void *block, size_t size)
{
	struct slab *s = slab_of(block);

	if (!slab_has(size)) {
		free(block);
		return;
	}
	if (!s->at)
		slab_link(s, &slabs_with_room[slab_index(size)]);
	slab_put(s, block, size);
	if (!s->used)
		slab_drop(s, slab_index(size));
}

size_t
slab_count(void)
{
	return count;
}
