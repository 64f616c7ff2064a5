/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "random.h"
#include "wire/codec.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))
#define IN(s) s, sizeof(s) - 1

/*
 * What a codec reported is noted as text: VERB#id(text), with done/total, <level>
 * or :capacity where there is one; !text is CODEC_BAD, ~text a message cut short
 * by the end of the input. It must be the same however the input is cut.
 */
static void
note_event(struct buf *notes, const struct codec_event *e)
{
	static const char *const words[] = {
		[VERB_OK] = "OK",	[VERB_ERR] = "ERR",	      [VERB_RETRY] = "RETRY",
		[VERB_OUT] = "OUT",	[VERB_PROGRESS] = "PROGRESS", [VERB_LOG] = "LOG",
		[VERB_READY] = "READY",
	};

	buf_puts(notes, words[e->verb]);
	if (e->id)
		buf_putf(notes, "#%" PRIu64, e->id);
	if (e->verb == VERB_PROGRESS)
		buf_putf(notes, " %" PRIu64 "/%" PRIu64, e->done, e->total);
	if (e->verb == VERB_LOG)
		buf_putf(notes, "<%d>", e->level);
	if (e->capacity)
		buf_putf(notes, ":%" PRIu64, e->capacity);
	buf_putc(notes, '(');
	for (size_t i = 0; i < e->len; i++) {
		unsigned char c = (unsigned char)e->text[i];

		if (c >= ' ' && c <= '~')
			buf_putc(notes, (char)c);
		else
			buf_putf(notes, "\\x%02x", c);
	}
	buf_putc(notes, ')');
}

struct feed {
	enum codec_level level;
	size_t max_result;
	const char *in;
	size_t len, cut, step; /* cut bytes come at first, then step at a time */
};

/* One call, with the bytes alone in a fresh block of their exact size. */
static enum codec_result
call(struct codec *c, struct buf *notes, const char *in, size_t len, size_t *ret_used)
{
	char *copy = malloc(len);
	struct codec_event e;
	enum codec_result r;

	assert_true(copy || !len);
	if (len)
		memcpy(copy, in, len);
	r = codec_decode(c, copy, len, &e);
	*ret_used = r == CODEC_EVENT ? e.used : 0;
	assert_true(r == CODEC_EVENT ? e.used > 0 && e.used <= len : true);
	if (r == CODEC_EVENT)
		note_event(notes, &e);
	if (r == CODEC_BAD)
		buf_putf(notes, "!%s", c->error);
	free(copy);
	return r;
}

static size_t
min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

static char *
drive(const struct feed *f)
{
	struct codec c;
	struct buf notes = {0};
	size_t from = 0, to = min_size(f->cut, f->len), used;
	enum codec_result r;

	codec_init(&c, f->level, f->max_result);
	do {
		r = call(&c, &notes, f->in + from, to - from, &used);
		from += used;
		if (r == CODEC_AGAIN && to == f->len)
			break;
		if (r == CODEC_AGAIN)
			to = min_size(to + f->step, f->len);
	} while (r != CODEC_BAD);
	if (r == CODEC_AGAIN && codec_cut_short(&c, f->in + from, to - from))
		buf_putf(&notes, "~%s", c.error);
	buf_putc(&notes, '\0');
	return buf_steal(&notes, NULL);
}

static void
check(const struct feed *f, const char *expected)
{
	char *notes = drive(f);

	if (strcmp(notes, expected) != 0)
		print_message("%s, cut at %zu, then %zu at a time\n", codec_level_name(f->level),
			      f->cut, f->step);
	assert_string_equal(notes, expected);
	free(notes);
}

static void
check_all_cuts(struct feed f, const char *expected)
{
	f.step = SIZE_MAX / 2;
	for (f.cut = 0; f.cut <= f.len; f.cut++)
		check(&f, expected);
	for (f.step = 1; f.step <= 5; f.step++) {
		f.cut = f.step;
		check(&f, expected);
	}
}

struct codec_case {
	enum codec_level level;
	size_t max_result;
	const char *in;
	size_t len;
	const char *expected;
};

#define FILTER CODEC_FILTER, 100
#define LINE CODEC_LINE, 100
#define FRAME CODEC_FRAME, 100
#define X10 "xxxxxxxxxx"
#define X50 X10 X10 X10 X10 X10
#define HINT_FILTER ": one plain line for each input? protocol = \"filter\""
#define HINT_LINE ": answers of one line? protocol = \"line\""
#define NOT_FRAME "', not OK <id> <len> or ERR <id> <len>"

static const struct codec_case good_cases[] = {
	{FILTER, IN(""), ""},
	{FILTER, IN("\n"), "OK()"},
	{FILTER, IN("hello\n"), "OK(hello)"},
	{FILTER, IN("hello\r\n"), "OK(hello\\x0d)"},
	{FILTER, IN("OK 1\nERR x\n\n\0\xff\n"), "OK(OK 1)OK(ERR x)OK()OK(\\x00\\xff)"},
	{FILTER, IN(X50 X50 "\n"), "OK(" X50 X50 ")"},
	{CODEC_FILTER, 0, IN("\n\n"), "OK()OK()"},
	{CODEC_FILTER, SIZE_MAX, IN("a\n"), "OK(a)"},

	{LINE, IN(""), ""},
	{LINE, IN("OK\n"), "OK()"},
	{LINE, IN("OK \n"), "OK()"},
	{LINE, IN("OK\r\n"), "OK()"},
	{LINE, IN("OK \r\n"), "OK()"},
	{LINE, IN("OK hello\n"), "OK(hello)"},
	{LINE, IN("OK hello\r\n"), "OK(hello)"},
	{LINE, IN("OK  two\r\r\n"), "OK( two\\x0d)"},
	{LINE, IN("OK \0\xff\n"), "OK(\\x00\\xff)"},
	{LINE, IN("ERR no\nERR\nRETRY later\nRETRY\nOUT a b\nOUT\n"),
	 "ERR(no)ERR()RETRY(later)RETRY()OUT(a b)OUT()"},
	{LINE, IN("READY\nREADY \nREADY\r\n"), "READY()READY()READY()"},
	{LINE, IN("LOG hello\nLOG\nLOG <4>text\nLOG <0>\nLOG <7> x\n"),
	 "LOG<6>(hello)LOG<6>()LOG<4>(text)LOG<0>()LOG<7>( x)"},
	{LINE, IN("LOG <8>a\nLOG <>\nLOG <4\nLOG 4>\nLOG <10>x\n"),
	 "LOG<6>(<8>a)LOG<6>(<>)LOG<6>(<4)LOG<6>(4>)LOG<6>(<10>x)"},
	{LINE, IN("PROGRESS 1 2\nPROGRESS 1 2 half way\nPROGRESS 0 18446744073709551615\r\n"),
	 "PROGRESS 1/2()PROGRESS 1/2(half way)PROGRESS 0/18446744073709551615()"},
	{LINE, IN("OK " X50 X50 "\r\n"), "OK(" X50 X50 ")"},
	{LINE, IN("PROGRESS 18446744073709551615 18446744073709551615 " X50 X50 "\r\n"),
	 "PROGRESS 18446744073709551615/18446744073709551615(" X50 X50 ")"},
	{CODEC_LINE, 0, IN("OK\nOK \n"), "OK()OK()"},
	{CODEC_LINE, SIZE_MAX, IN("OK a\n"), "OK(a)"},

	{FRAME, IN(""), ""},
	{FRAME, IN("OK 7 5\nhello\n"), "OK#7(hello)"},
	{FRAME, IN("OK 7 5\r\nhello\n"), "OK#7(hello)"},
	{FRAME, IN("OK 7 0\n\nERR 8 1\n\n\nRETRY 9 2\n\r\n\nOUT 7 3\n\0\xff\n\n"),
	 "OK#7()ERR#8(\\x0a)RETRY#9(\\x0d\\x0a)OUT#7(\\x00\\xff\\x0a)"},
	{FRAME, IN("OK 18446744073709551615 7\nOK 7 0\n\n"),
	 "OK#18446744073709551615(OK 7 0\\x0a)"},
	{FRAME, IN("READY\nREADY 4\nREADY\r\n"), "READY()READY:4()READY()"},
	{FRAME, IN("LOG 4 4\ntext\nLOG 0 0\n\n"), "LOG<4>(text)LOG<0>()"},
	{FRAME, IN("PROGRESS 7 1 2\nPROGRESS 8 0 0\r\nOK 7 1\nx\n"),
	 "PROGRESS#7 1/2()PROGRESS#8 0/0()OK#7(x)"},
	{FRAME, IN("OK 1 100\n" X50 X50 "\n"), "OK#1(" X50 X50 ")"},
	{CODEC_FRAME, 0, IN("OK 1 0\n\n"), "OK#1()"},
};

static const struct codec_case last_cases[] = {
	{FILTER, IN("a\nhalf"), "OK(a)~ended in the middle of a line: 'half'"},
	{FILTER, IN(X50 X50 "x\n"),
	 "!sent a line of more than max_result (100) bytes: '" X50 "xxxxxxx...'"},
	{FILTER, IN(X50 X50 "x"),
	 "!sent a line of more than max_result (100) bytes: '" X50 "xxxxxxx...'"},
	{CODEC_FILTER, 5, IN("12345\r\n"),
	 "!sent a line of more than max_result (5) bytes: '12345\\x0d'"},
	{CODEC_FILTER, 0, IN("a\n"), "!sent a line of more than max_result (0) bytes: 'a'"},

	{LINE, IN("\"n1\"\n"), "!answered '\"n1\"', not OK or ERR" HINT_FILTER},
	{LINE, IN("OK 1\n\"n2\"\n"), "OK(1)!answered '\"n2\"', not OK or ERR"},
	{LINE, IN("READY\nx\n"), "READY()!answered 'x', not OK or ERR"},
	{LINE, IN("\n"), "!answered '', not OK or ERR" HINT_FILTER},
	{LINE, IN("ok\n"), "!answered 'ok', not OK or ERR" HINT_FILTER},
	{LINE, IN("OKAY\n"), "!answered 'OKAY', not OK or ERR" HINT_FILTER},
	{LINE, IN("OK\thello\n"), "!answered 'OK\\x09hello', not OK or ERR" HINT_FILTER},
	{LINE, IN("\x1b[31mno\xff\n"), "!answered '\\x1b[31mno\\xff', not OK or ERR" HINT_FILTER},
	{LINE, IN(X50 X50 "\n"), "!answered '" X50 "xxxxxxx...', not OK or ERR" HINT_FILTER},
	{LINE, IN("READY 4\n"), "!answered 'READY 4', not READY alone"},
	{LINE, IN("PROGRESS\n"), "!answered 'PROGRESS', not PROGRESS done total [text]"},
	{LINE, IN("PROGRESS 1\n"), "!answered 'PROGRESS 1', not PROGRESS done total [text]"},
	{LINE, IN("PROGRESS 1  2\n"), "!answered 'PROGRESS 1  2', not PROGRESS done total [text]"},
	{LINE, IN("PROGRESS 1 -2\n"), "!answered 'PROGRESS 1 -2', not PROGRESS done total [text]"},
	{LINE, IN("PROGRESS 1 18446744073709551616\n"),
	 "!answered 'PROGRESS 1 18446744073709551616', not PROGRESS done total [text]"},
	{LINE, IN("OK half"), "~ended in the middle of a line: 'OK half'"},
	{CODEC_LINE, 3, IN("OK 123\nOK 1234\n"),
	 "OK(123)!sent a line of more than max_result (3) bytes: 'OK 1234'"},
	{CODEC_LINE, 3, IN("OK 1234"), "~ended in the middle of a line: 'OK 1234'"},
	{CODEC_LINE, 3, IN("LOG <4>1234\n"),
	 "!sent a line of more than max_result (3) bytes: 'LOG <4>1234'"},
	{CODEC_LINE, 3, IN("LOG <4>123\nERR 1234\n"),
	 "LOG<4>(123)!sent a line of more than max_result (3) bytes: 'ERR 1234'"},
	{CODEC_LINE, 3, IN("OK " X50 "xxxxxxxxxxxxxxx"),
	 "!sent a line of more than max_result (3) bytes: 'OK " X50 "xxxx...'"},

	{FRAME, IN("hello\n"), "!answered 'hello" NOT_FRAME HINT_LINE},
	{FRAME, IN("READY\nhello\n"), "READY()!answered 'hello" NOT_FRAME},
	{FRAME, IN("\n"), "!answered '" NOT_FRAME HINT_LINE},
	{FRAME, IN("OK hello\n"), "!answered 'OK hello', not OK <id> <len>" HINT_LINE},
	{FRAME, IN("OK\n"), "!answered 'OK', not OK <id> <len>" HINT_LINE},
	{FRAME, IN("READY\nOK 7\n"), "READY()!answered 'OK 7', not OK <id> <len>"},
	{FRAME, IN("READY\nOK 7 \n"), "READY()!answered 'OK 7 ', not OK <id> <len>"},
	{FRAME, IN("READY\nOK 7  5\n"), "READY()!answered 'OK 7  5', not OK <id> <len>"},
	{FRAME, IN("READY\nOK 7 5 \n"), "READY()!answered 'OK 7 5 ', not OK <id> <len>"},
	{FRAME, IN("READY\nOK 7 5 5\n"), "READY()!answered 'OK 7 5 5', not OK <id> <len>"},
	{FRAME, IN("READY\nOK 7 5 5 5\n"), "READY()!answered 'OK 7 5 5 5', not OK <id> <len>"},
	{FRAME, IN("READY\nERR 7 0x5\n"), "READY()!answered 'ERR 7 0x5', not ERR <id> <len>"},
	{FRAME, IN("READY\nOK 18446744073709551616 1\n"),
	 "READY()!answered 'OK 18446744073709551616 1', not OK <id> <len>"},
	{FRAME, IN("READY\nPROGRESS 7 1\n"),
	 "READY()!answered 'PROGRESS 7 1', not PROGRESS <id> <done> <total>"},
	{FRAME, IN("READY\nLOG 8 1\nx\n"), "READY()!answered 'LOG 8 1', not LOG <level 0-7> <len>"},
	{FRAME, IN("READY\nREADY 0\n"), "READY()!answered 'READY 0', not READY [<jobs at once>]"},
	{FRAME, IN("READY 1 2\n"), "!answered 'READY 1 2', not READY [<jobs at once>]" HINT_LINE},
	{FRAME, IN("OK 7 5\nhello!\n"),
	 "!sent no line feed behind the body of 'OK 7 5': wrong length?"},
	{FRAME, IN("OK 7 5\r\nhello\r\n"),
	 "!sent no line feed behind the body of 'OK 7 5': wrong length?"},
	{FRAME, IN("OK 1 101\n"), "!announced more than max_result (100) bytes: 'OK 1 101'"},
	{FRAME, IN("LOG 1 101\n"), "!announced more than max_result (100) bytes: 'LOG 1 101'"},
	{FRAME, IN("OK 1 18446744073709551615\n"),
	 "!announced more than max_result (100) bytes: 'OK 1 18446744073709551615'"},
	{CODEC_FRAME, SIZE_MAX, IN("READY\nOK 1 18446744073709551616\n"),
	 "READY()!answered 'OK 1 18446744073709551616', not OK <id> <len>"},
	{FRAME, IN("OK 1"), "~ended in the middle of a line: 'OK 1'"},
	{FRAME, IN("OK 1 5\r\nhel"), "~ended 3 bytes before the end of 'OK 1 5'"},
	{FRAME, IN("OK 1 5\nhello"), "~ended 1 bytes before the end of 'OK 1 5'"},
	{FRAME, IN(X50 X50 X10 X10 "xxxxxxxx\n"),
	 "!answered '" X50 "xxxxxxx..." NOT_FRAME HINT_LINE},
	{FRAME, IN(X50 X50 X10 X10 "xxxxxxxxx"),
	 "!sent a header line of more than 128 bytes: '" X50 "xxxxxxx...'"},
};

static struct feed
feed_of(const struct codec_case *c)
{
	return (struct feed){
		.level = c->level, .max_result = c->max_result, .in = c->in, .len = c->len};
}

static void
test_cut_everywhere(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(good_cases); i++)
		check_all_cuts(feed_of(&good_cases[i]), good_cases[i].expected);
	for (size_t i = 0; i < LENGTH(last_cases); i++)
		check_all_cuts(feed_of(&last_cases[i]), last_cases[i].expected);
}

static void
test_messages_in_a_row(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(good_cases); i++) {
		for (size_t j = 0; j < LENGTH(good_cases); j++) {
			const struct codec_case *a = &good_cases[i], *b = &good_cases[j];
			char in[1024], expected[1024];
			struct feed f = feed_of(a);

			if (a->level != b->level || a->max_result != b->max_result)
				continue;
			memcpy(in, a->in, a->len);
			memcpy(in + a->len, b->in, b->len);
			snprintf(expected, sizeof(expected), "%s%s", a->expected, b->expected);
			f.in = in;
			f.len = a->len + b->len;
			f.step = 1;
			check(&f, expected);
			f.cut = f.len;
			check(&f, expected);
		}
	}
}

static void
test_nothing_is_not_cut_short(void **state)
{
	(void)state;
	for (enum codec_level l = CODEC_FILTER; l <= CODEC_FRAME; l++) {
		struct codec c;

		codec_init(&c, l, 100);
		assert_false(codec_cut_short(&c, NULL, 0));
		assert_string_equal(c.error, "");
	}
}

/* A line that never ends is found out at the limit, not after it. */
static void
test_endless_line(void **state)
{
	static const struct {
		enum codec_level level;
		size_t limit;
	} cases[] = {{CODEC_FILTER, 1000}, {CODEC_LINE, 1064}, {CODEC_FRAME, 128}};
	char in[2000];

	(void)state;
	memset(in, 'x', sizeof(in));
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct codec_event e;
		struct codec c;

		codec_init(&c, cases[i].level, 1000);
		for (size_t n = 0; n <= cases[i].limit; n++) {
			assert_int_equal(codec_decode(&c, in, n, &e), CODEC_AGAIN);
			assert_int_equal(c.scanned, n);
		}
		assert_int_equal(codec_decode(&c, in, cases[i].limit + 1, &e), CODEC_BAD);
	}
}

/* The longest error there can be is not cut in its middle. */
static void
test_errors_fit(void **state)
{
	struct codec_event e;
	struct codec c;
	char in[300];

	(void)state;
	memset(in, '\x01', sizeof(in));
	in[sizeof(in) - 1] = '\n';
	codec_init(&c, CODEC_LINE, 1000);
	assert_int_equal(codec_decode(&c, in, sizeof(in), &e), CODEC_BAD);
	assert_non_null(strstr(c.error, "protocol = \"filter\""));
	memset(in, '\x01', 128);
	memcpy(in, "PROGRESS ", 9);
	in[100] = '\n';
	codec_init(&c, CODEC_FRAME, 1000);
	assert_int_equal(codec_decode(&c, in, sizeof(in), &e), CODEC_BAD);
	assert_non_null(strstr(c.error, "protocol = \"line\""));
}

static void
test_jobs(void **state)
{
	static const struct {
		enum codec_level level;
		uint64_t id;
		unsigned attempt;
		const char *payload;
		size_t len;
		const char *expected;
	} cases[] = {
		{CODEC_FILTER, 7, 1, IN("a b\r"), "a b\r\n"},
		{CODEC_FILTER, 7, 1, IN(""), "\n"},
		{CODEC_LINE, 7, 1, IN("a b\r"), "a b\r\n"},
		{CODEC_LINE, 7, 1, NULL, 0, "\n"},
		{CODEC_FRAME, 7, 1, IN("a\nb\n"), "JOB 7 1 4\na\nb\n\nCANCEL 7\n"},
		{CODEC_FRAME, UINT64_MAX, UINT32_MAX, NULL, 0,
		 "JOB 18446744073709551615 4294967295 0\n\nCANCEL 18446744073709551615\n"},
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct codec c;
		struct buf out = {0};

		codec_init(&c, cases[i].level, 100);
		codec_put_job(&c, &out, cases[i].id, cases[i].attempt, cases[i].payload,
			      cases[i].len);
		codec_put_cancel(&c, &out, cases[i].id);
		buf_putc(&out, '\0');
		assert_string_equal(buf_head(&out), cases[i].expected);
		buf_free(&out);
	}
}

static void
test_payload_fits(void **state)
{
	static const struct {
		const char *payload;
		size_t len;
		const char *expected;
	} cases[] = {
		{NULL, 0, NULL},
		{IN("plain \r\t\xff"), NULL},
		{IN("a\n"), "holds a line feed: protocol = \"frame\" takes any bytes"},
		{IN("\n"), "holds a line feed: protocol = \"frame\" takes any bytes"},
		{IN("a\0"), "holds a NUL byte: protocol = \"frame\" takes any bytes"},
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		for (enum codec_level l = CODEC_FILTER; l <= CODEC_LINE; l++) {
			const char *why = codec_payload_fits(l, cases[i].payload, cases[i].len);

			if (cases[i].expected)
				assert_string_equal(why, cases[i].expected);
			else
				assert_null(why);
		}
		assert_null(codec_payload_fits(CODEC_FRAME, cases[i].payload, cases[i].len));
	}
}

/* What a body's header announces, and a line as long as the one before. */
static void
test_missing(void **state)
{
	static const char frame[] = "OK 1 1000\nabc", line[] = "OK 45678\nOK 4";
	struct codec_event ev;
	struct codec c;

	(void)state;
	codec_init(&c, CODEC_FRAME, 5000);
	assert_int_equal(codec_missing(&c, 0), 0);
	assert_int_equal(codec_decode(&c, frame, 13, &ev), CODEC_AGAIN);
	assert_int_equal(codec_missing(&c, 13), 10 + 1000 + 1 - 13);
	codec_init(&c, CODEC_LINE, 5000);
	assert_int_equal(codec_decode(&c, line, 4, &ev), CODEC_AGAIN);
	assert_int_equal(codec_missing(&c, 4), 0);
	assert_int_equal(codec_decode(&c, line, 13, &ev), CODEC_EVENT);
	assert_int_equal(ev.used, 9);
	assert_int_equal(codec_decode(&c, line + 9, 4, &ev), CODEC_AGAIN);
	assert_int_equal(codec_missing(&c, 4), 5);
	assert_int_equal(codec_missing(&c, 9), 0);
	assert_int_equal(codec_missing(&c, 99), 0);
}

static void
test_levels(void **state)
{
	static const struct {
		enum codec_level level;
		const char *name;
		bool in_order;
	} levels[] = {
		{CODEC_FILTER, "filter", true},
		{CODEC_LINE, "line", true},
		{CODEC_FRAME, "frame", false},
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(levels); i++) {
		struct codec c;

		codec_init(&c, levels[i].level, 1000);
		assert_int_equal(c.in_order, levels[i].in_order);
		assert_string_equal(codec_level_name(levels[i].level), levels[i].name);
	}
}

static size_t
random_input(uint64_t *seed, char *dst, size_t cap)
{
	static const char *const pieces[] = {
		"OK",
		"ERR",
		"OUT",
		"LOG",
		"PROGRESS",
		"READY",
		" ",
		" ",
		"\n",
		"\n",
		"\r\n",
		"1",
		"2",
		"0",
		"x",
		"abc",
		"<4>",
		"-",
		"OK 1 1\na\n",
		"OK a\n",
		"READY\n",
		"OK 2 4\n",
		"\xff",
		"18446744073709551615",
		"LOG 3 2\n",
		"PROGRESS 1 2 3\n",
		"PROGRESS 1 2\n",
	};
	return random_text(seed, pieces, LENGTH(pieces), dst, cap);
}

/* Any garbage gives the same answer in one piece and in several. */
static void
test_garbage(void **state)
{
	uint64_t seed = 20250101;

	(void)state;
	for (int i = 0; i < 100000; i++) {
		char in[256], *whole, *pieces;
		struct feed f = {.level = (enum codec_level)(random_next(&seed) % 3),
				 .max_result = random_next(&seed) % 20,
				 .in = in,
				 .cut = SIZE_MAX,
				 .step = SIZE_MAX / 2};

		f.len = random_input(&seed, in, sizeof(in));
		whole = drive(&f);
		f.cut = f.len ? random_next(&seed) % f.len : 0;
		f.step = 1 + random_next(&seed) % 7;
		pieces = drive(&f);
		assert_string_equal(whole, pieces);
		free(whole);
		free(pieces);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cut_everywhere),
		cmocka_unit_test(test_messages_in_a_row),
		cmocka_unit_test(test_nothing_is_not_cut_short),
		cmocka_unit_test(test_endless_line),
		cmocka_unit_test(test_errors_fit),
		cmocka_unit_test(test_jobs),
		cmocka_unit_test(test_payload_fits),
		cmocka_unit_test(test_missing),
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_garbage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
