/* SPDX-License-Identifier: MIT */
#include "ctl/ctl.h"
#include "ctl/map.h"

#include <stdlib.h>
#include <string.h>

#define WINDOW_FIRST 64
#define WINDOW_FAST 1024	 /* for jobs so quick that system calls count */
#define REQUEST_MAX (256U << 10) /* bytes that wait to be sent, on one connection */
#define UNREAD_MAX (128U << 10)	 /* bytes of input ahead of the window */
#define BACKOFF_FIRST_US 2000
#define BUSY_TELL_US (10 * USEC_PER_SEC)
#define SPREAD_LEAST 16 /* connections */

/* --- sizes --- */

static size_t
clamp(int64_t n, int64_t low, int64_t high)
{
	return (size_t)(n < low ? low : n > high ? high : n);
}

/* Is a reply wanted as soon as it is there, whatever the jobs before it do? */
static bool
is_spread(const struct map_setup *setup)
{
	return setup->unordered || setup->halt.when != HALT_NEVER;
}

/* As many again as run wait in the queue, so that no worker waits for us; but where
 * it may be necessary to halt, nothing is sent that is not begun. */
static int64_t
spread_commands(const struct map_setup *setup)
{
	if (setup->halt.when != HALT_NEVER)
		return (int64_t)clamp(setup->slots, 1, MAP_WINDOW_MAX / 2);
	return (int64_t)clamp(setup->slots * 2, SPREAD_LEAST, MAP_WINDOW_MAX / 2);
}

size_t
map_conns_wanted(const struct map_setup *setup)
{
	return is_spread(setup) ? clamp(spread_commands(setup), 1, MAP_CONNS_MAX) : 1;
}

/* Enough to keep every worker busy, and half of the queue for others. */
static void
size_windows(struct map *m)
{
	const struct map_setup *s = &m->setup;
	int64_t slots = (int64_t)clamp(s->slots, 1, MAP_WINDOW_MAX / 4);
	int64_t room = slots + (int64_t)clamp(s->queue_limit, 0, MAP_WINDOW_MAX) / 2;
	int64_t most = slots * 4 > WINDOW_FAST ? slots * 4 : WINDOW_FAST;
	int64_t least = slots * 4 > WINDOW_FIRST ? slots * 4 : WINDOW_FIRST;

	if (s->unordered)
		most = least = spread_commands(s);
	m->window_max = clamp(most, 1, room);
	m->window_min = clamp(least, 1, room);
	m->window = m->window_min;
	m->n_entries = m->window_max;
	m->ring_size = 1;
	while (m->ring_size < m->n_entries)
		m->ring_size *= 2;
	m->depth = m->n_entries;
	if (is_spread(s))
		m->depth = ((size_t)spread_commands(s) + m->n_conns - 1) / m->n_conns;
}

/* --- making and releasing --- */

static void
put_word(struct buf *b, const char *word)
{
	buf_putf(b, "$%zu\r\n%s\r\n", strlen(word), word);
}

static void
make_prefix(struct map *m)
{
	const struct map_setup *s = &m->setup;

	buf_putf(&m->prefix, "*%d\r\n", s->timeout ? 5 : 3);
	put_word(&m->prefix, "RUN");
	put_word(&m->prefix, s->pool);
	if (s->timeout) {
		put_word(&m->prefix, "TIMEOUT");
		put_word(&m->prefix, s->timeout);
	}
	if (buf_failed(&m->prefix)) {
		ctl_warn("out of memory");
		exit(STATUS_OS);
	}
}

static void *
array_of(size_t n, size_t size)
{
	return memset(ctl_realloc(NULL, n * size), 0, n * size);
}

static void
make_entries(struct map *m)
{
	m->entries = array_of(m->n_entries, sizeof(*m->entries));
	m->unused = array_of(m->n_entries, sizeof(*m->unused));
	m->order = array_of(m->ring_size, sizeof(*m->order));
	while (m->n_unused < m->n_entries) {
		m->unused[m->n_unused] = (uint32_t)(m->n_entries - 1 - m->n_unused);
		m->n_unused++;
	}
}

static void
make_conns(struct map *m, const int *fds)
{
	m->conns = array_of(m->n_conns, sizeof(*m->conns));
	m->places = array_of(m->n_conns * m->depth, sizeof(*m->places));
	for (size_t i = 0; i < m->n_conns; i++) {
		struct map_conn *c = &m->conns[i];
		c->map = m;
		c->fd = fds[i];
		c->sent = array_of(m->ring_size, sizeof(*c->sent));
		map_reader_init(c);
	}
	/* each once before any twice */
	for (size_t i = 0; i < m->depth * m->n_conns; i++)
		m->places[m->n_places++] = (uint32_t)(i % m->n_conns);
}

void
map_init(struct map *m, const struct map_setup *setup, const int *fds, size_t n)
{
	m->setup = *setup;
	m->n_conns = n;
	m->status = -1;
	m->backoff_us = BACKOFF_FIRST_US;
	size_windows(m);
	make_prefix(m);
	make_entries(m);
	make_conns(m, fds);
	m->now = m->started = m->round_start = mono_now();
}

void
map_release(struct map *m)
{
	for (size_t i = 0; i < m->n_entries; i++) {
		free(m->entries[i].text);
		free(m->entries[i].held);
	}
	for (size_t i = 0; i < m->n_conns; i++) {
		buf_free(&m->conns[i].request);
		redisReaderFree(m->conns[i].reader);
		free(m->conns[i].sent);
	}
	free(m->entries);
	free(m->unused);
	free(m->order);
	free(m->conns);
	free(m->places);
	buf_free(&m->prefix);
	buf_free(&m->input);
	buf_free(&m->output);
}

/* --- sending --- */

void
map_send(struct map *m, struct entry *e)
{
	struct map_conn *c = &m->conns[m->places[--m->n_places]];
	struct buf *b = &c->request;

	buf_put(b, buf_head(&m->prefix), buf_len(&m->prefix));
	buf_putc(b, '$');
	buf_put_u64(b, e->len);
	buf_put(b, "\r\n", 2);
	if (e->text)
		buf_put(b, e->text, e->len);
	buf_put(b, "\r\n", 2);
	e->state = ENTRY_SENT;
	c->sent[c->sent_tail++ & (m->ring_size - 1)] = (uint32_t)(e - m->entries);
	if (buf_failed(b) && m->status < 0) {
		ctl_warn("out of memory");
		map_stop(m, STATUS_OS);
	}
}

void
map_retry(struct map *m)
{
	if (m->busy == 0 || mono_before(m->now, m->retry_at))
		return;
	m->busy = 0;
	/* the oldest first, where they are in order */
	for (uint64_t i = 0; i < m->n_entries; i++) {
		uint64_t at = m->setup.unordered ? i : m->order[(m->head + i) & (m->ring_size - 1)];
		struct entry *e = &m->entries[at];
		if (e->state == ENTRY_BUSY)
			map_send(m, e);
	}
	if (!m->busy_told && mono_since(m->now, m->busy_since) > BUSY_TELL_US) {
		m->busy_told = true;
		ctl_warn("the queue of %s is full; waiting", m->setup.pool);
	}
}

/* --- lines --- */

static struct entry *
new_entry(struct map *m, const char *text, size_t len)
{
	uint32_t at = m->unused[--m->n_unused];
	struct entry *e = &m->entries[at];

	*e = (struct entry){.line = m->lines, .attempts = 1, .len = len, .sent = m->now};
	e->text = len ? memcpy(ctl_realloc(NULL, len), text, len) : NULL;
	m->bytes += len;
	if (!m->setup.unordered)
		m->order[m->tail++ & (m->ring_size - 1)] = at;
	return e;
}

void
map_forget(struct map *m, struct entry *e)
{
	free(e->text);
	free(e->held);
	e->text = e->held = NULL;
	m->bytes -= e->len;
	e->state = ENTRY_FREE;
	m->unused[m->n_unused++] = (uint32_t)(e - m->entries);
}

/* The entry of the line that was found, or NULL: the log says that it is not to
 * be done. Of text, which it is known by in the log, the entry gets len bytes. */
static struct entry *
add_line(struct map *m, const char *text, size_t known, size_t len)
{
	uint64_t hash = 0;
	bool again = false;

	m->lines++;
	if (m->log->use != LOG_NONE) {
		hash = tally_hash(text, known);
		if (!map_log_wants(m->log, hash, &again)) {
			m->skipped++;
			return NULL;
		}
	}
	struct entry *e = new_entry(m, text, len);
	e->hash = hash;
	e->again = again;
	return e;
}

/* The line at the input's head is longer than may be: it fails, its rest is
 * dropped. In a log it has the hash of its beginning. */
static void
refuse_line(struct map *m)
{
	struct entry *e = add_line(m, buf_head(&m->input), MAP_LINE_MAX, 0);

	m->input.end = m->input.start;
	m->searched = 0;
	m->skipping = true;
	if (e)
		map_refuse(m, e, "TOOBIG the line is longer than 64M");
}

/* Find the next line and send it. False: there is none (yet). */
static bool
take_line(struct map *m)
{
	size_t have = buf_len(&m->input);
	char *start = buf_head(&m->input), end = m->setup.nul ? '\0' : '\n';
	char *mark = have > m->searched ? memchr(start + m->searched, end, have - m->searched) :
					  NULL;

	if (!mark) {
		m->searched = have;
		if (have > MAP_LINE_MAX)
			refuse_line(m);
		if (!m->eof || have == 0 || m->skipping)
			return false;
	}
	size_t len = mark ? (size_t)(mark - start) : have;
	struct entry *e = add_line(m, start, len, len);
	if (e)
		map_send(m, e);
	buf_consume(&m->input, len + (mark != NULL));
	m->searched = 0;
	return true;
}

static bool
has_room(const struct map *m)
{
	size_t lines = m->n_entries - m->n_unused;

	return m->busy == 0 && m->n_places > 0 && m->n_unused > 0 && m->status < 0 && !m->halted &&
	       buf_len(&m->conns[m->places[m->n_places - 1]].request) < REQUEST_MAX &&
	       (lines == 0 || (lines < m->window && m->bytes < MAP_BYTES));
}

/* A few at a time cost a system call each; the workers have enough to do. */
static bool
is_worth_it(const struct map *m)
{
	return m->n_entries - m->n_unused <= m->window - m->window / 4;
}

bool
map_can_take(const struct map *m)
{
	size_t have = buf_len(&m->input);

	return has_room(m) && is_worth_it(m) && (have > m->searched || (m->eof && have));
}

void
map_take_lines(struct map *m)
{
	bool was_empty = m->n_unused == m->n_entries;

	if (!is_worth_it(m))
		return;
	while (has_room(m) && take_line(m))
		;
	if (was_empty) {
		m->round_start = m->now;
		m->round_replies = 0;
	}
}

bool
map_wants_input(const struct map *m)
{
	size_t ahead = buf_len(&m->input);

	/* a line must be whole before it can be sent, so up to its end there is
	 * no other bound than the line's own */
	return !m->eof && !m->halted && (ahead < UNREAD_MAX || m->searched == ahead);
}

void
map_input_added(struct map *m, size_t n)
{
	char *data = buf_tail(&m->input), *mark = NULL;

	m->in_bytes += n;
	if (!m->skipping) {
		buf_commit(&m->input, n);
		return;
	}
	mark = memchr(data, m->setup.nul ? '\0' : '\n', n);
	if (!mark)
		return;
	m->skipping = false;
	n -= (size_t)(mark + 1 - data);
	memmove(data, mark + 1, n);
	buf_commit(&m->input, n);
}

bool
map_finished(const struct map *m)
{
	bool no_more = m->halted || (m->eof && buf_len(&m->input) == 0);

	if (!no_more || m->n_unused < m->n_entries || buf_len(&m->output))
		return false;
	/* a line that was refused for its length was so before all of it was sent */
	for (size_t i = 0; i < m->n_conns; i++)
		if (buf_len(&m->conns[i].request))
			return false;
	return true;
}
