/* SPDX-License-Identifier: MIT */
/*
 * map_screen - how far a map is, on one line of standard error.
 *
 * On a terminal the line is rewritten a few times a second and cleared before
 * anything else is said (the messages of a private daemon come by here for that);
 * elsewhere, where it was asked for, it is a new line now and then. What the
 * workers do is asked for on a connection of its own, since the replies of the
 * others come in the order of their commands.
 */
#pragma once

#include "base/buf.h"
#include "base/mono.h"

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct progress {
	uint64_t lines;	       /* that are dealt with */
	uint64_t total;	       /* 0: not known */
	bool is_guess;	       /* total */
	uint64_t failed;       /* of lines */
	double rate;	       /* lines a second */
	int64_t busy, workers; /* workers 0: not known */
};

struct screen {
	bool on, rewrites, drawn;
	int columns; /* 0: no limit */
	mono_t next; /* when to draw */
	struct {
		mono_t at;
		uint64_t lines;
	} mark[2]; /* what the rate is counted from, the older one and the next */

	int ask; /* connection to ask on; -1: none */
	redisReader *reader;
	bool asked;
	int64_t busy, workers;

	int messages; /* of the daemon, to be passed on; -1: none */
	struct buf pending;
};

/* ask and messages are borrowed. Messages are passed on even when it is not on. */
void screen_open(struct screen *s, bool on, int ask, int messages);
void screen_close(struct screen *s);

/* Before anything else is written to the terminal. */
void screen_clear(struct screen *s);

bool screen_is_due(const struct screen *s, mono_t now);

/* Draw what p says; rate, busy and workers are added. */
void screen_draw(struct screen *s, struct progress *p, mono_t now);

/* Ask for the pool's state, unless an answer is still to come. */
void screen_ask(struct screen *s, const char *pool);
void screen_read_answer(struct screen *s);

/* Pass messages on. */
void screen_read_messages(struct screen *s);

/* The line itself, at most columns - 1 characters of it where that is not 0. */
void screen_format(char *dst, size_t cap, int columns, const struct progress *p);
