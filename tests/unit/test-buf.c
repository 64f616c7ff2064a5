/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "holds.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
test_empty(void **state)
{
	struct buf b = {0};
	size_t len = 7;

	(void)state;
	assert_int_equal(buf_len(&b), 0);
	assert_null(buf_head(&b));
	buf_put(&b, NULL, 0);
	buf_puts(&b, "");
	buf_consume(&b, 0);
	buf_trim(&b, 0);
	assert_false(buf_failed(&b));
	assert_null(buf_steal(&b, &len));
	assert_int_equal(len, 0);
	assert_false(buf_failed(&b));
	buf_free(&b);
}

static void
test_writers(void **state)
{
	struct buf b = {0};

	(void)state;
	buf_puts(&b, "ab");
	buf_putc(&b, 'c');
	buf_putc(&b, '\0');
	buf_put(&b, "de", 1);
	buf_putf(&b, "[%s %d]", "x", -3);
	buf_putf(&b, "%s", "");
	assert_int_equal(buf_len(&b), 11);
	assert_memory_equal(buf_head(&b), "abc\0d[x -3]", 11);
	buf_free(&b);
	assert_null(b.data);
}

static void
test_numbers(void **state)
{
	static const uint64_t numbers[] = {0,	      1, 9, 10, 99, 100, UINT32_MAX, UINT64_MAX - 1,
					   UINT64_MAX};
	struct buf b = {0};
	char expected[32];

	(void)state;
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
		(void)snprintf(expected, sizeof expected, "%" PRIu64, numbers[i]);
		buf_put_u64(&b, numbers[i]);
		assert_holds(&b, expected);
		buf_consume(&b, buf_len(&b));
	}
	buf_free(&b);
}

/* A stream in pieces of every length against what went in. */
static void
test_queue(void **state)
{
	struct buf b = {0};
	unsigned in = 0, out = 0;

	(void)state;
	for (unsigned round = 0; round < 3000; round++) {
		for (unsigned n = round * 7 % 50; n > 0; n--)
			buf_putc(&b, (char)in++);
		for (unsigned n = round * 11 % 60; n > 0 && buf_len(&b) > 0; n--) {
			assert_int_equal(*buf_head(&b), (char)out++);
			buf_consume(&b, 1);
		}
		assert_int_equal(buf_len(&b), in - out);
	}
	/* What was read makes room: the capacity follows the load, not the history. */
	assert_true(b.cap <= 4096);
	buf_free(&b);
}

static void
test_reserve(void **state)
{
	struct buf b = {0};

	(void)state;
	assert_true(buf_reserve(&b, 0));
	assert_non_null(buf_tail(&b));
	assert_true(buf_reserve(&b, 1000));
	assert_true(buf_room(&b) >= 1000);
	memset(buf_tail(&b), 'x', 1000);
	buf_commit(&b, 1000);
	buf_consume(&b, 999);
	assert_holds(&b, "x");
	assert_true(buf_reserve(&b, 100000));
	assert_holds(&b, "x");
	buf_free(&b);
}

/* Each asks for what cannot be had: the bytes stay, and nothing follows them. */
static void
test_failed(void **state)
{
	static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 3, SIZE_MAX / 2 + 1, SIZE_MAX / 2};

	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		struct buf b = {0};
		size_t len = 1;

		buf_puts(&b, "kept");
		assert_false(buf_reserve(&b, sizes[i]));
		assert_true(buf_failed(&b));
		buf_puts(&b, "more");
		buf_putf(&b, "%d", 1);
		buf_put_u64(&b, 1);
		assert_holds(&b, "kept");
		assert_false(buf_reserve(&b, 0));
		assert_null(buf_steal(&b, &len));
		assert_int_equal(len, 0);
		assert_true(buf_failed(&b));
		assert_int_equal(buf_len(&b), 0);
		buf_free(&b);
		assert_false(buf_failed(&b));
	}
}

static void
test_trim(void **state)
{
	struct buf b = {0};
	size_t cap;

	(void)state;
	buf_puts(&b, "x");
	cap = b.cap;
	buf_trim(&b, 0); /* not empty: stays */
	assert_holds(&b, "x");
	buf_consume(&b, 1);
	buf_trim(&b, cap); /* not more than that: stays */
	assert_non_null(b.data);
	buf_trim(&b, cap - 1);
	assert_null(b.data);
	assert_int_equal(b.cap, 0);
	buf_puts(&b, "again");
	assert_holds(&b, "again");
	buf_free(&b);
}

/* What was put into it last time has room at once, or nearly; and once it is little again
 * that is forgotten. */
static void
test_first(void **state)
{
	static const char much[400000];
	struct buf b = {0};
	size_t cap;

	(void)state;
	for (size_t n = 1; n <= sizeof(much); n = n * 2 + 1) {
		buf_put(&b, much, n);
		cap = b.cap;
		buf_consume(&b, buf_len(&b));
		buf_trim(&b, 0);
		assert_null(b.data);
		buf_putc(&b, 'x');
		assert_true(b.cap <= cap && (b.cap >= cap - cap / 8 || b.cap == 256 * 1024));
	}
	for (int i = 0; i < 100; i++) {
		buf_consume(&b, buf_len(&b));
		buf_trim(&b, 0);
		buf_putc(&b, 'x');
	}
	assert_int_equal(b.cap, 256);
	buf_free(&b);
}

/* Room for much more than there is is no more than that. */
static void
test_exact(void **state)
{
	struct buf b = {0};

	(void)state;
	buf_puts(&b, "head");
	assert_true(buf_reserve(&b, 100000));
	assert_int_equal(b.cap, 100004);
	buf_commit(&b, 100000);
	buf_putc(&b, 'x');
	assert_int_equal(b.cap, 200008);
	buf_free(&b);
}

static void
test_shrink(void **state)
{
	static const char much[4096];
	struct buf b = {0};

	(void)state;
	buf_put(&b, much, sizeof(much));
	buf_puts(&b, "rest");
	buf_consume(&b, sizeof(much) / 2);
	buf_shrink(&b, 64); /* a quarter full, and more: stays */
	assert_true(b.cap > sizeof(much));
	buf_consume(&b, sizeof(much) / 2);
	buf_shrink(&b, 8192); /* not more than that: stays */
	assert_true(b.cap > sizeof(much));
	buf_shrink(&b, 64);
	assert_int_equal(b.cap, 64);
	assert_holds(&b, "rest");
	buf_puts(&b, " and more");
	assert_holds(&b, "rest and more");
	buf_free(&b);
}

static void
test_steal(void **state)
{
	struct buf b = {0};
	size_t len;
	char *s;

	(void)state;
	buf_puts(&b, "head and tail");
	buf_consume(&b, 5);
	s = buf_steal(&b, &len);
	assert_string_equal(s, "and tail");
	assert_int_equal(len, 8);
	assert_null(b.data);
	free(s);

	/* Full to the last byte: the NUL needs room of its own. */
	buf_reserve(&b, 1);
	while (buf_room(&b) > 0)
		buf_putc(&b, 'y');
	len = buf_len(&b);
	s = buf_steal(&b, NULL);
	assert_int_equal(strlen(s), len);
	free(s);
	buf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),	cmocka_unit_test(test_writers),
		cmocka_unit_test(test_numbers), cmocka_unit_test(test_queue),
		cmocka_unit_test(test_reserve), cmocka_unit_test(test_failed),
		cmocka_unit_test(test_trim),	cmocka_unit_test(test_shrink),
		cmocka_unit_test(test_first),	cmocka_unit_test(test_exact),
		cmocka_unit_test(test_steal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
