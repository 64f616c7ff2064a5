/* SPDX-License-Identifier: MIT */
/*
 * loop-thread - a real loop, turned by hand.
 *
 * The loop runs in a thread of its own and stands still, at the end of each
 * turn, until the test asks for the next: test and loop never run at the same
 * time, so the test may look at everything and call everything in between.
 */
#pragma once

#include "io/loop.h"

#include <pthread.h>
#include <semaphore.h>

struct loop_thread {
	struct loop *loop;
	pthread_t thread;
	sem_t turned, go;
	struct watch knock; /* an eventfd: makes a turn happen */
	void (*on_turn)(mono_t now);
	unsigned turns;
	bool leaving;
};

/* on_turn: what a daemon would do at the end of a turn; NULL: nothing. */
void loop_thread_start(struct loop_thread *t, void (*on_turn)(mono_t now));
void loop_thread_stop(struct loop_thread *t);

/* One turn, with all that is ready now. */
void loop_thread_turn(struct loop_thread *t);

/* Let the loop sleep until something happens, and turn once. The test fails when
 * nothing does. */
void loop_thread_wait(struct loop_thread *t);
