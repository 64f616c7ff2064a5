/* SPDX-License-Identifier: MIT */
#include "daemon/report.h"

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/notify.h"
#include "pool/worker.h"

#include <stdlib.h>

#define INTERVAL_US USEC_PER_SEC

bool
report_degraded(const struct pools *ps)
{
	for (size_t i = 0; i < ps->count; i++)
		if (throttle_holds(&ps->v[i]->throttle))
			return true;
	return false;
}

char *
report_line(const struct pools *ps)
{
	struct buf b = {0};
	struct pools_totals t = pools_total(ps);
	size_t len;
	char *text;

	buf_putf(&b, "%zu pool%s, %llu/%llu workers, %llu busy, %llu queued", ps->count,
		 ps->count == 1 ? "" : "s", (unsigned long long)t.up, (unsigned long long)t.wanted,
		 (unsigned long long)t.busy, (unsigned long long)t.queued);
	for (size_t i = 0; i < ps->count; i++)
		if (throttle_holds(&ps->v[i]->throttle))
			buf_putf(&b, "; %s degraded: %s", ps->v[i]->conf->name,
				 ps->v[i]->last_error ? ps->v[i]->last_error : "");
	text = buf_steal(&b, &len);
	buf_free(&b);
	return text ? text : mem_strdup("");
}

/* Equal as long as the line is, as good as: cheap enough for every turn. */
static uint64_t
fingerprint(const struct pools *ps)
{
	uint64_t h = 0;

	for (size_t i = 0; i < ps->count; i++) {
		const struct pool *p = ps->v[i];

		h = map_hash_u64(h + p->up) ^ p->running;
		h = map_hash_u64(h + p->queue.count) ^ p->throttle.fails;
	}
	return h;
}

static void
on_due(struct timer *t, mono_t now)
{
	struct report *r = container_of(t, struct report, timer);

	report_now(r, r->pools, now);
}

void
report_init(struct report *r, struct loop *l, struct notify *n)
{
	*r = (struct report){.loop = l, .notify = n, .timer.on_due = on_due};
}

void
report_now(struct report *r, const struct pools *ps, mono_t now)
{
	char *text = report_line(ps);

	notify_status(r->notify, text);
	free(text);
	r->last = now;
	r->seen = fingerprint(ps);
}

void
report_turn(struct report *r, const struct pools *ps, mono_t now)
{
	(void)now;
	if (!r->notify->wanted || timer_is_set(&r->timer) || fingerprint(ps) == r->seen)
		return;
	r->pools = ps;
	timer_set(loop_timers(r->loop), &r->timer, mono_add(r->last, INTERVAL_US));
}

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
