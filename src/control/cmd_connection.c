/* SPDX-License-Identifier: MIT */
/* What stock Redis clients say of the connection itself: PING, ECHO, HELLO, QUIT,
 * CLIENT, COMMAND. Everybody who can connect may. */
#include "config.h"

#include "base/parse.h"
#include "base/text.h"
#include "control/command.h"

#include <ctype.h>
#include <string.h>

static void
cmd_ping(struct request *r)
{
	if (r->argc > 2)
		resp_put_errorf(r->out, "ERR", "PING takes one message, or none");
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

/* ---- names ---- */

/* Redis' rule: no spaces and no controls. False: the error is in r->out. */
static bool
set_name(struct request *r, const struct resp_slice *value, char dst[CLIENT_NAME_MAX + 1])
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
			if (!set_name(r, &r->argv[i + 1], name))
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
	r->client->proto = proto;
	put_hello(r);
}

/* ---- CLIENT ---- */

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
	if (set_name(r, &r->argv[2], r->client->name))
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
	if (set_name(r, &r->argv[3], is_name ? c->lib_name : c->lib_ver))
		resp_put_simple(r->out, "OK");
}

static void
put_client_line(struct buf *b, const struct client *c, mono_t now)
{
	buf_putf(b,
		 "id=%llu uid=%u gid=%u pid=%d name=%s age=%lld resp=%d owed=%zu qbuf=%zu obuf=%zu "
		 "commands=%llu lib-name=%s lib-ver=%s\n",
		 (unsigned long long)c->id, c->uid, c->gid, (int)c->pid, c->name,
		 (long long)(mono_since(now, c->since) / USEC_PER_SEC), (int)c->proto,
		 c->reply_count, buf_len(&c->stream.in), buf_len(&c->stream.out),
		 (unsigned long long)c->commands, c->lib_name, c->lib_ver);
}

static void
client_list(struct request *r)
{
	struct buf b = {0};

	list_foreach(it, next, &r->server->clients)
		put_client_line(&b, container_of(it, struct client, all), r->now);
	resp_put_bulk(r->out, buf_head(&b), buf_len(&b));
	buf_free(&b);
}

static void
client_info(struct request *r)
{
	struct buf b = {0};

	put_client_line(&b, r->client, r->now);
	resp_put_bulk(r->out, buf_head(&b), buf_len(&b));
	buf_free(&b);
}

static const struct {
	const char *name;
	size_t argc;
	void (*handle)(struct request *r);
} client_rows[] = {
	{"ID", 2, client_id},		{"INFO", 2, client_info},
	{"LIST", 2, client_list},	{"GETNAME", 2, client_getname},
	{"SETNAME", 3, client_setname}, {"SETINFO", 4, client_setinfo},
};

static void
cmd_client(struct request *r)
{
	for (size_t i = 0; i < sizeof(client_rows) / sizeof(client_rows[0]); i++) {
		if (!slice_is(&r->argv[1], client_rows[i].name))
			continue;
		if (r->argc == client_rows[i].argc)
			client_rows[i].handle(r);
		else
			resp_put_errorf(r->out, "ERR", "wrong number of arguments for 'CLIENT %s'",
					client_rows[i].name);
		return;
	}
	resp_put_errorf(r->out, "ERR",
			"unknown subcommand: CLIENT ID, INFO, LIST, GETNAME, SETNAME "
			"or SETINFO");
}

/* ---- COMMAND ---- */

static void
put_lower(struct buf *b, const char *name)
{
	char lower[32];
	size_t n = 0;

	for (; n < sizeof(lower) && name[n]; n++)
		lower[n] = (char)tolower((unsigned char)name[n]);
	resp_put_bulk(b, lower, n);
}

/* Name, arity, flags, first key, last key, step: the six that all clients know. */
static void
put_command(struct buf *b, enum resp_proto proto, const struct command *row)
{
	resp_put_array(b, 6);
	put_lower(b, row->name);
	resp_put_int(b, row->arity);
	resp_put_set(b, proto, 1);
	resp_put_simple(b, row->class == CLASS_ADMIN ? "admin" : "fast");
	for (int i = 0; i < 3; i++)
		resp_put_int(b, 0);
}

/* redis-cli makes its hints of these; it wants the keys as bulk strings and the
 * flags as simple ones. */
static void
put_doc_arg(struct buf *b, enum resp_proto proto, const struct command_arg *a)
{
	int flags = a->optional + a->multiple;

	resp_put_map(b, proto, 2 + (a->token != NULL) + (flags > 0));
	resp_put_str(b, "name");
	resp_put_str(b, a->name);
	resp_put_str(b, "type");
	resp_put_str(b, "string");
	if (a->token) {
		resp_put_str(b, "token");
		resp_put_str(b, a->token);
	}
	if (!flags)
		return;
	resp_put_str(b, "flags");
	resp_put_array(b, (size_t)flags);
	if (a->optional)
		resp_put_simple(b, "optional");
	if (a->multiple)
		resp_put_simple(b, "multiple");
}

static void
put_doc(struct buf *b, enum resp_proto proto, const struct command *row)
{
	size_t n = 0;

	while (row->args[n].name)
		n++;
	put_lower(b, row->name);
	resp_put_map(b, proto, 3 + (n > 0));
	resp_put_str(b, "summary");
	resp_put_str(b, row->summary);
	resp_put_str(b, "since");
	resp_put_str(b, "0.1");
	resp_put_str(b, "group");
	resp_put_str(b, command_class_name(row->class));
	if (!n)
		return;
	resp_put_str(b, "arguments");
	resp_put_array(b, n);
	for (size_t i = 0; i < n; i++)
		put_doc_arg(b, proto, &row->args[i]);
}

static size_t
command_count(void)
{
	size_t n = 0;

	while (command_at(n))
		n++;
	return n;
}

static void
command_docs(struct request *r)
{
	enum resp_proto proto = r->client->proto;
	const struct command *row;
	size_t n = 0;

	if (r->argc == 2) {
		resp_put_map(r->out, proto, command_count());
		for (size_t i = 0; (row = command_at(i)); i++)
			put_doc(r->out, proto, row);
		return;
	}
	for (size_t i = 2; i < r->argc; i++)
		n += command_find(r->argv[i].data, r->argv[i].len) != NULL;
	resp_put_map(r->out, proto, n);
	for (size_t i = 2; i < r->argc; i++)
		if ((row = command_find(r->argv[i].data, r->argv[i].len)))
			put_doc(r->out, proto, row);
}

static void
put_all_commands(struct request *r)
{
	const struct command *row;

	resp_put_array(r->out, command_count());
	for (size_t i = 0; (row = command_at(i)); i++)
		put_command(r->out, r->client->proto, row);
}

static void
command_info(struct request *r)
{
	if (r->argc == 2) {
		put_all_commands(r);
		return;
	}
	resp_put_array(r->out, r->argc - 2);
	for (size_t i = 2; i < r->argc; i++) {
		const struct command *row = command_find(r->argv[i].data, r->argv[i].len);

		if (row)
			put_command(r->out, r->client->proto, row);
		else
			resp_put_null(r->out, r->client->proto);
	}
}

static void
cmd_command(struct request *r)
{
	if (r->argc == 1)
		put_all_commands(r);
	else if (slice_is(&r->argv[1], "COUNT") && r->argc == 2)
		resp_put_int(r->out, (int64_t)command_count());
	else if (slice_is(&r->argv[1], "DOCS"))
		command_docs(r);
	else if (slice_is(&r->argv[1], "INFO"))
		command_info(r);
	else
		resp_put_errorf(r->out, "ERR", "unknown subcommand: COMMAND COUNT, DOCS or INFO");
}

const struct command connection_commands[] = {
	{.name = "PING",
	 .arity = -1,
	 .class = CLASS_CONNECTION,
	 .summary = "PONG, or the message",
	 .handle = cmd_ping,
	 .args = {{.name = "message", .optional = true}}},
	{.name = "ECHO",
	 .arity = 2,
	 .class = CLASS_CONNECTION,
	 .summary = "The message",
	 .handle = cmd_echo,
	 .args = {{.name = "message"}}},
	{.name = "HELLO",
	 .arity = -1,
	 .class = CLASS_CONNECTION,
	 .summary = "Choose RESP2 or RESP3, and learn who serves",
	 .handle = cmd_hello,
	 .args = {{.name = "protover", .optional = true},
		  {.name = "username password", .token = "AUTH", .optional = true},
		  {.name = "clientname", .token = "SETNAME", .optional = true}}},
	{.name = "QUIT",
	 .arity = -1,
	 .class = CLASS_CONNECTION,
	 .summary = "Close the connection when all replies are out",
	 .handle = cmd_quit},
	{.name = "CLIENT",
	 .arity = -2,
	 .class = CLASS_CONNECTION,
	 .summary = "CLIENT ID, INFO, LIST, GETNAME, SETNAME or SETINFO",
	 .handle = cmd_client,
	 .args = {{.name = "subcommand"}, {.name = "value", .optional = true, .multiple = true}}},
	{.name = "COMMAND",
	 .arity = -1,
	 .class = CLASS_CONNECTION,
	 .summary = "The commands there are: COMMAND COUNT, DOCS or INFO",
	 .handle = cmd_command,
	 .args = {{.name = "subcommand", .optional = true},
		  {.name = "command", .optional = true, .multiple = true}}},
	{.name = NULL},
};
