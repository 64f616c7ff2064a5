/* SPDX-License-Identifier: MIT */
/*
 * stream - a nonblocking byte channel with a buffer for each direction.
 *
 * Floor 3. Its owner (a client, a worker) embeds it, reads s->in and consumes
 * it, appends to s->out and has it flushed once a turn. Up-calls come from the
 * loop; the owner records and wakes, and closes the stream later, never inside.
 * Reading is bounded a turn, so that one peer cannot hold up the others, and
 * can be stopped, which is how a peer over its budget is held.
 */
#pragma once

#include "base/buf.h"
#include "io/loop.h"

struct stream;

struct stream_ops {
	/* May it be read now? If not for long, it is to be held. NULL: yes. */
	bool (*may_read)(struct stream *s);
	void (*on_input)(struct stream *s);  /* there is more in s->in */
	void (*on_end)(struct stream *s);    /* eof, hup or error has been set */
	void (*on_output)(struct stream *s); /* the loop has written from s->out; may be NULL */
};

struct stream {
	struct loop *loop;
	const struct stream_ops *ops;
	int rfd, wfd;		     /* the same one for a socket; -1: closed */
	struct watch rwatch, wwatch; /* wwatch only where wfd is another */
	struct buf in, out;
	uint64_t sent;	   /* bytes written, ever */
	uint64_t received; /* bytes read, ever */
	size_t turn_max;   /* bytes read a turn */
	size_t expected;   /* bytes that its owner knows to come behind those in s->in, or 0 */
	int error;	   /* 0 or a positive errno: the channel is broken */
	bool eof;	   /* the peer will send no more */
	bool hup;	   /* the peer is gone, both ways */
	bool reset;	   /* the peer went without having read all that we sent */
	bool held;	   /* not reading, by stream_hold() */
	bool blocked;	   /* the last write did not take all */
	bool borrowed;	   /* s->in is the loop's buffer */
};

/* Both descriptors are nonblocking (rfd may equal wfd) and are consumed, on
 * failure too. 0 or -errno. */
int stream_open(struct stream *s, struct loop *l, int take_rfd, int take_wfd, size_t turn_max,
		const struct stream_ops *ops);

/* Close and free the buffers. No-op on a closed one. */
void stream_close(struct stream *s);

/* Write what is in s->out, as far as it goes; the loop does the rest. A failure
 * is in s->error, for the caller to look at: no event need follow it. */
void stream_flush(struct stream *s);

/* Read what is there now, outside of the loop's order; no up-calls, so the caller
 * looks at s->eof and s->error itself. */
void stream_read(struct stream *s);

/* Give back the memory of what its owner has consumed of s->in, and the loop of s->out;
 * what is left may move. */
void stream_trim(struct stream *s);

/* Stop reading, or go on. */
void stream_hold(struct stream *s, bool hold);

/* Tell the peer that no more will come. */
void stream_shutdown(struct stream *s);

/* Memory that what was sent and is not taken yet has, in the kernel: it falls by what
 * was one write, or some ten KB of it, at a time. */
size_t stream_untaken(const struct stream *s);

/* Bytes that lie unread on our side of the channel (not in s->in). */
size_t stream_unread(const struct stream *s);

static inline bool
stream_is_open(const struct stream *s)
{
	return s->rfd >= 0;
}
