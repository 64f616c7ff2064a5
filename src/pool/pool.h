/* SPDX-License-Identifier: MIT */
/*
 * pool - jobs, workers and the rules between them.
 *
 * Floor 4. The daemon owns the pools; a pool owns its workers and its jobs and
 * frees both. Control calls in: submit, look up, cancel, pause. Those calls
 * check and record, and wake the pool; work moves in the pump alone (pump.c),
 * once a turn, or twice. Whoever waits for a job is told through its struct job_waiter.
 */
#pragma once

#include "core/bucket.h"
#include "core/conf.h"
#include "core/ids.h"
#include "core/job.h"
#include "core/queue.h"
#include "core/slot.h"
#include "core/stats.h"
#include "core/throttle.h"
#include "io/loop.h"

#include <stdbool.h>

struct worker;
struct pools;

enum pools_mode {
	POOLS_OPEN,
	POOLS_DRAINING, /* no new jobs; those accepted are finished */
	POOLS_STOPPING, /* workers are being ended */
};

enum pool_state {
	POOL_STARTING, /* no worker is up yet, and none has failed twice */
	POOL_OK,
	POOL_SATURATED, /* all workers have what they can take, and jobs wait */
	POOL_PAUSED,
	POOL_DEGRADED, /* workers cannot start */
	POOL_DRAINING,
};

struct pool {
	struct pools *pools;
	unsigned place; /* a number below pools->places, no other pool's: for tables beside */
	const struct conf_pool *conf;
	size_t name_len;	 /* of conf->name, which stays the same */
	struct list woken;	 /* in pools->woken while there is something for the pump */
	struct worker **workers; /* slots of them */
	unsigned slots;		 /* places made so far: it only grows */
	unsigned wanted;	 /* workers that it is to have: slots 0 … wanted-1 */

	struct queue queue;
	struct list decided;  /* jobs whose end is recorded */
	struct list overdue;  /* finished jobs whose keeping is over */
	struct list finished; /* kept jobs, first finished first */
	uint64_t finished_bytes, finished_count;
	uint64_t running, running_bytes; /* jobs that a worker has */

	struct list *by_load; /* [0 … loads-1]: up workers by jobs in flight, last used first */
	unsigned loads;	      /* the largest pipeline that a worker of it has had */
	unsigned lowest;      /* no worker that can take a job has fewer in flight */
	unsigned stint;	      /* jobs in a row for one worker; 0: there was no answer yet */
	uint64_t room;	      /* jobs that up workers could take at once */
	struct list down;     /* workers without a process */
	struct list changed;  /* workers with news for the pump */
	unsigned up;	      /* workers that are up and not retiring */

	bool restarting;	     /* a restart is under way, of all or of some */
	uint64_t restart_generation; /* all workers up to it are to be replaced; 0: some only */
	struct list in_hand;	     /* workers that it has at: ending, down, or starting anew */
	struct timer probation;	     /* when one of these is proven */
	bool renewing;		     /* those with an older configuration, too */

	struct bucket lines; /* leave for lines about workers that died, jobs that failed */
	struct timer untold; /* when it is told how many lines were dropped */

	struct throttle throttle;
	struct timer timer; /* the throttle's next try */
	bool paused;
	bool mixed;		/* there may be jobs in it that not all workers can carry */
	bool unproven;		/* a reload has made it, or changed it: are new workers good? */
	uint64_t unproven_past; /* of those whose generation is above this */
	mono_t unproven_since;
	enum pools_mode mode; /* other than open: a reload has taken it out */
	struct timer leave;   /* when what it still does is cancelled */
	/* What the pump has acted on already. */
	bool was_down, was_draining, was_stopping, was_fast;
	uint64_t generation; /* processes started, ever */
	char *last_error;    /* why workers cannot start; NULL when they can */
	int last_errno;	     /* the same as a number, as far as there is one */
	char *last_stderr;   /* the last line of the worker that could not */
	struct stats stats;
};

/* News for whoever listens. An up-call records what it wants and changes nothing
 * here; texts are the caller's. Without a listener nothing is done for it. */
struct pools_ops {
	/* Its state has changed; when it is over this comes before its waiters are told. */
	void (*on_job)(void *ctx, const struct job *j);
	/* Its worker said OUT, or PROGRESS. */
	void (*on_out)(void *ctx, const struct job *j, const char *text, size_t len);
	void (*on_progress)(void *ctx, const struct job *j, uint64_t done, uint64_t total,
			    const char *text, size_t len);
	/* Something of it may have changed: once a pump. event: a word for what is over,
	 * or NULL. */
	void (*on_pool)(void *ctx, const struct pool *p, const char *event);
	/* One of its processes has come to that phase. how: of PHASE_DOWN, how it went,
	 * without a word of what the worker wrote; else NULL. */
	void (*on_worker)(void *ctx, const struct worker *w, enum slot_phase phase,
			  const char *how);
};

struct pools {
	struct loop *loop;
	const char *loader;	 /* path of preforkd-exec */
	uint64_t soft_nofile;	 /* the daemon's limit before it raised it */
	char **base_environment; /* what every worker gets of ours */
	struct pool **v;	 /* in the order of the configuration */
	size_t count;
	struct pool *found; /* the one looked for last; NULL: none, or it is gone */
	unsigned places;
	const struct pools_ops *ops; /* NULL: nobody listens */
	void *ops_ctx;
	enum pools_mode mode;
	bool fast; /* stopping without a grace for running jobs */
	struct list woken;
	struct list flush; /* workers with bytes to send */
	struct ids jobs;   /* all of them */
	struct map keys;
	uint64_t next_id;
	size_t leaving; /* pools that are taken out, and not gone */
	bool outdated;	/* an older configuration may have lost its last user */
};

/* ---- pools.c: the set ---- */

/* loader stays the caller's and outlives the pools; conf as long as pools_use() it.
 * soft_nofile: see struct pools. environ_: the daemon's. */
struct pools *pools_new(struct loop *l, const struct conf *conf, const char *loader,
			uint64_t soft_nofile, char **environ_);
void pools_free(struct pools *ps); /* workers are killed and reaped first */

/* Tell ops of everything from now on; NULL: no more. ops outlives that. */
void pools_listen(struct pools *ps, const struct pools_ops *ops, void *ctx);

/* One turn: pump every pool that was woken, then send what workers are to get. */
void pools_turn(struct pools *ps, mono_t now);
/* In the middle of one: the same for pools with jobs for all that their workers can take. */
void pools_feed(struct pools *ps, mono_t now);

struct pool *pools_find(struct pools *ps, const char *name, size_t len);
struct job *pools_job(struct pools *ps, uint64_t id);

/* Take no new jobs; queued RUNs are answered, the others are finished. */
void pools_drain(struct pools *ps);
/* End all workers; what is not over is cancelled. fast: no grace for the
 * running ones. May be called again, to turn slow into fast. */
void pools_stop(struct pools *ps, bool fast);

bool pools_settled(const struct pools *ps);  /* each has its workers or is degraded */
bool pools_finished(const struct pools *ps); /* nothing runs, and nothing queued can */
unsigned pools_processes(const struct pools *ps);

struct pools_totals {
	uint64_t up, wanted, busy;		/* workers */
	uint64_t queued, running, done, failed; /* jobs */
	uint64_t bytes;				/* payloads and results held */
	uint64_t broken;			/* workers that broke the protocol, so far */
};
struct pools_totals pools_total(const struct pools *ps);

/* ---- adopt.c: another configuration ---- */

/* Be as conf says: pools that it has no more are taken out (they finish what they have,
 * within conf->drain_us), new ones are made, and of the others everything that can be
 * changed while they work is; where new workers are needed for the rest, they are
 * replaced as by pool_restart(). conf is treated as in pools_new(). */
struct adoption {
	size_t added, changed, removed, restarted; /* pools */
};
struct adoption pools_adopt(struct pools *ps, const struct conf *conf, mono_t now);
/* Does anything still go by conf? */
bool pools_use(const struct pools *ps, const struct conf *conf);

/* A pool that is taken out and has neither worker nor job left; NULL: none. */
struct pool *pools_spent(const struct pools *ps);
void pools_remove(struct pools *ps, struct pool *p); /* free it */

/* Is the first of the workers good that the last reload needed? */
enum pool_proof {
	PROOF_GIVEN,
	PROOF_FAILED,
	PROOF_AWAITED,
	PROOF_HELD_UP, /* none was begun yet: the old ones are at their jobs */
};
/* *ret_next: when, without other news, it is to be asked again. */
enum pool_proof pool_proof(const struct pool *p, mono_t *ret_next, mono_t now);

/* ---- pool.c: one pool ---- */

struct pool *pool_new(struct pools *ps, unsigned place, const struct conf_pool *conf);
void pool_free(struct pool *p); /* it has no job */

enum pool_error {
	POOL_E_PAYLOAD = 1, /* the level cannot carry it; *ret_why says why */
	POOL_E_TOOBIG,
	POOL_E_FULL,
	POOL_E_DOWN,
	POOL_E_DRAINING,
	POOL_E_REMOVED, /* it was taken out of the configuration */
	POOL_E_KEY,	/* the key names a job with another payload */
	POOL_E_MEMORY,
};

struct submission {
	uid_t uid;
	const char *payload;
	size_t len;
	struct job_opts *opts; /* consumed, on failure too; NULL: none */
	bool run;	       /* somebody waits for it: refused where workers cannot start */
	bool attached;	       /* gone when it is answered */
};

/* 0: *ret_job is the job; with a key it may be one from before, perhaps over: then
 * *ret_new is false. Positive: an enum pool_error; *ret_why is a static text for
 * POOL_E_PAYLOAD. */
int pool_submit(struct pool *p, const struct submission *s, mono_t now, struct job **ret_job,
		bool *ret_new, const char **ret_why);

/* Undo a submit that made a new job, in the same turn: the pump has not seen it, and
 * nobody waits for it yet. It is as if it had never been. */
void pool_withdraw(struct job *j);

/* The job that this key of uid's names; NULL: none. */
struct job *pool_find_key(const struct pool *p, uid_t uid, const char *key, size_t len);

/* Record that j is to be cancelled; false when its end is there already. */
bool pool_cancel(struct job *j);

/* Do not keep j any longer: it is freed. False, and nothing is done: it is not over. */
bool pool_drop(struct job *j);

/* The connection that RAN j (attached) is gone: what on_disconnect says. */
void pool_disconnect(struct job *j);

/* j outlives its RUN: keep it when it is over. */
void job_detach(struct job *j);

/* Its taker wants j's result now; or, of all jobs, some taker takes results again. */
void pool_unpark(struct job *j);
void pools_unpark(struct pools *ps);

void pool_pause(struct pool *p, bool pause);
/* Record that all queued jobs are to be cancelled. */
void pool_clear(struct pool *p);

/* ---- roster.c: its workers ---- */

/* Have n workers, 1 … CONF_WORKERS_MAX: the slots above finish what they have and end. */
void pool_scale(struct pool *p, unsigned n);

/* Slots from n on that still have a process. */
unsigned pool_leaving(const struct pool *p, unsigned n);

/* ---- restart.c ---- */

/* Replace all workers there are, one at a time, and none while new ones cannot start.
 * on_pool() is told the end: "restarted", or "restart-failed". */
void pool_restart(struct pool *p);
/* The same of those whose configuration is another than the pool's. */
void pool_renew(struct pool *p);
/* Replace one, whatever else is under way. */
void pool_restart_slot(struct pool *p, unsigned slot);
/* Slots that are still to be replaced. */
unsigned pool_restarting(const struct pool *p);

/* When those that are up can be taken for good, should they still be there. */
mono_t pool_proven_at(const struct pool *p);

enum pool_state pool_state(const struct pool *p);
const char *pool_state_name(enum pool_state s);
bool pool_is_settled(const struct pool *p);  /* it has its workers, is degraded, or leaves */
bool pool_is_finished(const struct pool *p); /* nothing runs, and nothing queued can */
bool pool_is_down(const struct pool *p);     /* degraded, and no worker is up */
char *pool_trouble(const struct pool *p);    /* why its workers cannot start; malloc'ed */
int64_t pool_retry_us(const struct pool *p, mono_t now); /* to the next try; -1: none */
uint64_t pool_bytes(const struct pool *p);		 /* payloads and results that it holds */

struct pool_census {
	unsigned idle, busy, starting, stopping;
};
struct pool_census pool_count_workers(const struct pool *p);

static inline struct pool *
job_pool(const struct job *j)
{
	return j->owner;
}

static inline void
pool_wake(struct pool *p)
{
	if (!list_linked(&p->woken))
		list_append(&p->pools->woken, &p->woken);
}

/* Of the daemon, or of this pool alone. */
static inline enum pools_mode
pool_mode(const struct pool *p)
{
	return p->mode > p->pools->mode ? p->mode : p->pools->mode;
}

/* ---- inside this floor ---- */
static inline void
tell_job(const struct job *j)
{
	const struct pools *ps = job_pool(j)->pools;

	if (ps->ops)
		ps->ops->on_job(ps->ops_ctx, j);
}

static inline void
tell_pool(const struct pool *p, const char *event)
{
	if (p->pools->ops)
		p->pools->ops->on_pool(p->pools->ops_ctx, p, event);
}

void roster_init(struct pool *p); /* the slots that the configuration asks for */
void roster_fini(struct pool *p);
void pool_reserve_loads(struct pool *p); /* room for what its workers may have in flight */
void pool_pump(struct pool *p, mono_t now);
void settle_on_job_due(struct timer *t, mono_t now);

/* Leave for one line of the log that may come thick, from the pool's bucket or a slot's.
 * What is refused is counted, and told within a second; or now. */
bool mishap_admit(struct pool *p, struct bucket *b);
void mishap_on_untold(struct timer *t, mono_t now);
void mishap_tell_untold(struct pool *p);

/* Record j's end (it is queued or running, undecided) and wake. text is copied. */
void pool_decide(struct job *j, enum job_state verdict, enum job_reason reason, const char *text);
void pool_release_key(struct job *j);
void pool_forget(struct job *j); /* unlink it everywhere and free it */
