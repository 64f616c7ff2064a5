/* SPDX-License-Identifier: MIT */
/*
 * stop - the end of the daemon, phase by phase.
 *
 * Floor 6. Part of the daemon, which owns it and whatever it ends: refuse new
 * jobs, finish those there are, end of file to the workers, SIGTERM, SIGKILL, last
 * replies, leave the loop. Phases only go forward; each can be cut short by a
 * faster way to stop.
 */
#pragma once

#include "control/server.h"
#include "core/conf.h"
#include "io/notify.h"
#include "pool/pool.h"

enum stop_phase {
	STOP_NOT,
	STOP_FINISH, /* accepted jobs are finished, within the limit */
	STOP_END,    /* workers are being ended */
	STOP_FLUSH,  /* clients take their last replies */
};

struct stop {
	const struct conf *conf;
	struct loop *loop;
	struct pools *pools;
	struct server *server;
	struct notify *notify;
	enum stop_phase phase;
	mono_t since;	    /* when that began */
	struct timer limit; /* of STOP_FINISH and STOP_FLUSH */
};

/* from: what it ends; all of that outlives it. */
void stop_init(struct stop *s, const struct stop *from);

/* Let jobs finish for within_us first; no-op once a stop has begun. */
void stop_slowly(struct stop *s, int64_t within_us);
/* Cancel what has not finished, whatever a slower stop has promised. */
void stop_fast(struct stop *s);

/* As far as it can go now; from phase to phase within a turn. */
void stop_proceed(struct stop *s, mono_t now);
