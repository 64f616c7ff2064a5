/* SPDX-License-Identifier: MIT */
#include "control/user.h"

#include "base/mem.h"
#include "control/multi.h"

#include <assert.h>
#include <stdlib.h>

/* ---- whose turn it is ---- */

bool
user_is_full(const struct client *c)
{
	return !c->only && c->user->bytes > c->server->conf->control.user_memory;
}

static void
unlist(struct client *c)
{
	list_remove(&c->held);
	c->ready = false;
}

static void
enlist(struct client *c, bool ready)
{
	if (list_linked(&c->held) && c->ready == ready)
		return; /* it keeps its place */
	unlist(c);
	list_append(ready ? &c->user->ready : &c->user->waiting, &c->held);
	c->ready = ready;
}

static void
wake(struct client *c)
{
	unlist(c);
	client_note(c);
	loop_again(c->server->loop);
}

/* Can it make use of being read? Not where it has to take replies first. */
static bool
can_run(struct client *c)
{
	return !c->closing && !c->gone && !c->stream.blocked && !client_over_budget(c);
}

/* The first that can; those before it have to take replies first. */
static struct client *
next_runner(struct user *u)
{
	struct list *l;

	while ((l = list_first(&u->ready))) {
		struct client *c = container_of(l, struct client, held);

		if (can_run(c))
			return c;
		enlist(c, false);
	}
	return NULL;
}

static void
pick_runner(struct user *u)
{
	struct client *c = u->runner ? NULL : next_runner(u);

	if (!c)
		return;
	u->runner = c;
	c->run_commands = c->commands;
	c->run_received = c->stream.received;
	wake(c);
}

/* There is room: for so many, who can each take a turn's worth of it. The next ones
 * follow when these have been counted. */
static void
release(struct user *u, uint64_t room)
{
	for (uint64_t n = room / CLIENT_READ_A_TURN + 1; n; n--) {
		struct list *l = list_first(&u->ready);

		if (!l)
			l = list_first(&u->waiting);
		if (!l)
			return;
		wake(container_of(l, struct client, held));
	}
}

/* Is anybody to go on, or going on, out of turn? */
static bool
has_waiting(const struct user *u)
{
	return u->runner || !list_empty(&u->ready) || !list_empty(&u->waiting);
}

static void
go_on(struct user *u)
{
	uint64_t limit = u->server->conf->control.user_memory;

	if (!has_waiting(u))
		return;
	if (u->bytes <= limit) {
		u->runner = NULL;
		release(u, limit - u->bytes);
	} else {
		pick_runner(u);
	}
}

/* Has the runner done what it was let go on for? One that has read keeps the others
 * waiting for the rest of its command: if each read a part, there would be no bound. */
static bool
is_done(struct client *c)
{
	if (!can_run(c) || (c->stream.eof && !c->more))
		return true;
	if (c->stream.received == c->run_received)
		return !c->more && !stream_unread(&c->stream);
	return !multi_bytes(c) && (c->commands != c->run_commands || !buf_len(&c->stream.in));
}

void
user_count(struct client *c)
{
	struct user *u = c->user;
	size_t bytes = client_bytes(c);
	bool was_full = user_is_full(c);

	u->bytes += bytes - c->counted;
	c->counted = bytes;
	if (!was_full && user_is_full(c))
		u->full_since = loop_now(c->server->loop);
	if (u->runner == c && is_done(c))
		u->runner = NULL;
	go_on(u);
}

uint64_t
user_room(const struct client *c)
{
	uint64_t limit = c->server->conf->control.user_memory, bytes = c->user->bytes;

	if (c->only)
		return UINT64_MAX;
	return bytes < limit ? limit - bytes : 0;
}

bool
user_admits(struct client *c)
{
	struct user *u = c->user;

	if (!user_is_full(c) || u->runner == c || c->counted < USER_NEXT_TO_NOTHING)
		return true;
	/* What has nothing to say is no runner; it is asked again when it has. */
	if (!c->more && !stream_unread(&c->stream))
		return true;
	enlist(c, can_run(c));
	pick_runner(u);
	return u->runner == c;
}

void
user_wait(struct client *c)
{
	if (!list_linked(&c->held))
		enlist(c, false);
}

bool
user_waits_for(const struct client *c)
{
	return c->user->runner == c && !list_empty(&c->user->ready);
}

/* ---- who is connected ---- */

static struct user *
user_find(const struct server *s, uid_t uid)
{
	struct map_node *n = map_find(&s->users, map_hash_u64(uid));

	for (; n; n = map_find_next(n)) {
		struct user *u = container_of(n, struct user, node);

		if (u->uid == uid)
			return u;
	}
	return NULL;
}

static struct user *
user_new(struct server *s, uid_t uid)
{
	struct user *u = mem_new(sizeof(*u));

	u->server = s;
	u->uid = uid;
	list_init(&u->ready);
	list_init(&u->waiting);
	if (map_add(&s->users, &u->node, map_hash_u64(uid)) < 0)
		mem_out();
	return u;
}

void
user_join(struct client *c)
{
	struct user *u = user_find(c->server, c->uid);

	c->user = u ? u : user_new(c->server, c->uid);
	c->user->connections++;
	list_init(&c->held);
}

void
user_leave(struct client *c)
{
	struct user *u = c->user;

	unlist(c);
	u->bytes -= c->counted;
	if (u->runner == c)
		u->runner = NULL;
	if (--u->connections) {
		go_on(u);
		return;
	}
	assert(!u->bytes);
	map_remove(&u->server->users, &u->node);
	free(u);
}
