/* SPDX-License-Identifier: MIT */
/*
 * conf - the configuration as plain data.
 *
 * Floor 2. Built whole and checked by the daemon's config room, immutable from
 * then on, owned by the daemon; everybody below reads it. Durations in µs
 * (USEC_INFINITY: no end), sizes in bytes (SIZE_INFINITY: no limit). Users and
 * groups are resolved to numbers when it is loaded.
 */
#pragma once

#include "base/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

/* Same order as enum codec_level, which this floor does not know. */
enum conf_protocol { PROTOCOL_FILTER, PROTOCOL_LINE, PROTOCOL_FRAME };
enum conf_channel { CHANNEL_STDIO, CHANNEL_FD3, CHANNEL_PIPE };
enum conf_right { RIGHT_READ = 1, RIGHT_SUBMIT = 2, RIGHT_ADMIN = 4 };
enum conf_on_disconnect { DISCONNECT_DROP, DISCONNECT_CANCEL, DISCONNECT_FINISH };

#define CONF_WORKERS_MAX 4096
#define CONF_PIPELINE_MAX 1024
#define CONF_RLIMIT_UNSET (UINT64_MAX - 1) /* inherited */

struct conf_run_as {
	char *user;    /* "" : whoever runs the daemon */
	char *group;   /* "" : the user's own */
	uid_t uid;     /* (uid_t)-1 where user is "" */
	gid_t gid;     /* (gid_t)-1 where neither user nor group is set */
	gid_t *groups; /* the user's supplementary groups; NULL where user is "" */
	size_t n_groups;
	char *home; /* of that user: HOME of its workers; NULL where user is "" */
	char *directory;
	mode_t umask;
	int64_t nice; /* -20 … 19, added to nothing: the workers' value */
	bool no_new_privs;
	uint64_t limits[RLIM_NLIMITS]; /* by RLIMIT_ number; RLIM_INFINITY, or CONF_RLIMIT_UNSET */
	char **environment;	       /* "NAME=value", NULL-terminated: set in the workers */
	bool whole_environment; /* pass the daemon's own environment too (private daemon only) */
};

struct conf_pool {
	char *name;
	char **command; /* NULL-terminated, at least one word */
	enum conf_protocol protocol;
	enum conf_channel channel;
	unsigned workers; /* 1 … CONF_WORKERS_MAX; auto is resolved */
	bool workers_auto;
	unsigned pipeline; /* 1 … CONF_PIPELINE_MAX */
	bool in_order;
	bool one_to_one;
	struct {
		uint64_t limit;	 /* jobs */
		uint64_t memory; /* bytes of payload */
	} queue;
	struct {
		int64_t timeout_us;
		int64_t grace_us;
		int64_t keep_us;
		uint64_t keep_memory;
		uint64_t replay; /* bytes of one job's news */
		uint64_t max_payload;
		uint64_t max_result;
		enum conf_on_disconnect on_disconnect;
	} job;
	struct {
		bool ready;
		bool required; /* the daemon does not start without it */
		int64_t timeout_us;
		int64_t backoff_min_us, backoff_max_us;
	} start;
	struct conf_run_as run_as;
};

/* A rule of access: for whom, to which pools, what is allowed. All lists of words are as
 * written and NULL-terminated. */
struct conf_access {
	char **users, **groups; /* NULL: not set; both NULL: the rule is for everybody */
	uid_t *uids;		/* of users */
	gid_t *gids;		/* of groups */
	size_t n_uids, n_gids;
	char **allow;
	unsigned rights; /* of allow, as bits of enum conf_right */
	char **pools;	 /* patterns of names */
};

struct conf {
	char *path; /* the main file; NULL without one */
	struct {
		char *listen; /* the socket's path; NULL: none (private daemon) */
		mode_t mode;
		char *group; /* "" : the daemon's own */
		gid_t gid;   /* (gid_t)-1 where group is "" */
		uint64_t max_clients;
		uint64_t client_memory; /* unread input and unsent replies of one connection */
		uint64_t user_memory;	/* of all connections of one user */
		int64_t client_timeout_us;
	} control;
	struct conf_access *access;
	size_t n_access;
	struct {
		int level;
		enum log_format format;
	} log;
	int64_t drain_us;
	char *pool_dir;
	struct conf_pool *pools;
	size_t n_pools;
};

/* Free everything a struct conf owns and zero it. */
void conf_free(struct conf *c);
void conf_access_free(struct conf_access *a);
void conf_pool_free(struct conf_pool *p);

/* Is a worker that was started with a as good as one started with b? What it has from
 * its start is the same then: its program, whom it runs as, and how it is talked to. */
bool conf_pool_same_worker(const struct conf_pool *a, const struct conf_pool *b);
