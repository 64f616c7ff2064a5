/* SPDX-License-Identifier: MIT */
/*
 * Feeds the input to the codecs of all three levels, with a small and a large
 * limit. Whatever comes must be read the same in one piece, a byte at a time and
 * in between; each call sees a block of the exact size.
 */
#include "wire/codec.h"

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
hash_event(uint64_t h, const struct codec_event *e)
{
	uint64_t numbers[] = {e->verb, e->id, e->done, e->total, (uint64_t)e->level, e->capacity};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		h = (h ^ numbers[i]) * UINT64_C(0x100000001b3);
	return hash(h, e->text, e->len);
}

static uint64_t
hash_error(uint64_t h, const struct codec *c)
{
	size_t n = strlen(c->error);

	if (n == 0 || n >= sizeof(c->error) - 1)
		abort();
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)c->error[i] < ' ')
			abort();
	return hash(h, c->error, n);
}

static enum codec_result
call(struct codec *c, const uint8_t *data, size_t len, size_t *ret_used, uint64_t *h)
{
	char *copy = malloc(len);
	struct codec_event e = {0};
	enum codec_result r;

	if (len)
		memcpy(copy, data, len);
	r = codec_decode(c, copy, len, &e);
	*ret_used = r == CODEC_EVENT ? e.used : 0;
	if (*ret_used > len || (r == CODEC_EVENT) != (*ret_used > 0))
		abort();
	if (r == CODEC_EVENT)
		*h = hash_event(*h, &e);
	if (r == CODEC_BAD)
		*h = hash_error(*h, c);
	free(copy);
	return r;
}

static uint64_t
run(enum codec_level level, size_t max_result, const uint8_t *data, size_t size, size_t step)
{
	struct codec c;
	size_t from = 0, to = 0, used;
	enum codec_result r;
	uint64_t h = 0;

	codec_init(&c, level, max_result);
	do {
		r = call(&c, data + from, to - from, &used, &h);
		from += used;
		if (r == CODEC_AGAIN && to == size)
			break;
		if (r == CODEC_AGAIN)
			to = size - to < step ? size : to + step;
	} while (r != CODEC_BAD);
	if (r == CODEC_AGAIN && codec_cut_short(&c, (const char *)data + from, to - from))
		h = hash_error(h, &c);
	return h;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const size_t limits[] = {16, 1000};
	static const uint8_t nothing[1];

	if (!data)
		data = nothing;
	for (int i = 0; i < 6; i++) {
		enum codec_level level = (enum codec_level)(i / 2);
		uint64_t h = run(level, limits[i & 1], data, size, size + 1);

		if (h != run(level, limits[i & 1], data, size, 1) ||
		    h != run(level, limits[i & 1], data, size, 7))
			abort();
	}
	return 0;
}
