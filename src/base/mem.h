/* SPDX-License-Identifier: MIT */
/*
 * mem - memory for the daemon's own small objects.
 *
 * Floor 0. These succeed or do not return: a process that cannot get the few
 * bytes of a worker's or a client's record has nothing better to do than to say
 * so and be restarted. What a peer can make large (payloads, results, buffers)
 * is never got here; it is bounded, and its failure is that peer's error.
 */
#pragma once

#include "base/slab.h"

#include <stddef.h>

void *mem_new(size_t size); /* zeroed */
void *mem_array(size_t n, size_t size);
char *mem_strdup(const char *s); /* NULL gives NULL */

/* malloc'ed printf. */
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Of the whole process, and what malloc() itself gives. Keep up to 16 MiB of what is freed at
 * the heap's end: given back at once, as the C library would, it would be taken anew page by
 * page for the next jobs, at several times what those cost. So it is to be given back when
 * there are none. */
void mem_keep_freed(void);
void mem_give_back(void);

/* Say that memory is short and abort. */
_Noreturn void mem_out(void);

/* As slab_alloc(), which has what frees it. */
static inline void *
mem_slab(size_t size)
{
	void *p = slab_alloc(size);

	if (!p)
		mem_out();
	return p;
}
