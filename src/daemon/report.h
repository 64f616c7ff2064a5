/* SPDX-License-Identifier: MIT */
/*
 * report - the state in words: for the service manager's STATUS=, for the log.
 *
 * Floor 6. Part of the daemon. STATUS= is sent when something has changed, at
 * most once a second, and never from an idle daemon.
 */
#pragma once

#include "io/notify.h"
#include "pool/pool.h"

struct report {
	struct loop *loop;
	struct notify *notify;
	struct timer timer; /* the next STATUS=, when one is due */
	const struct pools *pools;
	mono_t last;
	uint64_t seen; /* fingerprint of what was said last */
};

void report_init(struct report *r, struct loop *l, struct notify *n);
void report_turn(struct report *r, const struct pools *ps, mono_t now);
/* Say it, whether it is due or not. */
void report_now(struct report *r, const struct pools *ps, mono_t now);

/* "3 pools, 12/24 workers, 10 busy, 351 queued; thumbs degraded: …"; malloc'ed. */
char *report_line(const struct pools *ps);
void report_log(const struct pools *ps, const char *state);
bool report_degraded(const struct pools *ps);
