/* SPDX-License-Identifier: MIT */
#include "wire/codec-impl.h"

#include "base/parse.h"

#include <string.h>
#include <syslog.h>

/* More than any verb needs before its text, CR included: "PROGRESS", two numbers
 * of 20 digits, three spaces. */
#define BEFORE_TEXT_MAX 64

/* The event's text is what is behind a verb and its space: take from its head what is
 * not text. False when it is not of the verb's form. */
typedef bool parse_fn(struct codec_event *e);

static bool
parse_nothing(struct codec_event *e)
{
	return e->len == 0;
}

static void
skip(struct codec_event *e, size_t n)
{
	e->text += n;
	e->len -= n;
}

/* sd-daemon's prefix for a level; anything else that begins with "<" is text. */
static bool
parse_log(struct codec_event *e)
{
	const char *s = e->text;
	bool prefixed = e->len >= 3 && s[0] == '<' && s[1] >= '0' && s[1] <= '7' && s[2] == '>';

	e->level = prefixed ? s[1] - '0' : LOG_INFO;
	skip(e, prefixed ? 3 : 0);
	return true;
}

/* The number up to the next space, and step over both. */
static bool
take_number(struct codec_event *e, uint64_t *ret)
{
	const char *space = memchr(e->text, ' ', e->len);
	size_t n = space ? (size_t)(space - e->text) : e->len;

	if (parse_u64(e->text, n, UINT64_MAX, ret) != 0)
		return false;
	skip(e, space ? n + 1 : n);
	return true;
}

static bool
parse_progress(struct codec_event *e)
{
	return take_number(e, &e->done) && take_number(e, &e->total);
}

static const struct {
	parse_fn *parse; /* NULL: all of it is text */
	const char *form;
} forms[] = {
	[VERB_OK] = {NULL, "OK [text]"},
	[VERB_ERR] = {NULL, "ERR [text]"},
	[VERB_RETRY] = {NULL, "RETRY [text]"},
	[VERB_OUT] = {NULL, "OUT [text]"},
	[VERB_PROGRESS] = {parse_progress, "PROGRESS done total [text]"},
	[VERB_LOG] = {parse_log, "LOG [<level>]text"},
	[VERB_READY] = {parse_nothing, "READY alone"},
};

/* Apart, so that a good line is decoded with few registers. */
__attribute__((noinline)) static enum codec_result
bad_line(struct codec *c, const char *data, size_t len, const char *form)
{
	const char *hint = "";

	if (!form && !c->answered)
		hint = ": one plain line for each input? protocol = \"filter\"";
	return codec_bad(c, "answered '%s', not %s%s", codec_show(c, data, len),
			 form ? form : "OK or ERR", hint);
}

static enum codec_result
parse_line(struct codec *c, const char *data, size_t len, struct codec_event *ret)
{
	enum codec_verb verb;
	size_t at = codec_find_verb(data, len, &verb);

	if (!at)
		return bad_line(c, data, len, NULL);
	if (at < len)
		at++; /* the space */
	*ret = (struct codec_event){
		.verb = verb,
		.used = c->last,
		.text = data + at,
		.len = len - at,
	};
	if (forms[verb].parse && !forms[verb].parse(ret))
		return bad_line(c, data, len, forms[verb].form);
	return ret->len > c->max_result ? codec_too_long(c, data, len) : CODEC_EVENT;
}

static enum codec_result
line_decode(struct codec *c, const char *data, size_t len, struct codec_event *ret)
{
	size_t n;
	enum codec_result r = codec_find_line(c, data, len, c->max_line, &n);

	if (r == CODEC_BAD)
		return codec_too_long(c, data, c->scanned);
	if (r != CODEC_EVENT)
		return r;
	if (n && data[n - 1] == '\r')
		n--;
	return parse_line(c, data, n, ret);
}

const struct codec_ops codec_line_ops = {
	.name = "line",
	.in_order = true,
	.before_text = BEFORE_TEXT_MAX,
	.decode = line_decode,
	.cut_short = codec_line_cut_short,
	.put_job = codec_line_put_job,
};
