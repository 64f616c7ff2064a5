/* SPDX-License-Identifier: MIT */
/*
 * events - who wants to hear what, and telling them.
 *
 * Floor 5. The server owns it. A topic is a channel's name, or a pattern, that
 * somebody has subscribed to; it is there as long as it has subscribers. What the
 * pools tell (events_pools.c) is formatted only where a topic may match, put into
 * the subscribers' output, and sent at the turn's end. Nobody is waited for: a
 * client that does not take what it has is told nothing more until it does, and
 * then how much it missed.
 */
#pragma once

#include "control/client.h"

#define EVENTS_CHANNELS_MAX 16384     /* of a connection */
#define EVENTS_PATTERNS_MAX 128	      /* of a connection */
#define EVENTS_NAME_MAX 512	      /* bytes of a channel's name, or a pattern */
#define EVENTS_ALL_PATTERNS_MAX 1024  /* different ones, of all connections */
#define EVENTS_ALL_MATCHING_MAX 16384 /* bytes of them behind their literal beginnings */

enum family {
	FAMILY_JOB,	 /* job.ID */
	FAMILY_OUT,	 /* out.ID */
	FAMILY_PROGRESS, /* progress.ID */
	FAMILY_JOBS,	 /* jobs.POOL: the states of all of them */
	FAMILY_KEY,	 /* key.POOL.KEY: the three of them */
	FAMILY_POOL,	 /* pool.NAME */
	FAMILY_WORKER,	 /* worker.POOL */
};
#define FAMILIES 7

/* A channel, or a pattern, with subscribers. */
struct topic {
	struct map_node by_name;
	struct list all;	   /* of a pattern: in events->patterns */
	struct list subscriptions; /* struct subscription, of this topic */
	unsigned families;	   /* bits: whose channels it may be, or match */
	bool is_pattern;
	size_t matching; /* of a pattern: bytes behind its literal beginning */
	size_t len;
	char name[];
};

struct subscription {
	struct topic *topic;
	struct client *client;
	struct list of_topic, of_client;
	struct map_node by_both;
};

/* What was said of a pool, and when to look at it again. */
struct pool_watch {
	struct events *events;
	const struct pool *pool;
	struct timer timer;
	mono_t looked;
	enum pool_state state;
	struct buf said; /* the last line */
};

struct events {
	struct server *server;
	struct map channels, pattern_names; /* struct topic by name */
	struct list patterns;		    /* struct topic */
	size_t matching;		    /* the sum of the patterns' */
	struct map subscriptions;	    /* struct subscription by topic and client */
	size_t wanted[FAMILIES];	    /* topics that may be of it; 0: no need to format */
	struct pool_watch **pools;	    /* by the pool's place; NULL: not made yet */
	size_t places;			    /* of them */
	struct buf name, text;		    /* of what is being told */
};

struct events *events_new(struct server *s);
void events_free(struct events *e); /* no client is left */
/* p is about to be freed. */
void events_forget_pool(struct events *e, const struct pool *p);

/* ---- events.c ---- */

/* A piece of news. Its text is word and text with a space between; word alone where
 * it has no text; text alone where it has no word. */
struct event {
	struct resp_slice channel;
	const char *word;
	struct resp_slice text;
	const struct job *job;	 /* for its owner and admins; NULL: it is of none */
	const struct pool *pool; /* for who may read it */
};

/* Tell those who subscribed to its channel, or to a pattern that matches. */
void events_publish(struct events *e, enum family f, const struct event *ev);
/* Tell one, who subscribed to its channel. */
void events_tell(struct client *c, const struct event *ev);

enum events_error {
	EVENTS_E_MANY = 1, /* this connection has as many as one may have */
	EVENTS_E_BYTES,	   /* or their names are too long */
	EVENTS_E_FULL,	   /* all together have as many patterns as can be */
	EVENTS_E_MEMORY,
};

/* 0 or an enum events_error. *ret_new: false where it was subscribed before. */
int events_subscribe(struct client *c, const struct resp_slice *name, bool pattern, bool *ret_new);
void events_unsubscribe(struct client *c, const struct resp_slice *name, bool pattern);
/* The name of one of c's channels or patterns; false: it has none. */
bool events_first(const struct client *c, bool pattern, struct resp_slice *ret);

/* The turn's end: c has room again and has missed something: tell it. True when
 * there is something to be sent. */
bool events_catch_up(struct client *c);

/* The family whose channel that is (its bit); 0: none. *ret_rest: behind the point. */
unsigned family_of(const struct resp_slice *channel, struct resp_slice *ret_rest);
/* The families whose channels may begin so; all: where the prefix is short enough. */
unsigned families_like(const char *prefix, size_t len);
const char *family_name(enum family f);

/* ---- events_pools.c ---- */

/* Listen to the pools while anybody listens to us. */
void events_listen(struct events *e, bool listen);

/* The job, or the pool, whose channel that is; NULL: none. */
const struct pool *events_pool(const struct client *c, const struct resp_slice *channel);
const struct job *events_job(const struct client *c, const struct resp_slice *channel);

/* What there is to be known at once of a channel that c has just subscribed to. */
void events_present(struct client *c, const struct resp_slice *channel);
