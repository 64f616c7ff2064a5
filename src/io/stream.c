/* SPDX-License-Identifier: MIT */
#include "io/stream.h"

#include "base/fd.h"
#include "base/list.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_SIZE (16 * 1024)	/* room made before a read */
#define KEEP_SIZE (4 * 1024)	/* what an empty buffer may hold on to */
#define SHRINK_SIZE (64 * 1024) /* and one that is nearly empty */

static void
trim(struct buf *b)
{
	buf_trim(b, KEEP_SIZE);
	if (buf_len(b))
		buf_shrink(b, SHRINK_SIZE);
}

void
stream_trim(struct stream *s)
{
	trim(&s->in);
	trim(&s->out);
}

static void
stream_interest(struct stream *s)
{
	uint32_t in = s->held || s->eof ? 0 : EPOLLIN;
	uint32_t out = s->blocked && !s->error ? EPOLLOUT : 0;

	if (s->rfd == s->wfd) {
		watch_set(s->loop, &s->rwatch, in | out);
	} else {
		watch_set(s->loop, &s->rwatch, in);
		watch_set(s->loop, &s->wwatch, out);
	}
	/* A hang-up is reported again and again: once it is known, stop listening. */
	if (s->hup && (s->eof || s->held)) {
		watch_remove(s->loop, &s->rwatch);
		watch_remove(s->loop, &s->wwatch);
	}
}

static void
stream_fail(struct stream *s, int error)
{
	s->error = error;
	s->eof = true;
	s->reset |= error == ECONNRESET;
}

void
stream_read(struct stream *s)
{
	size_t budget = s->turn_max;

	while (budget && !s->eof && s->rfd >= 0) {
		size_t room;
		ssize_t n;

		if (!buf_reserve(&s->in, READ_SIZE)) {
			stream_fail(s, ENOMEM);
			return;
		}
		room = buf_room(&s->in) < budget ? buf_room(&s->in) : budget;
		n = read(s->rfd, buf_tail(&s->in), room);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			stream_fail(s, errno);
			return;
		}
		if (n == 0)
			s->eof = true;
		buf_commit(&s->in, (size_t)n);
		s->received += (uint64_t)n;
		budget -= (size_t)n;
		if ((size_t)n < room)
			return; /* there is no more; EOF will be reported */
	}
}

/* The channel takes bytes again. */
static void
stream_resume(struct stream *s)
{
	uint64_t before = s->sent;

	stream_flush(s);
	if (s->sent != before && s->ops->on_output)
		s->ops->on_output(s);
}

static bool
may_read(struct stream *s)
{
	return !s->ops->may_read || s->ops->may_read(s);
}

static void
on_readable(struct watch *w, uint32_t events)
{
	struct stream *s = container_of(w, struct stream, rwatch);
	size_t before = buf_len(&s->in);
	bool ended = s->eof;

	/* On a hang-up what was sent before it is still there to be read, and only
	 * when it has been is the peer gone for its owner. */
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) && !s->held && may_read(s))
		stream_read(s);
	if (events & EPOLLHUP && (s->eof || s->held))
		s->hup = true;
	if (events & EPOLLOUT)
		stream_resume(s);
	if (buf_len(&s->in) > before)
		s->ops->on_input(s);
	if (!stream_is_open(s))
		return;
	stream_interest(s);
	if (s->hup || s->error || s->eof != ended)
		s->ops->on_end(s);
	stream_trim(s);
}

static void
on_writable(struct watch *w, uint32_t events)
{
	struct stream *s = container_of(w, struct stream, wwatch);

	stream_resume(s);
	if (events & (EPOLLERR | EPOLLHUP)) {
		/* The pipe has no reader any more; its other one reports the end. */
		watch_remove(s->loop, &s->wwatch);
		s->error = s->error ? s->error : EPIPE;
		s->ops->on_end(s);
	}
}

int
stream_open(struct stream *s, struct loop *l, int take_rfd, int take_wfd, size_t turn_max,
	    const struct stream_ops *ops)
{
	int r;

	*s = (struct stream){
		.loop = l,
		.ops = ops,
		.rfd = take_rfd,
		.wfd = take_wfd,
		.rwatch.fd = -1,
		.wwatch.fd = -1,
		.turn_max = turn_max,
	};
	r = watch_add(l, &s->rwatch, s->rfd, EPOLLIN, on_readable);
	if (r >= 0 && s->wfd != s->rfd)
		r = watch_add(l, &s->wwatch, s->wfd, 0, on_writable);
	if (r < 0)
		stream_close(s);
	return r;
}

void
stream_close(struct stream *s)
{
	if (!s->loop)
		return;
	watch_remove(s->loop, &s->rwatch);
	watch_remove(s->loop, &s->wwatch);
	if (s->wfd != s->rfd)
		fd_close(&s->wfd);
	fd_close(&s->rfd);
	s->wfd = -1;
	buf_free(&s->in);
	buf_free(&s->out);
	s->loop = NULL;
}

void
stream_flush(struct stream *s)
{
	bool blocked = false;

	while (buf_len(&s->out) && !s->error && s->wfd >= 0) {
		ssize_t n = write(s->wfd, buf_head(&s->out), buf_len(&s->out));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			blocked = true;
			break;
		}
		if (n < 0) {
			/* Reading goes on: what the peer said last still counts. The
			 * hang-up that caused this is what the loop reports. */
			s->reset |= errno == ECONNRESET;
			s->error = errno;
			break;
		}
		s->sent += (uint64_t)n;
		buf_consume(&s->out, (size_t)n);
	}
	trim(&s->out);
	if (blocked != s->blocked || s->error) {
		s->blocked = blocked;
		stream_interest(s);
	}
}

void
stream_hold(struct stream *s, bool hold)
{
	if (s->held == hold)
		return;
	s->held = hold;
	stream_interest(s);
}

void
stream_shutdown(struct stream *s)
{
	if (s->wfd < 0)
		return;
	if (s->wfd == s->rfd) {
		shutdown(s->wfd, SHUT_WR);
	} else {
		watch_remove(s->loop, &s->wwatch);
		fd_close(&s->wfd);
	}
}

size_t
stream_unread(const struct stream *s)
{
	int n = 0;

	if (s->rfd < 0 || ioctl(s->rfd, FIONREAD, &n) < 0)
		return 0;
	return (size_t)n;
}

size_t
stream_untaken(const struct stream *s)
{
	int n = 0;

	if (s->wfd < 0 || ioctl(s->wfd, TIOCOUTQ, &n) < 0)
		return 0;
	return (size_t)n;
}
