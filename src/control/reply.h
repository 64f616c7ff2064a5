/* SPDX-License-Identifier: MIT */
/*
 * reply - the slots of the replies that a connection is owed.
 *
 * Floor 5, and for reply.c and await.c alone; others say client_reply(),
 * client_await(), client_await_some(). A slot waits for one job, or, by a struct
 * await, for some; or it is ready, and waits only for those before it.
 */
#pragma once

#include "control/client.h"
#include "core/job.h"

struct await;

/* How a job has ended, kept until its reply's turn comes. */
struct outcome {
	enum job_state state; /* JOB_NEW: there is none here */
	enum job_reason reason;
	char *text; /* of slab_alloc(); NULL: none */
	size_t len;
};

struct reply {
	struct list link; /* in client->replies, or, muted, in client->muted */
	struct client *client;
	struct job_waiter waiter;
	struct job *job;     /* NULL: ready, or it waits for some */
	struct await *await; /* NULL: it is not about some */
	struct list reload;  /* in server->asked or ->awaiting, while it waits for a reload */
	uint64_t kept_id;    /* ready, but its outcome is still to be fetched; 0: it is here */
	struct timer timer;
	struct outcome end;    /* of its job, when it is ready */
	struct buf out;	       /* of replies that were there at once */
	size_t counted;	       /* bytes that it holds and that are in client->reply_bytes */
	enum resp_proto proto; /* that was in force when its command was read */
	bool run;	       /* RUN, not RESULT */
	bool muted;	       /* it is owed to nobody, and ends with its job */
};

/* A slot for the command that is being carried out. */
struct reply *reply_owe(struct client *c, int64_t wait_us, void (*on_due)(struct timer *t, mono_t));
/* Bring what r holds into the client's account. */
void reply_count(struct reply *r);
/* It is ready. */
void reply_end(struct reply *r);
bool client_is_full(struct client *c);

/* Where its bytes go: straight to the client when nothing is before it. */
struct buf *reply_begin(struct reply *r);
/* What a job that is over has to tell: its result, or its message without the code. */
const char *job_outcome_text(const struct job *j, size_t *ret_len);

/* ---- await.c ---- */
bool await_waits(const struct await *a);
size_t await_bytes(const struct await *a);
void await_put(const struct await *a, struct buf *out);
void await_free(struct await *a);
