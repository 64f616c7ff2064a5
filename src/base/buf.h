/* SPDX-License-Identifier: MIT */
/*
 * buf - a growing run of bytes, written at its tail and read at its head.
 *
 * Floor 0. A zeroed struct buf is an empty one; its owner calls buf_free().
 * Writers do not return errors: when memory is short the buffer is marked
 * failed, keeps what it had and takes no more, and the owner looks at
 * buf_failed() once, where the bytes are used. Bounds are the owner's too: it
 * compares buf_len() with its budget before it writes.
 */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct buf {
	char *data;
	size_t start;	/* first unread byte */
	size_t end;	/* one past the last byte */
	size_t cap;	/* bytes allocated */
	uint32_t first; /* bytes to allocate next time, at least: nearly as many as the last time */
	bool failed;
};

void buf_free(struct buf *b);

/* buf_reserve() where there is none. Apart, so that a writer who finds room is short. */
__attribute__((noinline)) bool buf_make_room(struct buf *b, size_t n);

void buf_puts(struct buf *b, const char *s);
void buf_putf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Give memory back when the buffer is empty and holds more than keep bytes. What is put
 * into it next is expected to be as much again. */
void buf_trim(struct buf *b, size_t keep);
/* The same where it is not empty, but less than a quarter full. */
void buf_shrink(struct buf *b, size_t keep);

/* Hand the bytes over as one malloc'ed, NUL-terminated block (NULL when empty
 * or failed); the buffer is empty afterwards. The caller frees it. */
char *buf_steal(struct buf *b, size_t *ret_len);

static inline size_t
buf_len(const struct buf *b)
{
	return b->end - b->start;
}

/* NULL, as buf_tail(), where nothing was ever allocated: NULL + 0 is undefined in C. */
static inline char *
buf_head(const struct buf *b)
{
	return b->data ? b->data + b->start : NULL;
}

static inline char *
buf_tail(const struct buf *b)
{
	return b->data ? b->data + b->end : NULL;
}

/* Bytes that can be written at the tail without growing. */
static inline size_t
buf_room(const struct buf *b)
{
	return b->cap - b->end;
}

/* n bytes were written at buf_tail(). */
static inline void
buf_commit(struct buf *b, size_t n)
{
	b->end += n;
}

/* Make room for n bytes at the tail, which is not NULL then, for n = 0 either. False (and
 * failed) when there is no memory. */
static inline bool
buf_reserve(struct buf *b, size_t n)
{
	return (b->data && n <= buf_room(b) && !b->failed) || buf_make_room(b, n);
}

static inline void
buf_put(struct buf *b, const void *data, size_t n)
{
	if (n == 0 || !buf_reserve(b, n))
		return;
	memcpy(buf_tail(b), data, n);
	buf_commit(b, n);
}

static inline void
buf_putc(struct buf *b, char c)
{
	buf_put(b, &c, 1);
}

#define U64_DIGITS 20

/* n in decimal, without printf: from s on, which has room for U64_DIGITS. Where it ends. */
static inline char *
buf_digits(char *s, uint64_t n)
{
	char *end = s + 1, *at;

	assert(s);
	for (uint64_t rest = n; rest >= 10; rest /= 10)
		end++;
	for (at = end - 1; n >= 10; n /= 10)
		*at-- = (char)('0' + n % 10);
	*at = (char)('0' + n);
	return end;
}

static inline void
buf_put_u64(struct buf *b, uint64_t n)
{
	if (buf_reserve(b, U64_DIGITS))
		buf_commit(b, (size_t)(buf_digits(buf_tail(b), n) - buf_tail(b)));
}

/* Drop n bytes from the head; n <= buf_len(). */
static inline void
buf_consume(struct buf *b, size_t n)
{
	assert(n <= buf_len(b));
	b->start += n;
	if (b->start == b->end)
		b->start = b->end = 0;
}

static inline bool
buf_failed(const struct buf *b)
{
	return b->failed;
}
