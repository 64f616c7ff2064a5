/* SPDX-License-Identifier: MIT */
#include "daemon/report.h"

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "pool/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INTERVAL_US USEC_PER_SEC
#define TEXT_MAX 1024  /* of a status: `systemctl status` shows it in one line */
#define LIST_MAX 700   /* when to stop naming degraded pools in it */
#define REASON_MAX 200 /* of each of them */
#define NAMED_MAX 5    /* pools that a start waits for */

#define EXTEND_TEXT "15000000"
#define EXTEND_EACH_US (5 * USEC_PER_SEC)
#define SLACK_US (10 * USEC_PER_SEC) /* what a busy machine may add to the daemon's limits */

bool
report_degraded(const struct pools *ps)
{
	for (size_t i = 0; i < ps->count; i++)
		if (throttle_holds(&ps->v[i]->throttle))
			return true;
	return false;
}

/* ---- texts ---- */

/* One line, fit to be shown. */
static char *
finish(struct buf *b)
{
	char text[TEXT_MAX];

	text_escape(text, sizeof(text), buf_len(b) ? buf_head(b) : "", buf_len(b));
	buf_free(b);
	return mem_strdup(text);
}

static void
put_totals(const struct pools *ps, struct buf *b)
{
	struct pools_totals t = pools_total(ps);
	size_t n = ps->count - ps->leaving;

	buf_putf(b, "%zu pool%s, %llu/%llu workers, %llu busy, %llu queued", n, n == 1 ? "" : "s",
		 (unsigned long long)t.up, (unsigned long long)t.wanted, (unsigned long long)t.busy,
		 (unsigned long long)t.queued);
}

/* Those that there is room for, with their reasons; of the others the number. */
static void
put_degraded(const struct pools *ps, struct buf *b)
{
	char reason[REASON_MAX];
	size_t more = 0;

	for (size_t i = 0; i < ps->count; i++) {
		const struct pool *p = ps->v[i];
		const char *why = p->last_error ? p->last_error : "";

		if (!throttle_holds(&p->throttle))
			continue;
		text_escape_str(reason, sizeof(reason), why);
		if (more || buf_len(b) + strlen(p->conf->name) + strlen(reason) > LIST_MAX)
			more++;
		else
			buf_putf(b, "; %s degraded: %s", p->conf->name, reason);
	}
	if (more)
		buf_putf(b, "; %zu more degraded", more);
}

char *
report_line(const struct pools *ps)
{
	struct buf b = {0};

	if (ps->mode == POOLS_DRAINING)
		buf_puts(&b, "no new jobs (DRAIN): ");
	put_totals(ps, &b);
	put_degraded(ps, &b);
	return finish(&b);
}

static void
put_starting(const struct report *r, mono_t now, struct buf *b)
{
	struct pools_totals t = pools_total(r->pools);
	size_t left = 0, named = 0;

	(void)now;
	for (size_t i = 0; i < r->pools->count; i++)
		left += !pool_is_settled(r->pools->v[i]);
	buf_putf(b, "starting: %llu/%llu workers, ", (unsigned long long)t.up,
		 (unsigned long long)t.wanted);
	if (left)
		buf_putf(b, "%zu pool%s to go", left, left == 1 ? "" : "s");
	else
		buf_puts(b, "those of required pools on probation");
	for (size_t i = 0; i < r->pools->count && named < left; i++) {
		const struct pool *p = r->pools->v[i];

		if (pool_is_settled(p))
			continue;
		if (named == NAMED_MAX) {
			buf_puts(b, ", ...");
			break;
		}
		buf_putf(b, "%s%s", named++ ? ", " : ": ", p->conf->name);
	}
	put_degraded(r->pools, b);
}

static void
put_finishing(const struct report *r, mono_t now, struct buf *b)
{
	struct pools_totals t = pools_total(r->pools);
	mono_t limit = timer_at(&r->stop->limit);

	buf_putf(b, "draining: %llu running, %llu queued", (unsigned long long)t.running,
		 (unsigned long long)t.queued);
	if (!mono_is_never(limit) && mono_before(now, limit))
		buf_putf(b, ", %lld s left",
			 (long long)((mono_since(limit, now) + USEC_PER_SEC - 1) / USEC_PER_SEC));
}

static void
put_ending(const struct report *r, mono_t now, struct buf *b)
{
	unsigned left = pools_processes(r->pools);

	(void)now;
	buf_putf(b, "ending: %u worker%s to go", left, left == 1 ? "" : "s");
}

static void
put_flushing(const struct report *r, mono_t now, struct buf *b)
{
	(void)r;
	(void)now;
	buf_puts(b, "ending: clients take their last replies");
}

static char *
ready_text(const struct report *r)
{
	char *line = report_line(r->pools), why[REASON_MAX];
	struct buf b = {0};

	if (!r->reload_error)
		return line;
	text_escape_str(why, sizeof(why), r->reload_error);
	buf_putf(&b, "reload failed: %s; %s", why, line);
	free(line);
	return finish(&b);
}

static char *
status_text(const struct report *r, mono_t now)
{
	static void (*const phases[])(const struct report *, mono_t, struct buf *) = {
		[STOP_FINISH] = put_finishing,
		[STOP_END] = put_ending,
		[STOP_FLUSH] = put_flushing,
	};
	struct buf b = {0};

	if (r->stop->phase == STOP_NOT && r->ready)
		return ready_text(r);
	if (r->stop->phase == STOP_NOT)
		put_starting(r, now, &b);
	else
		phases[r->stop->phase](r, now, &b);
	return finish(&b);
}

/* ---- STATUS= ---- */

/* Equal as long as the text is, as good as: cheap enough for every turn. */
static uint64_t
fingerprint(const struct report *r)
{
	const struct pools *ps = r->pools;
	uint64_t h =
		map_hash_u64((uint64_t)r->stop->phase << 8 | (uint64_t)ps->mode << 1 | r->ready);

	for (size_t i = 0; i < ps->count; i++) {
		const struct pool *p = ps->v[i];

		h = map_hash_u64(h + p->up) ^ p->running;
		h = map_hash_u64(h + p->queue.count) ^ p->throttle.fails;
		h = map_hash_u64(h + p->wanted) ^ p->stats.exited;
	}
	return h;
}

static void
say(struct report *r, mono_t now)
{
	char *text = status_text(r, now);

	notify_status(r->notify, text);
	free(text);
	r->last = now;
	r->seen = fingerprint(r);
	timer_clear(loop_timers(r->loop), &r->timer);
}

static void
on_due(struct timer *t, mono_t now)
{
	say(container_of(t, struct report, timer), now);
}

/* Its text has the seconds in it. */
static bool
counts_down(const struct report *r)
{
	return r->stop->phase == STOP_FINISH && !mono_is_never(timer_at(&r->stop->limit));
}

/* ---- EXTEND_TIMEOUT_USEC= ---- */

/* Until when this phase may take, by the daemon's own limits. */
static mono_t
patience(const struct report *r)
{
	const struct pools *ps = r->pools;
	int64_t start_us = 0, grace_us = 0;

	for (size_t i = 0; i < ps->count; i++) {
		const struct conf_pool *c = ps->v[i]->conf;

		start_us = c->start.timeout_us > start_us ? c->start.timeout_us : start_us;
		grace_us = c->job.grace_us > grace_us ? c->job.grace_us : grace_us;
	}
	switch (r->stop->phase) {
	case STOP_NOT: /* a worker that is not ready in time is tried once more */
		return r->ready ?
			       r->begun :
			       mono_add(mono_add(mono_add(r->begun, start_us), start_us), SLACK_US);
	case STOP_FINISH:
		return mono_add(timer_at(&r->stop->limit), SLACK_US);
	case STOP_END: /* one until TERM, one until KILL */
		return mono_add(mono_add(mono_add(r->stop->since, grace_us), grace_us), SLACK_US);
	case STOP_FLUSH:
		return mono_add(timer_at(&r->stop->limit), SLACK_US);
	}
	return r->begun;
}

static void
on_extend(struct timer *t, mono_t now)
{
	struct report *r = container_of(t, struct report, extend);

	if (!mono_before(now, patience(r)))
		return;
	(void)notify_try("EXTEND_TIMEOUT_USEC=" EXTEND_TEXT);
	timer_set(loop_timers(r->loop), &r->extend, mono_add(now, EXTEND_EACH_US));
}

/* ---- from outside ---- */

void
report_init(struct report *r, const struct report *from)
{
	*r = *from;
	r->begun = loop_now(r->loop);
	r->timer.on_due = on_due;
	r->extend.on_due = on_extend;
}

void
report_ready(struct report *r, mono_t now)
{
	r->ready = true;
	timer_clear(loop_timers(r->loop), &r->extend);
	if (r->notify->wanted)
		say(r, now);
}

void
report_reload(struct report *r, const char *error, size_t len, mono_t now)
{
	free(r->reload_error);
	r->reload_error = error ? mem_printf("%.*s", (int)len, error) : NULL;
	if (r->ready && r->notify->wanted && !r->closed)
		say(r, now);
}

void
report_fini(struct report *r)
{
	free(r->reload_error);
	r->reload_error = NULL;
}

void
report_end(struct report *r)
{
	if (!r->closed)
		notify_status(r->notify, "stopped"); /* or its last wait would stay there */
	r->closed = true;
}

void
report_refusal(struct notify *n, int error, const char *text)
{
	char fit[TEXT_MAX], state[32];

	snprintf(state, sizeof(state), "ERRNO=%d", error);
	if (error)
		notify_owe(n, state);
	notify_status(n, text_escape_str(fit, sizeof(fit), text));
}

void
report_failure(struct report *r, int error, const char *text)
{
	report_refusal(r->notify, error, text);
	timer_clear(loop_timers(r->loop), &r->timer);
	r->closed = true;
}

void
report_turn(struct report *r, mono_t now)
{
	if (!r->notify->wanted)
		return;
	if (!timer_is_set(&r->extend))
		on_extend(&r->extend, now);
	if (r->closed || timer_is_set(&r->timer) || (fingerprint(r) == r->seen && !counts_down(r)))
		return;
	timer_set(loop_timers(r->loop), &r->timer, mono_add(r->last, INTERVAL_US));
}

/* ---- the log ---- */

static void
log_pool(const struct pool *p)
{
	struct log_about about = {.pool = p->conf->name};
	struct pool_census c = pool_count_workers(p);

	log_about(&about, LOG_NOTICE,
		  "%s: %u/%u workers (%u idle, %u busy, %u starting, %u stopping), %llu queued, "
		  "%llu running, %llu done, %llu failed%s%s",
		  pool_state_name(pool_state(p)), p->up, p->wanted, c.idle, c.busy, c.starting,
		  c.stopping, (unsigned long long)p->queue.count, (unsigned long long)p->running,
		  (unsigned long long)p->stats.done, (unsigned long long)p->stats.failed,
		  p->last_error ? "; " : "", p->last_error ? p->last_error : "");
}

static void
log_worker(const struct worker *w)
{
	struct log_about about = worker_about(w);

	log_about(&about, LOG_NOTICE, "%s, %llu answers", worker_state_name(w),
		  (unsigned long long)w->answers);
}

void
report_log(const struct pools *ps, const char *state)
{
	char *text = report_line(ps);

	log_msg(LOG_NOTICE, "state %s: %s", state, text);
	free(text);
	for (size_t i = 0; i < ps->count; i++) {
		log_pool(ps->v[i]);
		for (unsigned n = 0; n < ps->v[i]->slots; n++)
			if (worker_is_there(ps->v[i]->workers[n]))
				log_worker(ps->v[i]->workers[n]);
	}
}
