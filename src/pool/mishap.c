/* SPDX-License-Identifier: MIT */
/*
 * mishap - workers that died and jobs that failed by it, in the log: a line each, but
 * no more than somebody could read. Part of the pump.
 */
#include "pool/pump.h"

#include <stdarg.h>
#include <stdio.h>

#define LINES_A_SECOND 100 /* of a pool's, and of a slot's */
#define LINES_BURST 500
#define TELL_US USEC_PER_SEC /* until it is told how many there was no room for */
#define TEXT_MAX 2048

static void
tell_later(struct pool *p)
{
	struct timers *ts = loop_timers(p->pools->loop);

	if (!timer_is_set(&p->untold))
		timer_set(ts, &p->untold, mono_add(loop_now(p->pools->loop), TELL_US));
}

bool
mishap_admit(struct pool *p, struct bucket *b)
{
	if (bucket_take(b, loop_now(p->pools->loop), LINES_A_SECOND, LINES_BURST))
		return true;
	tell_later(p);
	return false;
}

void
mishap_tell_untold(struct pool *p)
{
	struct log_about about = {.pool = p->conf->name, .event = LOG_EVENT_LINES_DROPPED};
	uint64_t n = bucket_take_refused(&p->lines);

	timer_clear(loop_timers(p->pools->loop), &p->untold);
	if (n)
		log_about(&about, LOG_WARNING, "%llu lines about workers and jobs dropped",
			  (unsigned long long)n);
	for (unsigned i = 0; i < p->slots; i++)
		errlog_tell_dropped(&p->workers[i]->err);
}

void
mishap_on_untold(struct timer *t, mono_t now)
{
	(void)now;
	mishap_tell_untold(container_of(t, struct pool, untold));
}

void
mishap_worker(const struct worker *w, enum log_event event, int level, const char *fmt, ...)
{
	struct log_about about = worker_about(w);
	char text[TEXT_MAX];
	va_list ap;

	if (!log_wants(level) || !mishap_admit(w->pool, &w->pool->lines))
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	about.event = event;
	log_about(&about, level, "worker %s", text);
}

void
mishap_job(const struct worker *w, const struct job *j, enum log_event event, const char *hint)
{
	struct log_about about = worker_about(w);

	if (!log_wants(LOG_WARNING) || !mishap_admit(w->pool, &w->pool->lines))
		return;
	about.event = event;
	about.job = j->id;
	log_about(&about, LOG_WARNING, "job failed: %.*s%s", (int)j->run->text_len, j->run->text,
		  hint);
}
