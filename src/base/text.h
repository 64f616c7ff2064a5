/* SPDX-License-Identifier: MIT */
/*
 * text - bytes from outside, made fit to be shown.
 *
 * Floor 0. Log lines, error replies and tables show what workers and clients
 * wrote; control characters in it must not reach a terminal or forge a line.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Copy src to dst (cap bytes, cap >= 8, always NUL-terminated): C0, DEL and C1
 * controls and bytes that are not UTF-8 become \xNN, a backslash stays. What
 * does not fit is cut, between characters, and ends in "...". Return dst. */
char *text_escape(char *dst, size_t cap, const char *src, size_t len);
/* The same of a string. */
char *text_escape_str(char *dst, size_t cap, const char *src);

/* How many of the len bytes are whole characters: but for one at the end of which only
 * a part is there, all. */
size_t text_whole(const char *s, size_t len);

/* How far a and b are apart (insertions, deletions, substitutions, swaps), or
 * limit + 1 when it is more than limit. For "did you mean" hints. */
unsigned text_distance(const char *a, const char *b, unsigned limit);

/* Does all of s match the pattern, by the rules of Redis: * any bytes, ? one byte,
 * [a-z] one of them, [^a-z] none of them, \ before a byte takes it as it is. Time
 * is at most the product of the two lengths. */
bool text_glob(const char *pattern, size_t pattern_len, const char *s, size_t len);

/* How many bytes at the pattern's start stand for themselves, whatever follows. */
size_t text_glob_prefix(const char *pattern, size_t len);
