/* SPDX-License-Identifier: MIT */
#include "base/text.h"
#include "ctl/ctl.h"
#include "ctl/errors.h"
#include "ctl/map.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUND_FAST_US 20000  /* a window is answered in less: more of it */
#define ROUND_SLOW_US 500000 /* in more: less, others wait behind it */
#define BACKOFF_MIN_US 2000
#define BACKOFF_MAX_US 200000

void
map_stop(struct map *m, int status)
{
	if (m->status < 0)
		m->status = status;
}

/* --- results --- */

/* A result's lines, each with the input line in front. Unless the result is ended,
 * a line feed follows it: behind a last one of its own there is another line. */
static void
put_tagged(struct map *m, const struct entry *e, const char *data, size_t len, bool ended)
{
	const char *lf;

	do {
		lf = len ? memchr(data, '\n', len) : NULL;
		size_t n = lf ? (size_t)(lf + 1 - data) : len;
		buf_put(&m->output, e->text, e->len);
		buf_putc(&m->output, '\t');
		buf_put(&m->output, data, n);
		data = len ? data + n : data;
		len -= n;
	} while (len || (lf && !ended));
}

/* Has it a place in the output? Where lines of output belong to lines of input, a
 * failure has an empty one. */
static bool
is_printed(const struct map *m, const struct entry *e, size_t len)
{
	if (m->setup.each)
		return len > 0;
	return !m->setup.unordered || !e->failure;
}

static void
put_result(struct map *m, const struct entry *e, const char *data, size_t len)
{
	size_t before = buf_len(&m->output);
	bool ended = m->setup.each && len && data[len - 1] == '\n';

	if (!is_printed(m, e, len))
		return;
	if (before == 0)
		m->output_since = m->now;
	if (m->setup.tag)
		put_tagged(m, e, data, len, ended);
	else
		buf_put(&m->output, data, len);
	if (!ended)
		buf_putc(&m->output, '\n');
	m->out_added += buf_len(&m->output) - before;
	if (buf_failed(&m->output) && m->status < 0) {
		ctl_warn("out of memory");
		map_stop(m, STATUS_OS);
	}
}

static void
log_entry(struct map *m, const struct entry *e)
{
	const struct log_record record = {
		.line = e->line,
		.hash = e->hash,
		.sent = e->sent,
		.answered = e->answered,
		.result = e->failure ? e->failure : "ok",
		.attempts = e->attempts,
		.again = e->again,
		.text = e->text,
		.len = e->len,
	};

	if (m->log->use != LOG_NONE)
		map_log_add(m->log, &record);
}

static void
let_out(struct map *m, struct entry *e, const char *data, size_t len)
{
	put_result(m, e, data, len);
	log_entry(m, e);
	map_forget(m, e);
}

static struct entry *
oldest(const struct map *m)
{
	return &m->entries[m->order[m->head & (m->ring_size - 1)]];
}

/* The entry has its result: out with it, and with those that waited for it. */
static void
settle(struct map *m, struct entry *e, const char *data, size_t len)
{
	e->state = ENTRY_DONE;
	e->answered = m->now;
	if (m->setup.unordered) {
		let_out(m, e, data, len);
		return;
	}
	if (e != oldest(m)) {
		e->held_len = len;
		e->held = len ? memcpy(ctl_realloc(NULL, len), data, len) : NULL;
		return;
	}
	let_out(m, e, data, len);
	while (++m->head < m->tail && oldest(m)->state == ENTRY_DONE) {
		e = oldest(m);
		let_out(m, e, e->held, e->held_len);
	}
}

/* --- halting --- */

static bool
is_reached(const struct map *m)
{
	const struct map_halt *h = &m->setup.halt;
	uint64_t all = m->done + m->failed;
	uint64_t n = h->what == HALT_FAIL ? m->failed : h->what == HALT_SUCCESS ? m->done : all;

	if (h->when == HALT_NEVER || m->halted)
		return false;
	if (h->is_percent)
		return n >= HALT_LEAST && n * 100 >= all * h->limit;
	return n >= h->limit;
}

/* A line is done with: was it the one too many? */
static void
check_halt(struct map *m)
{
	if (!is_reached(m))
		return;
	m->halted = true;
	if (m->setup.halt.when == HALT_NOW)
		map_stop(m, m->failed && m->setup.halt.what != HALT_SUCCESS ? STATUS_FAILED :
									      STATUS_OK);
}

/* --- failures --- */

static void
fail_entry(struct map *m, struct entry *e, const char *text, size_t len)
{
	char shown[1024], tries[64] = "";

	m->failed++;
	if (e->attempts > 1)
		snprintf(tries, sizeof(tries), " (%u attempts)", e->attempts);
	ctl_warn("line %llu: %s%s", (unsigned long long)e->line,
		 text_escape(shown, sizeof(shown), text, len), tries);
}

/* An error's first word, in small letters, as it stands in a log. */
static const char *
failure_of(const struct error_row *row)
{
	static const struct {
		const char *word, *failure;
	} known[] = {
		{"FAILED", "failed"},	      {"TIMEOUT", "timeout"}, {"CRASHED", "crashed"},
		{"BADPAYLOAD", "badpayload"}, {"TOOBIG", "toobig"},   {"CANCELLED", "cancelled"},
		{"PENDING", "pending"},	      {"EXPIRED", "expired"},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(known[i].word, row->word) == 0)
			return known[i].failure;
	return "error";
}

static bool
may_try_again(const struct map *m, const struct entry *e, const struct error_row *row)
{
	return e->attempts <= m->setup.retries &&
	       (strcmp(row->word, "FAILED") == 0 || strcmp(row->word, "TIMEOUT") == 0 ||
		strcmp(row->word, "CRASHED") == 0);
}

/* A full queue: the line is sent again in a while, and nothing new until then. */
static void
set_busy(struct map *m, struct entry *e)
{
	if (m->busy++ == 0) {
		m->retry_at = mono_add(m->now, m->backoff_us);
		if (m->backoff_us == BACKOFF_MIN_US)
			m->busy_since = m->now;
		m->backoff_us *= m->backoff_us < BACKOFF_MAX_US ? 2 : 1;
	}
	m->window = m->window_min;
	e->state = ENTRY_BUSY;
}

static void
on_error(struct map *m, struct entry *e, const char *text, size_t len)
{
	const struct error_row *row = error_find(text, len);
	char where[64];

	if (strcmp(row->word, "BUSY") == 0) {
		set_busy(m, e);
	} else if (row->ends_map) {
		snprintf(where, sizeof(where), "line %llu", (unsigned long long)e->line);
		map_stop(m, error_report(where, text, len, m->setup.own ? NULL : m->setup.pool));
	} else if (may_try_again(m, e, row)) {
		e->attempts++;
		map_send(m, e);
	} else {
		e->failure = failure_of(row);
		fail_entry(m, e, text, len);
		settle(m, e, NULL, 0);
		check_halt(m);
	}
}

void
map_refuse(struct map *m, struct entry *e, const char *text)
{
	e->failure = "toobig";
	fail_entry(m, e, text, strlen(text));
	settle(m, e, NULL, 0);
	check_halt(m);
}

/* --- replies --- */

/* A window of replies has come: was it so quick that a larger one saves system
 * calls, or so slow that a smaller one is kinder to other clients? */
static void
adapt_window(struct map *m)
{
	if (++m->round_replies < m->window)
		return;
	int64_t took = mono_since(m->now, m->round_start);
	size_t window = m->window;
	if (took < ROUND_FAST_US && m->busy == 0)
		window *= 2;
	else if (took > ROUND_SLOW_US)
		window /= 2;
	m->window = window > m->window_max ? m->window_max :
		    window < m->window_min ? m->window_min :
					     window;
	m->round_start = m->now;
	m->round_replies = 0;
}

static void
surprise(struct map *m, const redisReadTask *task, const char *str, size_t len)
{
	if (task->type == REDIS_REPLY_ERROR)
		map_stop(m, error_report(NULL, str, len, m->setup.pool));
	else
		ctl_warn("the daemon said more than it was asked");
	map_stop(m, STATUS_FAILED);
}

/* The reader's callbacks: the reply is dealt with where it lies, no object is
 * made; whatever is not NULL pleases the reader. */
static void *
on_text(const redisReadTask *task, char *str, size_t len)
{
	struct map_conn *c = task->privdata;
	struct map *m = c->map;

	if (m->status >= 0)
		return m;
	if (c->sent_head == c->sent_tail) {
		surprise(m, task, str, len);
		return m;
	}
	struct entry *e = &m->entries[c->sent[c->sent_head++ & (m->ring_size - 1)]];
	m->places[m->n_places++] = (uint32_t)(c - m->conns);
	if (task->type == REDIS_REPLY_ERROR) {
		on_error(m, e, str, len);
	} else {
		m->backoff_us = BACKOFF_MIN_US;
		m->done++;
		settle(m, e, str, len);
		check_halt(m);
	}
	adapt_window(m);
	return m;
}

static void *
unexpected(const redisReadTask *task)
{
	struct map_conn *c = task->privdata;

	if (c->map->status < 0)
		ctl_warn("the daemon answered with something that is not a result");
	map_stop(c->map, STATUS_FAILED);
	return c;
}

static void *
on_array(const redisReadTask *task, int elements)
{
	(void)elements;
	return unexpected(task);
}

static void *
on_integer(const redisReadTask *task, long long n)
{
	(void)n;
	return unexpected(task);
}

static void
on_free(void *object)
{
	(void)object;
}

static redisReplyObjectFunctions functions = {on_text, on_array, on_integer, unexpected, on_free};

void
map_reader_init(struct map_conn *c)
{
	c->reader = redisReaderCreateWithFunctions(&functions);
	if (!c->reader) {
		ctl_warn("out of memory");
		exit(STATUS_OS);
	}
	c->reader->privdata = c; /* not by hiredis's macro, whose cast clang warns about */
}

void
map_replies(struct map_conn *c, const char *data, size_t len)
{
	struct map *m = c->map;
	void *reply;

	redisReaderFeed(c->reader, data, len);
	do {
		reply = NULL;
		if (redisReaderGetReply(c->reader, &reply) == REDIS_OK)
			continue;
		if (m->status < 0)
			ctl_warn("the daemon's answers make no sense: %s", c->reader->errstr);
		map_stop(m, STATUS_FAILED);
	} while (reply && m->status < 0);
}
