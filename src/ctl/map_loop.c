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
#define HINT_US (10 * USEC_PER_SEC)

enum { AT_IN, AT_SOCK, AT_OUT, AT_MAX };

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
read_socket(struct map *m)
{
	char data[RECV_CHUNK];
	ssize_t n = recv(m->sock, data, sizeof(data), MSG_DONTWAIT);

	if (n > 0)
		map_replies(m, data, (size_t)n);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		m->hung_up = true;
}

static void
write_socket(struct map *m)
{
	while (buf_len(&m->request)) {
		ssize_t n = send(m->sock, buf_head(&m->request), buf_len(&m->request),
				 MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n > 0)
			buf_consume(&m->request, (size_t)n);
		else if (errno == EAGAIN)
			return;
		else if (errno != EINTR) /* what it said before is read first */
			buf_consume(&m->request, buf_len(&m->request));
	}
}

static bool
must_flush(const struct map *m, mono_t now)
{
	size_t n = buf_len(&m->output);

	return n && (n >= FLUSH_BYTES || m->out_at_once || m->head == m->tail || m->status >= 0 ||
		     mono_since(now, m->output_since) >= FLUSH_US);
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
	ssize_t done = write(m->out, buf_head(&m->output), n < m->out_chunk ? n : m->out_chunk);

	if (done >= 0) {
		buf_consume(&m->output, (size_t)done);
		return;
	}
	if (errno == EINTR || errno == EAGAIN)
		return;
	lose_output(m, errno);
}

/* The next point in time at which something is to be done. */
static mono_t
next_deadline(const struct map *m)
{
	mono_t at = MONO_NEVER;
	mono_t flush = mono_add(m->output_since, FLUSH_US), hint = mono_add(m->started, HINT_US);

	if (m->busy)
		at = m->retry_at;
	if (buf_len(&m->output) && mono_before(flush, at))
		at = flush;
	if (m->pool.own && !m->hinted && mono_before(hint, at))
		at = hint;
	return at;
}

static void
wait_for_events(const struct map *m, struct pollfd fds[AT_MAX])
{
	mono_t now = mono_now(), at = next_deadline(m);
	bool flush = must_flush(m, now), full = buf_len(&m->output) >= MAP_OUTPUT;
	struct timespec timeout = {0};

	fds[AT_IN] = (struct pollfd){map_wants_input(m) ? m->in : -1, POLLIN, 0};
	fds[AT_SOCK] = (struct pollfd){m->sock, 0, 0};
	fds[AT_SOCK].events = (short)((full ? 0 : POLLIN) | (buf_len(&m->request) ? POLLOUT : 0));
	if (!fds[AT_SOCK].events)
		fds[AT_SOCK].fd = -1;
	/* without events poll still tells when the reader of a pipe goes */
	fds[AT_OUT] = (struct pollfd){m->out, flush ? POLLOUT : 0, 0};
	if (!mono_is_never(at) && mono_before(now, at)) {
		int64_t us = mono_since(at, now);
		timeout = (struct timespec){us / USEC_PER_SEC, us % USEC_PER_SEC * 1000};
	}
	int n = ppoll(fds, AT_MAX, mono_is_never(at) ? NULL : &timeout, NULL);
	for (int i = 0; n <= 0 && i < AT_MAX; i++)
		fds[i].revents = 0;
}

static void
hint_silence(struct map *m, mono_t now)
{
	if (!m->pool.own || m->hinted || mono_since(now, m->started) < HINT_US)
		return;
	m->hinted = true;
	if (m->head == 0 && m->tail > 0) {
		ctl_warn("no answer to the first line yet");
		ctl_hint("does the command keep its output back? it must not buffer: stdbuf -oL, "
			 "--unbuffered, flush=True");
	}
}

static void
handle_events(struct map *m, const struct pollfd fds[AT_MAX])
{
	if (fds[AT_OUT].revents & POLLERR)
		lose_output(m, EPIPE);
	if (m->status < 0 && fds[AT_SOCK].revents & (POLLIN | POLLHUP | POLLERR))
		read_socket(m);
	if (m->status < 0 && fds[AT_IN].revents)
		read_input(m);
	mono_t now = mono_now();
	map_retry(m, now);
	map_take_lines(m, now);
	write_socket(m);
	if (fds[AT_OUT].revents & (POLLOUT | POLLHUP) && buf_len(&m->output) && !m->output_gone)
		write_output(m);
	hint_silence(m, now);
}

/* The results that are complete go out even when the map ends early. */
static void
write_rest(struct map *m)
{
	while (buf_len(&m->output) && !m->output_gone) {
		struct pollfd fd = {m->out, POLLOUT, 0};
		poll(&fd, 1, -1);
		write_output(m);
	}
}

int
map_loop(struct map *m)
{
	struct pollfd fds[AT_MAX];

	while (m->status < 0 && !m->hung_up && !map_finished(m)) {
		wait_for_events(m, fds);
		handle_events(m, fds);
	}
	write_rest(m);
	if (m->status >= 0)
		return m->status;
	if (m->hung_up && !map_finished(m))
		return STATUS_NO_DAEMON;
	return m->failed ? STATUS_FAILED : STATUS_OK;
}
