/* SPDX-License-Identifier: MIT */
/*
 * pump - what the files of the pump (pump.c, settle.c, life.c, restart.c, mishap.c) have of each other.
 *
 * Floor 4, inside of it: nobody else includes this.
 */
#pragma once

#include "pool/worker.h"

/* Move the jobs whose end is recorded to it; drop those that were kept long enough. */
void settle_jobs(struct pool *p, mono_t now);

/* ---- mishap.c: lines of the log that may come thick ---- */
/* A worker died, say, or has to be killed: "worker " and how. */
void mishap_worker(const struct worker *w, enum log_event event, int level, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* A job of w's has failed, by what its record says. hint: more words, or "". */
void mishap_job(const struct worker *w, const struct job *j, enum log_event event,
		const char *hint);

/* Go on with a restart, as far as it can. */
void restart_turn(struct pool *p, mono_t now);
/* The worker that is to be replaced next, one without a job before others; NULL while
 * another is in hand, or none is left. */
struct worker *restart_next(const struct pool *p);

/* When a worker is good for its job, without other news of it. */
mono_t restart_proven_at(const struct worker *w);

/* What a reload has begun: is it over? */
void adopt_turn(struct pool *p);
void adopt_on_leave_due(struct timer *t, mono_t now);

/* Act on the workers' news. */
void life_news(struct pool *p, mono_t now);

/* w's process was no good, or could not be made: error and its text, consumed, are the
 * pool's last ones from now on. */
void life_failed_start(struct pool *p, struct worker *w, int error, char *take_error, mono_t now);
/* Workers start again: say so, and forget what went before. */
void life_recovered(struct pool *p);
/* Forget what went before: all slots are filled as if none had failed. */
void life_forgive(struct pool *p);
