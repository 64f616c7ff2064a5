/* SPDX-License-Identifier: MIT */
/*
 * listen - the control socket: made safely, kept by one daemon, accepted from.
 *
 * Floor 3. Owned by the server. The socket comes from the service manager or is
 * made here, in a directory that strangers cannot write; a lock file beside it
 * keeps a second daemon out and tells a stale socket from a served one. One that
 * was made here, and that somebody has kept for us over a crash, can be taken back.
 */
#pragma once

#include "base/buf.h"
#include "io/loop.h"

#include <stdbool.h>
#include <sys/types.h>

struct listener {
	struct loop *loop;
	struct watch watch;
	struct timer rearm; /* accepting again, after descriptors ran short */
	int fd;
	int lock_fd;	/* -1: the socket is the service manager's */
	int reserve_fd; /* closed to be able to accept, and refuse, the one too many */
	char *path;	/* of our own socket; NULL: the service manager's */
	bool bound;	/* what is at path is this socket: to be unlinked in the end */
	void (*on_accept)(struct listener *l, int take_fd);
};

/* How the names begin under which sockets of ours are kept. */
#define LISTENER_KEPT "control-listener"

/* Make the socket at path: mode and group (or (gid_t)-1) as given. 0 or -errno,
 * with one line in why. Nothing is left behind on failure. */
int listener_open(struct listener *l, const char *path, mode_t mode, gid_t group, struct buf *why);

/* The name by which a socket of listener_open() is to be kept; malloc'ed, NULL
 * if the socket is at its path no more. */
char *listener_kept_name(const struct listener *l);

/* Go on with a socket that was kept: true. False, with a line in why: its path leads to it no
 * more, another daemon has that path, or another path, mode or group is wanted now; then what
 * is left of it is removed. take_fd is consumed. */
bool listener_restore(struct listener *l, int take_fd, const char *name, const char *path,
		      mode_t mode, gid_t group, struct buf *why);

/* Accept from the service manager's socket. 0 or -errno; take_fd is consumed. */
int listener_inherit(struct listener *l, int take_fd);

/* Start accepting; accepted descriptors are nonblocking and close-on-exec. */
int listener_start(struct listener *l, struct loop *loop,
		   void (*on_accept)(struct listener *, int take_fd));

/* Stop accepting; our own socket and its lock file are removed. */
void listener_close(struct listener *l);
