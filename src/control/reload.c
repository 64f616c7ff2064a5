/* SPDX-License-Identifier: MIT */
/* Another configuration, as clients see it: what they may do, and who waits for it. */
#include "control/command.h"
#include "control/events.h"
#include "control/reply.h"

#include <string.h>
#include <time.h>

/* ---- what is in force ---- */

void
server_reconfigure(struct server *s, const struct conf *conf)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	s->loaded_unix_us = now.tv_sec * USEC_PER_SEC + now.tv_nsec / 1000;
	s->conf = conf;
	s->reloads++;
	server_share(s);
	list_foreach(it, next, &s->clients) {
		struct client *c = container_of(it, struct client, all);

		access_renew(c);
		client_note(c); /* its budget may be another */
	}
}

void
server_forget_pool(struct server *s, const struct pool *p)
{
	events_forget_pool(s->events, p);
}

/* ---- who waits for it ---- */

void
client_await_reload(struct client *c)
{
	struct reply *r = reply_owe(c, REPLY_AWAITS_RELOAD);

	list_append(&c->server->asked, &r->reload);
}

void
server_reload_begun(struct server *s)
{
	list_splice(&s->awaiting, &s->asked);
}

static void
answer(struct reply *r, const char *code, const char *text)
{
	struct buf *out = reply_begin(r);

	if (code)
		resp_put_error(out, code, text, strlen(text));
	else
		resp_put_simple(out, text);
	reply_end(r);
}

static void
answer_all(struct list *replies, const char *code, const char *text)
{
	list_foreach(it, next, replies)
		answer(container_of(it, struct reply, reload), code, text);
}

void
server_reload_done(struct server *s, const char *code, const char *text)
{
	answer_all(&s->awaiting, code, text);
}

void
server_reload_refused(struct server *s, const char *code, const char *text)
{
	answer_all(&s->asked, code, text);
}
