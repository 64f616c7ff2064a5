/* SPDX-License-Identifier: MIT */
/*
 * slab - small blocks of memory, for what comes and goes with every job.
 *
 * Floor 0. As malloc() and free(), for those who know the size at both ends:
 * blocks have no header, are cut from slabs of one size each, and the one that was
 * freed last is the next one out, while its memory is warm. Slabs whose blocks are
 * all free go back, but for one a size. What is larger than SLAB_MAX is
 * malloc()'s. For one thread, as everything here.
 */
#pragma once

#include <stddef.h>

#define SLAB_MAX 1024 /* bytes of a block; above that the header does not matter */

/* Aligned for anything, not zeroed. NULL: there is no memory. */
void *slab_alloc(size_t size);
/* size: as it was given. No-op for NULL. */
void slab_free(void *block, size_t size);

/* Slabs that there are, of all sizes. */
size_t slab_count(void);
