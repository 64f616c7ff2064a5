/* SPDX-License-Identifier: MIT */
#include "pool/pool.h"

#include "base/mem.h"
#include "pool/pump.h"
#include "wire/codec.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void
on_retry(struct timer *t, mono_t now)
{
	(void)now;
	pool_wake(container_of(t, struct pool, timer));
}

static void
on_probation(struct timer *t, mono_t now)
{
	(void)now;
	pool_wake(container_of(t, struct pool, probation));
}

struct pool *
pool_new(struct pools *ps, unsigned place, const struct conf_pool *conf)
{
	struct pool *p = mem_new(sizeof(*p));
	struct list *const lists[] = {&p->woken, &p->decided, &p->overdue, &p->finished,
				      &p->down,	 &p->changed, &p->in_hand};

	*p = (struct pool){.pools = ps,
			   .place = place,
			   .conf = conf,
			   .name_len = strlen(conf->name),
			   .timer.on_due = on_retry,
			   .probation.on_due = on_probation,
			   .untold.on_due = mishap_on_untold,
			   .leave.on_due = adopt_on_leave_due};
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		list_init(lists[i]);
	queue_init(&p->queue);
	pool_reserve_loads(p);
	roster_init(p);
	pool_wake(p);
	return p;
}

/* It only grows: workers that were started with a longer pipeline may still be there. */
void
pool_reserve_loads(struct pool *p)
{
	unsigned n = p->conf->pipeline;
	struct list *by_load;

	if (n <= p->loads)
		return;
	by_load = mem_array(n, sizeof(*by_load));
	for (unsigned i = 0; i < n; i++) {
		list_init(&by_load[i]);
		if (i < p->loads)
			list_splice(&by_load[i], &p->by_load[i]);
	}
	free(p->by_load);
	p->by_load = by_load;
	p->loads = n;
}

void
pool_free(struct pool *p)
{
	mishap_tell_untold(p);
	roster_fini(p);
	timer_clear(loop_timers(p->pools->loop), &p->timer);
	timer_clear(loop_timers(p->pools->loop), &p->probation);
	timer_clear(loop_timers(p->pools->loop), &p->leave);
	list_remove(&p->woken);
	free(p->by_load);
	free(p->last_error);
	free(p->last_stderr);
	free(p);
}

/* ---- keys ---- */

static uint64_t
key_hash(const struct pool *p, uid_t uid, const char *key, size_t len)
{
	uint64_t seed = (uint64_t)p->place << 32 | uid;

	return map_hash_bytes(key, len, seed);
}

struct job *
pool_find_key(const struct pool *p, uid_t uid, const char *key, size_t len)
{
	struct map_node *n = map_find(&p->pools->keys, key_hash(p, uid, key, len));

	for (; n; n = map_find_next(n)) {
		struct job_opts *have = container_of(n, struct job_opts, by_key);

		if (have->key_len == len && !memcmp(have->key, key, len) && have->job->uid == uid &&
		    have->job->owner == p)
			return have->job;
	}
	return NULL;
}

void
pool_release_key(struct job *j)
{
	struct job_opts *o = j->opts;

	if (!o || !o->job)
		return;
	map_remove(&job_pool(j)->pools->keys, &o->by_key);
	o->job = NULL;
}

/* ---- jobs in and out ---- */

/* Make it known by its id and its key. False when there is no memory. */
static bool
pool_register(struct pool *p, struct job *j)
{
	struct job_opts *o = j->opts;

	if (ids_add(&p->pools->jobs, j) < 0)
		return false;
	if (o && o->key_len) {
		if (map_add(&p->pools->keys, &o->by_key, key_hash(p, j->uid, o->key, o->key_len)) <
		    0) {
			ids_remove(&p->pools->jobs, j);
			return false;
		}
		o->job = j;
	}
	return true;
}

void
pool_forget(struct job *j)
{
	struct pools *ps = job_pool(j)->pools;

	if (j->run)
		timer_clear(loop_timers(ps->loop), &j->run->timer);
	pool_release_key(j);
	ids_remove(&ps->jobs, j);
	list_remove(&j->link);
	job_free(j);
}

/* Is it fit for this pool? 0 or a pool_error. */
static int
submit_check(const struct pool *p, const struct submission *s, const char **ret_why)
{
	*ret_why = codec_payload_fits((enum codec_level)p->conf->protocol, s->payload, s->len);
	if (*ret_why)
		return POOL_E_PAYLOAD;
	if (s->len > p->conf->job.max_payload)
		return POOL_E_TOOBIG;
	return 0;
}

static int
submit_room(struct pool *p, const struct submission *s)
{
	uint64_t idle = p->paused ? 0 : p->room;

	if (p->pools->mode != POOLS_OPEN)
		return POOL_E_DRAINING;
	if (p->mode != POOLS_OPEN)
		return POOL_E_REMOVED;
	if (s->run && pool_is_down(p))
		return POOL_E_DOWN;
	if (queue_has_room(&p->queue, p->conf->queue.limit, p->conf->queue.memory, idle, s->len))
		return 0;
	p->stats.rejected++;
	return POOL_E_FULL;
}

static struct job *
submit_make(struct pool *p, const struct submission *s, mono_t now)
{
	struct job *j = job_new(p->pools->next_id, p, s->uid, s->payload, s->len, s->opts);

	if (!j) {
		free(s->opts);
		return NULL;
	}
	if (!pool_register(p, j)) {
		job_free(j);
		return NULL;
	}
	p->pools->next_id++;
	j->attached = s->attached;
	j->queued = now;
	return j;
}

int
pool_submit(struct pool *p, const struct submission *s, mono_t now, struct job **ret_job,
	    bool *ret_new, const char **ret_why)
{
	struct job *j;
	int r = submit_check(p, s, ret_why);

	if (!r && s->opts && s->opts->key_len &&
	    (j = pool_find_key(p, s->uid, s->opts->key, s->opts->key_len))) {
		free(s->opts);
		if (j->payload_len != s->len || memcmp(j->payload, s->payload, s->len))
			return POOL_E_KEY;
		*ret_job = j;
		*ret_new = false;
		return 0;
	}
	if (!r)
		r = submit_room(p, s);
	if (r) {
		free(s->opts);
		return r;
	}
	j = submit_make(p, s, now);
	if (!j)
		return POOL_E_MEMORY;
	job_move(j, JOB_QUEUED, REASON_NONE);
	queue_push(&p->queue, j);
	pool_wake(p);
	tell_job(j);
	*ret_job = j;
	*ret_new = true;
	return 0;
}

void
pool_withdraw(struct job *j)
{
	assert(j->state == JOB_QUEUED && !j->decided && !j->waiters);
	queue_remove(&job_pool(j)->queue, j);
	job_need_run(j);
	job_move(j, JOB_CANCELLED, REASON_REQUEST);
	tell_job(j); /* who listens has heard that it was queued */
	pool_forget(j);
}

void
pool_decide(struct job *j, enum job_state verdict, enum job_reason reason, const char *text)
{
	struct pool *p = job_pool(j);

	if (j->state == JOB_QUEUED)
		queue_remove(&p->queue, j);
	job_decide(j, verdict, reason, text, text ? strlen(text) : 0);
	if (verdict == JOB_CANCELLED) /* at once: who comes with it now wants a new job */
		pool_release_key(j);
	list_append(&p->decided, &j->link);
	pool_wake(p);
}

bool
pool_cancel(struct job *j)
{
	if (job_is_over(j) || j->decided)
		return false;
	pool_decide(j, JOB_CANCELLED, REASON_REQUEST, NULL);
	return true;
}

void
pool_disconnect(struct job *j)
{
	enum conf_on_disconnect how = job_pool(j)->conf->job.on_disconnect;

	if (how == DISCONNECT_CANCEL || (how == DISCONNECT_DROP && j->state == JOB_QUEUED))
		pool_cancel(j);
	else
		job_detach(j);
}

void
job_detach(struct job *j)
{
	j->attached = false;
	pool_unpark(j);
}

void
pool_unpark(struct job *j)
{
	if (!j->parked)
		return;
	queue_unpark(&job_pool(j)->queue, j);
	pool_wake(job_pool(j));
}

void
pools_unpark(struct pools *ps)
{
	for (size_t i = 0; i < ps->count; i++) {
		struct pool *p = ps->v[i];

		if (list_empty(&p->queue.parked))
			continue;
		queue_unpark_all(&p->queue);
		pool_wake(p);
	}
}

void
pool_pause(struct pool *p, bool pause)
{
	p->paused = pause;
	pool_wake(p);
}

/* ---- what it looks like from outside ---- */

bool
pool_is_settled(const struct pool *p)
{
	return p->up >= p->wanted || throttle_holds(&p->throttle) || pool_mode(p) != POOLS_OPEN;
}

bool
pool_is_down(const struct pool *p)
{
	return throttle_holds(&p->throttle) && !p->up;
}

bool
pool_is_finished(const struct pool *p)
{
	return !p->running && (!p->queue.count || p->paused || pool_is_down(p));
}

enum pool_state
pool_state(const struct pool *p)
{
	if (pool_mode(p) != POOLS_OPEN)
		return POOL_DRAINING;
	if (throttle_holds(&p->throttle))
		return POOL_DEGRADED;
	if (p->paused)
		return POOL_PAUSED;
	if (!p->up && !p->stats.exited)
		return POOL_STARTING;
	return p->queue.count && !p->room ? POOL_SATURATED : POOL_OK;
}

const char *
pool_state_name(enum pool_state s)
{
	static const char *const names[] = {
		[POOL_STARTING] = "starting",	[POOL_OK] = "ok",
		[POOL_SATURATED] = "saturated", [POOL_PAUSED] = "paused",
		[POOL_DEGRADED] = "degraded",	[POOL_DRAINING] = "draining",
	};

	return names[s];
}

char *
pool_trouble(const struct pool *p)
{
	return mem_printf("%s%s%s", p->last_error ? p->last_error : "", p->last_stderr ? ": " : "",
			  p->last_stderr ? p->last_stderr : "");
}

int64_t
pool_retry_us(const struct pool *p, mono_t now)
{
	int64_t left;

	if (!throttle_holds(&p->throttle))
		return -1;
	left = mono_since(p->throttle.next_try, now);
	return left > 0 ? left : 0;
}

uint64_t
pool_bytes(const struct pool *p)
{
	return p->queue.bytes + p->running_bytes + p->finished_bytes;
}

struct pool_census
pool_count_workers(const struct pool *p)
{
	struct pool_census c = {0};

	for (unsigned i = 0; i < p->slots; i++) {
		const struct worker *w = p->workers[i];

		if (worker_is_up(w))
			(*(w->count ? &c.busy : &c.idle))++;
		else if (w->retiring || slot_is_stopping(w->state))
			c.stopping++;
		else if (w->state != SLOT_DOWN)
			c.starting++;
	}
	return c;
}
