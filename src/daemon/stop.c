/* SPDX-License-Identifier: MIT */
#include "daemon/stop.h"

#include "base/log.h"

#define FLUSH_US (5 * USEC_PER_SEC) /* how long clients may take over their last replies */

static void
enter(struct stop *s, enum stop_phase phase)
{
	s->phase = phase;
	s->since = loop_now(s->loop);
}

/* Nothing is dropped in silence: jobs that run too long, or that wait in a pool
 * that is paused or down. (But for those of a private daemon, whose one client
 * has gone and knows.) */
static void
end_workers(struct stop *s, bool fast)
{
	struct pools_totals left = pools_total(s->pools);

	if (left.running || left.queued)
		log_event(LOG_EVENT_JOBS_CANCELLED,
			  s->conf->control.listen ? LOG_WARNING : LOG_INFO,
			  "%llu running and %llu queued jobs are cancelled",
			  (unsigned long long)left.running, (unsigned long long)left.queued);
	if (s->phase < STOP_END)
		enter(s, STOP_END);
	pools_stop(s->pools, fast);
}

static void
on_limit(struct timer *t, mono_t now)
{
	struct stop *s = container_of(t, struct stop, limit);

	(void)now;
	if (s->phase == STOP_FINISH) {
		log_event(LOG_EVENT_DRAIN_OVER, LOG_WARNING, "drain is over");
		end_workers(s, false);
	} else if (s->phase == STOP_FLUSH) {
		log_msg(LOG_WARNING, "not all clients have taken their last replies");
		loop_exit(s->loop);
	}
}

void
stop_init(struct stop *s, const struct stop *from)
{
	*s = *from;
	s->phase = STOP_NOT;
	s->limit.on_due = on_limit;
}

void
stop_slowly(struct stop *s, int64_t within_us)
{
	if (s->phase != STOP_NOT)
		return;
	log_event(LOG_EVENT_STOPPING, LOG_INFO, "stopping");
	enter(s, STOP_FINISH);
	notify_owe(s->notify, "STOPPING=1");
	pools_drain(s->pools);
	timer_set(loop_timers(s->loop), &s->limit, mono_add(loop_now(s->loop), within_us));
}

void
stop_fast(struct stop *s)
{
	if (s->phase == STOP_NOT)
		notify_owe(s->notify, "STOPPING=1");
	if (s->phase < STOP_FLUSH)
		log_event(LOG_EVENT_STOPPING, LOG_INFO, "stopping at once");
	end_workers(s, true);
}

void
stop_proceed(struct stop *s, mono_t now)
{
	if (s->phase == STOP_FINISH && pools_finished(s->pools)) {
		end_workers(s, false);
		pools_turn(s->pools, now);
	}
	if (s->phase == STOP_END && !pools_processes(s->pools)) {
		enter(s, STOP_FLUSH);
		server_unlisten(s->server);
		timer_set(loop_timers(s->loop), &s->limit, mono_add(now, FLUSH_US));
	}
	if (s->phase == STOP_FLUSH) {
		server_turn(s->server);
		if (server_flushed(s->server))
			loop_exit(s->loop);
	}
}
