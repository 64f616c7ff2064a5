/* SPDX-License-Identifier: MIT */
/* CLIENT: who is connected, and what a client says of itself. */
#include "control/command.h"

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

const struct command client_commands[] = {
	{.name = "CLIENT",
	 .arity = -2,
	 .class = CLASS_CONNECTION,
	 .summary = "CLIENT ID, INFO, LIST, GETNAME, SETNAME or SETINFO",
	 .handle = cmd_client,
	 .args = {{.name = "subcommand"}, {.name = "value", .optional = true, .multiple = true}}},
	{.name = NULL},
};
