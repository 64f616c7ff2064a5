/* SPDX-License-Identifier: MIT */
#include "wire/codec-impl.h"

/* Whatever the line says is the result, a CR at its end too. */
static enum codec_result
filter_decode(struct codec *c, const char *data, size_t len, struct codec_event *ret)
{
	size_t n;
	enum codec_result r = codec_find_line(c, data, len, c->max_line, &n);

	if (r == CODEC_BAD)
		return codec_too_long(c, data, c->scanned);
	if (r != CODEC_EVENT)
		return r;
	*ret = (struct codec_event){.verb = VERB_OK, .used = n + 1, .text = data, .len = n};
	return CODEC_EVENT;
}

const struct codec_ops codec_filter_ops = {
	.name = "filter",
	.in_order = true,
	.decode = filter_decode,
	.cut_short = codec_line_cut_short,
	.put_job = codec_line_put_job,
};
