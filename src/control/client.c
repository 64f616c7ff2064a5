/* SPDX-License-Identifier: MIT */
#include "control/client.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/parse.h"
#include "control/events.h"
#include "control/multi.h"
#include "control/user.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

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

/* bytes: of untaken replies, and of what a MULTI keeps. */
static bool
is_over_budget(const struct client *c, size_t bytes)
{
	return client_owed(c) >= CLIENT_SLOTS_MAX || bytes > c->server->conf->control.client_memory;
}

/* All but unread input. */
static size_t
kept_bytes(const struct client *c)
{
	return client_reply_bytes(c) + multi_bytes(c);
}

bool
client_over_budget(const struct client *c)
{
	return is_over_budget(c, kept_bytes(c));
}

size_t
client_bytes(const struct client *c)
{
	return buf_len(&c->stream.in) + kept_bytes(c);
}

/* An EXEC is carried out to its end, whatever is in it. */
static bool
client_goes_on(const struct client *c)
{
	return !c->gone && (c->exec || !c->closing);
}

/* By what user_count() has counted just now. */
static size_t
kept_then(const struct client *c)
{
	return c->counted - buf_len(&c->stream.in);
}

static bool
was_over_budget(const struct client *c)
{
	return is_over_budget(c, kept_then(c));
}

static bool
client_has_room(struct client *c)
{
	user_count(c);
	return !was_over_budget(c) && user_admits(c);
}

static bool
client_may_go_on(struct client *c)
{
	return client_goes_on(c) && client_has_room(c);
}

/* While it keeps less than this it has room, by what user_count() has counted just now: as
 * long as it is read, its unread input only gets less, and others of its user get nothing.
 * 0: there is none, and whether it goes on is to be asked for each command. */
static uint64_t
room_end(const struct client *c)
{
	uint64_t limit = c->server->conf->control.client_memory, kept = kept_then(c);
	uint64_t own = kept < limit ? limit - kept : 0, user = user_room(c);
	uint64_t room = own < user ? own : user;

	return room ? kept + room : 0;
}

/* ---- patience ---- */

static mono_t
later(mono_t a, mono_t b)
{
	return mono_before(a, b) ? b : a;
}

/* Since when has it held up its budget, or that of its user, and done nothing about it:
 * taken no reply, or not gone on with a command that others wait for? */
static mono_t
client_idle_since(const struct client *c)
{
	if (c->stream.blocked && !mono_is_never(c->over_since))
		return later(c->over_since, c->moved_at);
	if (c->stream.blocked && user_is_full(c))
		return later(c->user->full_since, c->moved_at);
	return user_waits_for(c) ? c->moved_at : MONO_NEVER;
}

static void
client_lose_patience(struct client *c)
{
	char text[FORMAT_MAX];

	log_event(
		LOG_EVENT_CLIENT_CLOSED, LOG_WARNING,
		"client %llu (uid %u, pid %d) is closed: over its budget, with %zu bytes, it has %s "
		"for %s (control.client_timeout)",
		(unsigned long long)c->id, c->uid, (int)c->pid, c->counted,
		c->stream.blocked ? "taken nothing of its replies" : "sent no more of its command",
		format_duration(text, c->server->conf->control.client_timeout_us));
	c->gone = true;
	client_note(c);
}

static void
client_set_patience(struct client *c, mono_t due)
{
	c->untaken = stream_untaken(&c->stream);
	timer_set(loop_timers(c->server->loop), &c->patience, due);
}

/* The clock is started for a client that does not take all, or is waited for, and looked
 * at when it has run down: that costs the others, and those that are only slow, nothing. */
static void
client_start_patience(struct client *c)
{
	if (!c->only && !timer_is_set(&c->patience) && (c->stream.blocked || c->user->runner == c))
		client_set_patience(c, mono_add(loop_now(c->server->loop),
						c->server->conf->control.client_timeout_us));
}

/* Any byte that it takes, or sends, is a sign of life. */
static void
client_note_life(struct client *c)
{
	uint64_t moved = c->stream.sent + c->stream.received;

	if (moved != c->moved)
		c->moved_at = loop_now(c->server->loop);
	c->moved = moved;
}

static void
on_patience_over(struct timer *t, mono_t now)
{
	struct client *c = container_of(t, struct client, patience);
	mono_t since, due;

	/* There may be news of this very turn. And it may have taken something, but not
	 * enough for the kernel to want more of us. */
	client_note_life(c);
	if (stream_untaken(&c->stream) != c->untaken)
		c->moved_at = now;
	since = client_idle_since(c);
	due = mono_add(since, c->server->conf->control.client_timeout_us);
	if (mono_is_never(since))
		client_start_patience(c);
	else if (mono_before(now, due))
		client_set_patience(c, due);
	else
		client_lose_patience(c);
}

static void
client_watch(struct client *c)
{
	client_note_life(c);
	if (!was_over_budget(c))
		c->over_since = MONO_NEVER;
	else if (mono_is_never(c->over_since))
		c->over_since = loop_now(c->server->loop);
	client_start_patience(c);
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

/* One command out of the input, or of an EXEC. False: there is no whole one. */
static bool
client_step(struct client *c)
{
	struct buf *in = &c->stream.in;
	size_t used = 0;

	if (c->exec) {
		multi_step(c);
		return true;
	}
	switch (resp_parse(&c->parser, buf_head(in), buf_len(in), &used)) {
	case RESP_AGAIN:
		buf_consume(in, used);
		c->stream.expected = resp_missing(&c->parser, buf_len(in));
		return false;
	case RESP_OK:
		c->commands++;
		c->server->commands++;
		client_begin_command(c);
		c->named = command_execute(c, c->parser.repeats ? c->named : NULL, c->parser.argv,
					   c->parser.argc);
		client_end_command(c);
		resp_parser_trim(&c->parser);
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
		log_event(LOG_EVENT_CLIENT_CLOSED, LOG_WARNING,
			  "client %llu (uid %u) speaks HTTP: closed", (unsigned long long)c->id,
			  c->uid);
		c->gone = true;
		return false;
	}
	return false;
}

/* Is its turn over? To look at the clock takes as long as a brief command, so it is
 * looked at after those that are not, and once for many that are. */
static bool
client_is_late(struct client *c, mono_t end)
{
	if (c->brief % CLIENT_BRIEF_MAX)
		return false;
	return !mono_before(mono_now(), end);
}

/* Carry out what there is, but not so much that others have to wait: not too many, of those
 * that fail fewer, and none after those that have taken long. */
static void
client_read(struct client *c)
{
	mono_t end = mono_add(mono_now(), CLIENT_TURN_US);
	unsigned share = c->server->share, spent = 0;
	uint64_t enough = 0; /* bytes that it keeps: then its budgets are looked at again */
	bool stopped = false;

	c->brief = 1;
	c->more = false;
	c->stream.expected = 0; /* what was is there; else it is said again */
	while (client_goes_on(c) && (c->exec || buf_len(&c->stream.in))) {
		c->more = true;
		if (kept_bytes(c) >= enough || client_owed(c) >= CLIENT_SLOTS_MAX) {
			stopped = !client_has_room(c);
			enough = room_end(c);
		}
		if (stopped || spent >= share || client_is_late(c, end))
			break;
		c->more = false;
		c->failed = false;
		if (!client_step(c))
			break;
		spent += c->failed ? CLIENT_ERROR_COUNTS : 1;
	}
	if (!c->closing && !c->more &&
	    buf_len(&c->stream.in) > c->server->conf->control.client_memory)
		client_end(c, "Protocol error: a command larger than control.client_memory");
	user_count(c);
	stream_hold(&c->stream, c->closing || stopped || was_over_budget(c));
	client_note(c);
	if (c->more && !stopped) {
		c->server->cut_short++;
		loop_again(c->server->loop);
	}
}

/* What lies here already comes first. */
static bool
may_read(struct stream *s)
{
	struct client *c = container_of(s, struct client, stream);
	bool may = !c->more && client_may_go_on(c);

	if (!may && !c->more)
		stream_hold(s, true);
	s->turn_max = user_is_full(c) && c->user->runner != c ?
			      USER_NEXT_TO_NOTHING :
			      (size_t)c->server->share * CLIENT_READ_A_COMMAND;
	return may;
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
	.may_read = may_read,
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
	if (stream_open(&c->stream, s->loop, take_fd, take_fd, CLIENT_READ_A_TURN, &client_ops) <
	    0) {
		free(c);
		return NULL;
	}
	c->stream.rwatch.order = WATCH_LAST; /* workers need not wait while it is read */
	c->server = s;
	c->proto = RESP2;
	c->id = ++s->next_client_id;
	c->uid = peer.uid;
	c->gid = peer.gid;
	c->pid = peer.pid;
	c->since = loop_now(s->loop);
	c->over_since = MONO_NEVER;
	c->moved_at = c->since;
	c->patience.on_due = on_patience_over;
	access_open(c, c->stream.rfd);
	user_join(c);
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
	buf_free(&c->news.aside);
	stream_close(&c->stream);
	resp_parser_free(&c->parser);
	access_close(c);
	timer_clear(loop_timers(c->server->loop), &c->patience);
	user_leave(c);
	list_remove(&c->all);
	list_remove(&c->dirty);
	c->server->client_count--;
	free(c);
}

bool
client_is_flushed(const struct client *c)
{
	return c->gone || (!c->exec && !client_owed(c) && !buf_len(&c->stream.out));
}

bool
client_is_answered(const struct client *c)
{
	const struct stream *s = &c->stream;
	bool news_alone = s->sent >= c->news.from && s->sent + buf_len(&s->out) == c->news.to;

	return client_is_flushed(c) || (!c->exec && !client_owed(c) && news_alone);
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
	if ((c->more || c->stream.held) && client_may_go_on(c)) {
		/* What it had sent before it was held lies here already. */
		client_read(c);
		stream_trim(&c->stream);
		loop_again(c->server->loop);
	}
	client_hold_jobs(c);
	user_count(c);
	client_watch(c);
	if (c->closing || (c->stream.eof && !c->more))
		c->gone |= client_is_flushed(c);
	return !c->gone;
}
