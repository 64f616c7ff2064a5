/* SPDX-License-Identifier: MIT */
#include "ctl/event.h"

#include "base/parse.h"
#include "ctl/ctl.h"
#include "ctl/json.h"

#include <stdlib.h>
#include <string.h>

const char *const event_kinds[EVENT_MAX] = {
	[EVENT_JOB] = "job",   [EVENT_OUT] = "out",	  [EVENT_PROGRESS] = "progress",
	[EVENT_POOL] = "pool", [EVENT_WORKER] = "worker", [EVENT_LOST] = "lost",
};

bool
text_is(const struct text *t, const char *word)
{
	return t->len == strlen(word) && memcmp(t->data, word, t->len) == 0;
}

/* Take what is before the first mark off the text; all of it where there is none. */
static struct text
take(struct text *from, char mark)
{
	const char *at = from->len ? memchr(from->data, mark, from->len) : NULL;
	struct text word = {from->data, at ? (size_t)(at - from->data) : from->len};
	size_t used = word.len + (at != NULL);

	from->data += used;
	from->len -= used;
	return word;
}

static struct text
take_word(struct text *from)
{
	return take(from, ' ');
}

static uint64_t
take_number(struct text *from)
{
	struct text word = take_word(from);
	uint64_t n = 0;

	parse_u64(word.data, word.len, UINT64_MAX, &n);
	return n;
}

/* --- channels --- */

static void
parse_state(struct event *e)
{
	e->state = take_word(&e->text);
	e->reason = take_word(&e->text);
}

static void
parse_job(struct event *e, struct text subject)
{
	e->id = subject;
	parse_state(e);
}

static void
parse_jobs(struct event *e, struct text subject)
{
	e->pool = subject;
	e->id = take_word(&e->text);
	parse_state(e);
}

static void
parse_out(struct event *e, struct text subject)
{
	e->id = subject;
}

static void
parse_progress(struct event *e, struct text subject)
{
	e->id = subject;
	e->done = take_number(&e->text);
	e->total = take_number(&e->text);
}

static void
parse_pool(struct event *e, struct text subject)
{
	e->pool = subject;
}

static void
parse_lost(struct event *e, struct text subject)
{
	(void)subject;
	e->count = take_number(&e->text);
}

static const struct channel {
	const char *name; /* before the point */
	enum event_kind kind;
	void (*parse)(struct event *e, struct text subject);
} channels[] = {
	{"job", EVENT_JOB, parse_job},		      /* job.ID: STATE [REASON [TEXT]] */
	{"jobs", EVENT_JOB, parse_jobs},	      /* jobs.POOL: ID STATE [REASON [TEXT]] */
	{"out", EVENT_OUT, parse_out},		      /* out.ID: bytes */
	{"progress", EVENT_PROGRESS, parse_progress}, /* progress.ID: DONE TOTAL[ TEXT] */
	{"pool", EVENT_POOL, parse_pool},	      /* pool.NAME: key=value ... */
	{"worker", EVENT_WORKER, parse_pool},	      /* worker.POOL: key=value ...[ text=TEXT] */
	{"lost", EVENT_LOST, parse_lost},	      /* lost: NUMBER */
};

bool
event_parse(const char *channel, size_t channel_len, const char *text, size_t len,
	    struct event *ret)
{
	struct text subject = {channel, channel_len};
	struct text name = take(&subject, '.');

	for (size_t i = 0; i < sizeof(channels) / sizeof(channels[0]); i++) {
		if (!text_is(&name, channels[i].name))
			continue;
		*ret = (struct event){.kind = channels[i].kind, .text = {text, len}};
		channels[i].parse(ret, subject);
		return true;
	}
	return false;
}

/* The next key=value; that of text goes to the end. False: there are no more. */
static bool
next_field(struct text *rest, struct text *ret_key, struct text *ret_value)
{
	struct text all = *rest;

	if (rest->len == 0)
		return false;
	*ret_value = take_word(rest);
	*ret_key = take(ret_value, '=');
	if (text_is(ret_key, "text")) {
		*ret_value = (struct text){ret_value->data,
					   all.len - (size_t)(ret_value->data - all.data)};
		*rest = (struct text){0};
	}
	return true;
}

bool
event_field(const struct event *e, const char *key, struct text *ret)
{
	struct text rest = e->text, name, value;

	while (next_field(&rest, &name, &value))
		if (text_is(&name, key)) {
			*ret = value;
			return true;
		}
	return false;
}

/* --- lines --- */

enum { RED = 31, GREEN = 32, YELLOW = 33 };

static const struct {
	const char *state;
	int colour;
} colours[] = {
	{"done", GREEN},    {"failed", RED},	   {"cancelled", YELLOW}, {"degraded", RED},
	{"paused", YELLOW}, {"saturated", YELLOW}, {"down", RED},
};

static int
colour_of(const struct event *e)
{
	struct text state = e->state;

	if (e->kind == EVENT_LOST)
		return RED;
	if (!state.len && e->kind != EVENT_OUT && !event_field(e, "state", &state))
		return 0;
	for (size_t i = 0; i < sizeof(colours) / sizeof(colours[0]); i++)
		if (text_is(&state, colours[i].state))
			return colours[i].colour;
	return 0;
}

static void
put_shown(struct buf *b, const struct text *t)
{
	char *shown = ctl_escape(t->len ? t->data : "", t->len);

	buf_puts(b, shown);
	free(shown);
}

static void
put_word(struct buf *b, const struct text *t)
{
	buf_putc(b, ' ');
	put_shown(b, t);
}

void
event_put_line(struct buf *b, const struct event *e, bool colour)
{
	const struct text *const words[] = {&e->id, &e->pool, &e->state, &e->reason};
	int code = colour ? colour_of(e) : 0;

	buf_putf(b, "%-8s", event_kinds[e->kind]);
	if (code)
		buf_putf(b, "\033[%dm", code);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (words[i]->len)
			put_word(b, words[i]);
	if (e->kind == EVENT_PROGRESS)
		buf_putf(b, " %llu/%llu", (unsigned long long)e->done,
			 (unsigned long long)e->total);
	if (e->kind == EVENT_LOST)
		buf_putf(b, " %llu events: more than could be taken in time",
			 (unsigned long long)e->count);
	if (e->text.len)
		put_word(b, &e->text);
	if (code)
		buf_puts(b, "\033[0m");
}

/* --- JSON --- */

static void
put_member(struct buf *b, const char *name, const struct text *t)
{
	if (!t->len)
		return;
	buf_putf(b, ",\"%s\":", name);
	json_string(b, t->data, t->len);
}

/* key=value pairs; numbers as numbers */
static void
put_fields(struct buf *b, const struct event *e)
{
	struct text rest = e->text, key, value;
	uint64_t n;

	while (next_field(&rest, &key, &value)) {
		buf_putc(b, ',');
		json_string(b, key.data, key.len);
		buf_putc(b, ':');
		if (parse_u64(value.data, value.len, UINT64_MAX, &n) == 0)
			buf_put_u64(b, n);
		else
			json_string(b, value.data, value.len);
	}
}

void
event_put_json(struct buf *b, const struct event *e)
{
	buf_putf(b, "\"kind\":\"%s\"", event_kinds[e->kind]);
	put_member(b, "id", &e->id);
	put_member(b, "pool", &e->pool);
	put_member(b, "state", &e->state);
	put_member(b, "reason", &e->reason);
	switch (e->kind) {
	case EVENT_JOB:
		put_member(b, "text", &e->text);
		break;
	case EVENT_OUT:
		buf_putc(b, ',');
		json_bytes(b, "out", e->text.len ? e->text.data : "", e->text.len);
		break;
	case EVENT_PROGRESS:
		buf_putf(b, ",\"done\":%llu,\"total\":%llu", (unsigned long long)e->done,
			 (unsigned long long)e->total);
		put_member(b, "text", &e->text);
		break;
	case EVENT_POOL:
	case EVENT_WORKER:
		put_fields(b, e);
		break;
	case EVENT_LOST:
		buf_putf(b, ",\"count\":%llu", (unsigned long long)e->count);
		break;
	case EVENT_MAX:
		break;
	}
}
