/* SPDX-License-Identifier: MIT */
#include "loop-thread.h"

#include "base/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_S 30 /* nothing takes so long: it will not come */

static void
on_knock(struct watch *w, uint32_t events)
{
	uint64_t n;

	(void)events;
	(void)!read(w->fd, &n, sizeof(n));
}

static void
on_turn(void *ctx, mono_t now)
{
	struct loop_thread *t = ctx;

	if (t->on_turn)
		t->on_turn(now);
	t->turns++;
	sem_post(&t->turned);
	while (sem_wait(&t->go) < 0)
		;
	if (t->leaving)
		loop_exit(t->loop);
}

static void
on_signal(void *ctx, int signo)
{
	(void)ctx;
	(void)signo;
}

static void *
run(void *arg)
{
	struct loop_thread *t = arg;

	loop_run(t->loop);
	return NULL;
}

static void
knock(struct loop_thread *t)
{
	uint64_t one = 1;

	(void)!write(t->knock.fd, &one, sizeof(one));
}

/* The turn that was asked for is over. False: it has not come in time. */
static bool
await_turn(struct loop_thread *t, int64_t us)
{
	struct timespec end;

	clock_gettime(CLOCK_MONOTONIC, &end);
	us += end.tv_nsec / 1000;
	end.tv_sec += us / USEC_PER_SEC;
	end.tv_nsec = us % USEC_PER_SEC * 1000;
	while (sem_clockwait(&t->turned, CLOCK_MONOTONIC, &end) < 0)
		if (!mono_before(mono_now(),
				 (mono_t){end.tv_sec * USEC_PER_SEC + end.tv_nsec / 1000}))
			return false;
	return true;
}

void
loop_thread_start(struct loop_thread *t, void (*turn)(mono_t now))
{
	static const struct loop_ops ops = {.on_turn = on_turn, .on_signal = on_signal};
	static const int none[] = {0};

	memset(t, 0, sizeof(*t));
	t->on_turn = turn;
	assert_int_equal(sem_init(&t->turned, 0, 0), 0);
	assert_int_equal(sem_init(&t->go, 0, 0), 0);
	assert_int_equal(loop_new(&ops, t, none, &t->loop), 0);
	assert_int_equal(watch_add(t->loop, &t->knock, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
				   EPOLLIN, on_knock),
			 0);
	assert_int_equal(pthread_create(&t->thread, NULL, run, t), 0);
	assert_true(await_turn(t, PATIENCE_S * USEC_PER_SEC));
}

/* The loop may stand still, or sleep where a wait was in vain. */
void
loop_thread_stop(struct loop_thread *t)
{
	int fd = t->knock.fd;

	t->leaving = true;
	knock(t);
	sem_post(&t->go);
	pthread_join(t->thread, NULL);
	watch_remove(t->loop, &t->knock);
	close(fd);
	loop_free(t->loop);
	sem_destroy(&t->turned);
	sem_destroy(&t->go);
}

void
loop_thread_turn(struct loop_thread *t)
{
	knock(t);
	loop_thread_wait(t);
}

void
loop_thread_wait(struct loop_thread *t)
{
	sem_post(&t->go);
	if (!await_turn(t, PATIENCE_S * USEC_PER_SEC))
		fail_msg("nothing happens any more");
}
