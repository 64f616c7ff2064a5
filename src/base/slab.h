/* SPDX-License-Identifier: MIT */
/*
 * slab - small blocks of memory, for what comes and goes with every job.
 *
 * Floor 0. As malloc() and free(), for those who know the size at both ends:
 * blocks have no header, are cut from slabs of one size each, and the one that was
 * freed last is the next one out, while its memory is warm. Slabs whose blocks are
 * all free go back, but for a few a size. What is larger than SLAB_MAX is
 * malloc()'s. For one thread, as everything here.
 */
#pragma once

#include "base/poison.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SLAB_MAX 1024 /* bytes of a block; above that the header does not matter */

/* Aligned for anything, not zeroed. NULL: there is no memory. */
static inline void *slab_alloc(size_t size);
/* block: not NULL. size: as it was given. */
static inline void slab_free(void *block, size_t size);

/* Slabs that there are, of all sizes. */
size_t slab_count(void);

/* ---- what is behind it: here, since a call would cost more than what there is to do ---- */

#define SLAB_STEP 16 /* bytes from one size to the next, and what blocks are aligned to */
#define SLAB_SIZES (SLAB_MAX / SLAB_STEP)
#define SLAB_ALIGN ((size_t)64 * 1024)
#define SLAB_STAYING 4 /* of a size, when empty too: thousands of jobs come and go at once */

struct slab_block {
	struct slab_block *next;
};

/* The head of a slab, which its blocks lie behind. */
struct slab {
	struct slab *next, **at; /* among those with room; at: what points here, NULL: found full */
	struct slab_block *freed;
	size_t used; /* blocks that are somebody's, and one more where the slab stays */
	size_t cut;  /* bytes of the slab that have ever been a block, and the head */
	_Alignas(SLAB_STEP) char blocks[];
};

/* By size; those that were found full, and freed into since, come first. */
extern struct slab *slabs_with_room[SLAB_SIZES];

/* When the slab has nothing that was freed, was full, or is about to be empty: seldom, so
 * that it is of no use inside of its callers. */
__attribute__((noinline)) void *slab_alloc_slowly(size_t size);
__attribute__((noinline)) void slab_free_slowly(void *block, size_t size);

/* Else it is malloc()'s, and so is what has no size. */
static inline bool
slab_has(size_t size)
{
	return size - 1 < SLAB_MAX;
}

static inline size_t
slab_index(size_t size)
{
	return (size - 1) / SLAB_STEP;
}

static inline size_t
slab_block_size(size_t size)
{
	return (slab_index(size) + 1) * SLAB_STEP;
}

/* A slab begins at a multiple of SLAB_ALIGN. */
static inline struct slab *
slab_of(void *block)
{
	return (struct slab *)((uintptr_t)block & ~(uintptr_t)(SLAB_ALIGN - 1));
}

/* Take what was freed last. */
static inline void *
slab_take(struct slab *s, size_t size)
{
	struct slab_block *b = s->freed;

	UNPOISON(b, slab_block_size(size));
	s->freed = b->next;
	s->used++;
	POISON((char *)b + size, slab_block_size(size) - size);
	return b;
}

static inline void
slab_put(struct slab *s, void *block, size_t size)
{
	struct slab_block *b = block;

	UNPOISON(b, slab_block_size(size)); /* the link may be larger than it was */
	b->next = s->freed;
	s->freed = b;
	s->used--;
	POISON(b, slab_block_size(size));
}

static inline void *
slab_alloc(size_t size)
{
	struct slab *s = slab_has(size) ? slabs_with_room[slab_index(size)] : NULL;

	return s && s->freed ? slab_take(s, size) : slab_alloc_slowly(size);
}

static inline void
slab_free(void *block, size_t size)
{
	struct slab *s = slab_of(block);

	if (slab_has(size) && s->at && s->used > 1)
		slab_put(s, block, size);
	else
		slab_free_slowly(block, size);
}
