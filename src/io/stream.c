/* SPDX-License-Identifier: MIT */
#include "io/stream.h"

#include "base/fd.h"
#include "base/list.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_SIZE (256 * 1024)	/* of the loop's buffer, more than a socket holds */
#define ROOM_MIN (64 * 1024)	/* made before a read into one of our own */
#define MOVE_MAX (64 * 1024)	/* unread, that may move to the loop's for the next read */
#define KEEP_SIZE (4 * 1024)	/* what an empty buffer may hold on to */
#define SHRINK_SIZE (64 * 1024) /* and one that is nearly empty */
#define EXPECT_TIMES 8		/* as much as is there: so much room is made for what is to come */

/* ---- the input's buffer ----
 *
 * All streams of a loop read into one buffer, which is always warm; so those that have
 * nothing unread have no memory, and need none for a read. What their owners leave
 * unread gets a buffer of its own, and what is large is read on into that one. */

/* Room behind len bytes: for what is known to come in one piece, but not for much because
 * of a few bytes, since who announces it need not send it. */
static size_t
room_behind(const struct stream *s, size_t len)
{
	size_t most = EXPECT_TIMES * len;

	return ROOM_MIN + (s->expected < most ? s->expected : most);
}

static bool
borrow(struct stream *s)
{
	struct buf *shared = loop_input(s->loop), own = s->in;

	if (!buf_reserve(shared, READ_SIZE)) {
		buf_free(shared);
		return false;
	}
	buf_put(shared, buf_head(&own), buf_len(&own));
	s->in = *shared;
	*shared = (struct buf){0};
	buf_free(&own);
	s->borrowed = true;
	return true;
}

static bool
make_room(struct stream *s)
{
	if (s->borrowed)
		return buf_reserve(&s->in, 1);
	if (buf_len(&s->in) > MOVE_MAX)
		return buf_reserve(&s->in, room_behind(s, buf_len(&s->in)));
	return borrow(s);
}

/* It stays here where there was no memory for more, or is none for what is left in it: who
 * reads next is not to suffer from that. */
static void
give_back(struct stream *s)
{
	struct buf own = {0};
	size_t len = buf_len(&s->in);

	if (!s->borrowed)
		return;
	s->borrowed = false;
	if (buf_failed(&s->in) || (len > MOVE_MAX && !buf_reserve(&own, len + room_behind(s, len))))
		return;
	buf_put(&own, buf_head(&s->in), len);
	if (buf_failed(&own))
		return;
	buf_consume(&s->in, len);
	*loop_input(s->loop) = s->in;
	s->in = own;
}

static void
trim_out(struct stream *s)
{
	buf_trim(&s->out, KEEP_SIZE);
	if (buf_len(&s->out))
		buf_shrink(&s->out, SHRINK_SIZE);
}

void
stream_trim(struct stream *s)
{
	give_back(s);
	buf_trim(&s->in, KEEP_SIZE);
	if (buf_len(&s->in) && !s->expected)
		buf_shrink(&s->in, SHRINK_SIZE);
	trim_out(s);
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

/* One read, of at most *budget bytes. False: there is no more for now. */
static bool
read_once(struct stream *s, size_t *budget)
{
	size_t room;
	ssize_t n;

	if (!*budget || s->eof || s->rfd < 0)
		return false;
	if (!make_room(s)) {
		stream_fail(s, ENOMEM);
		return false;
	}
	room = buf_room(&s->in) < *budget ? buf_room(&s->in) : *budget;
	do {
		n = read(s->rfd, buf_tail(&s->in), room);
	} while (n < 0 && errno == EINTR);
	if (n < 0) {
		if (errno != EAGAIN)
			stream_fail(s, errno);
		return false;
	}
	s->eof = n == 0;
	buf_commit(&s->in, (size_t)n);
	s->received += (uint64_t)n;
	*budget -= (size_t)n;
	return (size_t)n == room; /* else there is no more; EOF will be reported */
}

void
stream_read(struct stream *s)
{
	size_t budget = s->turn_max;

	while (read_once(s, &budget))
		;
	give_back(s);
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
	size_t budget = s->turn_max;
	bool ended = s->eof;

	/* On a hang-up what was sent before it is still there to be read, and only
	 * when it has been is the peer gone for its owner. */
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) && !s->held && may_read(s))
		read_once(s, &budget);
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
	trim_out(s);
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
