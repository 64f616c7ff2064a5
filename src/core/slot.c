/* SPDX-License-Identifier: MIT */
#include "core/slot.h"

#include <assert.h>

#define TO(state) ((state) + 1) /* 0: cannot happen */

static const unsigned char next[SLOT_STATES][SLOT_EVENTS] = {
	[SLOT_DOWN] = {[SLOT_SPAWN] = TO(SLOT_SPAWNED)},
	[SLOT_SPAWNED] = {[SLOT_EXECED] = TO(SLOT_STARTING),
			  [SLOT_CLOSE] = TO(SLOT_CLOSING),
			  [SLOT_END] = TO(SLOT_TERM),
			  [SLOT_DESTROY] = TO(SLOT_KILL),
			  [SLOT_EXIT] = TO(SLOT_DOWN)},
	[SLOT_STARTING] = {[SLOT_READY] = TO(SLOT_UP),
			   [SLOT_CLOSE] = TO(SLOT_CLOSING),
			   [SLOT_END] = TO(SLOT_TERM),
			   [SLOT_DESTROY] = TO(SLOT_KILL),
			   [SLOT_EXIT] = TO(SLOT_DOWN)},
	[SLOT_UP] = {[SLOT_READY] = TO(SLOT_UP),
		     [SLOT_CLOSE] = TO(SLOT_CLOSING),
		     [SLOT_END] = TO(SLOT_TERM),
		     [SLOT_DESTROY] = TO(SLOT_KILL),
		     [SLOT_EXIT] = TO(SLOT_DOWN)},
	[SLOT_CLOSING] = {[SLOT_EXECED] = TO(SLOT_CLOSING),
			  [SLOT_READY] = TO(SLOT_CLOSING),
			  [SLOT_CLOSE] = TO(SLOT_CLOSING),
			  [SLOT_END] = TO(SLOT_TERM),
			  [SLOT_DESTROY] = TO(SLOT_KILL),
			  [SLOT_EXIT] = TO(SLOT_DOWN)},
	[SLOT_TERM] = {[SLOT_EXECED] = TO(SLOT_TERM),
		       [SLOT_READY] = TO(SLOT_TERM),
		       [SLOT_CLOSE] = TO(SLOT_TERM),
		       [SLOT_END] = TO(SLOT_TERM),
		       [SLOT_DESTROY] = TO(SLOT_KILL),
		       [SLOT_EXIT] = TO(SLOT_DOWN)},
	[SLOT_KILL] = {[SLOT_EXECED] = TO(SLOT_KILL),
		       [SLOT_READY] = TO(SLOT_KILL),
		       [SLOT_CLOSE] = TO(SLOT_KILL),
		       [SLOT_END] = TO(SLOT_KILL),
		       [SLOT_DESTROY] = TO(SLOT_KILL),
		       [SLOT_EXIT] = TO(SLOT_DOWN)},
};

enum slot_state
slot_next(enum slot_state s, enum slot_event e)
{
	unsigned char to = next[s][e];

	assert(to);
	return (enum slot_state)(to - 1);
}

enum slot_phase
slot_phase(enum slot_state s)
{
	static const enum slot_phase phases[SLOT_STATES] = {
		[SLOT_DOWN] = PHASE_DOWN,	  [SLOT_SPAWNED] = PHASE_STARTING,
		[SLOT_STARTING] = PHASE_STARTING, [SLOT_UP] = PHASE_UP,
		[SLOT_CLOSING] = PHASE_STOPPING,  [SLOT_TERM] = PHASE_STOPPING,
		[SLOT_KILL] = PHASE_STOPPING,
	};

	return phases[s];
}

const char *
slot_phase_name(enum slot_phase p)
{
	static const char *const names[] = {
		[PHASE_DOWN] = "down",
		[PHASE_STARTING] = "starting",
		[PHASE_UP] = "up",
		[PHASE_STOPPING] = "stopping",
	};

	return names[p];
}

const char *
slot_state_name(enum slot_state s, bool busy)
{
	switch (s) {
	case SLOT_DOWN:
		return "down";
	case SLOT_SPAWNED:
	case SLOT_STARTING:
		return "starting";
	case SLOT_UP:
		return busy ? "busy" : "idle";
	case SLOT_CLOSING:
	case SLOT_TERM:
	case SLOT_KILL:
		return "stopping";
	}
	return "?";
}
