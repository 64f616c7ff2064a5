/* SPDX-License-Identifier: MIT */
/* Commands about news: SUBSCRIBE, PSUBSCRIBE and their opposites. */
#include "control/command.h"
#include "control/events.h"

#include <string.h>

/* Each channel is confirmed by a message of its own, in the place of a reply: how many
 * channels and patterns there are now. */
static void
put_confirmation(struct request *r, const char *kind, const struct resp_slice *name)
{
	struct client *c = r->client;

	resp_put_push(r->out, c->proto, 3);
	resp_put_str(r->out, kind);
	if (name)
		resp_put_bulk(r->out, name->data, name->len);
	else
		resp_put_null(r->out, c->proto);
	resp_put_int(r->out, (int64_t)client_subscriptions(c));
}

/* ---- SUBSCRIBE, PSUBSCRIBE ---- */

/* May r's client hear of it? All or none: what is refused has changed nothing. */
static bool
check_name(struct request *r, const struct resp_slice *name, bool pattern)
{
	const struct pool *p = pattern ? NULL : events_pool(r->client, name);
	const struct job *j = pattern ? NULL : events_job(r->client, name);

	if (name->len > EVENTS_NAME_MAX) {
		resp_put_errorf(r->out, "ERR", "at most %d bytes in the name of a channel",
				EVENTS_NAME_MAX);
		return false;
	}
	if (j && access_owns(r->client, j))
		p = job_pool(j);
	if (p && !access_allows_pool(r->client, CLASS_READ, p)) {
		request_refuse(r, p);
		return false;
	}
	if (j && !access_owns(r->client, j)) {
		resp_put_errorf(r->out, "NOPERM", "job %llu belongs to uid %u",
				(unsigned long long)j->id, j->uid);
		return false;
	}
	return true;
}

static void
put_error(struct request *r, int error, bool pattern)
{
	switch ((enum events_error)error) {
	case EVENTS_E_MANY:
		resp_put_errorf(r->out, "ERR", "at most %d %s for one connection",
				pattern ? EVENTS_PATTERNS_MAX : EVENTS_CHANNELS_MAX,
				pattern ? "patterns" : "channels");
		return;
	case EVENTS_E_BYTES:
		resp_put_errorf(r->out, "ERR",
				"the subscriptions of one connection take at most a quarter of "
				"control.client_memory, and those of a user a quarter of "
				"control.user_memory");
		return;
	case EVENTS_E_FULL:
		resp_put_errorf(r->out, "BUSY",
				"too many different patterns, or too long ones, are subscribed "
				"to by all connections: name channels, or begin with their names");
		return;
	case EVENTS_E_MEMORY:
		resp_put_errorf(r->out, "BUSY", "out of memory");
		return;
	}
}

static void
subscribe(struct request *r, bool pattern)
{
	for (size_t i = 1; i < r->argc; i++)
		if (!check_name(r, &r->argv[i], pattern))
			return;
	for (size_t i = 1; i < r->argc; i++) {
		bool is_new;
		int error = events_subscribe(r->client, &r->argv[i], pattern, &is_new);

		if (error) { /* what was confirmed stays */
			put_error(r, error, pattern);
			return;
		}
		put_confirmation(r, pattern ? "psubscribe" : "subscribe", &r->argv[i]);
		client_news_wait(r->client);
		if (is_new && !pattern)
			events_present(r->client, &r->argv[i]);
	}
}

static void
cmd_subscribe(struct request *r)
{
	subscribe(r, false);
}

static void
cmd_psubscribe(struct request *r)
{
	subscribe(r, true);
}

/* ---- UNSUBSCRIBE, PUNSUBSCRIBE ---- */

static void
unsubscribe_all(struct request *r, bool pattern, const char *kind)
{
	struct resp_slice name;

	if (!events_first(r->client, pattern, &name))
		put_confirmation(r, kind, NULL);
	while (events_first(r->client, pattern, &name)) {
		char copy[EVENTS_NAME_MAX]; /* the name goes with its last subscriber */

		memcpy(copy, name.data, name.len);
		name.data = copy;
		events_unsubscribe(r->client, &name, pattern);
		put_confirmation(r, kind, &name);
	}
}

static void
unsubscribe(struct request *r, bool pattern)
{
	const char *kind = pattern ? "punsubscribe" : "unsubscribe";

	if (r->argc == 1)
		unsubscribe_all(r, pattern, kind);
	for (size_t i = 1; i < r->argc; i++) {
		events_unsubscribe(r->client, &r->argv[i], pattern);
		put_confirmation(r, kind, &r->argv[i]);
	}
}

static void
cmd_unsubscribe(struct request *r)
{
	unsubscribe(r, false);
}

static void
cmd_punsubscribe(struct request *r)
{
	unsubscribe(r, true);
}

const struct command event_commands[] = {
	{.name = "SUBSCRIBE",
	 .arity = -2,
	 .class = CLASS_READ,
	 .summary = "Be told what happens to jobs, pools and workers from now on",
	 .handle = cmd_subscribe,
	 .in_multi = MULTI_REFUSED,
	 .subscribed = true,
	 .args = {{.name = "channel", .multiple = true}}},
	{.name = "PSUBSCRIBE",
	 .arity = -2,
	 .class = CLASS_READ,
	 .summary = "SUBSCRIBE to all channels whose names match",
	 .handle = cmd_psubscribe,
	 .in_multi = MULTI_REFUSED,
	 .subscribed = true,
	 .args = {{.name = "pattern", .multiple = true}}},
	{.name = "UNSUBSCRIBE",
	 .arity = -1,
	 .class = CLASS_READ,
	 .summary = "End SUBSCRIBE, of all channels where none is named",
	 .handle = cmd_unsubscribe,
	 .in_multi = MULTI_REFUSED,
	 .subscribed = true,
	 .args = {{.name = "channel", .optional = true, .multiple = true}}},
	{.name = "PUNSUBSCRIBE",
	 .arity = -1,
	 .class = CLASS_READ,
	 .summary = "End PSUBSCRIBE, of all patterns where none is named",
	 .handle = cmd_punsubscribe,
	 .in_multi = MULTI_REFUSED,
	 .subscribed = true,
	 .args = {{.name = "pattern", .optional = true, .multiple = true}}},
	{.name = NULL},
};
