/* SPDX-License-Identifier: MIT */
/* CLIENT: who is connected, and what a client says of itself. */
#include "base/mem.h"
#include "base/parse.h"
#include "control/multi.h"

#include <stdlib.h>
#include <string.h>

/* Redis' rule: no spaces and no controls. False: the error is in r->out. */
bool
request_set_name(struct request *r, const struct resp_slice *value, char dst[CLIENT_NAME_MAX + 1])
{
	bool ok = value->len <= CLIENT_NAME_MAX;

	for (size_t i = 0; ok && i < value->len; i++)
		ok = value->data[i] > ' ' && value->data[i] <= '~';
	if (!ok) {
		resp_put_errorf(r->out, "ERR", "at most %d characters, without spaces and controls",
				CLIENT_NAME_MAX);
		return false;
	}
	memcpy(dst, value->data, value->len);
	dst[value->len] = 0;
	return true;
}

static void
client_id(struct request *r)
{
	resp_put_int(r->out, (int64_t)r->client->id);
}

static void
client_getname(struct request *r)
{
	if (r->client->name[0])
		resp_put_str(r->out, r->client->name);
	else
		resp_put_null(r->out, r->client->proto);
}

static void
client_setname(struct request *r)
{
	if (request_set_name(r, &r->argv[2], r->client->name))
		resp_put_simple(r->out, "OK");
}

static void
client_setinfo(struct request *r)
{
	struct client *c = r->client;
	bool is_name = slice_is(&r->argv[2], "LIB-NAME");

	if (!is_name && !slice_is(&r->argv[2], "LIB-VER")) {
		resp_put_errorf(r->out, "ERR", "CLIENT SETINFO LIB-NAME|LIB-VER value");
		return;
	}
	if (request_set_name(r, &r->argv[3], is_name ? c->lib_name : c->lib_ver))
		resp_put_simple(r->out, "OK");
}

/* ---- those who are connected ---- */

static struct client *
client_at(struct list *it)
{
	return container_of(it, struct client, all);
}

/* A client's id. False: the error is in r->out. */
static bool
read_id(struct request *r, const struct resp_slice *word, uint64_t *ret)
{
	if (parse_u64(word->data, word->len, INT64_MAX, ret) == 0 && *ret)
		return true;
	resp_put_errorf(r->out, "ERR", "Invalid client ID");
	return false;
}

static void
put_client_line(struct buf *b, const struct client *c, mono_t now)
{
	buf_putf(b,
		 "id=%llu uid=%u gid=%u pid=%d name=%s age=%lld resp=%d owed=%zu qbuf=%zu obuf=%zu "
		 "sub=%zu psub=%zu lost=%llu multi=%d commands=%llu lib-name=%s lib-ver=%s\n",
		 (unsigned long long)c->id, c->uid, c->gid, (int)c->pid, c->name,
		 (long long)(mono_since(now, c->since) / USEC_PER_SEC), (int)c->proto,
		 client_owed(c), buf_len(&c->stream.in), buf_len(&c->stream.out),
		 c->news.channel_count, c->news.pattern_count, (unsigned long long)c->news.lost,
		 multi_count(c), (unsigned long long)c->commands, c->lib_name, c->lib_ver);
}

static void
put_lines(struct request *r, struct buf *b)
{
	if (buf_failed(b))
		resp_put_errorf(r->out, "ERR", "out of memory");
	else
		resp_put_bulk(r->out, buf_head(b), buf_len(b));
	buf_free(b);
}

/* The ids that are asked for; NULL, and the error is in r->out. */
static uint64_t *
read_ids(struct request *r, size_t n)
{
	uint64_t *ids = mem_array(n + 1, sizeof(*ids));

	for (size_t i = 0; i < n; i++) {
		if (read_id(r, &r->argv[3 + i], &ids[i]))
			continue;
		free(ids);
		return NULL;
	}
	return ids;
}

static bool
is_among(uint64_t id, const uint64_t *ids, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (ids[i] == id)
			return true;
	return false;
}

/* CLIENT LIST [ID id ...]: those of others are for administrators. */
static void
client_list(struct request *r)
{
	size_t n = r->argc > 3 ? r->argc - 3 : 0;
	struct buf b = {0};
	uint64_t *ids;

	if (r->argc > 2 && (!n || !slice_is(&r->argv[2], "ID"))) {
		resp_put_errorf(r->out, "ERR", "CLIENT LIST takes ID id ..., or nothing");
		return;
	}
	ids = read_ids(r, n);
	if (!ids)
		return;
	list_foreach(it, next, &r->server->clients) {
		const struct client *c = client_at(it);

		if (access_acts_for(r->client, c->uid) && (!n || is_among(c->id, ids, n)))
			put_client_line(&b, c, r->now);
	}
	free(ids);
	put_lines(r, &b);
}

static void
client_info(struct request *r)
{
	struct buf b = {0};

	put_client_line(&b, r->client, r->now);
	put_lines(r, &b);
}

/* ---- KILL ---- */

struct kill_filter {
	uint64_t id; /* 0: not said */
	bool skip_me;
};

static bool
read_kill_filter(struct request *r, struct kill_filter *ret)
{
	*ret = (struct kill_filter){.skip_me = true};
	for (size_t i = 2; i + 1 < r->argc; i += 2) {
		const struct resp_slice *name = &r->argv[i], *value = &r->argv[i + 1];
		bool yes = slice_is(value, "yes");

		if (slice_is(name, "ID")) {
			if (!read_id(r, value, &ret->id))
				return false;
		} else if (slice_is(name, "SKIPME") && (yes || slice_is(value, "no"))) {
			ret->skip_me = yes;
		} else {
			ret->id = 0;
			break;
		}
	}
	if (ret->id && r->argc % 2 == 0)
		return true;
	resp_put_errorf(r->out, "ERR",
			"CLIENT KILL ID id [SKIPME yes|no]: clients of a local "
			"socket have no addresses");
	return false;
}

/* It goes at the turn's end; who kills itself gets its reply before. */
static void
kill_client(struct request *r, struct client *c)
{
	if (c == r->client) {
		c->closing = true;
		return;
	}
	c->gone = true;
	client_note(c);
	if (c->uid != r->client->uid)
		audit_done(r, buf_len(r->out));
}

static void
client_kill(struct request *r)
{
	struct kill_filter f;
	int64_t n = 0;

	if (!read_kill_filter(r, &f))
		return;
	list_foreach(it, next, &r->server->clients) {
		struct client *c = client_at(it);

		if (c->id != f.id || c->gone || !access_acts_for(r->client, c->uid) ||
		    (c == r->client && f.skip_me))
			continue;
		kill_client(r, c);
		n++;
	}
	resp_put_int(r->out, n);
}

/* ---- what asks for nothing here: no client is evicted, and nothing ages ---- */

static void
client_no(struct request *r)
{
	if (slice_is(&r->argv[2], "ON") || slice_is(&r->argv[2], "OFF"))
		resp_put_simple(r->out, "OK");
	else
		resp_put_errorf(r->out, "ERR", "%s takes ON or OFF", r->row->name);
}

/* ---- REPLY ---- */

/* OFF and SKIP have no reply themselves; SKIP is for the one command that follows. */
static void
client_reply_mode(struct request *r)
{
	struct client *c = r->client;

	if (slice_is(&r->argv[2], "ON")) {
		c->reply_off = c->mute = false;
		resp_put_simple(client_reply(c), "OK");
	} else if (slice_is(&r->argv[2], "OFF")) {
		c->reply_off = true;
	} else if (slice_is(&r->argv[2], "SKIP")) {
		c->skip_next = true;
	} else {
		resp_put_errorf(r->out, "ERR", "CLIENT REPLY ON|OFF|SKIP");
	}
}

static const struct command subcommands[] = {
	{.name = "CLIENT GETNAME",
	 .arity = 2,
	 .class = CLASS_CONNECTION,
	 .summary = "The connection's name, or null",
	 .handle = client_getname},
	{.name = "CLIENT ID",
	 .arity = 2,
	 .class = CLASS_CONNECTION,
	 .summary = "The connection's number",
	 .handle = client_id},
	{.name = "CLIENT INFO",
	 .arity = 2,
	 .class = CLASS_CONNECTION,
	 .summary = "This connection's line of CLIENT LIST",
	 .handle = client_info},
	{.name = "CLIENT KILL",
	 .arity = -3,
	 .class = CLASS_CONNECTION,
	 .summary = "Close a connection of the same user; how many were",
	 .handle = client_kill,
	 .args = {{.name = "id", .token = "ID"},
		  {.name = "YES|NO", .token = "SKIPME", .optional = true}}},
	{.name = "CLIENT LIST",
	 .arity = -2,
	 .class = CLASS_CONNECTION,
	 .summary = "The user's connections, a line each",
	 .handle = client_list,
	 .args = {{.name = "id", .token = "ID", .optional = true, .multiple = true}}},
	{.name = "CLIENT NO-EVICT",
	 .arity = 3,
	 .class = CLASS_CONNECTION,
	 .summary = "Taken, and means nothing here",
	 .handle = client_no,
	 .args = {{.name = "ON|OFF"}}},
	{.name = "CLIENT NO-TOUCH",
	 .arity = 3,
	 .class = CLASS_CONNECTION,
	 .summary = "Taken, and means nothing here",
	 .handle = client_no,
	 .args = {{.name = "ON|OFF"}}},
	{.name = "CLIENT REPLY",
	 .arity = 3,
	 .class = CLASS_CONNECTION,
	 .summary = "Leave replies out: all that follow, or the next one's",
	 .handle = client_reply_mode,
	 .in_multi = MULTI_REFUSED,
	 .args = {{.name = "ON|OFF|SKIP"}}},
	{.name = "CLIENT SETINFO",
	 .arity = 4,
	 .class = CLASS_CONNECTION,
	 .summary = "Say which client library this is",
	 .handle = client_setinfo,
	 .args = {{.name = "LIB-NAME|LIB-VER"}, {.name = "value"}}},
	{.name = "CLIENT SETNAME",
	 .arity = 3,
	 .class = CLASS_CONNECTION,
	 .summary = "Give the connection a name",
	 .handle = client_setname,
	 .args = {{.name = "name"}}},
	{.name = NULL},
};

const struct command client_commands[] = {
	{.name = "CLIENT",
	 .arity = -2,
	 .class = CLASS_CONNECTION,
	 .summary = "Connections: this one, and those of the same user",
	 .subcommands = subcommands},
	{.name = NULL},
};
