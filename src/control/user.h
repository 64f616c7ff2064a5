/* SPDX-License-Identifier: MIT */
/*
 * user - what all connections of one uid together have in memory.
 *
 * Floor 5. The server owns one for each uid that is connected. Past
 * control.user_memory its connections are read as far as each has next to nothing
 * here, so that a full budget keeps nobody from a PING or a CANCEL; and one at a
 * time, the first of those that want to be, goes on within its own
 * control.client_memory until its command is whole, so that a budget full of half
 * commands is no dead end. The one client of a private daemon has no such budget.
 */
#pragma once

#include "control/client.h"

#define USER_NEXT_TO_NOTHING 4096 /* bytes of a connection */

struct user {
	struct server *server;
	struct map_node node; /* in server->users */
	uid_t uid;
	size_t connections;
	uint64_t bytes;	       /* unread input and untaken replies of all of them */
	uint64_t news_bytes;   /* and what their subscriptions take, beside that */
	mono_t full_since;     /* while there is no room */
	struct client *runner; /* the one that goes on though there is no room; NULL: none */
	struct list ready;     /* clients that want to be it, longest first */
	struct list waiting;   /* others that want to know when there is room */
};

void user_join(struct client *c);
void user_leave(struct client *c);

/* c's bytes may have changed: bring them into the account, and let others go on who can. */
void user_count(struct client *c);
bool user_is_full(const struct client *c);
/* Bytes that there is room for. */
uint64_t user_room(const struct client *c);

/* May c, which was counted just now, be read, and what it has sent be carried out? If
 * not, it is noted when it may. */
bool user_admits(struct client *c);
/* Have c noted when there is room again. */
void user_wait(struct client *c);
/* Is it c that others wait for, to go on? */
bool user_waits_for(const struct client *c);
