/* SPDX-License-Identifier: MIT */
/*
 * rights - who may do what, by the rules of the configuration.
 *
 * Floor 2: no sockets; whoever asks says who the peer is. The first rule that
 * matches decides, and a peer that no rule matches may read and submit. Root,
 * and the daemon's own user, are the caller's business.
 */
#pragma once

#include "core/conf.h"

#define RIGHTS_ALL (RIGHT_READ | RIGHT_SUBMIT | RIGHT_ADMIN)
#define RIGHTS_DEFAULT (RIGHT_READ | RIGHT_SUBMIT)

struct peer {
	uid_t uid;
	gid_t gid;
	const gid_t *groups; /* its supplementary ones */
	size_t n_groups;
};

/* What peer may do with a pool, as bits of enum conf_right. pool NULL: with the daemon
 * itself, which only those rules are about that are about every pool. */
unsigned rights_of(const struct conf *c, const struct peer *peer, const char *pool);
