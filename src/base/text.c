/* SPDX-License-Identifier: MIT */
#include "base/text.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static const char dots[] = "...";

/* The lead bytes of UTF-8 and what they ask for. Ranges of the second byte keep
 * out overlong forms (E0, F0), surrogates (ED) and what is past U+10FFFF (F4). */
static const struct utf8_form {
	uint8_t first, last; /* lead bytes */
	uint8_t len;	     /* bytes of the sequence */
	uint8_t min, max;    /* second byte */
} utf8_forms[] = {
	{0x00, 0x7f, 1, 0x00, 0x00}, {0xc2, 0xdf, 2, 0x80, 0xbf}, {0xe0, 0xe0, 3, 0xa0, 0xbf},
	{0xe1, 0xec, 3, 0x80, 0xbf}, {0xed, 0xed, 3, 0x80, 0x9f}, {0xee, 0xef, 3, 0x80, 0xbf},
	{0xf0, 0xf0, 4, 0x90, 0xbf}, {0xf1, 0xf3, 4, 0x80, 0xbf}, {0xf4, 0xf4, 4, 0x80, 0x8f},
};

/* The bytes of the character at s, or 0 when none is there. len > 0 */
static size_t
utf8_len(const unsigned char *s, size_t len)
{
	const struct utf8_form *f = utf8_forms;
	const struct utf8_form *end = f + sizeof utf8_forms / sizeof *f;

	while (f < end && (s[0] < f->first || s[0] > f->last))
		f++;
	if (f == end || f->len > len)
		return 0;
	if (f->len > 1 && (s[1] < f->min || s[1] > f->max))
		return 0;
	for (size_t i = 2; i < f->len; i++)
		if (s[i] < 0x80 || s[i] > 0xbf)
			return 0;
	return f->len;
}

size_t
text_whole(const char *s, size_t len)
{
	const unsigned char *u = (const unsigned char *)s;
	const struct utf8_form *end = utf8_forms + sizeof utf8_forms / sizeof *utf8_forms;

	for (size_t part = 1; part < 4 && part < len; part++) {
		unsigned char c = u[len - part];

		for (const struct utf8_form *f = utf8_forms; f < end; f++)
			if (c >= f->first && c <= f->last)
				return f->len > part ? len - part : len;
	}
	return len;
}

static bool
is_control(const unsigned char *s, size_t len)
{
	if (len == 1)
		return s[0] < 0x20 || s[0] == 0x7f;
	return len == 2 && s[0] == 0xc2 && s[1] < 0xa0; /* C1: U+0080 … U+009F */
}

/* The next character of src, fit to be shown, in piece. Returns how many bytes
 * of src it took. */
static size_t
show(char piece[8], size_t *ret_len, const unsigned char *src, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = utf8_len(src, len);

	if (n > 0 && !is_control(src, n)) {
		memcpy(piece, src, n);
		*ret_len = n;
		return n;
	}
	if (n == 0)
		n = 1;
	for (size_t i = 0; i < n; i++)
		memcpy(piece + 4 * i, (char[]){'\\', 'x', hex[src[i] >> 4], hex[src[i] & 15]}, 4);
	*ret_len = 4 * n;
	return n;
}

/* How many bytes at s are printable ASCII, which is most of what there is to be shown. */
static size_t
plain_len(const unsigned char *s, size_t len)
{
	size_t n = 0;

	while (n < len && s[n] >= 0x20 && s[n] < 0x7f)
		n++;
	return n;
}

static size_t
min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

char *
text_escape(char *dst, size_t cap, const char *src, size_t len)
{
	const unsigned char *s = (const unsigned char *)src;
	size_t at = 0, cut = 0; /* cut: the last place where the dots would fit */

	assert(cap >= 8);
	for (size_t i = 0; i < len;) {
		size_t n = plain_len(s + i, min_size(len - i, cap - 1 - at));
		char piece[8];

		memcpy(dst + at, s + i, n);
		if (at + sizeof dots <= cap)
			cut = min_size(at + n, cap - sizeof dots);
		at += n;
		i += n;
		if (i == len)
			break;
		i += show(piece, &n, s + i, len - i);
		if (at + n >= cap) {
			memcpy(dst + cut, dots, sizeof dots);
			return dst;
		}
		memcpy(dst + at, piece, n);
		at += n;
		if (at + sizeof dots <= cap)
			cut = at;
	}
	dst[at] = '\0';
	return dst;
}

char *
text_escape_str(char *dst, size_t cap, const char *src)
{
	return text_escape(dst, cap, src, strlen(src));
}

static unsigned
min_unsigned(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* Recursion no deeper than limit, which is small (its work grows as 4^limit);
 * equal heads can be dropped: matching them is never worse than any edit. */
unsigned
text_distance(const char *a, const char *b, unsigned limit)
{
	unsigned best;

	while (*a && *a == *b) {
		a++;
		b++;
	}
	if (*a == *b)
		return 0;
	if (limit == 0)
		return 1;
	best = limit;
	if (*a && *b)
		best = min_unsigned(best, text_distance(a + 1, b + 1, limit - 1));
	if (*a)
		best = min_unsigned(best, text_distance(a + 1, b, limit - 1));
	if (*b)
		best = min_unsigned(best, text_distance(a, b + 1, limit - 1));
	if (*a && *b && a[0] == b[1] && a[1] == b[0])
		best = min_unsigned(best, text_distance(a + 2, b + 2, limit - 1));
	return best + 1;
}

/* Is c in the class that begins behind the [ at p? *ret_p is behind its ], or at the
 * end where that is missing. */
static bool
class_has(const char **ret_p, const char *end, unsigned char c)
{
	const char *p = *ret_p;
	bool negated = p < end && *p == '^', found = false;

	for (p += negated; p < end && *p != ']'; p++) {
		unsigned char from, to;

		if (*p == '\\' && end - p >= 2)
			p++;
		else if (end - p >= 3 && p[1] == '-') {
			from = (unsigned char)p[0];
			to = (unsigned char)p[2];
			found |= from <= to ? c >= from && c <= to : c >= to && c <= from;
			p += 2;
			continue;
		}
		found |= (unsigned char)*p == c;
	}
	*ret_p = p < end ? p + 1 : p;
	return found != negated;
}

/* Does what is at p, which is no *, stand for c? *ret_p is behind it then. */
static bool
glob_one(const char **ret_p, const char *end, unsigned char c)
{
	const char *p = *ret_p;
	bool matches = true;

	if (*p == '[') {
		p++;
		matches = class_has(&p, end, c);
	} else if (*p == '?') {
		p++;
	} else {
		p += *p == '\\' && end - p >= 2;
		matches = (unsigned char)*p++ == c;
	}
	*ret_p = p;
	return matches;
}

/* Of several * only the last one is ever tried again: what those before it took need
 * never be more. */
bool
text_glob(const char *pattern, size_t pattern_len, const char *s, size_t len)
{
	const char *p = pattern, *p_end = p + pattern_len, *s_end = s + len;
	const char *star = NULL, *taken = NULL; /* behind the last *, and what it has taken */

	while (s < s_end) {
		const char *at = p;

		if (p < p_end && *p == '*') {
			star = ++p;
			taken = s;
		} else if (p < p_end && glob_one(&at, p_end, (unsigned char)*s)) {
			p = at;
			s++;
		} else if (star) {
			p = star;
			s = ++taken;
		} else {
			return false;
		}
	}
	while (p < p_end && *p == '*')
		p++;
	return p == p_end;
}

size_t
text_glob_prefix(const char *pattern, size_t len)
{
	size_t n = 0;

	while (n < len && !memchr("*?[\\", pattern[n], 4))
		n++;
	return n;
}
