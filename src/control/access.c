/* SPDX-License-Identifier: MIT */
/* The one place that says who may do what. By the peer's uid, as the kernel
 * tells it; who can open the socket (its mode and group) may read and submit. */
#include "control/command.h"

#include <unistd.h>

static bool
is_admin(const struct client *c)
{
	return c->uid == 0 || (c->server->own_uid_is_admin && c->uid == geteuid());
}

bool
access_allows(const struct client *c, enum command_class class)
{
	return class != CLASS_ADMIN || is_admin(c);
}

bool
access_acts_for(const struct client *c, uid_t uid)
{
	return c->uid == uid || is_admin(c);
}

bool
access_owns(const struct client *c, const struct job *j)
{
	return access_acts_for(c, j->uid);
}
