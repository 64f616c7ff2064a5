/* SPDX-License-Identifier: MIT */
/*
 * client - one connection: its commands in, its replies out, in order.
 *
 * Floor 5. Owned by the server. Commands are read and carried out as they come;
 * those that wait for a job hold a reply slot, and the replies behind them wait
 * in theirs. A client over its budget (slots, bytes) is not read from until it
 * has taken its replies.
 */
#pragma once

#include "control/server.h"
#include "io/stream.h"
#include "wire/resp.h"

#include <sys/types.h>

#define CLIENT_NAME_MAX 64
#define CLIENT_SLOTS_MAX 16384 /* replies owed to one connection */

#define CLIENT_READ_A_TURN (256 * 1024)
#define CLIENT_READ_A_COMMAND 1024 /* for each that it may have carried out in a turn */
#define CLIENT_ERROR_COUNTS 4	   /* for as many commands: it is no progress for anybody */
#define CLIENT_TURN_US 2000	   /* no command is begun later in a turn */
#define CLIENT_BRIEF_MAX 32	   /* but for so many that take next to nothing */

struct multi;
struct user;

/* What a client may do, as bits of enum conf_right; access.c's. */
struct rights {
	uint8_t *pools; /* with each, by its place */
	uint8_t any;	/* with at least one */
	uint8_t daemon; /* with the daemon as a whole */
};

struct command;
struct reply;

/* What a client hears besides its replies. */
struct client_news {
	struct list channels, patterns; /* struct subscription */
	size_t channel_count, pattern_count;
	size_t bytes;	    /* that its subscriptions take */
	struct buf *behind; /* what is to be before any news: a slot's, or the tail; or NULL */
	struct buf aside;   /* news while it holds */
	bool hold;	    /* a reply is being put together: no news into it */
	bool losing;	    /* it does not take what it has, and gets no more */
	bool wants_lost;    /* to be told how many it missed */
	uint64_t lost;	    /* messages that it missed, since it was told */
	uint64_t from, to;  /* bytes of the output, counted as stream.sent, that are news alone */
};

struct client {
	struct server *server;
	struct list all, dirty;
	struct stream stream;
	struct resp_parser parser;
	struct list replies; /* struct reply, in the order of their commands */
	struct list muted;   /* struct reply of commands whose reply nobody wants */
	size_t reply_count;  /* of both */
	struct buf tail;     /* replies that are there at once, but for those before them */
	struct job_taker taker;
	size_t reply_bytes;  /* in slots, and waiting for an earlier one */
	struct multi *multi; /* NULL: no MULTI */
	struct multi *exec;  /* what EXEC is carrying out; NULL: nothing */
	bool reply_off;	     /* CLIENT REPLY OFF */
	bool skip_next;	     /* CLIENT REPLY SKIP was the last command */
	bool mute;	     /* the reply of the command being carried out goes nowhere, */
	struct buf sink;     /* but here */
	struct client_news news;
	enum resp_proto proto;
	uint64_t id;
	uid_t uid;
	gid_t gid;
	pid_t pid;
	struct rights rights;
	mono_t since;
	uint64_t commands;
	const struct command *named; /* by the last one's first word; NULL: none */
	unsigned brief; /* commands that took next to nothing, since one that did not */
	bool failed;	/* the reply to the last one is an error */
	struct user *user;
	struct list held; /* in user->ready or user->waiting, while the user's budget is full */
	bool ready;	  /* and in which of them */
	size_t counted;	  /* bytes that are in user->bytes */
	uint64_t run_commands; /* commands and bytes there had been when it became user->runner */
	uint64_t run_received;
	struct timer patience; /* when it is looked at whether it holds up its budget */
	uint64_t moved;	       /* bytes sent and received, ever, when it was noted last, */
	mono_t moved_at;       /* and when that changed */
	size_t untaken;	       /* in the kernel, when the clock was started */
	mono_t over_since;     /* it is over its own budget since then; MONO_NEVER: it is not */
	char name[CLIENT_NAME_MAX + 1];
	char lib_name[CLIENT_NAME_MAX + 1], lib_ver[CLIENT_NAME_MAX + 1];
	bool more;    /* there may be whole commands in what it has sent */
	bool closing; /* no more is read; closed when all replies are out */
	bool gone;    /* closed at the turn's end */
	bool only;    /* the one client of a private daemon */
};

/* take_fd is consumed. NULL on failure. */
struct client *client_new(struct server *s, int take_fd);
void client_free(struct client *c); /* jobs that belong to it: on_disconnect */

/* At the turn's end: send, and read on if it was held. False: free it. */
bool client_turn(struct client *c);

/* Is it over its own budget? */
bool client_over_budget(const struct client *c);
/* Unread input, untaken replies, and what a MULTI keeps. */
size_t client_bytes(const struct client *c);

bool client_is_flushed(const struct client *c);
/* The same, but for news behind the last reply. */
bool client_is_answered(const struct client *c);

/* ---- reply.c: the slots ---- */

/* Around a command: is its reply wanted? */
void client_begin_command(struct client *c);
void client_end_command(struct client *c);

/* Where to put a reply that is there at once. */
struct buf *client_reply(struct client *c);

/* Owe a reply until job is over. wait_us, where it is not USEC_INFINITY, is how
 * long: then a RUN is answered -PENDING and goes on by itself, a RESULT null. */
void client_await(struct client *c, struct job *j, bool run, int64_t wait_us);

/* Owe a reply about some jobs, n of them (1 … AWAIT_JOBS_MAX; one that is there
 * twice counts once): as soon as one of them is over (any), or all are, or wait_us
 * has passed, those that are over, in the order in which they ended. False: no
 * memory, and nothing is owed. */
#define AWAIT_JOBS_MAX 1000
bool client_await_some(struct client *c, struct job *const *jobs, size_t n, bool any,
		       int64_t wait_us);

/* Owe a reply until the reload that was asked for is over. */
void client_await_reload(struct client *c);

/* Move what is ready, first in, first out, to the stream. False: not all had room. */
bool client_collect(struct client *c);
void client_drop_replies(struct client *c);
void client_hold_jobs(struct client *c); /* at the turn's end: are its results taken? */

/* Where to put news: before the replies that are still to come, but behind those
 * that client_news_wait() has found. */
struct buf *client_news(struct client *c);
/* There is more in it. */
void client_news_count(struct client *c);
/* No more news before what is in the last reply now. */
void client_news_wait(struct client *c);
/* No news at all while a reply is put together; then behind it. */
void client_news_hold(struct client *c, bool hold);

/* Replies that it is owed; of those that are there at once, all between two others are one. */
static inline size_t
client_owed(const struct client *c)
{
	return c->reply_count + (buf_len(&c->tail) > 0);
}

/* Bytes of replies that it has not taken. */
static inline size_t
client_reply_bytes(const struct client *c)
{
	return c->reply_bytes + buf_len(&c->tail) + buf_len(&c->stream.out);
}

static inline size_t
client_subscriptions(const struct client *c)
{
	return c->news.channel_count + c->news.pattern_count;
}

/* The outcome of a job that is over. */
void job_put_outcome(struct buf *out, const struct job *j);

/* ---- events.c ---- */
void client_unsubscribe_all(struct client *c); /* without a word to it */

void client_note(struct client *c); /* there is something for the turn's end */
