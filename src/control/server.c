/* SPDX-License-Identifier: MIT */
#include "control/server.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "control/command.h"
#include "control/events.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define FDS_OWN 32     /* the loop, the socket, the log, a spawn under way */
#define FDS_A_WORKER 5 /* its channel (two, where it is pipes), stderr, pidfd, loader */

#define HEAR_US USEC_PER_SEC /* from connect() to the first command, at the end */

#define COMMANDS_A_TURN 1024 /* of all clients together, but from each at least */
#define SHARE_MIN 16
#define SHARE_MAX 256

static const char too_many[] = "-ERR max number of clients reached (control.max_clients)\r\n";

/* Is our own user the one whose daemon this is? In a system service it is not:
 * there the workers have that uid too. */
static bool
is_a_users_own(const struct conf *conf)
{
	return !conf->control.listen ||
	       (geteuid() && (getenv("XDG_RUNTIME_DIR") || !getenv("INVOCATION_ID")));
}

/* ---- descriptors ---- */

static uint64_t
open_files_limit(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_NOFILE, &limit) < 0 ? UINT64_MAX : limit.rlim_cur;
}

/* Clients are not to take the descriptors that workers are started with. */
void
server_share(struct server *s)
{
	uint64_t want = s->conf->control.max_clients, was = s->max_clients;
	uint64_t kept = FDS_OWN, limit = open_files_limit();

	for (size_t i = 0; i < s->pools->count; i++)
		kept += FDS_A_WORKER * (uint64_t)s->pools->v[i]->wanted;
	s->max_clients = want;
	if (limit >= want + kept)
		return;
	s->max_clients = limit > kept ? limit - kept : 1;
	if (s->max_clients != was)
		log_msg(LOG_WARNING,
			"the limit of %llu open files has room for %llu clients beside the "
			"workers, not for control.max_clients (%llu)",
			(unsigned long long)limit, (unsigned long long)s->max_clients,
			(unsigned long long)want);
}

uint64_t
server_workers_that_fit(const struct server *s, const struct pool *p, unsigned n,
			uint64_t *ret_limit)
{
	uint64_t limit = open_files_limit();
	uint64_t kept = FDS_OWN + s->client_count + FDS_A_WORKER * (uint64_t)pool_leaving(p, n);

	*ret_limit = limit;
	for (size_t i = 0; i < s->pools->count; i++) {
		const struct pool *other = s->pools->v[i];

		if (other != p)
			kept += FDS_A_WORKER *
				(uint64_t)(other->wanted + pool_leaving(other, other->wanted));
	}
	return limit > kept ? (limit - kept) / FDS_A_WORKER : 0;
}

/* ---- life ---- */

struct server *
server_new(struct loop *l, struct pools *pools, const struct conf *conf,
	   const struct server_ops *ops, void *ctx)
{
	struct server *s = mem_new(sizeof(*s));
	struct timespec now;

	s->loop = l;
	s->pools = pools;
	s->conf = conf;
	s->ops = ops;
	s->ctx = ctx;
	s->started = mono_now();
	clock_gettime(CLOCK_REALTIME, &now);
	s->started_unix_us = now.tv_sec * USEC_PER_SEC + now.tv_nsec / 1000;
	s->max_clients = conf->control.max_clients;
	server_share(s);
	command_index();
	s->own_uid_is_admin = is_a_users_own(conf);
	s->share = SHARE_MAX;
	list_init(&s->clients);
	list_init(&s->dirty);
	list_init(&s->asked);
	list_init(&s->awaiting);
	s->loaded_unix_us = s->started_unix_us;
	s->events = events_new(s);
	unit_names_get(&s->units);
	return s;
}

void
server_free(struct server *s)
{
	if (!s)
		return;
	list_foreach(it, next, &s->clients)
		client_free(container_of(it, struct client, all));
	server_unlisten(s);
	timer_clear(loop_timers(s->loop), &s->hearing);
	events_free(s->events);
	map_free(&s->users);
	unit_names_free(&s->units);
	free(s);
}

/* One place above the limit is root's, so that a full house can be looked at. */
static void
on_accept(struct listener *l, int take_fd)
{
	struct server *s = container_of(l, struct server, listener);
	struct client *c = client_new(s, take_fd);

	if (!c)
		return;
	s->connections++;
	if (s->client_count > s->max_clients + (c->uid == 0)) {
		buf_puts(&c->stream.out, too_many);
		c->closing = true;
		client_note(c);
	}
}

int
server_listen(struct server *s, struct listener *take_listener)
{
	s->listener = *take_listener;
	s->listening = true;
	return listener_start(&s->listener, s->loop, on_accept);
}

void
server_unlisten(struct server *s)
{
	if (!s->listening)
		return;
	listener_close(&s->listener);
	s->listening = false;
	timer_set(loop_timers(s->loop), &s->hearing, mono_add(loop_now(s->loop), HEAR_US));
}

int
server_adopt(struct server *s, int take_fd)
{
	int r = fd_set_nonblock(take_fd);
	struct client *c;

	if (r < 0) {
		fd_close(&take_fd);
		return r;
	}
	c = client_new(s, take_fd);
	if (!c)
		return -EINVAL;
	c->only = s->connections == 0;
	s->connections++;
	return 0;
}

/* Commands a turn: the more clients have many, the fewer each, so that others do not wait
 * for long; for one alone turns cost the less, the more it has in each. See bench/NOTES.md. */
static unsigned
fair_share(unsigned clients)
{
	unsigned share = COMMANDS_A_TURN / (clients + 1);

	return share > SHARE_MAX ? SHARE_MAX : share < SHARE_MIN ? SHARE_MIN : share;
}

void
server_turn(struct server *s)
{
	struct list now = LIST_INIT(now);

	list_splice(&now, &s->dirty);
	list_foreach(it, next, &now) {
		struct client *c = container_of(it, struct client, dirty);

		list_remove(it);
		if (client_turn(c))
			continue;
		if (c->only)
			s->ops->orphaned(s->ctx);
		client_free(c);
	}
	s->share = fair_share(s->cut_short);
	s->cut_short = 0;
	/* What clients asked for just now, or left behind by going, is the pump's, and that
	 * has had this turn's already; news of it are for clients that had theirs. */
	if (!list_empty(&s->pools->woken) || !list_empty(&s->dirty))
		loop_again(s->loop);
}

/* It has connected, was accepted, and was not quick enough to say what it wants: were it
 * closed now it would be lost, and by connecting a moment later it would not. */
static bool
is_new(const struct server *s, const struct client *c)
{
	return timer_is_set(&s->hearing) && !c->commands && !c->closing && !c->stream.eof &&
	       mono_before(timer_at(&s->hearing), mono_add(c->since, 2 * HEAR_US));
}

bool
server_flushed(const struct server *s)
{
	list_foreach(it, next, &s->clients) {
		const struct client *c = container_of(it, struct client, all);

		if (!client_is_answered(c) || is_new(s, c))
			return false;
	}
	return true;
}
