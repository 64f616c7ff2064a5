/* SPDX-License-Identifier: MIT */
/* hiredis-sync - cases of the C library hiredis, one call after the other. */
#include "check.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdbool.h>

#define PIPELINE 1000

static redisContext *
connected(const char *socket)
{
	redisContext *c = redisConnectUnix(socket);

	CHECK(c && !c->err);
	return c;
}

static bool
is(const redisReply *r, int type, const char *text)
{
	return r && r->type == type && r->len == strlen(text) && !memcmp(r->str, text, r->len);
}

static bool
starts(const redisReply *r, int type, const char *text)
{
	return r && r->type == type && !strncmp(r->str, text, strlen(text));
}

#define SAY(c, holds, ...)                                                                         \
	do {                                                                                       \
		redisReply *r_ = redisCommand(c, __VA_ARGS__);                                     \
		CHECK(r_ && (holds));                                                              \
		freeReplyObject(r_);                                                               \
	} while (0)

static void
commands(const char *socket)
{
	redisContext *c = connected(socket);
	char data[256 * 300];

	SAY(c, is(r_, REDIS_REPLY_STATUS, "PONG"), "PING");
	SAY(c, is(r_, REDIS_REPLY_STRING, "hello"), "RUN p %s", "echo hello");
	SAY(c, is(r_, REDIS_REPLY_STRING, ""), "RUN f %s", "");
	SAY(c, is(r_, REDIS_REPLY_ERROR, "FAILED broken"), "RUN p %s", "err broken");
	SAY(c, starts(r_, REDIS_REPLY_ERROR, "NOPOOL"), "RUN nowhere x");
	SAY(c, starts(r_, REDIS_REPLY_ERROR, "CRASHED"), "RUN p %s", "exit 1");
	SAY(c, r_->type == REDIS_REPLY_INTEGER && r_->integer > 0, "CLIENT ID");
	SAY(c, r_->type == REDIS_REPLY_ARRAY && r_->elements % 2 == 0, "POOL p");
	SAY(c, r_->type == REDIS_REPLY_NIL, "CLIENT GETNAME");
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)i;
	SAY(c,
	    r_->type == REDIS_REPLY_STRING && r_->len == sizeof(data) &&
		    !memcmp(r_->str, data, sizeof(data)),
	    "RUN f %b", data, sizeof(data));
	redisFree(c);
}

static void
pipeline(const char *socket)
{
	redisContext *c = connected(socket);
	redisReply *r;
	char want[32];

	for (int i = 0; i < PIPELINE; i++) {
		snprintf(want, sizeof(want), "echo %d", i);
		CHECK(redisAppendCommand(c, "RUN p %s", want) == REDIS_OK);
	}
	for (int i = 0; i < PIPELINE; i++) {
		snprintf(want, sizeof(want), "%d", i);
		CHECK(redisGetReply(c, (void **)&r) == REDIS_OK);
		CHECK(is(r, REDIS_REPLY_STRING, want));
		freeReplyObject(r);
	}
	redisFree(c);
}

static void
multi(const char *socket)
{
	redisContext *c = connected(socket);

	SAY(c, is(r_, REDIS_REPLY_STATUS, "OK"), "MULTI");
	SAY(c, is(r_, REDIS_REPLY_STATUS, "QUEUED"), "RUN p %s", "echo a");
	SAY(c, is(r_, REDIS_REPLY_STATUS, "QUEUED"), "SUBMIT p %s", "echo b");
	SAY(c, is(r_, REDIS_REPLY_STATUS, "QUEUED"), "PING");
	SAY(c,
	    r_->type == REDIS_REPLY_ARRAY && r_->elements == 3 &&
		    is(r_->element[0], REDIS_REPLY_STRING, "a") &&
		    r_->element[1]->type == REDIS_REPLY_STRING &&
		    is(r_->element[2], REDIS_REPLY_STATUS, "PONG"),
	    "EXEC");
	SAY(c, is(r_, REDIS_REPLY_STATUS, "OK"), "MULTI");
	SAY(c, r_->type == REDIS_REPLY_ERROR, "NONSENSE");
	SAY(c, starts(r_, REDIS_REPLY_ERROR, "EXECABORT"), "EXEC");
	redisFree(c);
}

/* A reply that does not come in time is an error of the context, for good; a KEY
 * makes it harmless to say it all again. */
static void
timeouts(const char *socket)
{
	redisContext *c = connected(socket);
	const char *job = "sleep 400 slow";

	CHECK(redisSetTimeout(c, (struct timeval){.tv_usec = 50000}) == REDIS_OK);
	CHECK(!redisCommand(c, "RUN p KEY once %s", job));
	CHECK(c->err == REDIS_ERR_IO && errno == EAGAIN);
	redisFree(c);
	c = connected(socket);
	SAY(c, is(r_, REDIS_REPLY_STRING, "slow"), "RUN p KEY once %s", job);
	SAY(c, starts(r_, REDIS_REPLY_ERROR, "PENDING "), "RUN p WAIT 1ms %s", job);
	redisFree(c);
}

/* Pub/sub by hand: after SUBSCRIBE replies are read without a command. */
static void
pubsub(const char *socket)
{
	redisContext *c = connected(socket), *s = connected(socket);
	redisReply *r = redisCommand(c, "SUBMIT p %s", "echo x"), *id = r;
	char channel[64];

	CHECK(r && r->type == REDIS_REPLY_STRING);
	snprintf(channel, sizeof(channel), "job.%s", id->str);
	SAY(c, is(r_, REDIS_REPLY_STRING, "x"), "RESULT %s WAIT 1m", id->str);
	SAY(s,
	    r_->type == REDIS_REPLY_ARRAY && r_->elements == 3 &&
		    is(r_->element[0], REDIS_REPLY_STRING, "subscribe") &&
		    is(r_->element[1], REDIS_REPLY_STRING, channel) && r_->element[2]->integer == 1,
	    "SUBSCRIBE %s", channel);
	CHECK(redisGetReply(s, (void **)&r) == REDIS_OK);
	CHECK(r->type == REDIS_REPLY_ARRAY && r->elements == 3 &&
	      is(r->element[0], REDIS_REPLY_STRING, "message") &&
	      is(r->element[1], REDIS_REPLY_STRING, channel) &&
	      is(r->element[2], REDIS_REPLY_STRING, "done"));
	freeReplyObject(r);
	SAY(s,
	    r_->type == REDIS_REPLY_ARRAY && is(r_->element[0], REDIS_REPLY_STRING, "unsubscribe"),
	    "UNSUBSCRIBE");
	SAY(s, is(r_, REDIS_REPLY_STRING, "after"), "RUN p %s", "echo after");
	freeReplyObject(id);
	redisFree(s);
	redisFree(c);
}

int
main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{"commands", commands}, {"pipeline", pipeline}, {"multi", multi},
		{"timeouts", timeouts}, {"pubsub", pubsub},	{NULL, NULL},
	};

	return check_main(argc, argv, cases);
}
