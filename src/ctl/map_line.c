/* SPDX-License-Identifier: MIT */
#include "base/text.h"
#include "ctl/ctl.h"
#include "ctl/errors.h"
#include "ctl/map.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW_FIRST 64
#define WINDOW_FAST 1024	 /* for jobs so quick that system calls count */
#define ROUND_FAST_US 20000	 /* a window is answered in less: more of it */
#define ROUND_SLOW_US 500000	 /* in more: less, others wait behind it */
#define REQUEST_MAX (256U << 10) /* bytes that wait to be sent */
#define UNREAD_MAX (128U << 10)	 /* bytes of input ahead of the window */
#define BACKOFF_MIN_US 2000
#define BACKOFF_MAX_US 200000
#define BUSY_TELL_US (10 * USEC_PER_SEC)

static struct entry *
entry_at(const struct map *m, uint64_t line)
{
	return &m->ring[line & (m->ring_size - 1)];
}

static size_t
clamp(int64_t n, int64_t low, int64_t high)
{
	return (size_t)(n < low ? low : n > high ? high : n);
}

/* Enough to keep every worker busy, and half of the queue for others. */
static void
size_windows(struct map *m)
{
	int64_t slots = (int64_t)clamp(m->pool.slots, 1, MAP_WINDOW_MAX / 4);
	int64_t room = slots + (int64_t)clamp(m->pool.queue_limit, 0, MAP_WINDOW_MAX) / 2;
	int64_t most = slots * 4 > WINDOW_FAST ? slots * 4 : WINDOW_FAST;
	int64_t least = slots * 4 > WINDOW_FIRST ? slots * 4 : WINDOW_FIRST;

	m->window_max = clamp(most, 1, room);
	m->window_min = clamp(least, 1, room);
	m->window = m->window_min;
	m->ring_size = 1;
	while (m->ring_size < m->window_max)
		m->ring_size *= 2;
}

static void
put_word(struct buf *b, const char *word)
{
	buf_putf(b, "$%zu\r\n%s\r\n", strlen(word), word);
}

static void *on_text(const redisReadTask *task, char *str, size_t len);
static void *on_array(const redisReadTask *task, int elements);
static void *on_integer(const redisReadTask *task, long long n);
static void *on_nil(const redisReadTask *task);
static void on_free(void *object);

static redisReplyObjectFunctions functions = {on_text, on_array, on_integer, on_nil, on_free};

void
map_init(struct map *m, const struct map_pool *pool)
{
	m->pool = *pool;
	m->status = -1;
	m->backoff_us = BACKOFF_MIN_US;
	size_windows(m);
	m->ring = ctl_realloc(NULL, m->ring_size * sizeof(*m->ring));
	m->sent = ctl_realloc(NULL, m->ring_size * sizeof(*m->sent));
	buf_putf(&m->prefix, "*%d\r\n", pool->timeout ? 5 : 3);
	put_word(&m->prefix, "RUN");
	put_word(&m->prefix, pool->name);
	if (pool->timeout) {
		put_word(&m->prefix, "TIMEOUT");
		put_word(&m->prefix, pool->timeout);
	}
	m->reader = redisReaderCreateWithFunctions(&functions);
	if (!m->reader || buf_failed(&m->prefix)) {
		ctl_warn("out of memory");
		exit(STATUS_OS);
	}
	m->reader->privdata = m; /* not by hiredis's macro, whose cast clang warns about */
	m->started = m->round_start = mono_now();
}

void
map_release(struct map *m)
{
	for (uint64_t line = m->head; line < m->tail; line++)
		free(entry_at(m, line)->held);
	free(m->ring);
	free(m->sent);
	buf_free(&m->prefix);
	buf_free(&m->input);
	buf_free(&m->request);
	buf_free(&m->output);
	redisReaderFree(m->reader);
}

/* --- failures --- */

void
map_stop(struct map *m, int status)
{
	if (m->status < 0)
		m->status = status;
}

static void
fail_line(struct map *m, uint64_t line, const char *text, size_t len)
{
	char shown[1024];

	m->failed++;
	ctl_warn("line %llu: %s", (unsigned long long)line + 1,
		 text_escape(shown, sizeof(shown), text, len));
}

/* --- results --- */

static void
put_result(struct map *m, const char *data, size_t len)
{
	if (buf_len(&m->output) == 0)
		m->output_since = mono_now();
	buf_put(&m->output, data, len);
	buf_putc(&m->output, '\n');
}

/* The oldest line has its result: out with it, and with what waited behind. */
static void
advance(struct map *m)
{
	for (m->head++; m->head < m->tail; m->head++) {
		struct entry *e = entry_at(m, m->head);
		if (e->state != ENTRY_DONE)
			break;
		put_result(m, e->held, e->held_len);
		free(e->held);
		e->held = NULL;
	}
	uint64_t keep = m->head < m->tail ? entry_at(m, m->head)->pos : m->next;
	buf_consume(&m->input, keep - m->base);
	m->base = keep;
}

static void
settle(struct map *m, uint64_t line, const char *data, size_t len)
{
	struct entry *e = entry_at(m, line);

	e->state = ENTRY_DONE;
	if (line == m->head) {
		put_result(m, data, len);
		advance(m);
		return;
	}
	e->held_len = len;
	e->held = len ? memcpy(ctl_realloc(NULL, len), data, len) : NULL;
}

/* A full queue: the line is sent again in a while, and nothing new until then. */
static void
set_busy(struct map *m, uint64_t line)
{
	mono_t now = mono_now();

	if (m->busy++ == 0) {
		m->retry_at = mono_add(now, m->backoff_us);
		if (m->backoff_us == BACKOFF_MIN_US)
			m->busy_since = now;
		m->backoff_us *= m->backoff_us < BACKOFF_MAX_US ? 2 : 1;
	}
	m->window = m->window_min;
	entry_at(m, line)->state = ENTRY_BUSY;
}

static void
on_error(struct map *m, uint64_t line, const char *text, size_t len)
{
	const struct error_row *row = error_find(text, len);
	char where[64];

	if (strcmp(row->word, "BUSY") == 0) {
		set_busy(m, line);
	} else if (row->ends_map) {
		snprintf(where, sizeof(where), "line %llu", (unsigned long long)line + 1);
		map_stop(m, error_report(where, text, len, m->pool.own ? NULL : m->pool.name));
	} else {
		fail_line(m, line, text, len);
		settle(m, line, NULL, 0);
	}
}

/* A window of replies has come: was it so quick that a larger one saves system
 * calls, or so slow that a smaller one is kinder to other clients? */
static void
adapt_window(struct map *m)
{
	if (++m->round_replies < m->window)
		return;
	mono_t now = mono_now();
	int64_t took = mono_since(now, m->round_start);
	if (took < ROUND_FAST_US && m->busy == 0)
		m->window = clamp((int64_t)m->window * 2, 1, (int64_t)m->window_max);
	else if (took > ROUND_SLOW_US)
		m->window = clamp((int64_t)m->window / 2, (int64_t)m->window_min,
				  (int64_t)m->window_max);
	m->round_start = now;
	m->round_replies = 0;
}

/* The reader's callbacks: the reply is dealt with where it lies, no object is
 * made; whatever is not NULL pleases the reader. */
static void *
on_text(const redisReadTask *task, char *str, size_t len)
{
	struct map *m = task->privdata;

	if (m->status >= 0)
		return m;
	if (m->sent_head == m->sent_tail) {
		ctl_warn("the daemon said more than it was asked");
		map_stop(m, STATUS_FAILED);
		return m;
	}
	uint64_t line = m->sent[m->sent_head++ & (m->ring_size - 1)];
	if (task->type == REDIS_REPLY_ERROR) {
		on_error(m, line, str, len);
	} else {
		m->backoff_us = BACKOFF_MIN_US;
		settle(m, line, str, len);
	}
	adapt_window(m);
	return m;
}

static void *
unexpected(const redisReadTask *task)
{
	struct map *m = task->privdata;

	if (m->status < 0)
		ctl_warn("the daemon answered with something that is not a result");
	map_stop(m, STATUS_FAILED);
	return m;
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

static void *
on_nil(const redisReadTask *task)
{
	return unexpected(task);
}

static void
on_free(void *object)
{
	(void)object;
}

void
map_replies(struct map *m, const char *data, size_t len)
{
	void *reply;

	redisReaderFeed(m->reader, data, len);
	do {
		reply = NULL;
		if (redisReaderGetReply(m->reader, &reply) == REDIS_OK)
			continue;
		if (m->status < 0)
			ctl_warn("the daemon's answers make no sense: %s", m->reader->errstr);
		map_stop(m, STATUS_FAILED);
	} while (reply && m->status < 0);
	if (buf_failed(&m->output) && m->status < 0) {
		ctl_warn("out of memory");
		map_stop(m, STATUS_OS);
	}
}

/* --- lines --- */

static void
send_line(struct map *m, uint64_t line)
{
	struct entry *e = entry_at(m, line);
	struct buf *b = &m->request;

	buf_put(b, buf_head(&m->prefix), buf_len(&m->prefix));
	buf_putc(b, '$');
	buf_put_u64(b, e->len);
	buf_put(b, "\r\n", 2);
	buf_put(b, buf_head(&m->input) + (e->pos - m->base), e->len);
	buf_put(b, "\r\n", 2);
	e->state = ENTRY_SENT;
	m->sent[m->sent_tail++ & (m->ring_size - 1)] = line;
}

/* Bytes of the input that are no line yet. */
static size_t
unread(const struct map *m)
{
	return buf_len(&m->input) - (size_t)(m->next - m->base);
}

static void
add_entry(struct map *m, size_t len, size_t whole)
{
	*entry_at(m, m->tail++) = (struct entry){.pos = m->next, .len = len};
	m->next += whole;
	m->searched = 0;
}

/* The line at next is longer than may be: it fails, its rest is dropped. */
static void
refuse_line(struct map *m)
{
	static const char text[] = "TOOBIG the line is longer than 64M";
	uint64_t line = m->tail;

	m->input.end -= unread(m);
	m->skipping = true;
	add_entry(m, 0, 0);
	fail_line(m, line, text, sizeof(text) - 1);
	settle(m, line, NULL, 0);
}

/* Find the next line and send it. False: there is none (yet). */
static bool
take_line(struct map *m)
{
	size_t have = unread(m);
	char *start = have ? buf_head(&m->input) + (m->next - m->base) : NULL;
	char *lf = have > m->searched ? memchr(start + m->searched, '\n', have - m->searched) :
					NULL;

	if (!lf) {
		m->searched = have;
		if (have > MAP_LINE_MAX)
			refuse_line(m);
		if (!m->eof || have == 0 || m->skipping)
			return false;
	}
	size_t len = lf ? (size_t)(lf - start) : have;
	add_entry(m, len, len + (lf != NULL));
	send_line(m, m->tail - 1);
	return true;
}

static bool
has_room(const struct map *m)
{
	size_t lines = (size_t)(m->tail - m->head);

	return m->busy == 0 && buf_len(&m->request) < REQUEST_MAX &&
	       (lines == 0 || (lines < m->window && m->next - m->base < MAP_BYTES));
}

void
map_take_lines(struct map *m, mono_t now)
{
	bool was_empty = m->head == m->tail;

	/* a few at a time cost a system call each; the workers have enough to do */
	if (m->tail - m->head > m->window - m->window / 4 || m->status >= 0)
		return;
	while (has_room(m) && take_line(m))
		;
	if (was_empty) {
		m->round_start = now;
		m->round_replies = 0;
	}
	if (buf_failed(&m->request) && m->status < 0) {
		ctl_warn("out of memory");
		map_stop(m, STATUS_OS);
	}
}

void
map_retry(struct map *m, mono_t now)
{
	if (m->busy == 0 || mono_before(now, m->retry_at))
		return;
	m->busy = 0;
	for (uint64_t line = m->head; line < m->tail; line++)
		if (entry_at(m, line)->state == ENTRY_BUSY)
			send_line(m, line);
	if (!m->busy_told && mono_since(now, m->busy_since) > BUSY_TELL_US) {
		m->busy_told = true;
		ctl_warn("the queue of %s is full; waiting", m->pool.name);
	}
}

bool
map_wants_input(const struct map *m)
{
	size_t ahead = unread(m);

	/* a line must be whole before it can be sent, so up to its end there is
	 * no other bound than the line's own */
	return !m->eof && (ahead < UNREAD_MAX || m->searched == ahead);
}

void
map_input_added(struct map *m, size_t n)
{
	char *data = buf_tail(&m->input), *lf = NULL;

	if (!m->skipping) {
		buf_commit(&m->input, n);
		return;
	}
	lf = memchr(data, '\n', n);
	if (!lf)
		return;
	m->skipping = false;
	n -= (size_t)(lf + 1 - data);
	memmove(data, lf + 1, n);
	buf_commit(&m->input, n);
}

bool
map_finished(const struct map *m)
{
	return m->eof && m->head == m->tail && unread(m) == 0 && buf_len(&m->output) == 0;
}
