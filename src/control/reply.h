/* SPDX-License-Identifier: MIT */
/*
 * reply - the slots of the replies that a connection is owed.
 *
 * Floor 5, and for reply.c and await.c alone; others say client_reply(),
 * client_await(), client_await_some(). A slot waits for one job, or, by a struct
 * await, for some; or it is ready, and waits only for those before it. Replies that
 * are there at once have none while they are the last: they are in client->tail.
 */
#pragma once

#include "control/client.h"
#include "core/job.h"

struct await;

/* What there is of it. */
enum reply_state {
	REPLY_AWAITS_JOB,
	REPLY_AWAITS_SOME,
	REPLY_AWAITS_RELOAD,
	/* ready, with */
	REPLY_BYTES,
	REPLY_OUTCOME,
	REPLY_SOME, /* the outcomes of some */
	REPLY_ID,   /* of a job, whose outcome is still to be fetched */
};

/* How a job has ended, kept until its reply's turn comes. */
struct outcome {
	enum job_state state;
	enum job_reason reason;
	struct job_run *run; /* which has its text */
};

/* A job's waiter, and for how long. */
struct reply_job {
	struct job *job;
	struct job_waiter waiter;
	struct reply_limit *limit; /* NULL: as long as it takes */
};

/* There may be thousands, one for each RUN that goes on, so it is small, and of what
 * excludes each other there is but one. */
struct reply {
	struct list link; /* in client->replies, or, muted, in client->muted */
	struct client *client;
	size_t counted; /* bytes that it holds and that are in client->reply_bytes */
	enum reply_state state;
	enum resp_proto proto; /* that was in force when its command was read */
	bool run;	       /* RUN, not RESULT */
	bool muted;	       /* it is owed to nobody, and ends with its job */
	union {
		struct reply_job awaited;
		struct list reload;  /* in server->asked or ->awaiting */
		struct buf bytes;    /* of replies that were there at once */
		struct outcome end;  /* of its job */
		struct await *await; /* about some, before and after they are over */
		uint64_t kept_id;
	};
};

/* A slot for the command that is being carried out. What it waits for is the caller's
 * to say. */
struct reply *reply_owe(struct client *c, enum reply_state awaits);
/* Bring what r holds into the client's account. */
void reply_count(struct reply *r);
/* It is ready. */
void reply_end(struct reply *r);
bool client_is_full(const struct client *c);

/* It waits no more. Where its bytes go: straight to the client when nothing is before it. */
struct buf *reply_begin(struct reply *r);
/* What a job that is over has to tell: its result, or its message without the code. */
const char *job_outcome_text(const struct job *j, size_t *ret_len);

/* ---- await.c ---- */
size_t await_bytes(const struct await *a);
void await_put(const struct await *a, struct buf *out);
void await_free(struct await *a);
