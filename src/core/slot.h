/* SPDX-License-Identifier: MIT */
/*
 * slot - the states of one worker's place, and what moves it.
 *
 * Floor 2. A slot outlives its processes: number 3 of a pool is down, starts,
 * is up, stops, is down again. Whether an up slot is idle or busy is a matter
 * of counting its jobs and no state of its own.
 *
 *	DOWN --spawn--> SPAWNED --execed--> STARTING --ready--> UP
 *	SPAWNED, STARTING, UP --close--> CLOSING --term--> TERM --kill--> KILL
 *	any but DOWN --exit--> DOWN
 */
#pragma once

#include <stdbool.h>

enum slot_state {
	SLOT_DOWN,     /* no process */
	SLOT_SPAWNED,  /* the loader runs */
	SLOT_STARTING, /* the worker's program runs; it has not said READY */
	SLOT_UP,       /* takes jobs */
	SLOT_CLOSING,  /* has been told, by end of file, to finish what it has */
	SLOT_TERM,     /* has been sent SIGTERM */
	SLOT_KILL,     /* has been sent SIGKILL */
};
#define SLOT_STATES 7

enum slot_event {
	SLOT_SPAWN,
	SLOT_EXECED,
	SLOT_READY,
	SLOT_CLOSE,
	SLOT_END,
	SLOT_DESTROY,
	SLOT_EXIT
};
#define SLOT_EVENTS 7

/* The state after event; an event that cannot happen in a state is a bug and
 * aborts. Late news (READY of a worker that is being stopped) keeps the state. */
enum slot_state slot_next(enum slot_state s, enum slot_event e);

/* What the states are to somebody outside who does not ask how it comes. */
enum slot_phase { PHASE_DOWN, PHASE_STARTING, PHASE_UP, PHASE_STOPPING };
enum slot_phase slot_phase(enum slot_state s);
const char *slot_phase_name(enum slot_phase p); /* "down", "starting", "up", "stopping" */

/* The word that WORKERS shows. */
const char *slot_state_name(enum slot_state s, bool busy);

static inline bool
slot_is_stopping(enum slot_state s)
{
	return s >= SLOT_CLOSING;
}
