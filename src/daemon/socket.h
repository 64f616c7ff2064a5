/* SPDX-License-Identifier: MIT */
/*
 * socket - which control socket the daemon serves.
 *
 * Floor 6. Part of the daemon. That of the socket unit, where one was passed;
 * else one of its own, of which the service manager keeps a duplicate: after a
 * crash it gives that back, and who has tried to connect in between has waited.
 */
#pragma once

#include "core/conf.h"
#include "io/listen.h"
#include "io/notify.h"

/* 0 and *ret, or a status of <sysexits.h>, after the log has the reason.
 * *ret_kept: by what name the manager keeps a duplicate; NULL: it does not. */
int socket_open(const struct conf *c, struct notify *n, struct listener *ret, char **ret_kept);

/* Have no duplicate kept any longer: it would hide from clients that we have closed
 * ours. No-op on NULL; consumed. */
void socket_forget(struct notify *n, char **take_kept);
