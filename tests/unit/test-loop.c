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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_nothing_before_the_last),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
