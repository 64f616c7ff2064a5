/* SPDX-License-Identifier: MIT */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUF_FIRST 256		   /* bytes of the first allocation, at least */
#define BUF_FIRST_MAX (256 * 1024) /* and at most, where no more is asked for */

void
buf_free(struct buf *b)
{
	free(b->data);
	*b = (struct buf){0};
}

/* Move the unread bytes to the front. */
static void
buf_compact(struct buf *b)
{
	size_t len = buf_len(b);

	if (b->start == 0 || !b->data)
		return;
	memmove(b->data, b->data + b->start, len);
	b->start = 0;
	b->end = len;
}

/* The next capacity that holds need bytes: twice the one before at least, so that a byte is
 * moved but a few times. */
static size_t
buf_next_cap(const struct buf *b, size_t need)
{
	size_t cap = b->first > BUF_FIRST ? b->first : BUF_FIRST;

	if (b->cap)
		cap = b->cap * 2;
	return cap > need ? cap : need;
}

static bool
buf_grow(struct buf *b, size_t need)
{
	size_t cap = buf_next_cap(b, need);
	char *data;

	if (cap > PTRDIFF_MAX) /* no block can be that large */
		return false;
	data = realloc(b->data, cap);
	if (!data)
		return false;
	b->data = data;
	b->cap = cap;
	return true;
}

bool
buf_make_room(struct buf *b, size_t n)
{
	size_t len = buf_len(b);

	if (b->failed)
		return false;
	if (n > SIZE_MAX - len) {
		b->failed = true;
		return false;
	}
	/* Moving is cheap only where at least as many bytes were consumed as move. */
	if (b->start >= len)
		buf_compact(b);
	if (b->data && n <= buf_room(b))
		return true;
	if (n > SIZE_MAX - b->end || !buf_grow(b, b->end + n))
		b->failed = true;
	return !b->failed;
}

void
buf_puts(struct buf *b, const char *s)
{
	buf_put(b, s, strlen(s));
}

void
buf_putf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	/* vsnprintf wants room for its NUL, which is not committed. */
	if (n < 0 || !buf_reserve(b, (size_t)n + 1)) {
		b->failed = true;
		return;
	}
	va_start(ap, fmt);
	(void)vsnprintf(buf_tail(b), (size_t)n + 1, fmt, ap);
	va_end(ap);
	buf_commit(b, (size_t)n);
}

void
buf_trim(struct buf *b, size_t keep)
{
	size_t first = b->cap - b->cap / 8; /* so what was much is little again, sometime */

	if (buf_len(b) > 0 || b->cap <= keep)
		return;
	free(b->data);
	*b = (struct buf){
		.first = (uint32_t)(first < BUF_FIRST_MAX ? first : BUF_FIRST_MAX),
		.failed = b->failed,
	};
}

void
buf_shrink(struct buf *b, size_t keep)
{
	size_t len = buf_len(b), cap = len > keep ? len : keep;
	char *data;

	if (b->cap <= keep || len >= b->cap / 4)
		return;
	buf_compact(b);
	data = realloc(b->data, cap);
	if (!data)
		return;
	b->data = data;
	b->cap = cap;
}

char *
buf_steal(struct buf *b, size_t *ret_len)
{
	size_t len = buf_len(b);
	char *data = NULL;

	if (len > 0 && buf_reserve(b, 1)) {
		buf_compact(b);
		data = b->data;
		data[len] = '\0';
		b->data = NULL;
	}
	if (ret_len)
		*ret_len = data ? len : 0;
	/* A failure stays to be seen: NULL alone could be an empty buffer. */
	free(b->data);
	*b = (struct buf){.failed = b->failed};
	return data;
}
