/* SPDX-License-Identifier: MIT */
/*
 * server - the control socket's side of the daemon: who is connected.
 *
 * Floor 5. The daemon owns the server, the server owns its clients. It calls
 * down into the pools and tells the daemon, by its ops, what was asked of the
 * daemon itself; those ops record and wake.
 */
#pragma once

#include "io/listen.h"
#include "io/unit.h"
#include "pool/pool.h"

#include <stdbool.h>
#include <stdint.h>

struct events;

struct server_ops {
	void (*stop)(void *ctx, bool now);
	void (*drain)(void *ctx);
	/* NULL: it is begun, and server_reload_… says its end. Else why it is not, with the
	 * code of an error reply. */
	const char *(*reload)(void *ctx, const char **ret_code);
	const char *(*state)(void *ctx); /* "starting", "ready", "degraded", "draining" */
	void (*orphaned)(void *ctx);	 /* the one client of a private daemon is gone */
};

/* Refused admin commands that were logged lately. */
struct audit {
	mono_t since;
	unsigned count;
	uint64_t unsaid; /* and those that were not */
};

struct server {
	struct loop *loop;
	struct pools *pools;
	const struct conf *conf;
	const struct server_ops *ops;
	void *ctx;
	struct listener listener;
	bool listening;
	struct timer hearing; /* after that: who had just connected, has it spoken? */
	struct list clients;  /* all */
	struct list dirty;    /* those with something to do at the turn's end */
	uint64_t max_clients; /* control.max_clients, or what the limit of open files has room for */
	uint64_t client_count, next_client_id;
	uint64_t connections, commands; /* ever */
	struct map users;		/* struct user, by uid */
	unsigned share;	    /* commands that a client may have carried out in this turn */
	unsigned cut_short; /* clients that had more */
	mono_t started;
	int64_t started_unix_us;
	struct audit audit;
	struct events *events;
	struct unit_names units; /* at the start */
	bool own_uid_is_admin;
	struct list asked, awaiting; /* replies to RELOADs that are not begun yet, or not over */
	uint64_t reloads;	     /* configurations that took the place of another */
	int64_t loaded_unix_us;	     /* when this one was read */
	const char *reload_error;    /* of the last reload; the daemon's; NULL: it was good */
	const char *reload_warning;  /* what of it waits for a restart; the daemon's, or NULL */
};

struct server *server_new(struct loop *l, struct pools *pools, const struct conf *conf,
			  const struct server_ops *ops, void *ctx);
void server_free(struct server *s); /* closes every connection */

/* Accept from take_listener, which is consumed. 0 or -errno. */
int server_listen(struct server *s, struct listener *take_listener);

/* Serve a connected descriptor of the only client: ops->orphaned when the first goes.
 * take_fd is consumed. 0 or -errno. */
int server_adopt(struct server *s, int take_fd);

/* The end of a turn: replies that are due leave, clients that are gone are freed,
 * those that were held read on. */
void server_turn(struct server *s);

/* Give clients the descriptors that the pools' workers leave; again when those are
 * other in number. */
void server_share(struct server *s);
/* How many workers p can have, were n wanted, beside the other pools' and the clients
 * that are there; *ret_limit: of open files. */
uint64_t server_workers_that_fit(const struct server *s, const struct pool *p, unsigned n,
				 uint64_t *ret_limit);

/* ---- reload.c: another configuration ---- */

/* conf is in force from now on: rights are worked out anew, limits are those. */
void server_reconfigure(struct server *s, const struct conf *conf);
/* p is about to be freed. */
void server_forget_pool(struct server *s, const struct pool *p);

/* What was asked for before this is begun: server_reload_done() is about it. */
void server_reload_begun(struct server *s);
/* Tell those who wait: code NULL and "OK", or an error. */
void server_reload_done(struct server *s, const char *code, const char *text);
/* It was not even begun. */
void server_reload_refused(struct server *s, const char *code, const char *text);

/* No new connections. Those that were made just before may still say what they want. */
void server_unlisten(struct server *s);
/* Has every client all the replies that it is owed, and the chance to be owed one? */
bool server_flushed(const struct server *s);
