/* SPDX-License-Identifier: MIT */
/*
 * The one place that says who may do what: by the peer's uid and groups, as the
 * kernel noted them when it connected, never by its pid. What a client may do
 * with each pool is worked out once, so that a command costs one look.
 */
#include "base/mem.h"
#include "control/command.h"
#include "core/rights.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define GROUPS_AT_FIRST 64 /* more are asked for again */

/* Rules do not apply to root, nor to the owner of a daemon of its own. */
static bool
may_do_all(const struct client *c)
{
	return c->uid == 0 || (c->server->own_uid_is_admin && c->uid == geteuid());
}

/* The peer's supplementary groups. Those of a peer that we cannot ask about are none. */
static gid_t *
peer_groups(int fd, size_t *ret_n)
{
	socklen_t len = GROUPS_AT_FIRST * sizeof(gid_t);
	gid_t *groups = NULL;
	int r;

	do {
		free(groups);
		groups = mem_new(len);
		r = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len);
	} while (r < 0 && errno == ERANGE); /* len is what is needed then */
	*ret_n = r < 0 ? 0 : len / sizeof(gid_t);
	return groups;
}

static void
apply_rules(struct client *c, int fd)
{
	const struct server *s = c->server;
	struct peer peer = {.uid = c->uid, .gid = c->gid};
	gid_t *groups = peer_groups(fd, &peer.n_groups);
	unsigned any = 0;

	peer.groups = groups;
	for (size_t i = 0; i < s->pools->count; i++) {
		const struct pool *p = s->pools->v[i];
		unsigned rights = rights_of(s->conf, &peer, p->conf->name);

		c->rights.pools[p->place] = (uint8_t)rights;
		any |= rights;
	}
	c->rights.any = (uint8_t)any;
	c->rights.daemon =
		(uint8_t)((any & RIGHTS_DEFAULT) | (rights_of(s->conf, &peer, NULL) & RIGHT_ADMIN));
	free(groups);
}

void
access_open(struct client *c, int fd)
{
	size_t n = c->server->pools->places;
	unsigned rights = may_do_all(c) ? RIGHTS_ALL : RIGHTS_DEFAULT;

	c->rights.pools = mem_new(n + 1);
	memset(c->rights.pools, (int)rights, n);
	c->rights.any = c->rights.daemon = (uint8_t)rights;
	if (c->server->conf->n_access && !may_do_all(c))
		apply_rules(c, fd);
}

void
access_close(struct client *c)
{
	free(c->rights.pools);
	c->rights = (struct rights){0};
}

void
access_renew(struct client *c)
{
	access_close(c);
	access_open(c, c->stream.rfd);
}

static bool
has_right(unsigned rights, enum command_class class)
{
	return (rights & class) == class;
}

bool
access_allows(const struct client *c, enum command_class class)
{
	return has_right(c->rights.daemon, class);
}

bool
access_allows_pool(const struct client *c, enum command_class class, const struct pool *p)
{
	return has_right(p ? c->rights.pools[p->place] : c->rights.any, class);
}

bool
access_acts_for(const struct client *c, uid_t uid)
{
	return c->uid == uid || access_allows(c, CLASS_ADMIN);
}

bool
access_owns(const struct client *c, const struct job *j)
{
	return c->uid == j->uid || access_allows_pool(c, CLASS_ADMIN, job_pool(j));
}

bool
access_allows_job(const struct client *c, enum command_class class, const struct job *j)
{
	return access_owns(c, j) && access_allows_pool(c, class, job_pool(j));
}
