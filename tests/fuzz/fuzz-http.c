/* SPDX-License-Identifier: MIT */
/*
 * Feeds the reader of HTTP heads. What it finds must be the same in one piece and a
 * byte at a time; each call sees a block of the exact size.
 */
#include "ctl/http.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The path, as a place in the data, and all else in one number; 0: not known yet. */
static uint64_t
call(const uint8_t *data, size_t len)
{
	char *copy = malloc(len ? len : 1);
	struct http_request r;
	uint64_t found = 0;

	if (len)
		memcpy(copy, data, len);
	if (http_parse(copy, len, &r))
		found = (uint64_t)r.status | (uint64_t)r.get << 10 | (uint64_t)r.head << 11 |
			(uint64_t)r.openmetrics << 12;
	if (found && r.status == 200) {
		bool inside = r.path >= copy && r.path + r.path_len <= copy + len;

		if (!inside && strncmp(r.path, "/", r.path_len) != 0)
			abort();
		found |= (uint64_t)r.path_len << 16 |
			 (inside ? (uint64_t)(r.path - copy) << 32 : 0);
	}
	free(copy);
	return found;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t whole = call(data, size), found = 0;

	for (size_t n = 0; n <= size && !found; n++)
		found = call(data, n);
	if (found != whole)
		abort();
	return 0;
}
