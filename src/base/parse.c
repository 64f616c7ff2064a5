/* SPDX-License-Identifier: MIT */
#include "base/parse.h"

#include "base/mono.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define FRACTION_DIGITS 6
#define FRACTION_ONE INT64_C(1000000) /* 10 to the power of FRACTION_DIGITS */

struct unit {
	const char *name;
	int64_t us;
};

/* Largest first: the writer takes the first that divides. */
static const struct unit units[] = {
	{"d", 86400 * USEC_PER_SEC}, {"h", 3600 * USEC_PER_SEC}, {"m", 60 * USEC_PER_SEC},
	{"s", USEC_PER_SEC},	     {"ms", USEC_PER_MSEC},	 {"us", 1},
};

static const char suffixes[] = "KMGT";

#define N_UNITS (sizeof units / sizeof units[0])
#define N_SUFFIXES (sizeof suffixes - 1)

static bool
is(const char *s, size_t len, const char *word)
{
	return len == strlen(word) && memcmp(s, word, len) == 0;
}

/* How many of the len bytes at s are leading digits. Their value goes to *ret,
 * and *ret_over tells that it is over max (*ret is then of no use). */
static size_t
take_digits(const char *s, size_t len, uint64_t max, uint64_t *ret, bool *ret_over)
{
	uint64_t n = 0;
	size_t i;

	*ret_over = false;
	for (i = 0; i < len && s[i] >= '0' && s[i] <= '9'; i++) {
		if (__builtin_mul_overflow(n, (uint64_t)10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(s[i] - '0'), &n) || n > max) {
			*ret_over = true;
			n = 0;
		}
	}
	*ret = n;
	return i;
}

int
parse_u64(const char *s, size_t len, uint64_t max, uint64_t *ret)
{
	uint64_t n;
	bool over;

	if (len == 0 || take_digits(s, len, max, &n, &over) != len)
		return -EINVAL;
	if (over)
		return -ERANGE;
	*ret = n;
	return 0;
}

/* The power of two of a size's suffix, or -EINVAL. */
static int
suffix_shift(const char *s, size_t len)
{
	if (len == 0)
		return 0;
	for (size_t i = 0; len == 1 && i < N_SUFFIXES; i++)
		if ((*s & ~0x20) == suffixes[i])
			return 10 * ((int)i + 1);
	return -EINVAL;
}

int
parse_size(const char *s, size_t len, uint64_t *ret)
{
	uint64_t n;
	bool over;
	size_t digits;
	int shift;

	if (is(s, len, "infinity")) {
		*ret = SIZE_INFINITY;
		return 0;
	}
	digits = take_digits(s, len, SIZE_INFINITY - 1, &n, &over);
	if (digits == 0)
		return -EINVAL;
	shift = suffix_shift(s + digits, len - digits);
	if (shift < 0)
		return -EINVAL;
	if (over || n > (SIZE_INFINITY - 1) >> shift)
		return -ERANGE;
	*ret = n << shift;
	return 0;
}

/* ".5" at s: its bytes (0: there is none, -EINVAL: malformed), the value in
 * millionths in *ret. */
static int
take_fraction(const char *s, size_t len, int64_t *ret)
{
	uint64_t n;
	bool over;
	size_t digits;

	*ret = 0;
	if (len == 0 || s[0] != '.')
		return 0;
	digits = take_digits(s + 1, len - 1, UINT64_MAX, &n, &over);
	if (digits == 0 || digits > FRACTION_DIGITS)
		return -EINVAL;
	for (size_t i = digits; i < FRACTION_DIGITS; i++)
		n *= 10;
	*ret = (int64_t)n;
	return (int)digits + 1;
}

/* The unit's length in µs; none means seconds; 0: no such unit. */
static int64_t
unit_us(const char *s, size_t len)
{
	if (len == 0)
		return USEC_PER_SEC;
	for (size_t i = 0; i < N_UNITS; i++)
		if (is(s, len, units[i].name))
			return units[i].us;
	return 0;
}

/* whole and millionths units of us microseconds each. What is finer than a
 * microsecond is out of range too: it could not be kept. */
static int
scale_duration(uint64_t whole, int64_t millionths, int64_t us, int64_t *ret_us)
{
	int64_t part = millionths * us; /* < 10^6 × a day in µs: fits */
	int64_t sum;

	if (part % FRACTION_ONE != 0 || whole > INT64_MAX)
		return -ERANGE;
	if (__builtin_mul_overflow((int64_t)whole, us, &sum) ||
	    __builtin_add_overflow(sum, part / FRACTION_ONE, &sum) || sum == USEC_INFINITY)
		return -ERANGE;
	*ret_us = sum;
	return 0;
}

int
parse_duration(const char *s, size_t len, int64_t *ret_us)
{
	uint64_t whole;
	int64_t millionths, us;
	bool over;
	size_t at;
	int n;

	if (is(s, len, "infinity")) {
		*ret_us = USEC_INFINITY;
		return 0;
	}
	at = take_digits(s, len, INT64_MAX, &whole, &over);
	if (at == 0)
		return -EINVAL;
	n = take_fraction(s + at, len - at, &millionths);
	if (n < 0)
		return n;
	at += (size_t)n;
	us = unit_us(s + at, len - at);
	if (us == 0)
		return -EINVAL;
	return over ? -ERANGE : scale_duration(whole, millionths, us, ret_us);
}

int
parse_duration_range(const char *s, size_t len, int64_t *ret_min_us, int64_t *ret_max_us)
{
	const char *dots = len ? memmem(s, len, "..", 2) : NULL;
	int64_t min, max;
	int r, r2;

	if (!dots)
		return -EINVAL;
	r = parse_duration(s, (size_t)(dots - s), &min);
	r2 = parse_duration(dots + 2, len - (size_t)(dots - s) - 2, &max);
	if (r == -EINVAL || r2 == -EINVAL)
		return -EINVAL;
	if (r < 0 || r2 < 0 || min == 0 || min > max || max == USEC_INFINITY)
		return -ERANGE;
	*ret_min_us = min;
	*ret_max_us = max;
	return 0;
}

char *
format_duration(char dst[FORMAT_MAX], int64_t us)
{
	const struct unit *u = units;

	if (us == USEC_INFINITY)
		return strcpy(dst, "infinity");
	if (us == 0)
		return strcpy(dst, "0s");
	while (us % u->us != 0)
		u++;
	(void)snprintf(dst, FORMAT_MAX, "%" PRId64 "%s", us / u->us, u->name);
	return dst;
}

char *
format_size(char dst[FORMAT_MAX], uint64_t bytes)
{
	size_t i = 0;

	if (bytes == SIZE_INFINITY)
		return strcpy(dst, "infinity");
	while (i < N_SUFFIXES && bytes > 0 && bytes % 1024 == 0) {
		bytes /= 1024;
		i++;
	}
	(void)snprintf(dst, FORMAT_MAX, "%" PRIu64 "%.1s", bytes, i ? &suffixes[i - 1] : "");
	return dst;
}
