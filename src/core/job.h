/* SPDX-License-Identifier: MIT */
/*
 * job - one piece of work: its payload, its state, its outcome.
 *
 * Floor 2. A job is owned by its pool, which alone creates, moves and frees it;
 * others name it by id. job_move() is the only setter of its state. A queued
 * job is small on purpose (there may be a million): what only some jobs have
 * is in struct job_opts, what only a started job has in struct job_run.
 */
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "base/mono.h"
#include "core/news.h"
#include "core/timer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum job_state { JOB_NEW, JOB_QUEUED, JOB_RUNNING, JOB_DONE, JOB_FAILED, JOB_CANCELLED };
#define JOB_STATES 6

/* Why a job failed or was cancelled. */
enum job_reason {
	REASON_NONE,
	REASON_ERROR,	 /* failed: the worker said ERR (or RETRY, on the last attempt) */
	REASON_CRASHED,	 /* failed: its worker died, or broke the protocol */
	REASON_TIMEOUT,	 /* failed: it took longer than its timeout */
	REASON_REQUEST,	 /* cancelled: somebody asked for it, or its client went away */
	REASON_DOWN,	 /* cancelled: the pool's workers cannot start */
	REASON_DRAINING, /* cancelled: the daemon drains */
	REASON_STOPPING, /* cancelled: the daemon stops */
	REASON_RELOAD,	 /* cancelled: a reload has left nobody who could do it */
};
#define JOB_REASONS 9

struct job;

/* Somebody who wants to know when a job is over. on_done is called once, from
 * the pump, with the waiter already taken off the job; it records, may take the
 * job's text, and wakes. */
struct job_waiter {
	struct job_waiter *next, **at; /* at: what points here; NULL: it waits for nothing */
	void (*on_done)(struct job_waiter *w, struct job *job);
	const struct job_taker *taker; /* NULL: what it gets is no burden */
};

/* Somebody who takes many results, one after the other, and may be slow at it. */
struct job_taker {
	bool full; /* so many results lie here that no more are to be made, but for next's */
	const struct job_waiter *next; /* whose result is taken next */
};

/* What a job was submitted with beyond its payload; NULL where it had nothing. */
struct job_opts {
	int64_t timeout_us; /* of one attempt; -1: the pool's */
	int64_t keep_us;    /* after its end; -1: the pool's */
	struct map_node by_key;
	struct job *job; /* the job that by_key leads to; NULL when it is in no map */
	size_t key_len;	 /* 0: no key */
	char key[];
};

#define JOB_SMALL_TEXT 24 /* bytes: what takes no more needs no memory of its own */

/* What is known of a job that a worker has had, or that is over. */
struct job_run {
	mono_t started; /* its clock's start; MONO_NEVER while it waits behind another in its worker */
	mono_t ended;	 /* MONO_NEVER before */
	unsigned worker; /* slot */
	pid_t pid;	 /* 0: no worker ever had it */
	char *text;	 /* the result (JOB_DONE) or the message: small, or of slab_alloc() */
	size_t text_len;
	char small[JOB_SMALL_TEXT];
	char *last_stderr;  /* of the worker that died with it; malloc'ed, or NULL */
	struct news *news;  /* what its worker said while it went on; NULL: nothing */
	struct timer timer; /* the attempt's end, then the end of its keeping */
	struct job *job;    /* whose timer it is */
};

struct job {
	uint64_t id;
	struct list link; /* queue, or jobs with a decision to make, or finished jobs */
	struct job_waiter *waiters;
	void *owner; /* its pool */
	struct job_opts *opts;
	struct job_run *run;
	mono_t queued;
	uid_t uid;
	uint32_t payload_len;
	uint16_t attempt;  /* attempts begun and charged */
	uint8_t state;	   /* enum job_state */
	uint8_t reason;	   /* enum job_reason */
	uint8_t verdict;   /* how it is to end, where that is decided: an enum job_state */
	bool attached: 1;  /* a connection's RUN without a key: gone when it is answered */
	bool in_flight: 1; /* a worker has it and may answer */
	bool excused: 1;   /* a worker has died that may have read a part of it */
	bool parked: 1;	   /* queued, but passed over until its taker can take more */
	bool decided: 1;   /* its end is recorded (answer, timeout, cancel) and awaits the pump */
	char payload[];
};

/* NULL when there is no memory. opts is consumed on success (malloc'ed, or NULL). */
struct job *job_new(uint64_t id, void *owner, uid_t uid, const char *payload, size_t len,
		    struct job_opts *take_opts);
void job_free(struct job *j);

/* NULL when there is no memory. key may be NULL. */
struct job_opts *job_opts_new(const char *key, size_t key_len);

/* The one setter. Transitions that the table does not have are a bug and abort. */
void job_move(struct job *j, enum job_state to, enum job_reason reason);

/* j->run, made when it is not there yet. */
struct job_run *job_need_run(struct job *j);

void job_add_waiter(struct job *j, struct job_waiter *w);
void job_drop_waiter(struct job_waiter *w); /* no-op when it waits for nothing */

/* Would its result only lie about? */
bool job_is_unwanted(const struct job *j);

/* Record how j is to end; the pump does it. text is copied; without memory for it j
 * fails, and says so. */
void job_decide(struct job *j, enum job_state verdict, enum job_reason reason, const char *text,
		size_t len);

/* A run with the text of j's end as the caller's own: j's, where j is gone when the last
 * of its waiters has been told and there is no other; else a new one, with a copy. NULL:
 * there is no memory for that. */
struct job_run *job_take_run(struct job *j);
void job_run_free(struct job_run *run);

/* Bytes that j holds: while it goes on (payload and news), and with its end (text). */
size_t job_running_bytes(const struct job *j);
size_t job_bytes(const struct job *j);

/* Keep what its worker says. */
struct news *job_need_news(struct job *j);
void job_drop_news(struct job *j);

const char *job_state_name(enum job_state s);
const char *job_reason_name(enum job_reason r);			       /* NULL for REASON_NONE */
int job_state_parse(const char *s, size_t len, enum job_state *ret);   /* 0 or -EINVAL */
int job_reason_parse(const char *s, size_t len, enum job_reason *ret); /* 0 or -EINVAL */

static inline bool
job_is_over(const struct job *j)
{
	return j->state >= JOB_DONE;
}

static inline int64_t
job_timeout_us(const struct job *j, int64_t pools)
{
	return j->opts && j->opts->timeout_us >= 0 ? j->opts->timeout_us : pools;
}

static inline int64_t
job_keep_us(const struct job *j, int64_t pools)
{
	return j->opts && j->opts->keep_us >= 0 ? j->opts->keep_us : pools;
}
