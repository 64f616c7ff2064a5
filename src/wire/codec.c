/* SPDX-License-Identifier: MIT */
#include "wire/codec-impl.h"

#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct codec_ops *const levels[] = {
	[CODEC_FILTER] = &codec_filter_ops,
	[CODEC_LINE] = &codec_line_ops,
	[CODEC_FRAME] = &codec_frame_ops,
};

void
codec_init(struct codec *c, enum codec_level level, size_t max_result)
{
	*c = (struct codec){
		.level = level,
		.in_order = levels[level]->in_order,
		.max_result = max_result,
	};
	if (__builtin_add_overflow(max_result, levels[level]->before_text, &c->max_line))
		c->max_line = SIZE_MAX;
}

enum codec_result
codec_decode(struct codec *c, const char *data, size_t len, struct codec_event *ret)
{
	enum codec_result r = levels[c->level]->decode(c, data, len, ret);

	if (r == CODEC_EVENT)
		c->answered = true;
	return r;
}

size_t
codec_missing(const struct codec *c, size_t len)
{
	size_t whole = c->body ? c->body + c->pending.len + 1 : c->last;

	return whole > len ? whole - len : 0;
}

bool
codec_cut_short(struct codec *c, const char *data, size_t len)
{
	if (len)
		levels[c->level]->cut_short(c, data, len);
	return len > 0;
}

void
codec_put_job(const struct codec *c, struct buf *out, uint64_t id, unsigned attempt,
	      const char *payload, size_t len)
{
	levels[c->level]->put_job(out, id, attempt, payload, len);
}

void
codec_put_cancel(const struct codec *c, struct buf *out, uint64_t id)
{
	if (levels[c->level]->put_cancel)
		levels[c->level]->put_cancel(out, id);
}

const char *
codec_payload_fits(enum codec_level level, const char *payload, size_t len)
{
	if (levels[level]->any_bytes || len == 0)
		return NULL;
	if (memchr(payload, '\n', len))
		return "holds a line feed: protocol = \"frame\" takes any bytes";
	if (memchr(payload, '\0', len))
		return "holds a NUL byte: protocol = \"frame\" takes any bytes";
	return NULL;
}

const char *
codec_level_name(enum codec_level level)
{
	return levels[level]->name;
}

const char *
codec_show(struct codec *c, const char *data, size_t len)
{
	size_t size = sizeof(c->shown);

	return text_escape(c->shown, size, data, len < size ? len : size);
}

enum codec_result
codec_bad(struct codec *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->error, sizeof(c->error), fmt, ap);
	va_end(ap);
	return CODEC_BAD;
}

enum codec_result
codec_find_line(struct codec *c, const char *data, size_t len, size_t limit, size_t *ret_len)
{
	size_t window = len <= limit ? len : limit + 1;
	const char *lf = NULL;

	if (c->scanned < window)
		lf = memchr(data + c->scanned, '\n', window - c->scanned);
	if (!lf) {
		c->scanned = window;
		return len <= limit ? CODEC_AGAIN : CODEC_BAD;
	}
	c->scanned = 0;
	*ret_len = (size_t)(lf - data);
	c->last = *ret_len + 1;
	return CODEC_EVENT;
}

enum codec_result
codec_too_long(struct codec *c, const char *data, size_t len)
{
	return codec_bad(c, "sent a line of more than max_result (%zu) bytes: '%s'", c->max_result,
			 codec_show(c, data, len));
}

size_t
codec_find_verb(const char *line, size_t len, enum codec_verb *ret)
{
#define ROW(verb) [VERB_##verb] = { #verb, sizeof(#verb) - 1 }
	static const struct {
		char word[sizeof("PROGRESS")]; /* the longest */
		size_t len;
	} verbs[] = {ROW(OK), ROW(ERR), ROW(RETRY), ROW(OUT), ROW(PROGRESS), ROW(LOG), ROW(READY)};
#undef ROW

	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		size_t n = verbs[i].len, same = 0;

		if (len < n || (len > n && line[n] != ' '))
			continue;
		while (same < n && line[same] == verbs[i].word[same])
			same++;
		if (same < n)
			continue;
		*ret = (enum codec_verb)i;
		return n;
	}
	return 0;
}

void
codec_line_cut_short(struct codec *c, const char *data, size_t len)
{
	codec_bad(c, "ended in the middle of a line: '%s'", codec_show(c, data, len));
}

void
codec_line_put_job(struct buf *out, uint64_t id, unsigned attempt, const char *payload, size_t len)
{
	char *line;

	(void)id;
	(void)attempt;
	if (!buf_reserve(out, len + 1))
		return;
	line = buf_tail(out);
	buf_commit(out, len + 1);
	line[len] = '\n';
	if (len)
		memcpy(line, payload, len);
}
