/* SPDX-License-Identifier: MIT */
/*
 * worker - one slot of a pool and the process in it: birth, talk, death.
 *
 * Floor 4. A pool owns its workers; a worker stays, its processes come
 * and go. From the loop it learns of bytes, of the loader's report, of stderr
 * lines, of deadlines and of the exit; it records them, decides the jobs that
 * were answered, and wakes its pool. The pump does the rest through the calls
 * below.
 */
#pragma once

#include "core/slot.h"
#include "io/proc.h"
#include "io/stream.h"
#include "pool/pool.h"
#include "wire/codec.h"

/* A job that the process has. */
struct flight {
	struct job *job; /* NULL: its end was decided otherwise; the answer is thrown away */
	uint64_t id;
	uint64_t sent_start; /* where its bytes begin, counted as stream.sent */
	/* Without a job: */
	int64_t timeout_us; /* what it had */
	mono_t give_up;	    /* end the worker if it has not answered by then */
};

/* The worker's standard error, cut into log lines. */
struct errlog {
	struct loop *loop;
	struct watch watch;
	int fd;
	struct buf line;
	bool talks;	     /* the process has written something, ever */
	bool inside;	     /* a line that is cut into several goes on */
	int level;	     /* of that line */
	char *last;	     /* the last line that was not empty, escaped; malloc'ed */
	struct bucket lines; /* of all processes that the slot has had */
};

struct worker {
	struct pool *pool;
	unsigned index; /* slot */
	enum slot_state state;
	struct list load;    /* in pool->by_load[] while it can take a job, or in pool->down */
	struct list changed; /* in pool->changed */
	struct list flush;   /* in pools->flush */
	struct list restart; /* in pool->in_hand */

	struct proc proc;
	struct stream chan;
	struct codec codec;
	struct watch report; /* the loader's status pipe */
	struct buf report_text;
	struct errlog err;
	struct timer timer; /* start timeout, linger after end of file, grace */

	/* What its process was started with, which may be older than its pool's; of a slot
	 * without one its pool's. What is not the same for every process is asked here. */
	const struct conf_pool *conf;
	struct flight *flights; /* a ring */
	unsigned mask;		/* its places - 1: a power of two of them, conf->pipeline or more */
	unsigned first, count;
	unsigned capacity;  /* jobs that it may have at a time: pipeline, or what its READY said */
	unsigned load_room; /* jobs that it counts for in pool->room: 0 in no list of by_load[] */

	mono_t spawned;
	uint64_t generation;
	uint64_t answers; /* of this process */
	mono_t since;	  /* it has been at what it has: its last answer, or the first job */
	bool ready;	  /* said READY */
	bool retiring;	  /* is given no more jobs, and is closed when it has none */
	bool failed;	  /* the last process was no good: the throttle decides on the next */
	bool execed;	  /* news: the program runs */
	bool due;	  /* news: the timer */
	bool ended;	  /* news: the channel is at its end, or no more can be written to it */
	bool heard_eof;	  /* it is at its end, and that has been news */
	bool ended_early; /* and it was ended for that */
	bool cancelled;	  /* CANCEL was written to it: unread input proves nothing */
	bool blame;	  /* it is being ended for failing to start */
	char *broken;	  /* news: how it broke the protocol; malloc'ed */
};

/* Takes jobs, or would if it had not all that it can have. */
static inline bool
worker_is_up(const struct worker *w)
{
	return w->state == SLOT_UP && !w->retiring;
}

/* The high-water mark: what it has not read of one job it is not given two of. */
static inline bool
worker_keeps_up(const struct worker *w)
{
	return buf_len(&w->chan.out) <= w->pool->conf->job.max_payload;
}

/* Is it of the pool's workers? A slot that is wanted no more is, until it is down. */
static inline bool
worker_is_there(const struct worker *w)
{
	return w->index < w->pool->wanted || w->state != SLOT_DOWN;
}

const char *worker_state_name(const struct worker *w); /* the word that WORKERS shows */

void worker_init(struct worker *w, struct pool *p, unsigned index);
void worker_fini(struct worker *w);

/* Its pool has another configuration: that is its own, too, where it is as good as started
 * with it. False: it is not. */
bool worker_adopt(struct worker *w);

/* Start a process. 0 or -errno. */
int worker_spawn(struct worker *w, mono_t now);

/* ---- channel.c: jobs out, answers in ---- */

/* Give it a job; worker_can_take() is true. */
void worker_give(struct worker *w, struct job *j, mono_t now);
bool worker_can_take(const struct worker *w);
/* Has it kept silent since its last answer? Asked before a job, where no id marks
 * which job an answer belongs to. */
bool worker_is_silent(const struct worker *w);

/* Write what it has been given. */
void worker_flush(struct worker *w);
/* Is there one that it is wanted to answer? */
bool worker_has_jobs(const struct worker *w);
/* The i-th oldest job of it, or NULL when that one is decided. */
struct job *worker_job(const struct worker *w, unsigned i);
/* The job's end is decided otherwise: forget it; its answer is thrown away. A
 * worker that has other jobs goes on with those, and is ended when it has not
 * answered by give_up. */
void worker_disown(struct worker *w, struct job *j, mono_t give_up);
/* The same for a worker that is being ended. */
void worker_forget(struct worker *w, struct job *j);
/* All jobs are settled, now that the process is gone. */
void worker_disown_all(struct worker *w);
/* The earliest give_up; MONO_NEVER without one. */
mono_t worker_patience(const struct worker *w);
/* Of a frame worker: ask it to give the job up. */
void worker_cancel(struct worker *w, const struct job *j);

/* It is to end when it has no more jobs; or not, after all, while it is not yet told. */
void worker_retire(struct worker *w, bool retire);

/* Ways to end it, each with the next one behind it after the pool's grace. */
void worker_close(struct worker *w, mono_t now);
void worker_term(struct worker *w, mono_t now);
void worker_kill(struct worker *w, mono_t now);

/* Read and decode what the channel holds. */
void worker_read(struct worker *w);
/* Record that it broke the protocol; why is consumed. */
void worker_break(struct worker *w, char *take_why);

/* Did the process, which is gone, get nothing of the i-th oldest job? Of a socket's
 * one job: did it leave something of it unread? */
bool worker_never_read(const struct worker *w, unsigned i);

/* The loader is done and the program runs; the program has said READY, or need not. */
void worker_execed(struct worker *w);
void worker_ready(struct worker *w);
/* Nothing more comes from it: its channel has ended. One that has closed its input
 * alone, which only a pipe tells, may still answer what it has. */
static inline bool
worker_is_done(const struct worker *w)
{
	return w->ended && (w->chan.eof || !w->count);
}
/* It is done: give it a moment to exit. */
void worker_linger(struct worker *w, mono_t now);

/* The process is gone and its jobs are settled: make the slot free again. */
void worker_bury(struct worker *w);

/* State and load have changed: put it where dispatch finds it, or nowhere. */
void worker_shelve(struct worker *w);

/* The same where it is known how many jobs it can take. */
static inline void
worker_shelve_for(struct worker *w, unsigned room)
{
	struct pool *p = w->pool;

	p->room += room;
	p->room -= w->load_room;
	w->load_room = room;
	list_remove(&w->load);
	if (!room)
		return;
	list_prepend(&p->by_load[w->count], &w->load);
	if (w->count < p->lowest)
		p->lowest = w->count;
}

/* Tell those who listen. */
static inline void
tell_worker(const struct worker *w, enum slot_phase phase, const char *how)
{
	const struct pools *ps = w->pool->pools;

	if (ps->ops)
		ps->ops->on_worker(ps->ops_ctx, w, phase, how);
}

void worker_note(struct worker *w); /* there is news for the pump */

/* Who it is, for a log line, with the job that it is at where that is certain. */
struct log_about worker_about(const struct worker *w);
void worker_deadline(struct worker *w, mono_t at);

/* ---- errlog.c ---- */
int errlog_open(struct errlog *e, struct loop *l, int take_fd);
/* Leave to log one line of the worker's, whichever way it came; one that must not
 * is counted. */
bool errlog_admit(struct errlog *e);
void errlog_tell_dropped(struct errlog *e); /* if there are any */
/* An answer has come: what was written before it is still about its job. */
void errlog_catch_up(struct errlog *e);
void errlog_drain(struct errlog *e); /* read what is there; the process is gone */
void errlog_close(struct errlog *e); /* also frees last */

/* ---- environment.c ---- */

/* What every worker gets of the daemon's environment; malloc'ed vector. */
char **environment_base(char **environ_, bool whole);
/* One worker's environment: base, its pool's, its own; malloc'ed vector. */
char **environment_of(const struct worker *w);
void environment_free(char **env);
