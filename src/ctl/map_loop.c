/* SPDX-License-Identifier: MIT */
#include "ctl/ctl.h"
#include "ctl/map.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define READ_CHUNK (64U << 10)
#define RECV_CHUNK (32U << 10)
#define FLUSH_BYTES (32U << 10) /* so much output is written at once */
#define FLUSH_US 2000		/* less of it after so long */
#define GATHER_US 500
#define HINT_US (10 * USEC_PER_SEC)
#define LAST_MS 100 /* for the last results, when a signal has come */

enum { AT_SIGNALS, AT_IN, AT_OUT, AT_ANSWER, AT_MESSAGES, AT_CONNS };
#define AT_MAX (AT_CONNS + MAP_CONNS_MAX)

static void
read_input(struct map *m)
{
	if (!buf_reserve(&m->input, READ_CHUNK)) {
		ctl_warn("out of memory");
		map_stop(m, STATUS_OS);
		return;
	}
	ssize_t n = read(m->in, buf_tail(&m->input), READ_CHUNK);
	if (n > 0) {
		map_input_added(m, (size_t)n);
	} else if (n == 0) {
		m->eof = true;
	} else if (errno != EINTR && errno != EAGAIN) {
		ctl_warn("cannot read standard input: %s", strerror(errno));
		map_stop(m, STATUS_FAILED);
	}
}

static void
read_replies(struct map_conn *c)
{
	char data[RECV_CHUNK];
	ssize_t n = recv(c->fd, data, sizeof(data), MSG_DONTWAIT);

	if (n > 0)
		map_replies(c, data, (size_t)n);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		c->map->hung_up = true;
}

static void
write_requests(struct map_conn *c)
{
	struct buf *b = &c->request;

	while (buf_len(b)) {
		ssize_t n = send(c->fd, buf_head(b), buf_len(b), MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n > 0)
			buf_consume(b, (size_t)n);
		else if (errno == EAGAIN)
			return;
		else if (errno != EINTR) /* what it said before is read first */
			buf_consume(b, buf_len(b));
	}
}

static bool
must_flush(const struct map *m, mono_t now)
{
	size_t n = buf_len(&m->output);

	return n && (n >= FLUSH_BYTES || m->out_at_once || m->n_unused == m->n_entries ||
		     m->status >= 0 || mono_since(now, m->output_since) >= FLUSH_US);
}

/* That the reader goes when it has enough (head) is its right. */
static void
lose_output(struct map *m, int error)
{
	m->output_gone = true;
	if (error != EPIPE)
		ctl_warn("cannot write the results: %s", strerror(error));
	map_stop(m, error == EPIPE ? STATUS_OK : STATUS_FAILED);
}

static void
write_output(struct map *m)
{
	size_t n = buf_len(&m->output);

	if (m->out_at_once)
		screen_clear(m->screen);
	ssize_t done = write(m->out, buf_head(&m->output), n < m->out_chunk ? n : m->out_chunk);
	if (done >= 0) {
		buf_consume(&m->output, (size_t)done);
		m->out_written += (uint64_t)done;
	} else if (errno != EINTR && errno != EAGAIN) {
		lose_output(m, errno);
	}
}

/* A log that is not kept would be relied on later. */
static void
write_log(struct map *m)
{
	int error = map_log_write(m->log, m->out_added, m->out_written);

	if (!error)
		return;
	ctl_warn("cannot write %s: %s", m->log->path, strerror(error));
	ctl_hint("lines from here on may be done without being in it");
	map_log_close(m->log);
	m->log_lost = true;
	map_stop(m, STATUS_FAILED);
}

/* --- the screen --- */

/* How many lines there are: what was taken of the input goes for the rest. */
static void
guess_total(const struct map *m, struct progress *p)
{
	uint64_t taken = m->in_bytes - buf_len(&m->input);

	if (m->eof && buf_len(&m->input) == 0) {
		p->total = m->lines;
	} else if (m->setup.in_size && taken) {
		p->total = (uint64_t)((double)m->lines * (double)m->setup.in_size / (double)taken);
		p->is_guess = true;
	}
}

static void
draw(struct map *m)
{
	struct progress p = {
		.lines = m->done + m->failed + m->skipped,
		.failed = m->failed,
	};

	/* never into the middle of a result */
	if (!screen_is_due(m->screen, m->now) || (m->out_at_once && buf_len(&m->output)))
		return;
	guess_total(m, &p);
	screen_draw(m->screen, &p, m->now);
	screen_ask(m->screen, m->setup.pool);
}

static void
hint_silence(struct map *m)
{
	if (!m->setup.own || m->setup.each || m->hinted || mono_since(m->now, m->started) < HINT_US)
		return;
	m->hinted = true;
	if (m->done + m->failed == 0 && m->lines > 0) {
		ctl_warn("no answer to the first line yet");
		ctl_hint("does the command keep its output back? it must not buffer: stdbuf -oL, "
			 "--unbuffered, flush=True");
	}
}

/* --- the loop --- */

static mono_t
earlier(mono_t a, mono_t b)
{
	return mono_before(a, b) ? a : b;
}

/* The next point in time at which something is to be done. */
static mono_t
next_deadline(const struct map *m, mono_t now)
{
	bool has_output = buf_len(&m->output) > 0;
	mono_t at = MONO_NEVER;

	if (m->busy)
		at = m->retry_at;
	/* what is due already waits for room, and not for a time */
	if (has_output && !must_flush(m, now))
		at = earlier(at, mono_add(m->output_since, FLUSH_US));
	if (m->setup.own && !m->setup.each && !m->hinted)
		at = earlier(at, mono_add(m->started, HINT_US));
	if (m->screen->on && !(m->out_at_once && has_output))
		at = earlier(at, m->screen->next);
	return at;
}

static void
watch(struct pollfd *p, int fd, int events)
{
	*p = (struct pollfd){fd, (short)events, 0};
}

static void
wait_for_events(const struct map *m, struct pollfd fds[AT_MAX])
{
	mono_t now = mono_now(), at = map_can_take(m) ? now : next_deadline(m, now);
	int reading = buf_len(&m->output) >= MAP_OUTPUT ? 0 : POLLIN;
	struct timespec timeout = {0};
	nfds_t count = AT_CONNS + m->n_conns;

	watch(&fds[AT_SIGNALS], m->signals, POLLIN);
	watch(&fds[AT_IN], map_wants_input(m) ? m->in : -1, POLLIN);
	/* without events poll still tells when the reader of a pipe goes */
	watch(&fds[AT_OUT], m->out, must_flush(m, now) ? POLLOUT : 0);
	watch(&fds[AT_ANSWER], m->screen->ask, POLLIN);
	watch(&fds[AT_MESSAGES], m->screen->messages, POLLIN);
	for (size_t i = 0; i < m->n_conns; i++) {
		int events = reading | (buf_len(&m->conns[i].request) ? POLLOUT : 0);
		watch(&fds[AT_CONNS + i], events ? m->conns[i].fd : -1, events);
	}
	if (!mono_is_never(at) && mono_before(now, at)) {
		int64_t us = mono_since(at, now);
		timeout = (struct timespec){us / USEC_PER_SEC, us % USEC_PER_SEC * 1000};
	}
	int n = ppoll(fds, count, mono_is_never(at) ? NULL : &timeout, NULL);
	for (size_t i = 0; n <= 0 && i < count; i++)
		fds[i].revents = 0;
}

static void
read_what_came(struct map *m, const struct pollfd fds[AT_MAX])
{
	if (fds[AT_SIGNALS].revents && (m->signal = map_signals_read(m->signals)))
		map_stop(m, 128 + m->signal);
	if (fds[AT_OUT].revents & POLLERR)
		lose_output(m, EPIPE);
	if (fds[AT_ANSWER].revents)
		screen_read_answer(m->screen);
	if (fds[AT_MESSAGES].revents)
		screen_read_messages(m->screen);
	for (size_t i = 0; i < m->n_conns && m->status < 0; i++)
		if (fds[AT_CONNS + i].revents & (POLLIN | POLLHUP | POLLERR))
			read_replies(&m->conns[i]);
	if (m->status < 0 && fds[AT_IN].revents)
		read_input(m);
}

static void
handle_events(struct map *m, const struct pollfd fds[AT_MAX])
{
	m->now = mono_now();
	read_what_came(m, fds);
	map_retry(m);
	map_take_lines(m);
	for (size_t i = 0; i < m->n_conns && m->status < 0; i++)
		write_requests(&m->conns[i]);
	if (fds[AT_OUT].revents & (POLLOUT | POLLHUP) && buf_len(&m->output) && !m->output_gone)
		write_output(m);
	write_log(m);
	draw(m);
	hint_silence(m);
}

/* The results that are complete go out even when the map ends early; a second
 * signal, or the first one where nobody reads, ends that too. */
static void
write_rest(struct map *m)
{
	while (buf_len(&m->output) && !m->output_gone) {
		struct pollfd fds[] = {{m->out, POLLOUT, 0}, {m->signals, POLLIN, 0}};
		int n = poll(fds, 2, m->signal ? LAST_MS : -1);
		if (n == 0 || fds[1].revents)
			break;
		write_output(m);
	}
	if (!m->signal && (m->signal = map_signals_read(m->signals)))
		m->status = 128 + m->signal;
	write_log(m);
}

/* Where replies come by the thousand it is cheaper for all to take many at once; as
 * long as most of the window is still out no worker waits for it. */
static void
let_them_gather(const struct map *m)
{
	static const struct timespec pause = {0, GATHER_US * 1000};
	size_t lines = m->n_entries - m->n_unused;

	if (m->window > m->window_min && lines > m->window / 2 && m->busy == 0)
		nanosleep(&pause, NULL);
}

int
map_loop(struct map *m)
{
	struct pollfd fds[AT_MAX];

	while (m->status < 0 && !m->hung_up && !map_finished(m)) {
		let_them_gather(m);
		wait_for_events(m, fds);
		handle_events(m, fds);
	}
	write_rest(m);
	screen_clear(m->screen);
	if (m->status >= 0)
		return m->status;
	if (m->hung_up && !map_finished(m))
		return STATUS_NO_DAEMON;
	return m->failed ? STATUS_FAILED : STATUS_OK;
}
