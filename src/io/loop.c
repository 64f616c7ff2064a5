/* SPDX-License-Identifier: MIT */
#include "io/loop.h"

#include "base/fd.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/notify.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

#define BATCH 512 /* ready descriptors taken a turn */

struct loop {
	const struct loop_ops *ops;
	void *ctx;
	int epoll_fd;
	sd_event *event; /* signals and the clock */
	struct watch event_watch;
	sd_event_source *clock;
	mono_t now;
	mono_t armed; /* when the clock's source wakes us; MONO_NEVER: it does not */
	bool again;
	bool leaving;
	int error; /* 0 or -errno: it cannot go on */
	struct timers timers;
	struct buf input;    /* the streams' */
	int64_t watchdog_us; /* within which the service manager wants to hear of us; 0: it does not */
	struct timer watchdog; /* a turn is all it is for */
	mono_t fed;	       /* when it last did, or could not */
	struct timer rest;
	mono_t stirred; /* by the last batch */
	mono_t rested;	/* last time */
	mono_t tired;	/* not again before, for what it took */
};

/* All that sd-event has to tell; and have it watch for what it was set to. */
static void
loop_hear(struct loop *l)
{
	int r;

	while ((r = sd_event_run(l->event, 0)) > 0)
		;
	if (r < 0)
		l->error = r;
}

/* Sleep no longer than to the next deadline. A deadline that has moved away is
 * not worth a system call: the clock wakes us once for nothing, and is set then. */
static void
loop_arm(struct loop *l)
{
	mono_t next = timers_next(&l->timers);

	if (l->again || !mono_before(next, l->armed))
		return;
	l->armed = next;
	sd_event_source_set_time(l->clock, (uint64_t)next.us);
	sd_event_source_set_enabled(l->clock, SD_EVENT_ONESHOT);
	loop_hear(l);
}

/* sd-event's own way to do it waits for room, and stands still with a service
 * manager that does. Only turns say that we live: a timer alone would lie. */
static void
loop_feed(struct loop *l)
{
	int r;

	if (!l->watchdog_us || mono_since(l->now, l->fed) < l->watchdog_us / 4)
		return;
	r = notify_try("WATCHDOG=1");
	l->fed = l->now;
	timer_set(&l->timers, &l->watchdog,
		  mono_add(l->now, r < 0 ? l->watchdog_us / 4 : l->watchdog_us / 2));
}

static void
on_rest_due(struct timer *t, mono_t now)
{
	struct loop *l = container_of(t, struct loop, rest);
	mono_t quiet = mono_add(l->stirred, LOOP_REST_US);

	if (mono_before(now, quiet) && mono_since(now, l->rested) < LOOP_RESTLESS_US) {
		timer_set(&l->timers, t, quiet);
		return;
	}
	if (mono_before(now, l->tired)) {
		timer_set(&l->timers, t, l->tired);
		return;
	}
	l->ops->on_rest(l->ctx);
	l->rested = mono_now();
	l->tired = mono_add(l->rested, LOOP_REST_COST * mono_since(l->rested, now));
}

void
loop_stir(struct loop *l)
{
	l->stirred = l->now;
	if (l->ops->on_rest && !timer_is_set(&l->rest))
		timer_set(&l->timers, &l->rest, mono_add(l->now, LOOP_REST_US));
}

/* Every batch ends here. The turn's time is taken anew: the batch may have
 * been long, and a deadline is judged after the answers that came before it. */
static void
loop_turn(struct loop *l)
{
	l->now = mono_now();
	timers_expire(&l->timers, l->now);
	loop_feed(l);
	l->ops->on_turn(l->ctx, l->now);
	loop_arm(l);
}

/* Those of a batch that are of that order. */
static void
dispatch(const struct epoll_event *events, int n, enum watch_order order)
{
	for (int i = 0; i < n; i++) {
		struct watch *w = events[i].data.ptr;

		if (w->fd >= 0 && w->order == order) /* not removed by one before it */
			w->on_ready(w, events[i].events);
	}
}

static bool
has_last(const struct epoll_event *events, int n)
{
	for (int i = 0; i < n; i++) {
		const struct watch *w = events[i].data.ptr;

		if (w->fd >= 0 && w->order == WATCH_LAST)
			return true;
	}
	return false;
}

/* Sleep until something is ready, or not at all where there is more to do. */
static void
loop_batch(struct loop *l)
{
	struct epoll_event events[BATCH];
	int n = epoll_wait(l->epoll_fd, events, BATCH, l->again ? 0 : -1);

	if (n < 0 && errno != EINTR)
		l->error = -errno;
	l->again = false;
	l->now = mono_now();
	if (n > 1 || (n == 1 && events[0].data.ptr != &l->event_watch))
		loop_stir(l);
	dispatch(events, n, WATCH_FIRST);
	dispatch(events, n, WATCH_USUAL);
	if (l->ops->before_last && has_last(events, n))
		l->ops->before_last(l->ctx, l->now);
	dispatch(events, n, WATCH_LAST);
}

static void
on_event(struct watch *w, uint32_t events)
{
	(void)events;
	loop_hear(container_of(w, struct loop, event_watch));
}

/* The handlers never return an error: sd-event would disable their source. Where they are
 * called at the end of a turn there is another one. */
static int
on_clock(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct loop *l = userdata;

	(void)s;
	(void)usec;
	l->armed = MONO_NEVER;
	l->again = true;
	return 0;
}

static int
on_signal(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata)
{
	struct loop *l = userdata;

	(void)s;
	l->ops->on_signal(l->ctx, (int)si->ssi_signo);
	l->again = true;
	return 0;
}

static int
loop_add_signals(struct loop *l, const int *signals)
{
	sigset_t set;
	int r = 0;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	for (const int *s = signals; *s; s++)
		sigaddset(&set, *s);
	/* Whoever executed us may have ignored SIGCHLD: then no child can be waited for. */
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR ||
	    signal(SIGCHLD, SIG_DFL) == SIG_ERR)
		return -errno;
	for (const int *s = signals; *s && r >= 0; s++)
		r = sd_event_add_signal(l->event, NULL, *s, on_signal, l);
	return r < 0 ? r : 0;
}

static int
loop_add_clock(struct loop *l)
{
	int r;

	/* Accuracy 1 ms; the default is 250. */
	r = sd_event_add_time(l->event, &l->clock, CLOCK_MONOTONIC, UINT64_MAX, USEC_PER_MSEC,
			      on_clock, l);
	if (r < 0)
		return r;
	return sd_event_source_set_enabled(l->clock, SD_EVENT_OFF);
}

static int
loop_add_event(struct loop *l)
{
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll_fd < 0)
		return -errno;
	return watch_add(l, &l->event_watch, sd_event_get_fd(l->event), EPOLLIN, on_event);
}

int
loop_new(const struct loop_ops *ops, void *ctx, const int *signals, struct loop **ret)
{
	struct loop *l = mem_new(sizeof(*l));
	int r;

	l->ops = ops;
	l->ctx = ctx;
	l->epoll_fd = -1;
	l->armed = MONO_NEVER;
	l->now = l->rested = mono_now();
	l->rest.on_due = on_rest_due;
	r = sd_event_new(&l->event);
	if (r >= 0)
		r = loop_add_signals(l, signals);
	if (r >= 0)
		r = loop_add_clock(l);
	if (r >= 0)
		r = loop_add_event(l);
	if (r < 0) {
		loop_free(l);
		return r;
	}
	*ret = l;
	return 0;
}

void
loop_free(struct loop *l)
{
	if (!l)
		return;
	fd_close(&l->epoll_fd);
	sd_event_source_disable_unref(l->clock);
	sd_event_unref(l->event);
	timers_free(&l->timers);
	buf_free(&l->input);
	free(l);
}

int
loop_run(struct loop *l)
{
	loop_hear(l);
	loop_turn(l);
	while (!l->error && !l->leaving) {
		loop_batch(l);
		loop_turn(l);
	}
	return l->error;
}

void
loop_exit(struct loop *l)
{
	l->leaving = true;
}

void
loop_again(struct loop *l)
{
	l->again = true;
}

mono_t
loop_now(const struct loop *l)
{
	return l->now;
}

struct timers *
loop_timers(struct loop *l)
{
	return &l->timers;
}

struct buf *
loop_input(struct loop *l)
{
	return &l->input;
}

int
loop_watchdog(struct loop *l)
{
	uint64_t usec;
	int r = sd_watchdog_enabled(0, &usec);

	if (r <= 0)
		return r;
	l->watchdog_us = usec < USEC_INFINITY ? (int64_t)usec : USEC_INFINITY;
	loop_feed(l);
	return 1;
}

int
watch_add(struct loop *l, struct watch *w, int fd, uint32_t events,
	  void (*on_ready)(struct watch *, uint32_t))
{
	struct epoll_event ev = {.events = events, .data.ptr = w};

	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
		return -errno;
	*w = (struct watch){.fd = fd, .events = events, .on_ready = on_ready};
	return 0;
}

void
watch_set(struct loop *l, struct watch *w, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = w};

	if (w->fd < 0 || w->events == events)
		return;
	/* Fails only for a descriptor that is not in the set: our own mistake. */
	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, w->fd, &ev) < 0)
		log_msg(LOG_ERR, "epoll: cannot change descriptor %d: %s", w->fd, strerror(errno));
	w->events = events;
}

void
watch_remove(struct loop *l, struct watch *w)
{
	if (w->fd < 0)
		return;
	epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
	w->fd = -1;
}
