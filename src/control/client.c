/* SPDX-License-Identifier: MIT */
#include "control/client.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "control/events.h"
#include "control/multi.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define READ_A_TURN (256 * 1024)

static const struct resp_limits limits = {
	.max_args = 16384,
	.max_bulk = 512 * 1024 * 1024,
	.max_inline = 64 * 1024,
	.check_above = 64 * 1024,
};

void
client_note(struct client *c)
{
	if (!list_linked(&c->dirty))
		list_append(&c->server->dirty, &c->dirty);
}

/* ---- budget ---- */

static bool
client_over_budget(struct client *c)
{
	return c->reply_count >= CLIENT_SLOTS_MAX ||
	       client_reply_bytes(c) + multi_bytes(c) > c->server->conf->control.client_memory;
}

/* ---- input ---- */

/* A long argument is announced: say at once what is wrong with it, if anything,
 * and drop it as it comes. */
static void
client_check_length(struct client *c)
{
	char *refusal =
		command_refuse_length(c, c->parser.argv, c->parser.argc, c->parser.pending_len);
	char *text = refusal ? strchr(refusal, ' ') : NULL;

	if (!text)
		return;
	*text++ = 0;
	client_begin_command(c);
	resp_put_error(client_reply(c), refusal, text, strlen(text));
	client_end_command(c);
	free(refusal);
	multi_spoil(c);
	resp_skip(&c->parser);
}

static void
client_end(struct client *c, const char *error)
{
	if (error)
		resp_put_error(client_reply(c), "ERR", error, strlen(error));
	c->closing = true;
	stream_hold(&c->stream, true);
}

/* One command out of the input. False: there is no whole one. */
static bool
client_step(struct client *c)
{
	struct buf *in = &c->stream.in;
	size_t used = 0;
	enum resp_result r = resp_parse(&c->parser, buf_head(in), buf_len(in), &used);

	switch (r) {
	case RESP_AGAIN:
		buf_consume(in, used);
		return used && buf_len(in);
	case RESP_OK:
		c->commands++;
		c->server->commands++;
		client_begin_command(c);
		command_execute(c, c->parser.argv, c->parser.argc);
		client_end_command(c);
		buf_consume(in, used);
		return true;
	case RESP_LENGTH:
		client_check_length(c);
		return true;
	case RESP_SKIPPED:
		buf_consume(in, used);
		return true;
	case RESP_BAD:
		client_end(c, c->parser.error);
		return false;
	case RESP_HTTP:
		log_msg(LOG_WARNING, "client %llu (uid %u) speaks HTTP: closed",
			(unsigned long long)c->id, c->uid);
		c->gone = true;
		return false;
	}
	return false;
}

static void
client_read(struct client *c)
{
	while (!c->closing && !c->gone && buf_len(&c->stream.in) && !client_over_budget(c))
		if (!client_step(c))
			break;
	if (!c->closing && !client_over_budget(c) &&
	    buf_len(&c->stream.in) > c->server->conf->control.client_memory)
		client_end(c, "Protocol error: a command larger than control.client_memory");
	stream_hold(&c->stream, c->closing || client_over_budget(c));
	client_note(c);
}

static void
on_input(struct stream *s)
{
	client_read(container_of(s, struct client, stream));
}

/* A half-close (eof alone) leaves the client to get its replies. */
static void
on_end(struct stream *s)
{
	struct client *c = container_of(s, struct client, stream);

	if (s->hup || s->error)
		c->gone = true;
	client_note(c);
}

/* Below its budget again, or done: the turn's end sees to it. */
static void
on_output(struct stream *s)
{
	client_note(container_of(s, struct client, stream));
}

static const struct stream_ops client_ops = {
	.on_input = on_input,
	.on_end = on_end,
	.on_output = on_output,
};

/* ---- life ---- */

struct client *
client_new(struct server *s, int take_fd)
{
	struct client *c = mem_new(sizeof(*c));
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(take_fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0) {
		fd_close(&take_fd);
		free(c);
		return NULL;
	}
	if (stream_open(&c->stream, s->loop, take_fd, take_fd, READ_A_TURN, &client_ops) < 0) {
		free(c);
		return NULL;
	}
	c->server = s;
	c->proto = RESP2;
	c->id = ++s->next_client_id;
	c->uid = peer.uid;
	c->gid = peer.gid;
	c->pid = peer.pid;
	c->since = loop_now(s->loop);
	access_open(c, c->stream.rfd);
	resp_parser_init(&c->parser, &limits);
	list_init(&c->replies);
	list_init(&c->muted);
	list_init(&c->news.channels);
	list_init(&c->news.patterns);
	list_init(&c->dirty);
	list_append(&s->clients, &c->all);
	s->client_count++;
	return c;
}

void
client_free(struct client *c)
{
	client_unsubscribe_all(c);
	client_drop_replies(c);
	multi_drop(c);
	stream_close(&c->stream);
	resp_parser_free(&c->parser);
	access_close(c);
	list_remove(&c->all);
	list_remove(&c->dirty);
	c->server->client_count--;
	free(c);
}

bool
client_is_flushed(const struct client *c)
{
	return c->gone ||
	       (list_empty(&c->replies) && list_empty(&c->muted) && !buf_len(&c->stream.out));
}

bool
client_is_answered(const struct client *c)
{
	const struct stream *s = &c->stream;
	bool news_alone = s->sent >= c->news.from && s->sent + buf_len(&s->out) == c->news.to;

	return client_is_flushed(c) ||
	       (list_empty(&c->replies) && list_empty(&c->muted) && news_alone);
}

bool
client_turn(struct client *c)
{
	bool all = client_collect(c);

	if (buf_failed(&c->stream.out))
		c->gone = true; /* no memory for its replies: it must not miss one unknowingly */
	if (!c->gone)
		stream_flush(&c->stream);
	if (events_catch_up(c))
		stream_flush(&c->stream);
	if (c->stream.error)
		c->gone = true;
	if (!all && !c->stream.blocked) { /* it read as fast as we wrote: there is room again */
		client_note(c);
		loop_again(c->server->loop);
	}
	if (!c->gone && c->stream.held && !c->closing && !client_over_budget(c)) {
		/* What it had sent before it was held lies here already. */
		stream_hold(&c->stream, false);
		client_read(c);
		loop_again(c->server->loop);
	}
	client_hold_jobs(c);
	if ((c->closing || c->stream.eof) && client_is_flushed(c))
		c->gone = true;
	return !c->gone;
}
