/* SPDX-License-Identifier: MIT */
#include "base/mem.h"

#include "base/log.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEPT (16 << 20)
#define MAPPED (32 << 20) /* blocks that are mappings of their own, at least: the most there is */

void
mem_keep_freed(void)
{
	/* With the second alone, the first would be 128 KiB, and grow no more by itself. */
	if (mallopt(M_MMAP_THRESHOLD, MAPPED))
		mallopt(M_TRIM_THRESHOLD, KEPT);
}

void
mem_give_back(void)
{
	malloc_trim(0);
}

_Noreturn void
mem_out(void)
{
	log_msg(LOG_CRIT, "out of memory");
	abort();
}

static void *
mem_need(void *p)
{
	if (!p)
		mem_out();
	return p;
}

void *
mem_new(size_t size)
{
	return mem_need(calloc(1, size));
}

void *
mem_array(size_t n, size_t size)
{
	return mem_need(calloc(n ? n : 1, size));
}

char *
mem_strdup(const char *s)
{
	return s ? mem_need(strdup(s)) : NULL;
}

char *
mem_printf(const char *fmt, ...)
{
	char *s = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&s, fmt, ap);
	va_end(ap);
	return mem_need(n < 0 ? NULL : s);
}
