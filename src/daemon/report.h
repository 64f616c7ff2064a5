/* SPDX-License-Identifier: MIT */
/*
 * report - the state in words: for the service manager's STATUS=, for the log.
 *
 * Floor 6. Part of the daemon. STATUS= is sent when something has changed, at
 * most once a second, and never from an idle daemon. While a start or a stop
 * goes on it also asks for the time that its own limits leave it, and no more:
 * what is stuck is not spared.
 */
#pragma once

#include "daemon/stop.h"
#include "io/notify.h"
#include "pool/pool.h"

struct report {
	struct loop *loop;
	struct notify *notify;
	const struct pools *pools;
	const struct stop *stop;
	bool ready;
	bool closed; /* the last word is said */
	mono_t begun;
	struct timer timer; /* the next STATUS=, when one is due */
	mono_t last;
	uint64_t seen;	     /* fingerprint of what was said last */
	struct timer extend; /* the next EXTEND_TIMEOUT_USEC=, while there is something to wait for */
	char *reload_error; /* of the last reload; NULL: it was good */
};

/* from: what it reports on; all of that outlives it. */
void report_init(struct report *r, const struct report *from);
/* After each turn: say what is new, now or when it is due. */
void report_turn(struct report *r, mono_t now);
/* The start is over: from now on it is the service that is reported on. */
void report_ready(struct report *r, mono_t now);
/* A reload was refused, and in len bytes why; or, error NULL, one is in force. Said until
 * the next. */
void report_reload(struct report *r, const char *error, size_t len, mono_t now);
void report_fini(struct report *r);
/* The end, of which nothing is to be said. */
void report_end(struct report *r);
/* Why it ends, which nothing that follows replaces. error: an errno; 0: there is none. */
void report_failure(struct report *r, int error, const char *text);
/* The same where nothing else is reported on yet. */
void report_refusal(struct notify *n, int error, const char *text);

/* "3 pools, 12/24 workers, 10 busy, 351 queued; thumbs degraded: …"; malloc'ed. */
char *report_line(const struct pools *ps);
void report_log(const struct pools *ps, const char *state);
bool report_degraded(const struct pools *ps);
