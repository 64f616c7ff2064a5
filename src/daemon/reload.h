/* SPDX-License-Identifier: MIT */
/*
 * reload - another configuration while everything goes on.
 *
 * Floor 6. Part of the daemon, which owns it. The files are read whole and checked
 * before anything is touched, so there is a whole new configuration or none. It is
 * then in force at once, and the reload is over when the first new worker of each
 * pool that needs one is up and good, or is not. It owns the configurations that it
 * has read; each is freed when the last pool and worker that goes by it is gone.
 */
#pragma once

#include "control/server.h"
#include "daemon/report.h"
#include "daemon/stop.h"

struct reload {
	/* From the daemon, and the same for its whole life. */
	const char *path;   /* the main file; NULL: there is none to be read again */
	const char *listen; /* what goes before control.listen, or NULL */
	int log_level;	    /* what goes before log.level, or -1 */
	struct loop *loop;
	struct pools *pools;
	struct server *server;
	struct notify *notify;
	struct report *report;
	struct stop *stop;

	const struct conf *conf; /* in force; the first one is the daemon's caller's */
	char *listening;	 /* control.listen as it was at the start; NULL: none */
	struct list generations; /* those that were read here, and are still used */
	bool wanted;		 /* it was asked for, and is begun at the next turn */
	bool proving;		 /* it is in force, and new workers are waited for */
	struct timer look;	 /* when these are looked at, without other news */
	char *summary;		 /* what has changed; NULL: not proving */
	char *warning;		 /* what was asked for and is not done, lines; NULL: nothing */
	char *error;		 /* of the last one, lines; NULL: it was good */
};

/* from: its first part, and conf. */
void reload_init(struct reload *r, const struct reload *from);
void reload_fini(struct reload *r);

/* Ask for one. NULL, or why there can be none, with the code of an error reply. */
const char *reload_ask(struct reload *r, const char **ret_code);

/* Once a turn, when the pools have had theirs. */
void reload_turn(struct reload *r, mono_t now);
