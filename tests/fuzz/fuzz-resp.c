/* SPDX-License-Identifier: MIT */
/*
 * Feeds the command parser, under two sets of limits and with long arguments taken
 * or dropped. Whatever comes must be read the same in one piece, a byte at a time
 * and in between; each call sees a block of the exact size.
 */
#include "wire/resp.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t
hash(uint64_t h, const void *data, size_t n)
{
	const unsigned char *s = data;

	h = (h ^ n) * UINT64_C(0x100000001b3);
	while (n--)
		h = (h ^ *s++) * UINT64_C(0x100000001b3);
	return h;
}

static uint64_t
hash_result(uint64_t h, const struct resp_parser *p, enum resp_result r)
{
	h = hash(h, &r, sizeof(r));
	if (r == RESP_BAD)
		return hash(h, p->error, strlen(p->error));
	if (r == RESP_LENGTH)
		h = hash(h, &p->pending_len, sizeof(p->pending_len));
	if (r == RESP_OK || r == RESP_LENGTH)
		for (size_t i = 0; i < p->argc; i++)
			h = hash(h, p->argv[i].data, p->argv[i].len);
	return h;
}

static enum resp_result
call(struct resp_parser *p, const uint8_t *data, size_t len, size_t *ret_used, uint64_t *h)
{
	char *copy = malloc(len);
	enum resp_result r;

	if (len)
		memcpy(copy, data, len);
	r = resp_parse(p, copy, len, ret_used);
	if (*ret_used > len)
		abort();
	if (r != RESP_AGAIN)
		*h = hash_result(*h, p, r);
	free(copy);
	return r;
}

static uint64_t
run(const struct resp_limits *limits, bool skip, const uint8_t *data, size_t size, size_t step)
{
	struct resp_parser p;
	size_t from = 0, to = 0, used;
	enum resp_result r;
	uint64_t h = 0;

	resp_parser_init(&p, limits);
	do {
		r = call(&p, data + from, to - from, &used, &h);
		from += used;
		if (r == RESP_LENGTH && skip)
			resp_skip(&p);
		if (r == RESP_AGAIN && to == size)
			break;
		if (r == RESP_AGAIN)
			to = size - to < step ? size : to + step;
	} while (r != RESP_BAD && r != RESP_HTTP);
	resp_parser_free(&p);
	return h;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct resp_limits limits[] = {{4, 32, 64, 8}, {1000, 1 << 20, 1000, 0}};
	static const uint8_t nothing[1];

	if (!data)
		data = nothing;
	for (int i = 0; i < 4; i++) {
		uint64_t h = run(&limits[i / 2], i & 1, data, size, size + 1);

		if (h != run(&limits[i / 2], i & 1, data, size, 1) ||
		    h != run(&limits[i / 2], i & 1, data, size, 7))
			abort();
	}
	return 0;
}
