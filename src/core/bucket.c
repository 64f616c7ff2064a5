/* SPDX-License-Identifier: MIT */
#include "core/bucket.h"

bool
bucket_take(struct bucket *b, mono_t now, unsigned a_second, unsigned burst)
{
	int64_t one = USEC_PER_SEC / a_second; /* the time that brings one back */
	mono_t level = mono_add(mono_before(b->level, now) ? now : b->level, one);

	if (mono_since(level, now) > burst * one) {
		b->refused++;
		return false;
	}
	b->level = level;
	return true;
}

uint64_t
bucket_take_refused(struct bucket *b)
{
	uint64_t n = b->refused;

	b->refused = 0;
	return n;
}
