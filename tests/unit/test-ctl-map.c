/* SPDX-License-Identifier: MIT */
/* The lines and results of preforkctl map, without its I/O. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "ctl/ctl.h"
#include "ctl/map.h"
#include "holds.h"

#include <string.h>

#define N(a) (sizeof(a) / sizeof((a)[0]))

static const struct map_pool small = {.name = "p", .slots = 1, .queue_limit = 6};

static void
start(struct map *m, const struct map_pool *pool)
{
	*m = (struct map){0};
	map_init(m, pool);
}

static void
input(struct map *m, const char *text, bool eof)
{
	size_t n = strlen(text);

	assert_true(buf_reserve(&m->input, n + 1));
	memcpy(buf_tail(&m->input), text, n);
	map_input_added(m, n);
	m->eof = eof;
	map_take_lines(m, mono_now());
}

static void
answer(struct map *m, const char *wire)
{
	map_replies(m, wire, strlen(wire));
}

static void
assert_requests(struct map *m, const char *expected)
{
	assert_holds(&m->request, expected);
	buf_consume(&m->request, buf_len(&m->request));
}

#define RUN(n, payload) "*3\r\n$3\r\nRUN\r\n$1\r\np\r\n$" n "\r\n" payload "\r\n"

static void
test_map_order(void **state)
{
	struct map m;

	(void)state;
	start(&m, &small);
	assert_int_equal(m.window, 4);
	input(&m, "a\nbb\n\nx", false);
	assert_requests(&m, RUN("1", "a") RUN("2", "bb") RUN("0", ""));
	answer(&m, "$1\r\nA\r\n$2\r\nB");
	assert_holds(&m.output, "A\n");
	answer(&m, "B\r\n-FAILED no\r\n");
	assert_holds(&m.output, "A\nBB\n\n");
	assert_int_equal(m.failed, 1);
	assert_false(map_finished(&m));
	input(&m, "", true);
	assert_requests(&m, RUN("1", "x"));
	answer(&m, "$3\r\nx\ny\r\n");
	assert_holds(&m.output, "A\nBB\n\nx\ny\n");
	buf_consume(&m.output, buf_len(&m.output));
	assert_true(map_finished(&m));
	assert_int_equal(buf_len(&m.input), 0);
	assert_int_equal(m.status, -1);
	map_release(&m);
}

static void
test_map_window(void **state)
{
	struct map m;

	(void)state;
	start(&m, &small);
	input(&m, "1\n2\n3\n4\n5\n6\n7\n", true);
	assert_requests(&m, RUN("1", "1") RUN("1", "2") RUN("1", "3") RUN("1", "4"));
	answer(&m, "$1\r\na\r\n$1\r\nb\r\n");
	map_take_lines(&m, mono_now());
	assert_requests(&m, RUN("1", "5") RUN("1", "6"));
	answer(&m, "$1\r\nc\r\n$1\r\nd\r\n$1\r\ne\r\n$1\r\nf\r\n");
	map_take_lines(&m, mono_now());
	assert_requests(&m, RUN("1", "7"));
	answer(&m, "$1\r\ng\r\n");
	assert_holds(&m.output, "a\nb\nc\nd\ne\nf\ng\n");
	map_release(&m);
}

static void
test_map_busy(void **state)
{
	struct map m;

	(void)state;
	start(&m, &small);
	input(&m, "1\n2\n3\n4\n", true);
	assert_requests(&m, RUN("1", "1") RUN("1", "2") RUN("1", "3") RUN("1", "4"));
	answer(&m, "-BUSY full\r\n$1\r\nb\r\n-BUSY full\r\n$1\r\nd\r\n");
	assert_holds(&m.output, "");
	assert_int_equal(m.busy, 2);
	map_retry(&m, (mono_t){m.retry_at.us - 1});
	assert_requests(&m, "");
	map_retry(&m, m.retry_at);
	assert_requests(&m, RUN("1", "1") RUN("1", "3"));
	answer(&m, "$1\r\na\r\n");
	assert_holds(&m.output, "a\nb\n");
	answer(&m, "-CRASHED by itself\r\n");
	assert_holds(&m.output, "a\nb\n\nd\n");
	assert_int_equal(m.failed, 1);
	assert_int_equal(m.head, 4);
	assert_int_equal(m.sent_head, m.sent_tail);
	map_release(&m);
}

static void
test_map_ends(void **state)
{
	static const struct {
		const char *wire;
		int status;
	} cases[] = {
		{"-DOWN exits at start\r\n", STATUS_NO_DAEMON},
		{"-DRAINING\r\n", STATUS_LATER},
		{"-NOPOOL p\r\n", STATUS_FAILED},
		{":1\r\n", STATUS_FAILED},
		{"*1\r\n:1\r\n", STATUS_FAILED},
		{"$-1\r\n", STATUS_FAILED},
		{"nonsense\r\n", STATUS_FAILED},
		{"$1\r\nb\r\n$1\r\nc\r\n", STATUS_FAILED}, /* more than was asked for */
	};

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		struct map m;
		start(&m, &small);
		input(&m, "1\n2\n", false);
		answer(&m, "$1\r\na\r\n");
		answer(&m, cases[i].wire);
		assert_int_equal(m.status, cases[i].status);
		assert_int_equal(buf_head(&m.output)[0], 'a');
		map_release(&m);
	}
}

static void
test_map_timeout(void **state)
{
	struct map m;
	struct map_pool pool = {.name = "pool", .timeout = "1s", .slots = 1, .queue_limit = 10};

	(void)state;
	start(&m, &pool);
	input(&m, "x\n", true);
	assert_requests(&m, "*5\r\n$3\r\nRUN\r\n$4\r\npool\r\n$7\r\nTIMEOUT\r\n$2\r\n1s\r\n"
			    "$1\r\nx\r\n");
	map_release(&m);
}

/* A line that is too long is refused, and none of it is sent. */
static void
test_map_long_line(void **state)
{
	struct map m;
	size_t n = MAP_LINE_MAX + 1;

	(void)state;
	start(&m, &small);
	assert_true(buf_reserve(&m.input, n));
	memset(buf_tail(&m.input), 'x', n);
	map_input_added(&m, n);
	map_take_lines(&m, mono_now());
	assert_holds(&m.output, "\n");
	assert_int_equal(buf_len(&m.input), 0);
	input(&m, "rest of it", false);
	assert_requests(&m, "");
	input(&m, "end\nnext\n", true);
	assert_requests(&m, RUN("4", "next"));
	assert_int_equal(m.failed, 1);
	map_release(&m);
}

/* Any cut of the same bytes gives the same. */
static void
test_map_cuts(void **state)
{
	static const char text[] = "one\ntwo\n\nlast";
	static const char wire[] = "$1\r\n1\r\n-FAILED x\r\n$0\r\n\r\n$2\r\n\n4\r\n";

	(void)state;
	for (size_t cut = 0; cut < sizeof(text); cut++) {
		struct map m;
		char part[sizeof(text)] = "";
		start(&m, &small);
		memcpy(part, text, cut);
		input(&m, part, false);
		input(&m, text + cut, true);
		assert_requests(&m, RUN("3", "one") RUN("3", "two") RUN("0", "") RUN("4", "last"));
		for (size_t i = 0; i < sizeof(wire) - 1; i++)
			map_replies(&m, wire + i, 1);
		assert_holds(&m.output, "1\n\n\n\n4\n");
		map_release(&m);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_map_order),   cmocka_unit_test(test_map_window),
		cmocka_unit_test(test_map_busy),    cmocka_unit_test(test_map_ends),
		cmocka_unit_test(test_map_timeout), cmocka_unit_test(test_map_long_line),
		cmocka_unit_test(test_map_cuts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
