/* SPDX-License-Identifier: MIT */
/*
 * parse - numbers, sizes and durations, as people write them, and back.
 *
 * Floor 0. All take a counted string (no NUL needed), accept nothing before or
 * behind, and return 0, -EINVAL (not of that form) or -ERANGE (of that form,
 * but out of range). *ret is written on success only.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define SIZE_INFINITY UINT64_MAX

/* Decimal digits only; 0 <= *ret <= max. */
int parse_u64(const char *s, size_t len, uint64_t max, uint64_t *ret);

/* A number with an optional suffix K, M, G, T (powers of 1024, any case), or
 * "infinity" (SIZE_INFINITY). In bytes. */
int parse_size(const char *s, size_t len, uint64_t *ret);

/* A number, with an optional fraction of up to six digits, and an optional unit
 * us, ms, s, m, h or d (none: seconds), or "infinity" (USEC_INFINITY). In µs. */
int parse_duration(const char *s, size_t len, int64_t *ret_us);

/* "MIN..MAX", both durations, 0 < MIN <= MAX < infinity. */
int parse_duration_range(const char *s, size_t len, int64_t *ret_min_us, int64_t *ret_max_us);

#define FORMAT_MAX 32 /* room that any of the writers below needs, NUL included */

/* The shortest exact form that the reader above takes: "90s", "1500ms",
 * "infinity"; "64M", "1000". Return dst. */
char *format_duration(char dst[FORMAT_MAX], int64_t us);
char *format_size(char dst[FORMAT_MAX], uint64_t bytes);
