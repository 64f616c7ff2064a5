/* SPDX-License-Identifier: MIT */
/*
 * text - bytes from outside, made fit to be shown.
 *
 * Floor 0. Log lines, error replies and tables show what workers and clients
 * wrote; control characters in it must not reach a terminal or forge a line.
 */
#pragma once

#include <stddef.h>

/* Copy src to dst (cap bytes, cap >= 8, always NUL-terminated): C0, DEL and C1
 * controls and bytes that are not UTF-8 become \xNN, a backslash stays. What
 * does not fit is cut, between characters, and ends in "...". Return dst. */
char *text_escape(char *dst, size_t cap, const char *src, size_t len);

/* How far a and b are apart (insertions, deletions, substitutions, swaps), or
 * limit + 1 when it is more than limit. For "did you mean" hints. */
unsigned text_distance(const char *a, const char *b, unsigned limit);
