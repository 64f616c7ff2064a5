/* SPDX-License-Identifier: MIT */
/*
 * orphans - reap the children that nobody here has started.
 *
 * Floor 3. They come where we are the first process of a container or a
 * subreaper, as what workers leave behind; or they were there before we were
 * executed. The daemon owns it. Workers stay proc's: what it finds of theirs it
 * hands over, and an orphan's number is never signalled.
 */
#pragma once

#include "io/loop.h"

struct orphans {
	struct loop *loop;
	struct watch watch; /* SIGCHLD's */
	struct timer due;   /* at once after it, or the rest of a crowd in the next turn */
};

/* o: zeroed. 0 or -errno. SIGCHLD has been blocked by loop_new(). */
int orphans_start(struct orphans *o, struct loop *l);
void orphans_stop(struct orphans *o); /* no-op when it has not been started */

/* Does a child still live? (Once all workers have ended: an orphan.) */
bool orphans_live(void);
