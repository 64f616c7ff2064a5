/* SPDX-License-Identifier: MIT */
/*
 * hiredis-async - cases of the C library hiredis, with callbacks.
 *
 * The event loop is a poll() of one connection, as small as an adapter can be.
 */
#include "check.h"

#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <stdbool.h>

#define JOBS 1000

struct loop {
	redisAsyncContext *ac; /* NULL: disconnected */
	short events;
	int replies; /* so far */
	const char *channel;
};

/* ---- the adapter ---- */

static void
add_read(void *ctx)
{
	((struct loop *)ctx)->events |= POLLIN;
}

static void
del_read(void *ctx)
{
	((struct loop *)ctx)->events &= (short)~POLLIN;
}

static void
add_write(void *ctx)
{
	((struct loop *)ctx)->events |= POLLOUT;
}

static void
del_write(void *ctx)
{
	((struct loop *)ctx)->events &= (short)~POLLOUT;
}

static void
cleanup(void *ctx)
{
	((struct loop *)ctx)->events = 0;
}

static void
on_disconnect(const redisAsyncContext *ac, int status)
{
	CHECK(status == REDIS_OK);
	((struct loop *)ac->data)->ac = NULL;
}

static void
loop_open(struct loop *l, const char *socket)
{
	redisAsyncContext *ac = redisAsyncConnectUnix(socket);

	CHECK(ac && !ac->err);
	*l = (struct loop){.ac = ac};
	ac->data = l;
	ac->ev.data = l;
	ac->ev.addRead = add_read;
	ac->ev.delRead = del_read;
	ac->ev.addWrite = add_write;
	ac->ev.delWrite = del_write;
	ac->ev.cleanup = cleanup;
	CHECK(redisAsyncSetDisconnectCallback(ac, on_disconnect) == REDIS_OK);
}

/* Until it is disconnected. */
static void
loop_run(struct loop *l)
{
	while (l->ac) {
		struct pollfd p = {.fd = l->ac->c.fd, .events = l->events};

		CHECK(poll(&p, 1, 20000) > 0);
		if (p.revents & (POLLIN | POLLHUP | POLLERR))
			redisAsyncHandleRead(l->ac);
		if (l->ac && p.revents & POLLOUT)
			redisAsyncHandleWrite(l->ac);
	}
}

/* ---- cases ---- */

static bool
is(const redisReply *r, int type, const char *text)
{
	return r && r->type == type && !strcmp(r->str, text);
}

static void
on_result(redisAsyncContext *ac, void *reply, void *want)
{
	struct loop *l = ac->data;
	char text[32];

	snprintf(text, sizeof(text), "%d", l->replies);
	CHECK((long)want == l->replies && is(reply, REDIS_REPLY_STRING, text));
	l->replies++;
}

static void
on_failed(redisAsyncContext *ac, void *reply, void *want)
{
	(void)want;
	CHECK(is(reply, REDIS_REPLY_ERROR, "FAILED broken"));
	redisAsyncDisconnect(ac); /* when all replies are in: there are none behind it */
}

static void
commands(const char *socket)
{
	struct loop l;
	char job[32];

	loop_open(&l, socket);
	for (long i = 0; i < JOBS; i++) {
		snprintf(job, sizeof(job), "echo %ld", i);
		CHECK(redisAsyncCommand(l.ac, on_result, (void *)i, "RUN p %s", job) == REDIS_OK);
	}
	CHECK(redisAsyncCommand(l.ac, on_failed, NULL, "RUN p %s", "err broken") == REDIS_OK);
	loop_run(&l);
	CHECK(l.replies == JOBS);
}

static void
on_exec(redisAsyncContext *ac, void *reply, void *ctx)
{
	const redisReply *r = reply;

	(void)ctx;
	CHECK(r && r->type == REDIS_REPLY_ARRAY && r->elements == 2);
	CHECK(is(r->element[0], REDIS_REPLY_STRING, "a"));
	CHECK(is(r->element[1], REDIS_REPLY_STATUS, "PONG"));
	redisAsyncDisconnect(ac);
}

static void
multi(const char *socket)
{
	struct loop l;

	loop_open(&l, socket);
	CHECK(redisAsyncCommand(l.ac, NULL, NULL, "MULTI") == REDIS_OK);
	CHECK(redisAsyncCommand(l.ac, NULL, NULL, "RUN p %s", "echo a") == REDIS_OK);
	CHECK(redisAsyncCommand(l.ac, NULL, NULL, "PING") == REDIS_OK);
	CHECK(redisAsyncCommand(l.ac, on_exec, NULL, "EXEC") == REDIS_OK);
	loop_run(&l);
}

/* One callback is for the confirmations and the messages of a channel. */
static void
on_news(redisAsyncContext *ac, void *reply, void *ctx)
{
	static const char *const kinds[] = {"subscribe", "message", "unsubscribe"};
	struct loop *l = ac->data;
	const redisReply *r = reply;

	(void)ctx;
	CHECK(r && r->type == REDIS_REPLY_ARRAY && r->elements == 3 && l->replies < 3);
	CHECK(is(r->element[0], REDIS_REPLY_STRING, kinds[l->replies]));
	CHECK(is(r->element[1], REDIS_REPLY_STRING, l->channel));
	l->replies++;
	if (l->replies == 2) {
		CHECK(is(r->element[2], REDIS_REPLY_STRING, "done"));
		CHECK(redisAsyncCommand(ac, NULL, NULL, "UNSUBSCRIBE %s", l->channel) == REDIS_OK);
	} else if (l->replies == 3) {
		redisAsyncDisconnect(ac);
	}
}

static void
pubsub(const char *socket)
{
	redisContext *c = redisConnectUnix(socket);
	redisReply *id, *result;
	struct loop l;
	char channel[64];

	CHECK(c && !c->err);
	id = redisCommand(c, "SUBMIT p %s", "echo x");
	CHECK(id && id->type == REDIS_REPLY_STRING);
	result = redisCommand(c, "RESULT %s WAIT 1m", id->str);
	CHECK(is(result, REDIS_REPLY_STRING, "x"));
	snprintf(channel, sizeof(channel), "job.%s", id->str);
	loop_open(&l, socket);
	l.channel = channel;
	CHECK(redisAsyncCommand(l.ac, on_news, NULL, "SUBSCRIBE %s", channel) == REDIS_OK);
	loop_run(&l);
	CHECK(l.replies == 3);
	freeReplyObject(id);
	freeReplyObject(result);
	redisFree(c);
}

int
main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{"commands", commands},
		{"multi", multi},
		{"pubsub", pubsub},
		{NULL, NULL},
	};

	return check_main(argc, argv, cases);
}
