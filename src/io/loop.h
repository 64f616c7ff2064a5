/* SPDX-License-Identifier: MIT */
/*
 * loop - the one event loop: signals, deadlines, descriptors, the watchdog.
 *
 * Floor 3; only this floor includes sd-event. The daemon owns the loop. Hot
 * descriptors (clients, workers, their processes) are in one epoll of the
 * loop's own, and so is sd-event, with the signals and the clock: a turn takes
 * what is ready there, then expires deadlines, then calls on_turn() once, where
 * work moves. So no peer can starve the pump, however large a batch is. What comes
 * in large pieces comes last, and work that need not wait for it may move
 * before_last().
 */
#pragma once

#include "base/buf.h"
#include "base/mono.h"
#include "core/timer.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h> /* EPOLLIN and friends */

struct loop;

struct loop_ops {
	void (*on_turn)(void *ctx, mono_t now);
	void (*before_last)(void *ctx, mono_t now); /* of a batch that has some; NULL: nothing */
	void (*on_signal)(void *ctx, int signo);
	void (*on_rest)(void *ctx); /* LOOP_REST_US after the last batch; NULL: nothing */
};

/* Who is never left alone for so long rests, too, LOOP_RESTLESS_US after the last time. The
 * clock and signals alone are no batch: who rests is not woken for more of it. Whoever lets
 * go of much because of them says so with loop_stir(). To rest takes at most one part in
 * LOOP_REST_COST of the time: with a large heap in pieces it may be long, and nobody is heard. */
#define LOOP_REST_US (250 * USEC_PER_MSEC)
#define LOOP_RESTLESS_US (10 * USEC_PER_SEC)
#define LOOP_REST_COST 100

/* Of what is ready at the same time. */
enum watch_order { WATCH_USUAL, WATCH_FIRST, WATCH_LAST };

/* A descriptor that is watched. It lives in its owner, who removes it before
 * the descriptor is closed, and does not free it before the turn is over. */
struct watch {
	int fd;		 /* -1: not watched */
	uint32_t events; /* EPOLLIN, EPOLLOUT; EPOLLHUP and EPOLLERR always come */
	void (*on_ready)(struct watch *w, uint32_t events);
	enum watch_order order; /* for its owner to set, once it was added */
};

/* signals: 0-terminated; they are blocked here and come to on_signal(). SIGCHLD
 * is blocked, whoever has ignored it before, and SIGPIPE ignored. 0 or -errno. */
int loop_new(const struct loop_ops *ops, void *ctx, const int *signals, struct loop **ret);
void loop_free(struct loop *l);

/* Run until loop_exit(); 0 or -errno. */
int loop_run(struct loop *l);
void loop_exit(struct loop *l);

/* Have another turn at once, without waiting for an event. */
void loop_again(struct loop *l);

/* As if there had been a batch just now: on_rest() is to come. */
void loop_stir(struct loop *l);

/* The time at which the current batch of events began. */
mono_t loop_now(const struct loop *l);
struct timers *loop_timers(struct loop *l);
/* The buffer that the streams read into, one after the other: empty, or without memory
 * while one of them has it. */
struct buf *loop_input(struct loop *l);

/* Ping the service manager's watchdog where it asks for it. 1 yes, 0 it does
 * not ask, -errno. */
int loop_watchdog(struct loop *l);

/* 0 or -errno. */
int watch_add(struct loop *l, struct watch *w, int fd, uint32_t events,
	      void (*on_ready)(struct watch *, uint32_t));
void watch_set(struct loop *l, struct watch *w, uint32_t events); /* no-op when unchanged */
void watch_remove(struct loop *l, struct watch *w);		  /* no-op when not watched */
