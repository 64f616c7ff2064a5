/* SPDX-License-Identifier: MIT */
/* What a buffer holds; to be included behind cmocka. */
#pragma once

#include "base/buf.h"

#include <string.h>

static inline void
assert_holds(const struct buf *b, const char *expected)
{
	assert_int_equal(buf_len(b), strlen(expected));
	if (*expected)
		assert_memory_equal(buf_head(b), expected, strlen(expected));
}
