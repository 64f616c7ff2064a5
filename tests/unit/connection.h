/* SPDX-License-Identifier: MIT */
/*
 * connection - a real connection to a server with one pool, "p", that has no
 * workers: jobs begin and end when the test says so, in a real pump.
 */
#pragma once

#include "base/mono.h"
#include "control/client.h"
#include "loop-thread.h"

extern struct loop_thread thread;
extern struct pools *pools;
extern struct server *server;
extern struct pool *pool;
extern struct client *client; /* the server's end */
extern struct conf_pool pool_conf;
extern struct conf conf;
extern uint64_t first_id; /* of the first job; they are counted from 0 below */
extern int peer;	  /* the other end; -1: closed */
extern bool orphaned;	  /* the server has seen the client go */
extern char got[];	  /* what the peer has read and nobody has looked at; and a NUL */
extern size_t got_len;

/* A case's set-up and end. */
int start(void **state);
int stop(void **state);
void turn(void);

/* ---- the peer ---- */
void send_all(const char *data, size_t len);
void send_text(const char *text); /* commands, and the turn in which they are read */
bool receive(void);		  /* read what is there; false at the end of file */
void expect(const char *text);	  /* exactly this has come since the last look */
void expect_end(const char *text);
void wait_for_reply(void); /* until the peer has something to read */
void hang_up(void);

/* ---- the workers' part ---- */
struct job *job(unsigned n);
void begin_job(unsigned n); /* a worker has it */
/* It ends in the turn, which is the caller's. text may be NULL. */
void end_job(unsigned n, enum job_state verdict, enum job_reason reason, const char *text);
void done(unsigned n); /* its result is its own number */
