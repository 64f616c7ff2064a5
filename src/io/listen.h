/* SPDX-License-Identifier: MIT */
/*
 * listen - the control socket: made safely, kept by one daemon, accepted from.
 *
 * Floor 3. Owned by the server. The socket comes from the service manager or is
 * made here, in a directory that strangers cannot write; a lock file beside it
 * keeps a second daemon out and tells a stale socket from a served one.
 */
#pragma once

#include "base/buf.h"
#include "io/loop.h"

#include <sys/types.h>

struct listener {
	struct loop *loop;
	struct watch watch;
	struct timer rearm; /* accepting again, after descriptors ran short */
	int fd;
	int lock_fd;	/* -1: the socket is the service manager's */
	int reserve_fd; /* closed to be able to accept, and refuse, the one too many */
	char *path;	/* to be unlinked in the end; NULL: not ours */
	void (*on_accept)(struct listener *l, int take_fd);
};

/* Make the socket at path: mode and group (or (gid_t)-1) as given. 0 or -errno,
 * with one line in why. Nothing is left behind on failure. */
int listener_open(struct listener *l, const char *path, mode_t mode, gid_t group, struct buf *why);

/* Take the listening AF_UNIX stream socket that the service manager has passed:
 * 1 taken, 0 none was passed, -errno with one line in why. */
int listener_inherit(struct listener *l, struct buf *why);

/* Start accepting; accepted descriptors are nonblocking and close-on-exec. */
int listener_start(struct listener *l, struct loop *loop,
		   void (*on_accept)(struct listener *, int take_fd));

/* Stop accepting; our own socket and its lock file are removed. */
void listener_close(struct listener *l);
