/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/loop.h"

#include "base/list.h"

#include <string.h>
#include <unistd.h>

/* A pipe with something in it, and the letter that stands for it. */
struct source {
	struct watch watch;
	char letter;
	int fds[2];
};

static struct loop *l;
static char seen[16]; /* what came, in its order; 'l' is before_last() */

static void
note(char letter)
{
	size_t n = strlen(seen);

	assert_true(n < sizeof(seen) - 1);
	seen[n] = letter;
}

static void
on_ready(struct watch *w, uint32_t events)
{
	assert_true(events & EPOLLIN);
	note(container_of(w, struct source, watch)->letter);
}

static void
before_last(void *ctx, mono_t now)
{
	assert_null(ctx);
	assert_false(mono_is_never(now));
	note('l');
}

static void
on_turn(void *ctx, mono_t now)
{
	(void)ctx;
	(void)now;
	if (seen[0])
		loop_exit(l);
}

/* One batch, in which one source for each letter is ready: of 'f' for WATCH_FIRST, 'u' for
 * WATCH_USUAL and 'z' for WATCH_LAST. */
static const char *
batch(const char *letters, const struct loop_ops *ops)
{
	static const enum watch_order orders[] = {
		['f'] = WATCH_FIRST, ['u'] = WATCH_USUAL, ['z'] = WATCH_LAST};
	struct source sources[8];
	size_t n = strlen(letters);

	memset(seen, 0, sizeof(seen));
	assert_int_equal(loop_new(ops, NULL, (const int[]){0}, &l), 0);
	for (size_t i = 0; i < n; i++) {
		struct source *s = &sources[i];

		s->letter = letters[i];
		assert_int_equal(pipe(s->fds), 0);
		assert_int_equal(write(s->fds[1], "x", 1), 1);
		assert_int_equal(watch_add(l, &s->watch, s->fds[0], EPOLLIN, on_ready), 0);
		s->watch.order = orders[(unsigned char)letters[i]];
	}
	assert_int_equal(loop_run(l), 0);
	for (size_t i = 0; i < n; i++) {
		watch_remove(l, &sources[i].watch);
		close(sources[i].fds[0]);
		close(sources[i].fds[1]);
	}
	loop_free(l);
	return seen;
}

/* However the kernel lists them; and before_last() once, where anything is last. */
static void
test_order(void **state)
{
	static const struct loop_ops ops = {.on_turn = on_turn, .before_last = before_last};

	(void)state;
	assert_string_equal(batch("fuz", &ops), "fulz");
	assert_string_equal(batch("zuf", &ops), "fulz");
	assert_string_equal(batch("uzfzuf", &ops), "ffuulzz");
	assert_string_equal(batch("z", &ops), "lz");
	assert_string_equal(batch("uf", &ops), "fu");
}

static void
test_nothing_before_the_last(void **state)
{
	static const struct loop_ops ops = {.on_turn = on_turn};

	(void)state;
	assert_string_equal(batch("zuf", &ops), "fuz");
}

/* ---- rest ---- */

static struct source ticked; /* has something to read at every tick */
static struct timer tick;
static int64_t tick_us;
static mono_t started, rested;
static mono_t alone;	   /* since then */
static int64_t longest_us; /* for so long at most */

static void
on_tick(struct timer *t, mono_t now)
{
	assert_int_equal(write(ticked.fds[1], "x", 1), 1);
	timer_set(loop_timers(l), t, mono_add(now, tick_us));
}

static void
alone_until(mono_t now)
{
	longest_us = mono_since(now, alone) > longest_us ? mono_since(now, alone) : longest_us;
	alone = now;
}

static void
on_ticked(struct watch *w, uint32_t events)
{
	char c;

	assert_true(events & EPOLLIN);
	assert_int_equal(read(w->fd, &c, 1), 1);
	alone_until(mono_now());
}

static void
on_rest(void *ctx)
{
	(void)ctx;
	rested = loop_now(l);
	alone_until(rested); /* the tick of this turn has not been read */
	loop_exit(l);
}

static void
on_end(struct timer *t, mono_t now)
{
	(void)t;
	(void)now;
	loop_exit(l);
}

static void
on_no_turn(void *ctx, mono_t now)
{
	(void)ctx;
	(void)now;
}

/* Until end_us: something comes after first_us, and then every every_us. */
static void
run_ticking(const struct loop_ops *ops, int64_t first_us, int64_t every_us, int64_t end_us)
{
	struct timer end = {.on_due = on_end};

	started = alone = mono_now();
	longest_us = 0;
	tick_us = every_us;
	tick.on_due = on_tick;
	assert_int_equal(loop_new(ops, NULL, (const int[]){0}, &l), 0);
	assert_int_equal(pipe(ticked.fds), 0);
	assert_int_equal(watch_add(l, &ticked.watch, ticked.fds[0], EPOLLIN, on_ticked), 0);
	timer_set(loop_timers(l), &tick, mono_add(started, first_us));
	timer_set(loop_timers(l), &end, mono_add(started, end_us));
	assert_int_equal(loop_run(l), 0);
	timer_clear(loop_timers(l), &tick);
	timer_clear(loop_timers(l), &end);
	watch_remove(l, &ticked.watch);
	close(ticked.fds[0]);
	close(ticked.fds[1]);
	loop_free(l);
}

/* How long it took to rest, or -1: it did not for so many seconds. */
static int64_t
rests_after(int64_t first_us, int64_t every_us, int64_t seconds)
{
	static const struct loop_ops ops = {.on_turn = on_no_turn, .on_rest = on_rest};

	rested = MONO_NEVER;
	run_ticking(&ops, first_us, every_us, seconds * USEC_PER_SEC);
	return mono_is_never(rested) ? -1 : mono_since(rested, started);
}

/* Once something has come, and nothing for a while; the clock is nothing. */
static void
test_rests(void **state)
{
	(void)state;
	assert_true(rests_after(0, USEC_INFINITY, 60) >= LOOP_REST_US);
	assert_int_equal(rests_after(USEC_INFINITY, USEC_INFINITY, 1), -1);
}

/* And no later where something always comes; on a machine that stands still for so long,
 * nothing did. */
static void
test_rests_though_restless(void **state)
{
	int64_t us = rests_after(0, LOOP_REST_US / 25, 60);

	(void)state;
	assert_true(us >= LOOP_RESTLESS_US || longest_us >= LOOP_REST_US / 2);
	assert_true(us >= 0);
}

static unsigned rests;

static void
on_long_rest(void *ctx)
{
	(void)ctx;
	rests++;
	usleep(50000);
}

/* Who needs long for it is not at it whenever somebody has asked a little thing. */
static void
test_rests_seldom_where_it_is_long(void **state)
{
	static const struct loop_ops ops = {.on_turn = on_no_turn, .on_rest = on_long_rest};

	(void)state;
	run_ticking(&ops, 0, 2 * LOOP_REST_US, 14 * LOOP_REST_US);
	assert_int_equal(rests, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_nothing_before_the_last),
		cmocka_unit_test(test_rests),
		cmocka_unit_test(test_rests_though_restless),
		cmocka_unit_test(test_rests_seldom_where_it_is_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
