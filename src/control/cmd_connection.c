/* SPDX-License-Identifier: MIT */
/* What stock Redis clients say of the connection itself: PING, ECHO, HELLO, QUIT,
 * RESET, SELECT, TIME. Everybody who can connect may. */
#include "config.h"

#include "base/parse.h"
#include "control/multi.h"

#include <string.h>
#include <time.h>

/* Among messages it is one. */
static void
put_pong_message(struct request *r)
{
	resp_put_array(r->out, 2);
	resp_put_str(r->out, "pong");
	resp_put_bulk(r->out, r->argc == 2 ? r->argv[1].data : "",
		      r->argc == 2 ? r->argv[1].len : 0);
}

static void
cmd_ping(struct request *r)
{
	if (r->argc > 2)
		resp_put_errorf(r->out, "ERR", "PING takes one message, or none");
	else if (r->client->proto == RESP2 && client_subscriptions(r->client))
		put_pong_message(r);
	else if (r->argc == 2)
		resp_put_bulk(r->out, r->argv[1].data, r->argv[1].len);
	else
		resp_put_simple(r->out, "PONG");
}

static void
cmd_echo(struct request *r)
{
	resp_put_bulk(r->out, r->argv[1].data, r->argv[1].len);
}

static void
cmd_quit(struct request *r)
{
	resp_put_simple(r->out, "OK");
	r->client->closing = true;
}

static void
cmd_select(struct request *r)
{
	uint64_t n;

	if (parse_u64(r->argv[1].data, r->argv[1].len, UINT64_MAX, &n) < 0)
		resp_put_errorf(r->out, "ERR", "invalid DB index");
	else if (n)
		resp_put_errorf(r->out, "ERR", "DB index is out of range");
	else
		resp_put_simple(r->out, "OK");
}

static void
cmd_time(struct request *r)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	resp_put_array(r->out, 2);
	put_id(r->out, (uint64_t)now.tv_sec);
	put_id(r->out, (uint64_t)now.tv_nsec / 1000);
}

/* As if it had just connected; what it is owed it gets, before and behind this. */
static void
cmd_reset(struct request *r)
{
	multi_drop(r->client);
	client_unsubscribe_all(r->client);
	r->client->proto = RESP2;
	r->client->name[0] = 0;
	r->client->reply_off = r->client->mute = false;
	resp_put_simple(client_reply(r->client), "RESET");
}

/* ---- HELLO ---- */

static void
put_hello(struct request *r)
{
	struct client *c = r->client;
	struct fields f;

	fields_begin(&f, c->proto);
	field_str(&f, "server", "preforkd");
	field_str(&f, "version", PREFORKD_VERSION);
	field_int(&f, "proto", c->proto);
	field_int(&f, "id", (int64_t)c->id);
	field_str(&f, "mode", "standalone");
	field_str(&f, "role", "master");
	f.count++;
	resp_put_str(&f.body, "modules");
	resp_put_array(&f.body, 0);
	fields_end(&f, r->out);
}

/* HELLO [2|3 [AUTH user password] [SETNAME name]]. Who somebody is the kernel has
 * said already: a password is taken, as by a Redis without one, and not looked at. */
static void
cmd_hello(struct request *r)
{
	enum resp_proto proto = r->client->proto;
	char name[CLIENT_NAME_MAX + 1];
	bool named = false;
	size_t i = 2;

	if (r->argc >= 2) {
		bool known = slice_is(&r->argv[1], "2") || slice_is(&r->argv[1], "3");

		if (!known) {
			resp_put_errorf(r->out, "NOPROTO", "unsupported protocol version: 2 or 3");
			return;
		}
		proto = slice_is(&r->argv[1], "3") ? RESP3 : RESP2;
	}
	while (i < r->argc) {
		if (slice_is(&r->argv[i], "AUTH") && i + 2 < r->argc) {
			i += 3;
		} else if (slice_is(&r->argv[i], "SETNAME") && i + 1 < r->argc) {
			if (!request_set_name(r, &r->argv[i + 1], name))
				return;
			named = true;
			i += 2;
		} else {
			resp_put_errorf(r->out, "ERR",
					"HELLO [2|3 [AUTH username password] [SETNAME name]]");
			return;
		}
	}
	if (named)
		memcpy(r->client->name, name, sizeof(name));
	if (proto != r->client->proto)
		client_news_wait(r->client); /* none in the new form before this reply */
	r->client->proto = proto;
	put_hello(r);
}

const struct command connection_commands[] = {
	{.name = "PING",
	 .arity = -1,
	 .class = CLASS_CONNECTION,
	 .summary = "PONG, or the message",
	 .handle = cmd_ping,
	 .brief = true,
	 .subscribed = true,
	 .args = {{.name = "message", .optional = true}}},
	{.name = "ECHO",
	 .arity = 2,
	 .class = CLASS_CONNECTION,
	 .summary = "The message",
	 .handle = cmd_echo,
	 .brief = true,
	 .args = {{.name = "message"}}},
	{.name = "HELLO",
	 .arity = -1,
	 .class = CLASS_CONNECTION,
	 .summary = "Choose RESP2 or RESP3, and learn who serves",
	 .handle = cmd_hello,
	 .in_multi = MULTI_REFUSED,
	 .args = {{.name = "protover", .optional = true},
		  {.name = "username password", .token = "AUTH", .optional = true},
		  {.name = "clientname", .token = "SETNAME", .optional = true}}},
	{.name = "QUIT",
	 .arity = -1,
	 .class = CLASS_CONNECTION,
	 .summary = "Close the connection when all replies are out",
	 .handle = cmd_quit,
	 .in_multi = MULTI_AT_ONCE,
	 .subscribed = true},
	{.name = "RESET",
	 .arity = 1,
	 .class = CLASS_CONNECTION,
	 .summary = "Make the connection like a new one",
	 .handle = cmd_reset,
	 .in_multi = MULTI_AT_ONCE,
	 .subscribed = true},
	{.name = "SELECT",
	 .arity = 2,
	 .class = CLASS_CONNECTION,
	 .summary = "Taken for 0, the only database that there could be",
	 .handle = cmd_select,
	 .args = {{.name = "index"}}},
	{.name = "TIME",
	 .arity = 1,
	 .class = CLASS_CONNECTION,
	 .summary = "The daemon's clock: seconds, microseconds",
	 .handle = cmd_time},
	{.name = NULL},
};
