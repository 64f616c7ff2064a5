/* SPDX-License-Identifier: MIT */
#include "base/slab.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#define STEP 16 /* bytes from one size to the next, and what blocks are aligned to */
#define SIZES (SLAB_MAX / STEP)
#define SLAB_ALIGN ((size_t)64 * 1024)
#define SLAB_SIZE (SLAB_ALIGN - 64) /* so that slabs lie side by side in malloc()'s memory */

/* Freed blocks are no memory for the sanitizer's eyes, though malloc() knows nothing of it. */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifdef SANITIZED
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#endif

struct block {
	struct block *next;
};

/* The head of a slab, which its blocks lie behind. */
struct slab {
	struct slab *next, **at; /* in with_room[]; at: what points here, NULL: it was found full */
	struct block *freed;
	size_t used; /* blocks that are somebody's */
	size_t cut;  /* bytes of the slab that have ever been a block, and the head */
	_Alignas(STEP) char blocks[];
};

static struct slab *with_room[SIZES]; /* by size; those that were freed into last come first */
static struct slab *kept[SIZES];      /* of these the one that was empty, and stayed */
static size_t count;

static size_t
size_index(size_t size)
{
	return size ? (size - 1) / STEP : 0;
}

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
	ASAN_POISON_MEMORY_REGION(s->blocks, SLAB_SIZE - sizeof(*s));
	slab_link(s, all);
	count++;
	return s;
}

/* Let go of one that is empty; but one a size stays, since what was needed a moment ago
 * is needed again in a moment. */
static void
slab_drop(struct slab *s, size_t i)
{
	if (!kept[i] || kept[i]->used || kept[i] == s) {
		kept[i] = s;
		return;
	}
	slab_unlink(s);
	ASAN_UNPOISON_MEMORY_REGION(s->blocks, SLAB_SIZE - sizeof(*s));
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

/* One that was none yet becomes a block that is free. Seldom: it is of no use inside of
 * its caller. */
__attribute__((noinline)) static bool
block_cut(struct slab **all, size_t block_size)
{
	struct slab *s = slab_find(all, block_size);
	struct block *b;

	if (!s || s->freed)
		return s;
	b = (struct block *)((char *)s + s->cut);
	ASAN_UNPOISON_MEMORY_REGION(b, block_size);
	b->next = NULL;
	s->freed = b;
	s->cut += block_size;
	return true;
}

void *
slab_alloc(size_t size)
{
	size_t i = size_index(size), block_size = (i + 1) * STEP;
	struct slab **all, *s;
	struct block *b;

	if (size > SLAB_MAX)
		return malloc(size);
	all = &with_room[i];
	if ((!*all || !(*all)->freed) && !block_cut(all, block_size))
		return NULL;
	s = *all;
	b = s->freed;
	ASAN_UNPOISON_MEMORY_REGION(b, block_size);
	s->freed = b->next;
	s->used++;
	ASAN_POISON_MEMORY_REGION((char *)b + size, block_size - size);
	return b;
}

void
slab_free(void *block, size_t size)
{
	size_t i = size_index(size), block_size = (i + 1) * STEP;
	struct slab *s = (struct slab *)((uintptr_t)block & ~(uintptr_t)(SLAB_ALIGN - 1));
	struct block *b = block;

	if (!block || size > SLAB_MAX) {
		free(block);
		return;
	}
	if (!s->at)
		slab_link(s, &with_room[i]);
	ASAN_UNPOISON_MEMORY_REGION(b, block_size); /* the link may be larger than it was */
	b->next = s->freed;
	s->freed = b;
	ASAN_POISON_MEMORY_REGION(b, block_size);
	if (!--s->used)
		slab_drop(s, i);
}

size_t
slab_count(void)
{
	return count;
}
