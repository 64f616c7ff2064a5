/* SPDX-License-Identifier: MIT */
#include "wire/codec-impl.h"

#include "base/parse.h"

#include <string.h>

#define HEADER_MAX 128 /* bytes of a header line before its LF */
#define NUMBERS_MAX 3

/* What follows a verb in its header: so many numbers, what they are, and whether
 * the last one is the length of a body. */
static const struct form {
	unsigned char least, most;
	bool id, body;
	const char *words;
} forms[] = {
	[VERB_OK] = {2, 2, true, true, "OK <id> <len>"},
	[VERB_ERR] = {2, 2, true, true, "ERR <id> <len>"},
	[VERB_RETRY] = {2, 2, true, true, "RETRY <id> <len>"},
	[VERB_OUT] = {2, 2, true, true, "OUT <id> <len>"},
	[VERB_PROGRESS] = {3, 3, true, false, "PROGRESS <id> <done> <total>"},
	[VERB_LOG] = {2, 2, false, true, "LOG <level 0-7> <len>"},
	[VERB_READY] = {0, 1, false, false, "READY [<jobs at once>]"},
};

/* All of s as numbers, each with one space before it. How many; -1: it is not. */
static int
parse_numbers(const char *s, size_t len, uint64_t numbers[NUMBERS_MAX])
{
	int count = 0;

	while (len) {
		const char *space;
		size_t n;

		if (*s != ' ' || count == NUMBERS_MAX)
			return -1;
		s++, len--;
		space = memchr(s, ' ', len);
		n = space ? (size_t)(space - s) : len;
		if (parse_u64(s, n, UINT64_MAX, &numbers[count++]) != 0)
			return -1;
		s += n;
		len -= n;
	}
	return count;
}

static enum codec_result
bad_header(struct codec *c, const char *data, size_t len, const char *form)
{
	return codec_bad(c, "answered '%s', not %s%s", codec_show(c, data, len),
			 form ? form : "OK <id> <len> or ERR <id> <len>",
			 c->answered ? "" : ": answers of one line? protocol = \"line\"");
}

/* Give the numbers their names. False: one of them cannot be. */
static bool
name_numbers(struct codec_event *e, const struct form *form, const uint64_t *numbers, int count)
{
	if (form->id)
		e->id = numbers[0];
	if (e->verb == VERB_PROGRESS) {
		e->done = numbers[1];
		e->total = numbers[2];
	} else if (e->verb == VERB_LOG) {
		e->level = numbers[0] <= 7 ? (int)numbers[0] : -1;
	} else if (e->verb == VERB_READY && count) {
		e->capacity = numbers[0];
		return e->capacity > 0;
	}
	return e->level >= 0;
}

static enum codec_result
parse_header(struct codec *c, const char *data, size_t len)
{
	struct codec_event *e = &c->pending;
	uint64_t numbers[NUMBERS_MAX] = {0};
	enum codec_verb verb;
	size_t at = codec_find_verb(data, len, &verb);
	int count;

	if (!at)
		return bad_header(c, data, len, NULL);
	count = parse_numbers(data + at, len - at, numbers);
	*e = (struct codec_event){.verb = verb};
	if (count < forms[verb].least || count > forms[verb].most ||
	    !name_numbers(e, &forms[verb], numbers, count))
		return bad_header(c, data, len, forms[verb].words);
	if (!forms[verb].body)
		return CODEC_EVENT;
	if (numbers[count - 1] > c->max_result)
		return codec_bad(c, "announced more than max_result (%zu) bytes: '%s'",
				 c->max_result, codec_show(c, data, len));
	e->len = (size_t)numbers[count - 1];
	return CODEC_EVENT;
}

/* Read the header; body becomes its length when one with a body has come. */
static enum codec_result
take_header(struct codec *c, const char *data, size_t len)
{
	size_t n;
	enum codec_result r = codec_find_line(c, data, len, HEADER_MAX, &n);

	if (r == CODEC_BAD)
		return codec_bad(c, "sent a header line of more than %d bytes: '%s'", HEADER_MAX,
				 codec_show(c, data, len));
	if (r != CODEC_EVENT)
		return r;
	if (n && data[n - 1] == '\r')
		n--;
	r = parse_header(c, data, n);
	if (r == CODEC_EVENT && forms[c->pending.verb].body)
		c->body = c->last;
	return r;
}

/* The header again, without its line end, for an error. */
static const char *
show_header(struct codec *c, const char *data)
{
	size_t n = c->body - 1;

	return codec_show(c, data, n && data[n - 1] == '\r' ? n - 1 : n);
}

static enum codec_result
frame_decode(struct codec *c, const char *data, size_t len, struct codec_event *ret)
{
	enum codec_result r = CODEC_EVENT;

	if (!c->body)
		r = take_header(c, data, len);
	if (r != CODEC_EVENT)
		return r;
	*ret = c->pending;
	ret->text = data + c->body;
	ret->used = c->last;
	if (!c->body)
		return CODEC_EVENT;
	if (len - c->body <= ret->len)
		return CODEC_AGAIN;
	if (ret->text[ret->len] != '\n')
		return codec_bad(c, "sent no line feed behind the body of '%s': wrong length?",
				 show_header(c, data));
	ret->used = c->body + ret->len + 1;
	c->body = 0;
	return CODEC_EVENT;
}

static void
frame_cut_short(struct codec *c, const char *data, size_t len)
{
	if (!c->body) {
		codec_line_cut_short(c, data, len);
		return;
	}
	codec_bad(c, "ended %zu bytes before the end of '%s'", c->body + c->pending.len + 1 - len,
		  show_header(c, data));
}

static void
put_word(struct buf *out, uint64_t n)
{
	buf_putc(out, ' ');
	buf_put_u64(out, n);
}

static void
frame_put_job(struct buf *out, uint64_t id, unsigned attempt, const char *payload, size_t len)
{
	if (!buf_reserve(out, len + HEADER_MAX))
		return;
	buf_put(out, "JOB", 3);
	put_word(out, id);
	put_word(out, attempt);
	put_word(out, len);
	buf_putc(out, '\n');
	buf_put(out, payload, len);
	buf_putc(out, '\n');
}

static void
frame_put_cancel(struct buf *out, uint64_t id)
{
	buf_put(out, "CANCEL", 6);
	put_word(out, id);
	buf_putc(out, '\n');
}

const struct codec_ops codec_frame_ops = {
	.name = "frame",
	.any_bytes = true,
	.decode = frame_decode,
	.cut_short = frame_cut_short,
	.put_job = frame_put_job,
	.put_cancel = frame_put_cancel,
};
