/* SPDX-License-Identifier: MIT */
/* The lines and results of preforkctl map, without its I/O. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "ctl/ctl.h"
#include "ctl/map_options.h"
#include "holds.h"

#include <string.h>

#define N(a) (sizeof(a) / sizeof((a)[0]))

static const struct map_setup small = {.pool = "p", .slots = 1, .queue_limit = 6};
static struct map_log no_log = {.fd = -1};

static void
start(struct map *m, const struct map_setup *setup)
{
	static const int fds[MAP_CONNS_MAX];

	*m = (struct map){.log = &no_log};
	map_init(m, setup, fds, map_conns_wanted(setup));
}

static void
input(struct map *m, const char *text, bool eof)
{
	size_t n = strlen(text);

	assert_true(buf_reserve(&m->input, n + 1));
	memcpy(buf_tail(&m->input), text, n);
	map_input_added(m, n);
	m->eof = eof;
	map_take_lines(m);
}

static void
answer(struct map *m, const char *wire)
{
	map_replies(&m->conns[0], wire, strlen(wire));
}

static void
assert_requests(struct map *m, const char *expected)
{
	assert_holds(&m->conns[0].request, expected);
	buf_consume(&m->conns[0].request, buf_len(&m->conns[0].request));
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
	map_take_lines(&m);
	assert_requests(&m, RUN("1", "5") RUN("1", "6"));
	answer(&m, "$1\r\nc\r\n$1\r\nd\r\n$1\r\ne\r\n$1\r\nf\r\n");
	map_take_lines(&m);
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
	m.now.us = m.retry_at.us - 1;
	map_retry(&m);
	assert_requests(&m, "");
	m.now = m.retry_at;
	map_retry(&m);
	assert_requests(&m, RUN("1", "1") RUN("1", "3"));
	answer(&m, "$1\r\na\r\n");
	assert_holds(&m.output, "a\nb\n");
	answer(&m, "-CRASHED by itself\r\n");
	assert_holds(&m.output, "a\nb\n\nd\n");
	assert_int_equal(m.failed, 1);
	assert_int_equal(m.head, 4);
	assert_int_equal(m.conns[0].sent_head, m.conns[0].sent_tail);
	assert_int_equal(m.n_unused, m.n_entries);
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
	struct map_setup setup = {.pool = "pool", .timeout = "1s", .slots = 1, .queue_limit = 10};

	(void)state;
	start(&m, &setup);
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
	map_take_lines(&m);
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
			map_replies(&m.conns[0], wire + i, 1);
		assert_holds(&m.output, "1\n\n\n\n4\n");
		map_release(&m);
	}
}

/* Every connection has one job at a time, and gives its result when it has it. */
static void
test_map_unordered(void **state)
{
	struct map m;
	struct map_setup setup = {.pool = "p", .slots = 2, .queue_limit = 100, .unordered = true};

	(void)state;
	start(&m, &setup);
	assert_int_equal(m.n_conns, 16);
	input(&m, "1\n2\n3\n4\n", true);
	struct map_conn *of[4] = {0};
	for (size_t i = 0; i < m.n_conns; i++) {
		struct buf *b = &m.conns[i].request;
		if (buf_len(b))
			of[buf_head(b)[buf_len(b) - 3] - '1'] = &m.conns[i];
	}
	assert_true(of[0] && of[1] && of[2] && of[3]);
	map_replies(of[2], "$1\r\nC\r\n", 7);
	map_replies(of[1], "-FAILED no\r\n", 12);
	map_replies(of[0], "$0\r\n\r\n", 6);
	assert_holds(&m.output, "C\n\n");
	map_replies(of[3], "-BUSY full\r\n", 12);
	buf_consume(&of[3]->request, buf_len(&of[3]->request));
	m.now = m.retry_at;
	map_retry(&m);
	assert_true(buf_len(&of[3]->request) > 0);
	map_replies(of[3], "$1\r\nD\r\n", 7);
	assert_holds(&m.output, "C\n\nD\n");
	assert_int_equal(m.done, 3);
	assert_int_equal(m.failed, 1);
	buf_consume(&m.output, buf_len(&m.output));
	assert_false(map_finished(&m)); /* requests are to be sent to their end */
	for (size_t i = 0; i < m.n_conns; i++)
		buf_consume(&m.conns[i].request, buf_len(&m.conns[i].request));
	assert_true(map_finished(&m));
	map_release(&m);
}

static void
test_map_retries(void **state)
{
	struct map m;
	struct map_setup setup = small;

	(void)state;
	setup.retries = 1;
	start(&m, &setup);
	input(&m, "1\n2\n3\n", true);
	assert_requests(&m, RUN("1", "1") RUN("1", "2") RUN("1", "3"));
	answer(&m, "-FAILED no\r\n-TOOBIG no\r\n$1\r\nc\r\n");
	assert_int_equal(m.failed, 1); /* another try would not make it smaller */
	assert_requests(&m, RUN("1", "1"));
	answer(&m, "-CRASHED no\r\n");
	assert_requests(&m, "");
	assert_int_equal(m.failed, 2);
	assert_holds(&m.output, "\n\nc\n");
	map_release(&m);
}

/* How results are written, by the options. */
static void
test_map_output(void **state)
{
	static const struct {
		struct map_setup setup;
		const char *input, *wire, *output;
	} cases[] = {
		{{.tag = true}, "a\nb\n", "$1\r\nA\r\n-FAILED x\r\n", "a\tA\nb\t\n"},
		{{.tag = true}, "a\n", "$3\r\nA\nB\r\n", "a\tA\na\tB\n"},
		{{.each = true}, "a\nb\n", "$2\r\nA\n\r\n$1\r\nB\r\n", "A\nB\n"},
		{{.each = true}, "a\nb\n", "$0\r\n\r\n-FAILED x\r\n", ""},
		{{.each = true, .tag = true}, "a\n", "$4\r\nA\nB\n\r\n", "a\tA\na\tB\n"},
		{{.each = true}, "a\n", "$2\r\n\n\n\r\n", "\n\n"},
		{{0}, "a\n", "$2\r\nA\n\r\n", "A\n\n"},
	};

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		struct map_setup setup = cases[i].setup;
		struct map m;
		setup.pool = "p";
		setup.slots = 1;
		setup.queue_limit = 6;
		start(&m, &setup);
		input(&m, cases[i].input, true);
		answer(&m, cases[i].wire);
		assert_holds(&m.output, cases[i].output);
		assert_int_equal(m.out_added, strlen(cases[i].output));
		map_release(&m);
	}
}

static void
test_map_nul(void **state)
{
	struct map m;
	struct map_setup setup = small;
	static const char data[] = "a\nb\0\0c";

	(void)state;
	setup.nul = true;
	start(&m, &setup);
	assert_true(buf_reserve(&m.input, sizeof(data)));
	memcpy(buf_tail(&m.input), data, sizeof(data) - 1);
	map_input_added(&m, sizeof(data) - 1);
	m.eof = true;
	map_take_lines(&m);
	assert_requests(&m, RUN("3", "a\nb") RUN("0", "") RUN("1", "c"));
	map_release(&m);
}

static void
test_map_halts(void **state)
{
	static const struct {
		const char *halt, *wire;
		bool halted;
		int status;
	} cases[] = {
		{"never", "-FAILED x\r\n-FAILED x\r\n-FAILED x\r\n", false, -1},
		{"soon", "$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n", false, -1},
		{"soon", "$1\r\na\r\n-FAILED x\r\n", true, -1},
		{"now", "$1\r\na\r\n-FAILED x\r\n", true, STATUS_FAILED},
		{"now,fail=2", "$1\r\na\r\n-FAILED x\r\n", false, -1},
		{"now,fail=2", "-FAILED x\r\n-FAILED x\r\n", true, STATUS_FAILED},
		{"now,success=1", "-FAILED x\r\n$1\r\na\r\n", true, STATUS_OK},
		{"soon,done=2", "-FAILED x\r\n$1\r\na\r\n", true, -1},
		{"now,done=2", "-FAILED x\r\n$1\r\na\r\n", true, STATUS_FAILED},
		{"soon,fail=50%", "-FAILED x\r\n-FAILED x\r\n", false, -1},
		{"soon,fail=50%", "-FAILED x\r\n-FAILED x\r\n-FAILED x\r\n", true, -1},
	};

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		struct map m;
		struct map_setup setup = small;
		/* one connection, whatever the number that it would take */
		setup.slots = 1;
		start(&m, &setup);
		assert_true(map_parse_halt(cases[i].halt, &m.setup.halt));
		input(&m, "1\n2\n3\n", false);
		answer(&m, cases[i].wire);
		assert_int_equal(m.halted, cases[i].halted);
		assert_int_equal(m.status, cases[i].status);
		map_release(&m);
	}
}

static void
test_map_parses_halt(void **state)
{
	static const char *const bad[] = {
		"",	      "soon,",	      "now,fail",      "now,fail=",
		"now,fail=0", "soon,fail=x",  "now,fail=101%", "now,fail=%",
		"later",      "never,fail=1", "now,crash=1",   "soon,fail=1,done=2"};
	struct map_halt h;

	(void)state;
	for (size_t i = 0; i < N(bad); i++)
		assert_false(map_parse_halt(bad[i], &h));
	assert_true(map_parse_halt("now,done=100%", &h));
	assert_true(h.when == HALT_NOW && h.what == HALT_DONE && h.limit == 100 && h.is_percent);
	assert_true(map_parse_halt("soon", &h));
	assert_true(h.when == HALT_SOON && h.what == HALT_FAIL && h.limit == 1 && !h.is_percent);
}

/* As many lines run as there are workers; the results come in order all the same. */
static void
test_map_halt_sends_no_more_than_run(void **state)
{
	struct map m;
	struct map_setup setup = {.pool = "p", .slots = 2, .queue_limit = 100};

	(void)state;
	assert_true(map_parse_halt("soon", &setup.halt));
	start(&m, &setup);
	assert_int_equal(m.n_conns, 2);
	input(&m, "1\n2\n3\n4\n", true);
	assert_int_equal(m.lines, 2);
	const struct buf *request = &m.conns[0].request;
	size_t first = buf_head(request)[buf_len(request) - 3] == '1' ? 0 : 1;
	map_replies(&m.conns[1 - first], "$1\r\nB\r\n", 7);
	assert_holds(&m.output, "");
	map_replies(&m.conns[first], "$1\r\nA\r\n", 7);
	assert_int_equal(m.done, 2);
	assert_holds(&m.output, "A\nB\n");
	map_release(&m);
}

static void
test_map_screen(void **state)
{
	static const struct {
		struct progress p;
		int columns;
		const char *line;
	} cases[] = {
		{{.lines = 0, .rate = 0}, 0, "0 lines, 0/s"},
		{{.lines = 1, .rate = 0.5}, 0, "1 line, 0.5/s"},
		{{.lines = 12, .total = 100, .is_guess = true, .rate = 10},
		 0,
		 "12 of ~100 lines, 10/s, 9s left"},
		{{.lines = 12, .total = 12, .rate = 200, .failed = 3},
		 0,
		 "12 of 12 lines, 200/s, 3 failed"},
		{{.lines = 5, .total = 6, .rate = 1, .busy = 2, .workers = 4},
		 0,
		 "5 of 6 lines, 1/s, 1s left, 2/4 workers busy"},
		{{.lines = 5, .total = 6, .rate = 1, .busy = 2, .workers = 4}, 13, "5 of 6 lines"},
	};
	char line[256];

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		screen_format(line, sizeof(line), cases[i].columns, &cases[i].p);
		assert_string_equal(line, cases[i].line);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_map_order),
		cmocka_unit_test(test_map_window),
		cmocka_unit_test(test_map_busy),
		cmocka_unit_test(test_map_ends),
		cmocka_unit_test(test_map_timeout),
		cmocka_unit_test(test_map_long_line),
		cmocka_unit_test(test_map_cuts),
		cmocka_unit_test(test_map_unordered),
		cmocka_unit_test(test_map_retries),
		cmocka_unit_test(test_map_output),
		cmocka_unit_test(test_map_nul),
		cmocka_unit_test(test_map_halts),
		cmocka_unit_test(test_map_parses_halt),
		cmocka_unit_test(test_map_halt_sends_no_more_than_run),
		cmocka_unit_test(test_map_screen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
