/* SPDX-License-Identifier: MIT */
#include "base/slab.h"

#include "base/list.h"

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
	struct list link; /* in with_room[], unless it was found full */
	struct block *freed;
	size_t used; /* blocks that are somebody's */
	size_t cut;  /* bytes of the slab that have ever been a block, and the head */
	_Alignas(STEP) char blocks[];
};

static struct list with_room[SIZES]; /* by size; those that were freed into last come first */
static size_t count;

static size_t
size_index(size_t size)
{
	return size ? (size - 1) / STEP : 0;
}

static struct slab *
slab_new(struct list *all)
{
	void *memory;
	struct slab *s;

	if (!all->next)
		list_init(all);
	if (posix_memalign(&memory, SLAB_ALIGN, SLAB_SIZE) != 0)
		return NULL;
	s = memory;
	*s = (struct slab){.cut = sizeof(*s)};
	ASAN_POISON_MEMORY_REGION(s->blocks, SLAB_SIZE - sizeof(*s));
	list_prepend(all, &s->link);
	count++;
	return s;
}

/* Let go of one that is empty, unless it is the only one that has room. */
static void
slab_drop(struct list *all, struct slab *s)
{
	if (all->next == all->prev)
		return;
	list_remove(&s->link);
	ASAN_UNPOISON_MEMORY_REGION(s->blocks, SLAB_SIZE - sizeof(*s));
	free(s);
	count--;
}

/* A block of the first slab that has one; those that have none leave the list. */
static struct block *
take(struct list *all, size_t block_size)
{
	struct slab *s;
	struct block *b;

	for (;;) {
		s = all->next && !list_empty(all) ? container_of(all->next, struct slab, link) :
						    slab_new(all);
		if (!s)
			return NULL;
		b = s->freed;
		if (b || s->cut + block_size <= SLAB_SIZE)
			break;
		list_remove(&s->link);
	}
	s->used++;
	if (!b) {
		b = (struct block *)((char *)s + s->cut);
		s->cut += block_size;
		ASAN_UNPOISON_MEMORY_REGION(b, block_size);
		return b;
	}
	ASAN_UNPOISON_MEMORY_REGION(b, block_size);
	s->freed = b->next;
	return b;
}

void *
slab_alloc(size_t size)
{
	size_t i = size_index(size), block_size = (i + 1) * STEP;
	struct block *b;

	if (size > SLAB_MAX)
		return malloc(size);
	b = take(&with_room[i], block_size);
	if (b)
		ASAN_POISON_MEMORY_REGION((char *)b + size, block_size - size);
	return b;
}

void
slab_free(void *block, size_t size)
{
	size_t i = size_index(size);
	struct slab *s = (struct slab *)((uintptr_t)block & ~(uintptr_t)(SLAB_ALIGN - 1));
	struct block *freed = block;

	if (!block || size > SLAB_MAX) {
		free(block);
		return;
	}
	if (!list_linked(&s->link))
		list_prepend(&with_room[i], &s->link);
	ASAN_UNPOISON_MEMORY_REGION(block, (i + 1) * STEP); /* the link may be larger than it */
	freed->next = s->freed;
	s->freed = freed;
	ASAN_POISON_MEMORY_REGION(block, (i + 1) * STEP);
	if (!--s->used)
		slab_drop(&with_room[i], s);
}

size_t
slab_count(void)
{
	return count;
}
