/* SPDX-License-Identifier: MIT */
/* What the pools tell, as messages on channels. */
#include "control/events.h"

#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "control/command.h"
#include "pool/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POOL_PAUSE_US (20 * USEC_PER_MSEC) /* between two looks at a pool's counts */
#define REASON_TEXT_MAX 1024

static void
buf_clear(struct buf *b)
{
	buf_consume(b, buf_len(b));
}

static struct resp_slice
slice_of(const struct buf *b)
{
	return (struct resp_slice){.data = buf_head(b), .len = buf_len(b)};
}

/* ---- jobs ---- */

static bool
has_key(const struct job *j)
{
	return j->opts && j->opts->key_len;
}

/* A job's state, on its pool's channel. */
static void
publish_in_pool(struct events *e, const struct job *j, const struct resp_slice *text)
{
	char id[24];
	struct event ev = {.word = id, .text = *text, .job = j};

	snprintf(id, sizeof(id), "%llu", (unsigned long long)j->id);
	buf_clear(&e->name);
	buf_puts(&e->name, "jobs.");
	buf_puts(&e->name, job_pool(j)->conf->name);
	ev.channel = slice_of(&e->name);
	events_publish(e, FAMILY_JOBS, &ev);
}

/* One piece of a job's news, on its own channel and on its key's. */
static void
publish(struct events *e, enum family f, const struct job *j, const struct resp_slice *text)
{
	struct event ev = {.text = *text, .job = j};

	if (e->wanted[f]) {
		buf_clear(&e->name);
		buf_puts(&e->name, family_name(f));
		buf_putc(&e->name, '.');
		buf_put_u64(&e->name, j->id);
		ev.channel = slice_of(&e->name);
		events_publish(e, f, &ev);
	}
	if (e->wanted[FAMILY_KEY] && has_key(j)) {
		buf_clear(&e->name);
		buf_puts(&e->name, "key.");
		buf_puts(&e->name, job_pool(j)->conf->name);
		buf_putc(&e->name, '.');
		buf_put(&e->name, j->opts->key, j->opts->key_len);
		ev.channel = slice_of(&e->name);
		ev.word = family_name(f);
		events_publish(e, FAMILY_KEY, &ev);
	}
}

static bool
is_wanted(const struct events *e, enum family f, const struct job *j)
{
	return e->wanted[f] || (f == FAMILY_JOB && e->wanted[FAMILY_JOBS]) ||
	       (e->wanted[FAMILY_KEY] && has_key(j));
}

/* Its state; of one that failed or was cancelled why, and in which words. */
static struct resp_slice
state_text(struct events *e, const struct job *j)
{
	struct buf *b = &e->text;
	char shown[REASON_TEXT_MAX];

	buf_clear(b);
	buf_puts(b, job_state_name((enum job_state)j->state));
	if (j->state == JOB_FAILED || j->state == JOB_CANCELLED) {
		buf_putc(b, ' ');
		buf_puts(b, job_reason_name((enum job_reason)j->reason));
		if (j->run && j->run->text_len) {
			buf_putc(b, ' ');
			buf_puts(b,
				 text_escape(shown, sizeof(shown), j->run->text, j->run->text_len));
		}
	}
	return slice_of(b);
}

static struct resp_slice
progress_text(struct events *e, uint64_t done, uint64_t total, const char *text, size_t len)
{
	struct buf *b = &e->text;

	buf_clear(b);
	buf_put_u64(b, done);
	buf_putc(b, ' ');
	buf_put_u64(b, total);
	if (len) {
		buf_putc(b, ' ');
		buf_put(b, text, len);
	}
	return slice_of(b);
}

static void
on_job(void *ctx, const struct job *j)
{
	struct events *e = ctx;
	struct resp_slice text;

	if (!is_wanted(e, FAMILY_JOB, j))
		return;
	text = state_text(e, j);
	publish(e, FAMILY_JOB, j, &text);
	if (e->wanted[FAMILY_JOBS])
		publish_in_pool(e, j, &text);
}

static void
on_out(void *ctx, const struct job *j, const char *text, size_t len)
{
	struct events *e = ctx;
	struct resp_slice out = {.data = text, .len = len};

	if (is_wanted(e, FAMILY_OUT, j))
		publish(e, FAMILY_OUT, j, &out);
}

static void
on_progress(void *ctx, const struct job *j, uint64_t done, uint64_t total, const char *text,
	    size_t len)
{
	struct events *e = ctx;
	struct resp_slice line;

	if (!is_wanted(e, FAMILY_PROGRESS, j))
		return;
	line = progress_text(e, done, total, text, len);
	publish(e, FAMILY_PROGRESS, j, &line);
}

/* ---- pools ---- */

static void
put_pool_line(struct buf *b, const struct pool *p)
{
	struct pool_census c = pool_count_workers(p);

	buf_putf(b,
		 "state=%s workers=%u up=%u idle=%u busy=%u queued=%llu running=%llu "
		 "restarting=%u",
		 pool_state_name(pool_state(p)), p->wanted, p->up, c.idle, c.busy,
		 (unsigned long long)p->queue.count, (unsigned long long)p->running,
		 pool_restarting(p));
}

static void
publish_pool(struct events *e, enum family f, const struct pool *p, const struct buf *text)
{
	struct event ev = {.text = slice_of(text), .pool = p};

	buf_clear(&e->name);
	buf_putf(&e->name, "%s.%s", family_name(f), p->conf->name);
	ev.channel = slice_of(&e->name);
	events_publish(e, f, &ev);
}

/* Say how the pool is, where that is news. */
static void
pool_look(struct pool_watch *w, const char *event, mono_t now)
{
	struct events *e = w->events;
	struct buf *b = &e->text;

	timer_clear(loop_timers(e->server->loop), &w->timer);
	w->looked = now;
	w->state = pool_state(w->pool);
	buf_clear(b);
	put_pool_line(b, w->pool);
	if (!event && buf_len(b) == buf_len(&w->said) &&
	    !memcmp(buf_head(b), buf_head(&w->said), buf_len(b)))
		return;
	buf_clear(&w->said);
	buf_put(&w->said, buf_head(b), buf_len(b));
	if (event)
		buf_putf(b, " event=%s", event);
	publish_pool(e, FAMILY_POOL, w->pool, b);
}

static void
on_look(struct timer *t, mono_t now)
{
	struct pool_watch *w = container_of(t, struct pool_watch, timer);

	if (w->events->wanted[FAMILY_POOL])
		pool_look(w, NULL, now);
}

static struct pool_watch *
watch_of(struct events *e, const struct pool *p)
{
	struct pool_watch **w;

	if (p->place >= e->places) {
		size_t n = p->pools->places;

		e->pools = reallocarray(e->pools, n, sizeof(*e->pools));
		if (!e->pools)
			mem_out();
		memset(e->pools + e->places, 0, (n - e->places) * sizeof(*e->pools));
		e->places = n;
	}
	w = &e->pools[p->place];
	if (!*w) {
		*w = mem_new(sizeof(**w));
		**w = (struct pool_watch){.events = e, .pool = p, .timer.on_due = on_look};
	}
	return *w;
}

/* Another state is told at once; counts change all the time. */
static void
on_pool(void *ctx, const struct pool *p, const char *event)
{
	struct events *e = ctx;
	mono_t now = loop_now(e->server->loop), next;
	struct pool_watch *w;

	if (!e->wanted[FAMILY_POOL])
		return;
	w = watch_of(e, p);
	next = mono_add(w->looked, POOL_PAUSE_US);
	if (event || pool_state(p) != w->state || !mono_before(now, next))
		pool_look(w, event, now);
	else if (!timer_is_set(&w->timer))
		timer_set(loop_timers(e->server->loop), &w->timer, next);
}

static void
on_worker(void *ctx, const struct worker *w, enum slot_phase phase, const char *how)
{
	struct events *e = ctx;

	if (!e->wanted[FAMILY_WORKER])
		return;
	buf_clear(&e->text);
	buf_putf(&e->text, "worker=%u pid=%d generation=%llu state=%s", w->index, (int)w->proc.pid,
		 (unsigned long long)w->generation, slot_phase_name(phase));
	if (how)
		buf_putf(&e->text, " text=%s", how);
	publish_pool(e, FAMILY_WORKER, w->pool, &e->text);
}

static const struct pools_ops ops = {
	.on_job = on_job,
	.on_out = on_out,
	.on_progress = on_progress,
	.on_pool = on_pool,
	.on_worker = on_worker,
};

void
events_listen(struct events *e, bool listen)
{
	pools_listen(e->server->pools, listen ? &ops : NULL, e);
}

/* ---- what there is at once ---- */

/* The job with that key; rest is "POOL.KEY", and both may have points in them. */
static const struct job *
job_of_key(const struct client *c, const struct resp_slice *rest)
{
	const struct pools *ps = c->server->pools;

	for (size_t i = 0; i < ps->count; i++) {
		const char *name = ps->v[i]->conf->name;
		size_t n = strlen(name);
		const struct job *j;

		if (rest->len <= n + 1 || memcmp(rest->data, name, n) != 0 || rest->data[n] != '.')
			continue;
		j = pool_find_key(ps->v[i], c->uid, rest->data + n + 1, rest->len - n - 1);
		if (j)
			return j;
	}
	return NULL;
}

const struct job *
events_job(const struct client *c, const struct resp_slice *channel)
{
	struct resp_slice rest = {0};
	unsigned family = family_of(channel, &rest);
	uint64_t id;

	if (family & 1U << FAMILY_KEY)
		return job_of_key(c, &rest);
	if (rest.len && rest.data[0] == '0') /* no job's channel is written so */
		return NULL;
	if (!(family & (1U << FAMILY_JOB | 1U << FAMILY_OUT | 1U << FAMILY_PROGRESS)) ||
	    parse_u64(rest.data, rest.len, UINT64_MAX, &id) < 0)
		return NULL;
	return pools_job(c->server->pools, id);
}

const struct pool *
events_pool(const struct client *c, const struct resp_slice *channel)
{
	struct resp_slice rest;

	if (!(family_of(channel, &rest) &
	      (1U << FAMILY_JOBS | 1U << FAMILY_POOL | 1U << FAMILY_WORKER)))
		return NULL;
	return pools_find(c->server->pools, rest.data, rest.len);
}

static void
tell(struct client *c, const struct event *like, const char *word, struct resp_slice text)
{
	struct event ev = *like;

	ev.word = word;
	ev.text = text;
	events_tell(c, &ev);
}

/* A job's news so far: those of the family that it was asked for, or all of them with
 * their words before them. */
static void
present_job(struct client *c, const struct job *j, unsigned family, const struct event *like)
{
	struct events *e = c->server->events;
	const struct news *n = j->run ? j->run->news : NULL;
	bool all = family & 1U << FAMILY_KEY;

	if (all || family & 1U << FAMILY_JOB)
		tell(c, like, all ? family_name(FAMILY_JOB) : NULL, state_text(e, j));
	if (n && (all || family & 1U << FAMILY_OUT))
		list_foreach(it, next, &n->outs) {
			const struct message *m = container_of(it, struct message, link);

			tell(c, like, all ? family_name(FAMILY_OUT) : NULL,
			     (struct resp_slice){.data = m->text, .len = m->len});
		}
	if (n && n->progressed && (all || family & 1U << FAMILY_PROGRESS))
		tell(c, like, all ? family_name(FAMILY_PROGRESS) : NULL,
		     progress_text(e, n->done, n->total, n->text, n->text_len));
}

void
events_present(struct client *c, const struct resp_slice *channel)
{
	struct events *e = c->server->events;
	struct resp_slice rest;
	unsigned family = family_of(channel, &rest);
	struct event like = {
		.channel = *channel,
		.job = events_job(c, channel),
		.pool = events_pool(c, channel),
	};

	if (like.job)
		present_job(c, like.job, family, &like);
	if (like.pool && family & 1U << FAMILY_POOL) {
		buf_clear(&e->text);
		put_pool_line(&e->text, like.pool);
		tell(c, &like, NULL, slice_of(&e->text));
	}
}

/* ---- life ---- */

struct events *
events_new(struct server *s)
{
	struct events *e = mem_new(sizeof(*e));

	e->server = s;
	list_init(&e->patterns);
	return e;
}

void
events_forget_pool(struct events *e, const struct pool *p)
{
	struct pool_watch *w = p->place < e->places ? e->pools[p->place] : NULL;

	if (!w)
		return;
	timer_clear(loop_timers(e->server->loop), &w->timer);
	buf_free(&w->said);
	free(w);
	e->pools[p->place] = NULL;
}

void
events_free(struct events *e)
{
	for (size_t i = 0; i < e->server->pools->count; i++)
		events_forget_pool(e, e->server->pools->v[i]);
	map_free(&e->channels);
	map_free(&e->pattern_names);
	map_free(&e->subscriptions);
	buf_free(&e->name);
	buf_free(&e->text);
	free(e->pools);
	free(e);
}
