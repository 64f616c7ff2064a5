/* SPDX-License-Identifier: MIT */
#include "core/rights.h"

#include <fnmatch.h>
#include <string.h>

static bool
in_group(const struct peer *peer, gid_t gid)
{
	bool found = peer->gid == gid;

	for (size_t i = 0; i < peer->n_groups; i++)
		found |= peer->groups[i] == gid;
	return found;
}

static bool
is_about_peer(const struct conf_access *a, const struct peer *peer)
{
	for (size_t i = 0; i < a->n_uids; i++)
		if (a->uids[i] == peer->uid)
			return true;
	for (size_t i = 0; i < a->n_gids; i++)
		if (in_group(peer, a->gids[i]))
			return true;
	return !a->n_uids && !a->n_gids;
}

static bool
is_about_pool(const struct conf_access *a, const char *pool)
{
	for (char **p = a->pools; *p; p++)
		if (pool ? fnmatch(*p, pool, 0) == 0 : strcmp(*p, "*") == 0)
			return true;
	return false;
}

unsigned
rights_of(const struct conf *c, const struct peer *peer, const char *pool)
{
	for (size_t i = 0; i < c->n_access; i++)
		if (is_about_peer(&c->access[i], peer) && is_about_pool(&c->access[i], pool))
			return c->access[i].rights;
	return RIGHTS_DEFAULT;
}
