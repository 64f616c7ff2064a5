/* SPDX-License-Identifier: MIT */
/*
 * notify - what the service manager is told, without ever waiting for it.
 *
 * Floor 3. The daemon owns one struct notify. A message is one datagram on a
 * socket of our own: sd_notify() waits when the receiver's queue is full, and so
 * would the daemon. What must not be lost (READY=1, STOPPING=1, descriptors to
 * keep) is owed until there is room, and goes out in the order in which it was
 * said; of STATUS= only the last text counts.
 */
#pragma once

#include "base/list.h"
#include "io/loop.h"

#include <stdbool.h>

struct notify {
	struct loop *loop;
	struct list owed; /* messages that were not taken yet, oldest first */
	char *status;	  /* a STATUS= that was not taken yet; NULL: none */
	struct timer retry;
	int64_t pause_us; /* until then; it doubles */
	bool wanted;	  /* somebody is to be told */
	bool complained;  /* the log has why it does not work */
};

/* l outlives n; NULL: there is none, and what is owed waits for the end. Who is to be
 * told says $NOTIFY_SOCKET. */
void notify_init(struct notify *n, struct loop *l);

/* Try for at most a second to say what is owed, and forget it. No-op on a zeroed n. */
void notify_fini(struct notify *n);

/* Say this, lines of NAME=VALUE as sd_notify(3) has them, now or as soon as it
 * can be said. Each is a message of its own, because of several states in one the
 * receiver takes one. It takes the place of one that is owed and has the same
 * first line; so give lines that tell two apart (FDNAME=) first. */
void notify_owe(struct notify *n, const char *state);
/* The same with a descriptor, which is the caller's and may be closed at once. 0, or
 * -errno: it could not be kept for that long. */
int notify_owe_fd(struct notify *n, const char *state, int fd);

/* STATUS=text goes with what is owed last, or alone; as systemd reads it, with each
 * backslash twice. */
void notify_status(struct notify *n, const char *text);

/* Is anything owed? */
bool notify_owes(const struct notify *n);

/* Say it now or never: for what is said again anyway (WATCHDOG=1, EXTEND_TIMEOUT_USEC=).
 * 0, or -errno: -EAGAIN when there is no room, -ENOTCONN where nobody is to be told. */
int notify_try(const char *state);
