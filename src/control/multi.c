/* SPDX-License-Identifier: MIT */
#include "control/multi.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

struct queued {
	struct list link;  /* in multi->commands */
	size_t bytes;	   /* all that it takes */
	uint64_t accepted; /* the id of its job, which EXEC has submitted; 0: none */
	bool fresh;	   /* and it is a new one */
	size_t argc;
	struct resp_slice argv[]; /* their bytes follow */
};

struct multi {
	struct list commands;
	size_t count, bytes;
	bool spoilt; /* a command was refused: the others are not kept any more */
	bool mute;   /* the reply of its EXEC goes nowhere */
};

static struct queued *
queued_at(struct list *it)
{
	return container_of(it, struct queued, link);
}

/* ---- what is kept ---- */

static size_t
size_of(const struct resp_slice *argv, size_t argc)
{
	size_t n = sizeof(struct queued) + argc * sizeof(*argv);

	for (size_t i = 0; i < argc; i++)
		n += argv[i].len;
	return n;
}

/* NULL: no memory. */
static struct queued *
queued_new(const struct resp_slice *argv, size_t argc, size_t bytes)
{
	struct queued *q = malloc(bytes);
	char *at;

	if (!q)
		return NULL;
	*q = (struct queued){.bytes = bytes, .argc = argc};
	at = (char *)&q->argv[argc];
	for (size_t i = 0; i < argc; i++) {
		memcpy(at, argv[i].data, argv[i].len);
		q->argv[i] = (struct resp_slice){.data = at, .len = argv[i].len};
		at += argv[i].len;
	}
	return q;
}

static void
forget_all(struct multi *m)
{
	list_foreach(it, next, &m->commands) {
		list_remove(it);
		free(queued_at(it));
	}
	m->count = m->bytes = 0;
}

static void
multi_free(struct multi *m)
{
	if (m)
		forget_all(m);
	free(m);
}

void
multi_drop(struct client *c)
{
	multi_free(c->multi);
	multi_free(c->exec);
	c->multi = c->exec = NULL;
}

void
multi_spoil(struct client *c)
{
	if (!c->multi)
		return;
	c->multi->spoilt = true;
	forget_all(c->multi);
}

bool
multi_has_room(const struct client *c, size_t bytes)
{
	uint64_t limit = c->server->conf->control.client_memory;

	return c->multi->count < MULTI_COMMANDS_MAX && bytes <= limit &&
	       c->multi->bytes <= limit - bytes;
}

size_t
multi_bytes(const struct client *c)
{
	const struct multi *m = c->exec ? c->exec : c->multi;

	return m ? m->bytes : 0;
}

int
multi_count(const struct client *c)
{
	return c->multi ? (int)c->multi->count : -1;
}

void
multi_queue(struct request *r)
{
	struct multi *m = r->client->multi;
	size_t bytes = size_of(r->argv, r->argc);
	struct queued *q;

	if (m->spoilt) { /* what is not going to happen takes no memory */
		resp_put_simple(r->out, "QUEUED");
		return;
	}
	if (!multi_has_room(r->client, bytes)) {
		resp_put_errorf(r->out, "ERR",
				"a MULTI holds at most %d commands and control.client_memory "
				"(%llu bytes)",
				MULTI_COMMANDS_MAX,
				(unsigned long long)r->server->conf->control.client_memory);
		multi_spoil(r->client);
		return;
	}
	q = queued_new(r->argv, r->argc, bytes);
	if (!q) {
		resp_put_errorf(r->out, "ERR", "out of memory");
		multi_spoil(r->client);
		return;
	}
	list_append(&m->commands, &q->link);
	m->count++;
	m->bytes += bytes;
	resp_put_simple(r->out, "QUEUED");
}

/* ---- EXEC ---- */

/* Those that were new are as if they had never been. */
static void
withdraw(struct request *r, struct multi *m)
{
	list_foreach(it, next, &m->commands) {
		const struct queued *q = queued_at(it);

		if (q->fresh)
			pool_withdraw(pools_job(r->server->pools, q->accepted));
	}
}

/* why: an error reply. */
static void
put_abort(struct request *r, const struct multi *m, size_t at, const struct buf *why)
{
	int len = buf_len(why) > 3 ? (int)buf_len(why) - 3 : 0; /* without - and CRLF */

	resp_put_errorf(r->out, "EXECABORT",
			"Transaction discarded because of command %zu of %zu: %.*s", at, m->count,
			len, len ? buf_head(why) + 1 : "");
}

/* Have the jobs accepted that are submitted: all, or, with an error in r->out, none. */
static bool
accept_all(struct request *r, struct multi *m)
{
	struct buf why = {0};
	size_t at = 0;

	list_foreach(it, next, &m->commands) {
		struct queued *q = queued_at(it);
		struct request one = *r;
		struct job *j = NULL;

		at++;
		one.named = NULL;
		one.argv = q->argv;
		one.argc = q->argc;
		one.out = &why;
		if (command_check(&one) && !one.row->accept)
			continue;
		if (!buf_len(&why))
			j = one.row->accept(&one, &q->fresh);
		if (j) {
			q->accepted = j->id;
			continue;
		}
		withdraw(r, m);
		put_abort(r, m, at, &why);
		buf_free(&why);
		return false;
	}
	buf_free(&why);
	return true;
}

static void
exec_begin(struct request *r, struct multi *m)
{
	resp_put_array(r->out, m->count);
	m->mute = r->client->mute;
	r->client->exec = m;
}

static void
exec_end(struct client *c)
{
	client_news_hold(c, false);
	multi_free(c->exec);
	c->exec = NULL;
}

void
multi_step(struct client *c)
{
	struct multi *m = c->exec;
	struct list *l = list_first(&m->commands);
	struct queued *q = l ? queued_at(l) : NULL;

	c->mute = m->mute;
	if (q && q->accepted)
		put_id(client_reply(c), q->accepted);
	else if (q)
		command_execute(c, NULL, q->argv, q->argc);
	if (q) {
		list_remove(&q->link);
		m->bytes -= q->bytes;
		free(q);
	}
	if (list_empty(&m->commands))
		exec_end(c);
	client_end_command(c);
}

static void
cmd_exec(struct request *r)
{
	struct multi *m = r->client->multi;

	if (!m) {
		resp_put_errorf(r->out, "ERR", "EXEC without MULTI");
		return;
	}
	r->client->multi = NULL;
	client_news_hold(r->client, true); /* none between its array's elements */
	if (!m->spoilt && accept_all(r, m)) {
		exec_begin(r, m);
		return;
	}
	if (m->spoilt)
		resp_put_errorf(r->out, "EXECABORT",
				"Transaction discarded because of previous errors.");
	client_news_hold(r->client, false);
	multi_free(m);
}

static void
cmd_multi(struct request *r)
{
	if (r->client->multi) {
		resp_put_errorf(r->out, "ERR", "MULTI calls can not be nested");
		return;
	}
	r->client->multi = mem_new(sizeof(*r->client->multi));
	list_init(&r->client->multi->commands);
	resp_put_simple(r->out, "OK");
}

static void
cmd_discard(struct request *r)
{
	if (r->client->multi)
		resp_put_simple(r->out, "OK");
	else
		resp_put_errorf(r->out, "ERR", "DISCARD without MULTI");
	multi_drop(r->client);
}

const struct command multi_commands[] = {
	{.name = "MULTI",
	 .arity = 1,
	 .class = CLASS_CONNECTION,
	 .summary = "Keep the commands that follow for EXEC",
	 .handle = cmd_multi,
	 .in_multi = MULTI_AT_ONCE},
	{.name = "EXEC",
	 .arity = 1,
	 .class = CLASS_CONNECTION,
	 .summary = "Carry out what came since MULTI: its jobs are accepted all or none",
	 .handle = cmd_exec,
	 .in_multi = MULTI_AT_ONCE},
	{.name = "DISCARD",
	 .arity = 1,
	 .class = CLASS_CONNECTION,
	 .summary = "Forget what came since MULTI",
	 .handle = cmd_discard,
	 .in_multi = MULTI_AT_ONCE},
	{.name = NULL},
};
