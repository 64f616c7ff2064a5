/* SPDX-License-Identifier: MIT */
/*
 * bucket - leave for so many of a thing a second, and for some more at a time.
 *
 * Floor 2. Zeroed is full: a burst may be taken at once. What is refused is
 * counted, for whoever tells it.
 */
#pragma once

#include "base/mono.h"

#include <stdbool.h>

struct bucket {
	mono_t level; /* until then it is not full again */
	uint64_t refused;
};

/* Take one. False: there have been too many lately, and it is counted. */
bool bucket_take(struct bucket *b, mono_t now, unsigned a_second, unsigned burst);

/* How many were refused; they are not counted any more. */
uint64_t bucket_take_refused(struct bucket *b);
