/* SPDX-License-Identifier: MIT */
/* The same numbers in every run, from a seed that is not 0 (xorshift). */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t
random_next(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* Some of the pieces one behind the other, and a stray byte here and there: at
 * most cap bytes, whose number is returned. */
static inline size_t
random_text(uint64_t *seed, const char *const *pieces, size_t n_pieces, char *dst, size_t cap)
{
	size_t n = random_next(seed) % 24, len = 0;

	while (n--) {
		const char *s = pieces[random_next(seed) % n_pieces];
		size_t l = strlen(s);

		if (len + l > cap)
			break;
		memcpy(dst + len, s, l);
		len += l;
		if (len < cap && random_next(seed) % 40 == 0)
			dst[len++] = (char)random_next(seed);
	}
	return len;
}
