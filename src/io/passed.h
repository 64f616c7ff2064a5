/* SPDX-License-Identifier: MIT */
/*
 * passed - the sockets that the service manager has passed at the start.
 *
 * Floor 3. Called once, by the daemon. It tells the control socket of a socket
 * unit, those that were kept for us over a crash, and what is not for us.
 */
#pragma once

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>

struct passed_socket {
	int fd;
	char *name;
};

struct passed {
	struct passed_socket control; /* of the socket unit; fd -1: none was passed */
	struct passed_socket *kept;   /* those called LISTENER_KEPT… */
	size_t kept_count;
};

/* The control socket is called "control", or by no name, or by its unit's, as
 * it is where the unit says no other. What is not for us is closed, with a line
 * in the log that says what it was. 0, or -errno with one line in why: the
 * control socket is of the wrong kind, there are several, or none where there
 * are other sockets. */
int passed_take(struct passed *ret, struct buf *why);
void passed_free(struct passed *p); /* closes what is still in it */
