/* SPDX-License-Identifier: MIT */
/*
 * command - the table of commands, and the way of a command through it.
 *
 * Floor 5. Each family of commands has its rows, at the end of its cmd_*.c;
 * dispatch, arity, access, COMMAND and its DOCS all come from them. A handler
 * either puts one reply into r->out, or owes it by client_await(). It may set
 * client->closing; it frees nothing.
 */
#pragma once

#include "control/client.h"

/* The right that it takes. */
enum command_class {
	CLASS_CONNECTION = 0, /* none */
	CLASS_READ = RIGHT_READ,
	CLASS_SUBMIT = RIGHT_SUBMIT,
	CLASS_ADMIN = RIGHT_ADMIN,
};

/* What a command does between MULTI and EXEC. */
enum command_in_multi {
	MULTI_QUEUED,
	MULTI_AT_ONCE,
	MULTI_REFUSED, /* its reply is none, or several, or would change the next one's form */
};

struct request {
	struct client *client;
	struct server *server;
	const struct command *named; /* by the first word alone; NULL: not looked for, or none */
	const struct command *row;
	const struct resp_slice *argv;
	size_t argc;
	struct pool *pool; /* that it is about, and that its client has the right for; or NULL */
	struct buf *out;
	mono_t now;
};

struct command_arg {
	const char *name;  /* in capitals: a word to be said, or one of some: "YES|NO" */
	const char *token; /* the word before it; NULL: none */
	bool optional, multiple;
	bool is_pool; /* of the first one: it names the pool that the command is about */
};

/* A command that is about a pool needs its right there; another one, or one whose pool is
 * left out, is about the daemon as a whole. */
struct command {
	const char *name; /* of a subcommand: both words */
	int arity;	  /* words, the name included; negative: at least so many */
	enum command_class class;
	const char *summary;
	void (*handle)(struct request *r); /* NULL: it is nothing without a subcommand */
	const struct command *subcommands; /* ended by one without a name; NULL: it has none */
	/* Of a command that submits a job and replies with its id, the first half: NULL, and
	 * the error is in r->out. *ret_new: see pool_submit(). */
	struct job *(*accept)(struct request *r, bool *ret_new);
	struct command_arg args[8];
	enum command_in_multi in_multi;
	bool subscribed; /* taken in RESP2 from a client that has subscribed */
	bool defers;	 /* the reply may come later: r->out is not to be used then */
	bool brief;	 /* takes no longer than its words are long: see client_is_late() */
};

/* A family's rows, ended by one without a name. */
extern const struct command connection_commands[], client_commands[], command_commands[],
	multi_commands[], metrics_commands[], job_commands[], pool_commands[], roster_commands[],
	admin_commands[], event_commands[];

/* Find r->row by r->argv: is it to be carried out? False: the reply is in r->out; an error,
 * or that it is kept for EXEC. */
bool command_check(struct request *r);
/* Carry out one command, or keep it for EXEC. named: its first word's row where that is known,
 * else NULL. Returns that row; NULL: there is none. */
const struct command *command_execute(struct client *c, const struct command *named,
				      const struct resp_slice *argv, size_t argc);

/* A long argument is announced, behind argv[0 … argc-1]: NULL to take it, or why
 * not, as a malloc'ed "CODE text". */
char *command_refuse_length(struct client *c, const struct resp_slice *argv, size_t argc,
			    size_t len);

/* Before any is looked for. */
void command_index(void);
const struct command *command_find(const struct resp_slice *name);
/* The last word of its name. */
const char *command_word(const struct command *row);
/* The i-th of all rows; NULL past the end. */
const struct command *command_at(size_t i);
const char *command_class_name(enum command_class class);

/* How to say a command: its name and what it takes, as text or as a manual's mdoc. */
enum synopsis_form { SYNOPSIS_TEXT, SYNOPSIS_MDOC };
void command_put_synopsis(struct buf *b, const struct command *row, enum synopsis_form form);

/* What METRICS has, as a manual's list. */
void metrics_put_list(struct buf *b);

/* -NOPERM: the right is missing, for that pool (NULL: for all, or for the daemon). */
void request_refuse(struct request *r, const struct pool *p);

/* -NOPOOL: there is none of that name. */
void request_put_no_pool(struct request *r, const struct resp_slice *name);

/* The pool that r is about; NULL, and -NOPOOL is in r->out. */
static inline struct pool *
request_pool(struct request *r)
{
	if (!r->pool)
		request_put_no_pool(r, &r->argv[1]);
	return r->pool;
}

/* A client's name for itself, into dst. False: the error is in r->out. */
bool request_set_name(struct request *r, const struct resp_slice *value,
		      char dst[CLIENT_NAME_MAX + 1]);

bool slice_is(const struct resp_slice *s, const char *word); /* in any case */

/* ---- access.c ---- */
/* fd: its connection. */
void access_open(struct client *c, int fd);
void access_close(struct client *c);
/* By other rules, or with other pools. */
void access_renew(struct client *c);

/* May it use commands of that class about the daemon as a whole? Read and submit: who may
 * with any pool; lists then have those pools only. */
bool access_allows(const struct client *c, enum command_class class);
/* What is uid's, is it c's to see and to dispose of? */
bool access_acts_for(const struct client *c, uid_t uid);
/* And about a pool? NULL, one that is not there: who may with any, and is told so. */
bool access_allows_pool(const struct client *c, enum command_class class, const struct pool *p);
/* And about a job: that is its own, or its pool's administrator's. */
bool access_allows_job(const struct client *c, enum command_class class, const struct job *j);
bool access_owns(const struct client *c, const struct job *j);

/* ---- audit.c: admin commands in the log ---- */
/* It was carried out; its reply, or the beginning of it, is what r->out has from reply_at on. */
void audit_done(const struct request *r, size_t reply_at);
/* p: the pool that the right is missing for; NULL: none. */
void audit_refused(const struct request *r, const struct pool *p);

/* ---- option.c: option name and value pairs ---- */

enum option {
	OPTION_KEY = 1 << 0,
	OPTION_TIMEOUT = 1 << 1,
	OPTION_KEEP = 1 << 2,
	OPTION_WAIT = 1 << 3,
	OPTION_POOL = 1 << 4,
	OPTION_STATE = 1 << 5,
	OPTION_REASON = 1 << 6,
	OPTION_COUNT = 1 << 7,
	OPTION_AFTER = 1 << 8,
};

struct options {
	unsigned given; /* of enum option */
	struct resp_slice key, pool;
	int64_t timeout_us, keep_us, wait_us;
	enum job_state state;
	enum job_reason reason;
	uint64_t count, after;
};

extern const struct options options_none;

/* Read argv[from … to-1], which are some, into ret. NULL: r->out has the error. */
const struct options *options_read_some(struct request *r, size_t from, size_t to,
					struct options *ret);

/* Read argv[from … to-1] as pairs: the optional args of r->row that have a token. room: for
 * those that there are. NULL: r->out has the error. */
static inline const struct options *
options_read(struct request *r, size_t from, size_t to, struct options *room)
{
	return from == to ? &options_none : options_read_some(r, from, to, room);
}

/* ---- fields.c: maps ---- */

/* A map whose size is known only at its end. */
struct fields {
	struct buf body;
	enum resp_proto proto;
	size_t count;
};

void fields_begin(struct fields *f, enum resp_proto proto);
void fields_end(struct fields *f, struct buf *out);
void field_str(struct fields *f, const char *name, const char *value); /* NULL: null */
void field_bytes(struct fields *f, const char *name, const char *value, size_t len);
void field_id(struct fields *f, const char *name, const struct job *j); /* NULL: null */
void field_int(struct fields *f, const char *name, int64_t value);
void field_opt(struct fields *f, const char *name, int64_t value); /* negative: null */
void field_double(struct fields *f, const char *name, double value);

/* An id as a reply: a word, not a number, so that no client rounds it. */
void put_id(struct buf *out, uint64_t id);
