/* SPDX-License-Identifier: MIT */
/*
 * each - a worker that starts a program for every job: the cold mode.
 *
 * Base only, beside the floors as preforkctl is. One job at a time: what runs in
 * this process' group besides itself belongs to that job, so that the daemon's
 * signals to the group reach the whole of it, and ours at a CANCEL do too. The
 * channel's descriptors are moved up and closed on execution: no program that is
 * started here can write to it.
 */
#pragma once

#include "base/buf.h"
#include "base/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- channel.c: jobs in, answers out ---- */

struct each_job {
	struct list link; /* channel->jobs, until it is taken */
	uint64_t id;	  /* frame; else 0, as attempt */
	unsigned attempt;
	bool cancelled;
	size_t len;
	char payload[]; /* with a NUL behind it */
};

struct channel {
	int in, out;
	bool frame;	      /* the level: frame or line */
	bool eof;	      /* no more jobs will come than those read */
	struct buf input;     /* read and not understood yet */
	size_t scanned;	      /* bytes of input known to have no line feed */
	struct list jobs;     /* understood and not taken, oldest first */
	struct each_job *now; /* the one that was taken last, until it is answered */
};

enum answer { ANSWER_OK, ANSWER_ERR, ANSWER_RETRY };

/* Take the channel from where $PREFORKD_CHANNEL says that it is, leave something
 * harmless there, and say READY. These end the process where they cannot go on. */
void channel_open(struct channel *c, bool frame);
/* Read once, and understand what came. A CANCEL is noted in its job, and a job
 * that was not taken yet is answered. */
void channel_read(struct channel *c);
/* The next job, which becomes c->now; NULL: there is none yet. */
struct each_job *channel_take(struct channel *c);
/* Answer c->now, and free it. */
void channel_answer(struct channel *c, enum answer verb, const char *text, size_t len);
void channel_fini(struct channel *c);

/* ---- template.c: the command with the payload in it ---- */

struct template
{
	char **command; /* ends in NULL */
	bool takes_job; /* there is a {} in it */
	size_t longest; /* the bytes that an argument may have */
	char *path;	/* the program; malloc'ed */
};

/* Find the program. Ends the process with 127 or 126 where there is none. */
void template_init(struct template *t, char **command);
void template_fini(struct template *t);
/* The arguments for a job, or NULL and why not. Free with template_free(). */
char **template_fill(const struct template *t, const struct each_job *j, const char **ret_why);
void template_free(const struct template *t, char **argv);

/* ---- child.c: one program, from its start to its end ---- */

#define TAIL_MAX 1024 /* bytes of standard error that are kept */

#define CHILD_NONE                                                                                 \
	{                                                                                          \
		.in = -1, .out = -1, .err = -1                                                     \
	}

struct child {
	pid_t pid;	  /* 0: not started, or ended and reaped */
	int in, out, err; /* our ends; -1: closed, or never there */
	int status;	  /* as from waitpid() */
	const char *feed; /* what standard input has not taken yet */
	size_t feed_len;
	struct buf result;   /* standard output */
	size_t max_result;   /* bytes */
	const char *cut;     /* why it was told to end, if it was */
	char tail[TAIL_MAX]; /* the end of standard error */
	size_t tail_len;
};

/* Set signals up, once; before the first child. */
void child_setup(void);
/* A TERM that was not our own has come. */
bool child_told_to_end(void);
/* 0 or an errno. The payload is fed to it unless an argument has it, and must stay.
 * c is CHILD_NONE, with max_result set. */
int child_start(struct child *c, const struct template *t, char **argv, const struct each_job *j);
/* Wait for what happens next: the child's input and output are moved; true when
 * *in (-1: none) can be read. */
bool child_wait(struct child *c, int in);
/* End it and what it has started: the worker is asked to be there for others. */
void child_cut(struct child *c, const char *why);
bool child_ended(const struct child *c);
void child_fini(struct child *c);
/* How it went: what to answer; text (cap bytes) where that is not the result. */
enum answer child_verdict(struct child *c, bool one_line, char *text, size_t cap);
