/* SPDX-License-Identifier: MIT */
/*
 * event - one message of the daemon's news, taken apart and put into words.
 *
 * Channels and their texts are those of preforkd-control(7). Everything in an
 * event points into the message.
 */
#pragma once

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum event_kind {
	EVENT_JOB,	/* a job's new state */
	EVENT_OUT,	/* a part of its result */
	EVENT_PROGRESS, /* how far it is */
	EVENT_POOL,	/* a pool's state and counts */
	EVENT_WORKER,
	EVENT_LOST, /* so many messages were not delivered */
	EVENT_MAX
};

extern const char *const event_kinds[EVENT_MAX];

struct text {
	const char *data;
	size_t len;
};

struct event {
	enum event_kind kind;
	struct text id;		     /* of the job; empty: not about one */
	struct text pool;	     /* empty: it was not said */
	struct text state, reason;   /* of a job */
	struct text text;	     /* all that is behind */
	uint64_t done, total, count; /* progress; messages that were lost */
};

/* Take a message apart. False: of a kind that is not known here. */
bool event_parse(const char *channel, size_t channel_len, const char *text, size_t len,
		 struct event *ret);

/* The value of key=value in the text of a pool or worker. False: there is none. */
bool event_field(const struct event *e, const char *key, struct text *ret);

bool text_is(const struct text *t, const char *word);

/* One line, without the time and without an LF. */
void event_put_line(struct buf *b, const struct event *e, bool colour);

/* The members of an object, without its braces. */
void event_put_json(struct buf *b, const struct event *e);
