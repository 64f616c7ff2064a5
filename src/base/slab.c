/* SPDX-License-Identifier: MIT */
#include "base/slab.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#define SLAB_SIZE (SLAB_ALIGN - 64) /* so that slabs lie side by side in malloc()'s memory */

struct slab *slabs_with_room[SLAB_SIZES];
static unsigned staying[SLAB_SIZES]; /* slabs that do not go back, though they are empty */
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

/* The first few of a size stay, since what was needed a moment ago is needed again in a
 * moment. */
static struct slab *
slab_new(size_t i)
{
	bool stays = staying[i] < SLAB_STAYING;
	void *memory;
	struct slab *s;

	if (posix_memalign(&memory, SLAB_ALIGN, SLAB_SIZE) != 0)
		return NULL;
	s = memory;
	*s = (struct slab){.used = stays, .cut = sizeof(*s)};
	POISON(s->blocks, SLAB_SIZE - sizeof(*s));
	slab_link(s, &slabs_with_room[i]);
	staying[i] += stays;
	count++;
	return s;
}

static void
slab_drop(struct slab *s)
{
	slab_unlink(s);
	UNPOISON(s->blocks, SLAB_SIZE - sizeof(*s));
	free(s);
	count--;
}

/* The first slab that has a block to give; those that have none leave the list. NULL:
 * there is no memory. */
static struct slab *
slab_find(size_t size)
{
	size_t i = slab_index(size);
	struct slab *s;

	while ((s = slabs_with_room[i]) && !s->freed && s->cut + slab_block_size(size) > SLAB_SIZE)
		slab_unlink(s);
	return s ? s : slab_new(i);
}

/* What was no block yet becomes one that is free. */
static void
slab_cut(struct slab *s, size_t block_size)
{
	struct slab_block *b = (struct slab_block *)((char *)s + s->cut);

	UNPOISON(b, block_size);
	b->next = NULL;
	s->freed = b;
	s->cut += block_size;
}

void *
slab_alloc_slowly(size_t size)
{
	struct slab *s;

	if (!slab_has(size))
		return malloc(size);
	s = slab_find(size);
	if (!s)
		return NULL;
	if (!s->freed)
		slab_cut(s, slab_block_size(size));
	return slab_take(s, size);
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
		slab_drop(s);
}

size_t
slab_count(void)
{
	return count;
}
