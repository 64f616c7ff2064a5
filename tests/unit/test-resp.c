/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "random.h"
#include "wire/resp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))
#define IN(s) s, sizeof(s) - 1

/*
 * What a parser said is noted as one line of text: [a|b] a command, ?n[a|b] an
 * argument of n bytes announced behind a and b, ~ a command dropped (but for an
 * empty one), !text an error, HTTP. It must be the same however the input is cut.
 */
static void
note_args(struct buf *notes, const struct resp_parser *p)
{
	buf_putc(notes, '[');
	for (size_t i = 0; i < p->argc; i++) {
		if (i)
			buf_putc(notes, '|');
		for (size_t j = 0; j < p->argv[i].len; j++) {
			unsigned char c = (unsigned char)p->argv[i].data[j];

			if (c >= ' ' && c <= '~')
				buf_putc(notes, (char)c);
			else
				buf_putf(notes, "\\x%02x", c);
		}
	}
	buf_putc(notes, ']');
}

static void
note(struct buf *notes, const struct resp_parser *p, enum resp_result r)
{
	switch (r) {
	case RESP_AGAIN:
		break;
	case RESP_OK:
		note_args(notes, p);
		break;
	case RESP_LENGTH:
		buf_putf(notes, "?%zu", p->pending_len);
		note_args(notes, p);
		break;
	case RESP_SKIPPED:
		buf_putc(notes, '~');
		break;
	case RESP_BAD:
		buf_putc(notes, '!');
		buf_puts(notes, p->error);
		break;
	case RESP_HTTP:
		buf_puts(notes, "HTTP");
		break;
	}
}

/* How the input arrives: cut bytes at first, then step at a time. */
struct feed {
	const char *in;
	size_t len, cut, step;
	bool skip; /* drop commands with a long argument */
};

/* One call, with the bytes alone in a fresh block of their exact size: so the
 * parser has to follow a buffer that moves, and ASan sees a byte read too far. */
static enum resp_result
call(struct resp_parser *p, struct buf *notes, const char *in, size_t len, size_t *ret_used)
{
	char *copy = malloc(len);
	bool skipping = p->skipping;
	enum resp_result r;

	assert_true(copy || !len);
	if (len)
		memcpy(copy, in, len);
	r = resp_parse(p, copy, len, ret_used);
	assert_true(*ret_used <= len);
	assert_true(r == RESP_OK || r == RESP_SKIPPED || (r == RESP_AGAIN && skipping) ||
		    *ret_used == 0);
	if (r != RESP_SKIPPED || skipping)
		note(notes, p, r);
	free(copy);
	return r;
}

static size_t
min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

static char *
drive(const struct resp_limits *limits, const struct feed *f)
{
	struct resp_parser p;
	struct buf notes = {0};
	size_t from = 0, to = min_size(f->cut, f->len), used;
	enum resp_result r;

	resp_parser_init(&p, limits);
	do {
		bool skipping = p.skipping;

		r = call(&p, &notes, f->in + from, to - from, &used);
		from += used;
		if (r == RESP_LENGTH && f->skip)
			resp_skip(&p);
		if (skipping && r == RESP_AGAIN) /* no more than half a header is kept */
			assert_true(to - from < 24);
		if (r == RESP_AGAIN && to == f->len)
			break;
		if (r == RESP_AGAIN)
			to = min_size(to + f->step, f->len);
	} while (r != RESP_BAD && r != RESP_HTTP);
	resp_parser_free(&p);
	buf_putc(&notes, '\0');
	return buf_steal(&notes, NULL);
}

static void
check(const struct resp_limits *limits, const struct feed *f, const char *expected)
{
	char *notes = drive(limits, f);

	if (strcmp(notes, expected) != 0)
		print_message("cut at %zu, then %zu at a time\n", f->cut, f->step);
	assert_string_equal(notes, expected);
	free(notes);
}

/* Whole, cut in two everywhere, and in small pieces. */
static void
check_all_cuts(const struct resp_limits *limits, struct feed f, const char *expected)
{
	f.step = SIZE_MAX / 2;
	for (f.cut = 0; f.cut <= f.len; f.cut++)
		check(limits, &f, expected);
	for (f.step = 1; f.step <= 5; f.step++) {
		f.cut = f.step;
		check(limits, &f, expected);
	}
}

#define BAD_COUNT "!Protocol error: invalid multibulk length"
#define BAD_LENGTH "!Protocol error: invalid bulk length"
#define BAD_QUOTES "!Protocol error: unbalanced quotes in request"
#define BAD_INLINE "!Protocol error: too big inline request"
#define BAD_END "!Protocol error: bulk string not followed by CR LF"

static const struct resp_limits roomy = {1000, 1000, 1000, 1000};

struct resp_case {
	const char *in;
	size_t len;
	const char *expected;
};

/* Whole commands: any of them can follow any other. */
static const struct resp_case good_cases[] = {
	{IN("*1\r\n$4\r\nPING\r\n"), "[PING]"},
	{IN("*3\r\n$3\r\nRUN\r\n$1\r\np\r\n$5\r\nhello\r\n"), "[RUN|p|hello]"},
	{IN("*1\r\n$0\r\n\r\n"), "[]"},
	{IN("*2\r\n$0\r\n\r\n$0\r\n\r\n"), "[|]"},
	{IN("*2\r\n$2\r\n\r\n\r\n$4\r\n$1\r\n\r\n"), "[\\x0d\\x0a|$1\\x0d\\x0a]"},
	{IN("*1\r\n$3\r\n\0\xff\x80\r\n"), "[\\x00\\xff\\x80]"},
	{IN("*10\r\n$1\r\n0\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n"
	    "$1\r\n5\r\n$1\r\n6\r\n$1\r\n7\r\n$1\r\n8\r\n$10\r\n0123456789\r\n"),
	 "[0|1|2|3|4|5|6|7|8|0123456789]"},
	{IN("*0\r\n"), ""},
	{IN("*-1\r\n"), ""},
	{IN("*-9223372036854775807\r\n"), ""},
	{IN("\r\n"), ""},
	{IN("\n"), ""},
	{IN("   \t \r\n"), ""},
	{IN("\n\r\n*0\r\n\n*1\r\n$1\r\nx\r\n"), "[x]"},
	{IN("*0\r\n*0\r\nPING\r\n"), "[PING]"},
	{IN("PING\r\n"), "[PING]"},
	{IN("PING\n"), "[PING]"},
	{IN("\r\nPING\r\n\r\n"), "[PING]"},
	{IN(" RUN  p\thello \r\n"), "[RUN|p|hello]"},
	{IN("a\rb\n"), "[a|b]"},
	{IN("$4 *1\n"), "[$4|*1]"},
	{IN("a\0b \xff\n"), "[a\\x00b|\\xff]"},
	{IN("RUN p \"a b\"\r\n"), "[RUN|p|a b]"},
	{IN("\"\" ''\n"), "[|]"},
	{IN("\"\\n\\r\\t\\b\\a\\\"\\\\\\q\"\n"), "[\\x0a\\x0d\\x09\\x08\\x07\"\\q]"},
	{IN("\"\\x41\\xfF\\xg0\\x4\"\n"), "[A\\xffxg0x4]"},
	{IN("\"it's\" 'say \"x\"' 'it\\'s' 'a\\nb\\\\c'\n"), "[it's|say \"x\"|it's|a\\nb\\\\c]"},
	{IN("a\"b c\" d'e f'\n"), "[ab c|de f]"},
	{IN("x \"1\" y '2' z\n"), "[x|1|y|2|z]"},
	{IN("POSTS POSTX: x\n"), "[POSTS|POSTX:|x]"},
	{IN("ECHO POST\n"), "[ECHO|POST]"},
	{IN("*1\r\n$4\r\nPOST\r\n"), "[POST]"},
};

/* Nothing comes after these. */
static const struct resp_case last_cases[] = {
	{IN(""), ""},
	{IN("*"), ""},
	{IN("*1\r\n$4\r\nPING\r"), ""},
	{IN("*2\r\n$4\r\nPING\r\n"), ""},
	{IN("*\r\n"), BAD_COUNT},
	{IN("*-\r\n"), BAD_COUNT},
	{IN("*-0\r\n"), BAD_COUNT},
	{IN("*x\r\n"), BAD_COUNT},
	{IN("*1 \r\n"), BAD_COUNT},
	{IN("*+1\r\n"), BAD_COUNT},
	{IN("*01\r\n"), BAD_COUNT},
	{IN("*1\n"), BAD_COUNT},
	{IN("*1\rx"), BAD_COUNT},
	{IN("*9223372036854775807\r\n"), BAD_COUNT},
	{IN("*9223372036854775808\r\n"), BAD_COUNT},
	{IN("*18446744073709551617\r\n"), BAD_COUNT},
	{IN("*-9223372036854775808\r\n"), BAD_COUNT},
	{IN("*99999999999999999999999999999999999"), BAD_COUNT},
	{IN("*-1\rx"), BAD_COUNT},
	{IN("*--1\r\n"), BAD_COUNT},
	{IN("*-01\r\n"), BAD_COUNT},
	{IN("*1\r\n$-1\r\n"), BAD_LENGTH},
	{IN("*1\r\n$-"), BAD_LENGTH},
	{IN("*1\r\n$\r\n"), BAD_LENGTH},
	{IN("*1\r\n$4x\r\n"), BAD_LENGTH},
	{IN("*1\r\n$4\rx"), BAD_LENGTH},
	{IN("*1\r\n$04\r\n"), BAD_LENGTH},
	{IN("*1\r\n$00"), BAD_LENGTH},
	{IN("*1\r\n$9223372036854775808"), BAD_LENGTH},
	{IN("*1\r\n$11111111111111111111"), BAD_LENGTH},
	{IN("*1\r\n$18446744073709551620\r\nPING\r\n"), BAD_LENGTH},
	{IN("*1\r\nPING\r\n"), "!Protocol error: expected '$', got 'P'"},
	{IN("*1\r\n\r\n"), "!Protocol error: expected '$', got '\\x0d'"},
	{IN("*1\r\n\xe9"), "!Protocol error: expected '$', got '\\xe9'"},
	{IN("*1\r\n$4\r\nPINGS\r\n"), BAD_END},
	{IN("*1\r\n$4\r\nPING\n\r"), BAD_END},
	{IN("*1\r\n$4\r\nPING\rx"), BAD_END},
	{IN("PING\n\"\n"), "[PING]" BAD_QUOTES},
	{IN("a 'b\n"), BAD_QUOTES},
	{IN("a \"b\"c\n"), BAD_QUOTES},
	{IN("a 'b''c'\n"), BAD_QUOTES},
	{IN("a \"b\\\n"), BAD_QUOTES},
	{IN("a \"b\\\"\n"), BAD_QUOTES},
	{IN("a 'b\\'\n"), BAD_QUOTES},
	{IN("POST / HTTP/1.1\r\nHost: x\r\n"), "HTTP"},
	{IN("\r\n post / \"\n"), "HTTP"},
	{IN("PING\r\nhOST: localhost\r\n"), "[PING]HTTP"},
	{IN("POST\n"), "HTTP"},
};

static void
test_cut_everywhere(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(good_cases); i++) {
		const struct resp_case *c = &good_cases[i];

		check_all_cuts(&roomy, (struct feed){.in = c->in, .len = c->len}, c->expected);
	}
	for (size_t i = 0; i < LENGTH(last_cases); i++) {
		const struct resp_case *c = &last_cases[i];

		check_all_cuts(&roomy, (struct feed){.in = c->in, .len = c->len}, c->expected);
	}
}

static void
check_pair(const struct resp_case *a, const struct resp_case *b)
{
	char in[512], expected[512];
	struct feed f = {.in = in, .len = a->len + b->len, .cut = sizeof(in), .step = 1};

	assert_true(f.len <= sizeof(in));
	memcpy(in, a->in, a->len);
	memcpy(in + a->len, b->in, b->len);
	snprintf(expected, sizeof(expected), "%s%s", a->expected, b->expected);
	check(&roomy, &f, expected);
	f.cut = 1;
	check(&roomy, &f, expected);
}

static void
test_commands_in_a_row(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(good_cases); i++) {
		for (size_t j = 0; j < LENGTH(good_cases); j++)
			check_pair(&good_cases[i], &good_cases[j]);
		for (size_t j = 0; j < LENGTH(last_cases); j++)
			check_pair(&good_cases[i], &last_cases[j]);
	}
}

static const struct limit_case {
	struct resp_limits limits; /* max_args, max_bulk, max_inline, check_above */
	bool skip;
	const char *in;
	const char *expected;
} limit_cases[] = {
	{{2, 9, 99, 9}, false, "*2\r\n$1\r\na\r\n$1\r\nb\r\n", "[a|b]"},
	{{2, 9, 99, 9}, false, "*3\r\n", BAD_COUNT},
	{{2, 9, 99, 9}, false, "a b\n", "[a|b]"},
	{{2, 9, 99, 9}, false, "a b c\n", "!Protocol error: too many arguments"},
	{{2, 9, 99, 9}, false, "*1\r\n$9\r\n123456789\r\n", "[123456789]"},
	{{2, 9, 99, 9}, false, "*1\r\n$10\r\n", BAD_LENGTH},
	{{2, 0, 99, 9}, false, "*1\r\n$0\r\n\r\n", "[]"},
	{{2, 0, 99, 9}, false, "*1\r\n$1\r\n", BAD_LENGTH},
	{{SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX},
	 false,
	 "*9223372036854775807\r\n$9223372036854775807\r\n",
	 ""},
	{{2, 9, 5, 9}, false, "PING\n", "[PING]"},
	{{2, 9, 5, 9}, false, "PING\r\n", BAD_INLINE},
	{{2, 9, 5, 9}, false, "PINGS", BAD_INLINE},
	{{2, 9, 5, 9}, false, "PING", ""},
	{{2, 9, 5, 9}, false, "\r\n\nabcd\nefgh\n", "[abcd][efgh]"},
	{{2, 9, 1, 9}, false, "*1\r\n$4\r\nPING\r\n\n", "[PING]"},
	{{0, 9, 9, 9}, false, "*0\r\n\n", ""},
	/* An argument of check_above bytes is not worth a word, a longer one is, before it comes. */
	{{9, 9, 99, 3}, false, "*2\r\n$3\r\nabc\r\n$1\r\nd\r\n", "[abc|d]"},
	{{9, 9, 99, 3}, false, "*2\r\n$1\r\na\r\n$4\r\n", "?4[a]"},
	{{9, 9, 99, 3},
	 false,
	 "*4\r\n$4\r\nabcd\r\n$1\r\n1\r\n$5\r\n12345\r\n$0\r\n\r\nPING\n",
	 "?4[]?5[abcd|1][abcd|1|12345|][PING]"},
	{{9, 9, 99, 0}, false, "*2\r\n$0\r\n\r\n$1\r\nx\r\n", "?1[][|x]"},
	{{9, 9, 99, 3}, false, "*1\r\n$10\r\n", BAD_LENGTH},
	/* Also behind what is as it was. */
	{{9, 9, 99, 3},
	 false,
	 "*2\r\n$1\r\na\r\n$1\r\nb\r\n*2\r\n$1\r\na\r\n$4\r\nabcd\r\n",
	 "[a|b]?4[a][a|abcd]"},
	{{9, 9, 99, 3},
	 false,
	 "*2\r\n$4\r\nabcd\r\n$1\r\nb\r\n*2\r\n$4\r\nabcd\r\n$1\r\nc\r\n",
	 "?4[][abcd|b]?4[][abcd|c]"},
	{{9, 9, 99, 3},
	 false,
	 "*2\r\n$1\r\na\r\n$0\r\n\r\n*2\r\n$1\r\na\r\n$10\r\n",
	 "[a|]" BAD_LENGTH},
	/* Dropped to the exact byte. */
	{{9, 9, 99, 3}, true, "*1\r\n$4\r\nabcd\r\nPING\n", "?4[]~[PING]"},
	{{9, 9, 99, 3},
	 true,
	 "*4\r\n$1\r\na\r\n$4\r\n*1\r\n\r\n$0\r\n\r\n$9\r\nshutdown\n\r\n*1\r\n$1\r\nx\r\n",
	 "?4[a]~[x]"},
	{{9, 9, 99, 3},
	 true,
	 "*1\r\n$4\r\nabcd\r\n*2\r\n$1\r\nx\r\n$5\r\nabcde\r\n\n*0\r\nPING\n",
	 "?4[]~?5[x]~[PING]"},
	{{9, 9, 99, 3},
	 true,
	 "*2\r\n$1\r\na\r\n$1\r\nb\r\n*2\r\n$1\r\na\r\n$4\r\nabcd\r\n*2\r\n$1\r\na\r\n$1\r\nc\r\n",
	 "[a|b]?4[a]~[a|c]"},
	{{9, 9, 99, 3}, true, "*2\r\n$4\r\nabcd\r\n", "?4[]"},
	{{9, 9, 99, 3}, true, "*2\r\n$4\r\nabcdx\n", "?4[]" BAD_END},
	{{9, 9, 99, 3}, true, "*2\r\n$4\r\nabcd\r\n$10\r\n", "?4[]" BAD_LENGTH},
	{{9, 9, 99, 3}, true, "*2\r\n$4\r\nabcd\r\n!", "?4[]!Protocol error: expected '$', got '!'"},
};

static void
test_limits(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(limit_cases); i++) {
		const struct limit_case *c = &limit_cases[i];
		struct feed f = {.in = c->in, .len = strlen(c->in), .skip = c->skip};

		check_all_cuts(&c->limits, f, c->expected);
	}
}

/* What was understood is not looked at again: it could even have changed. */
static void
test_no_second_look(void **state)
{
	char in[] = "*2\r\n$3\r\nabc\r\n$3\r\nxyz\r\n";
	struct resp_parser p;
	size_t used;

	(void)state;
	resp_parser_init(&p, &roomy);
	assert_int_equal(resp_parse(&p, in, 18, &used), RESP_AGAIN);
	assert_int_equal(p.scanned, 17);
	memset(in, 'X', 8);
	memset(in + 11, 'X', 6);
	assert_int_equal(resp_parse(&p, in, sizeof(in) - 1, &used), RESP_OK);
	assert_int_equal(p.argc, 2);
	assert_memory_equal(p.argv[0].data, "abc", 3);
	assert_memory_equal(p.argv[1].data, "xyz", 3);
	assert_int_equal(resp_parse(&p, "PING", 4, &used), RESP_AGAIN);
	assert_int_equal(p.scanned, 4);
	assert_int_equal(resp_parse(&p, "xxxx\n", 5, &used), RESP_OK);
	assert_int_equal(used, 5);
	resp_parser_free(&p);
}

/* One call, one command: no run of empty ones takes longer than that. */
static void
test_empty_one_by_one(void **state)
{
	static const char in[] = "\n\r\n \n*0\r\n*-1\r\nPING\n";
	static const size_t sizes[] = {1, 2, 2, 4, 5};
	struct resp_parser p;
	size_t used, at = 0;

	(void)state;
	resp_parser_init(&p, &roomy);
	for (size_t i = 0; i < LENGTH(sizes); i++) {
		assert_int_equal(resp_parse(&p, in + at, sizeof(in) - 1 - at, &used), RESP_SKIPPED);
		assert_int_equal(used, sizes[i]);
		at += used;
	}
	assert_int_equal(resp_parse(&p, in + at, sizeof(in) - 1 - at, &used), RESP_OK);
	resp_parser_free(&p);
}

/* Once it has its arrays, a parser gets no more memory for commands of that size. */
static void
test_steady_memory(void **state)
{
	static const char in[] = "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\na \"b\" c\n";
	const struct resp_slice *argv = NULL;
	const char *text = NULL;
	struct resp_parser p;
	size_t used;

	(void)state;
	resp_parser_init(&p, &roomy);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(resp_parse(&p, in, sizeof(in) - 1, &used), RESP_OK);
		assert_int_equal(resp_parse(&p, in + used, sizeof(in) - 1 - used, &used), RESP_OK);
		assert_int_equal(p.argc, 3);
		assert_true(!argv || (p.argv == argv && p.inline_text == text));
		argv = p.argv;
		text = p.inline_text;
	}
	resp_parser_free(&p);
}

/* What is known to come: the rest of an argument that has begun, with its CR LF. */
static void
test_missing(void **state)
{
	static const char in[] = "*2\r\n$3\r\nabc\r\n$5\r\nvwxyz\r\n";
	static const size_t missing[] = {
		0, 0, 0, 0, 0, 0, 0, 0, 5, 4, 3, 2, 1, 0, 0, 0, 0, 7, 6, 5, 4, 3, 2, 1,
	};
	struct resp_parser p;
	size_t used;

	(void)state;
	assert_int_equal(LENGTH(missing), sizeof(in) - 1);
	for (size_t first = 0; first < LENGTH(missing); first++) {
		resp_parser_init(&p, &roomy);
		for (size_t len = first; len < LENGTH(missing); len++) {
			assert_int_equal(resp_parse(&p, in, len, &used), RESP_AGAIN);
			assert_int_equal(resp_missing(&p, len), missing[len]);
		}
		assert_int_equal(resp_parse(&p, in, sizeof(in) - 1, &used), RESP_OK);
		resp_parser_free(&p);
	}
}

/* What is dropped needs no room. */
static void
test_missing_dropped(void **state)
{
	static const struct resp_limits limits = {9, 9, 99, 3};
	static const char in[] = "*2\r\n$5\r\nab";
	struct resp_parser p;
	size_t used;

	(void)state;
	resp_parser_init(&p, &limits);
	assert_int_equal(resp_parse(&p, in, sizeof(in) - 1, &used), RESP_LENGTH);
	resp_skip(&p);
	assert_int_equal(resp_parse(&p, in, sizeof(in) - 1, &used), RESP_AGAIN);
	assert_int_equal(used, sizeof(in) - 1);
	assert_int_equal(resp_missing(&p, 0), 0);
	resp_parser_free(&p);
}

static size_t
random_input(uint64_t *seed, char *dst, size_t cap)
{
	static const char *const pieces[] = {
		"*",
		"$",
		"\r\n",
		"\r\n",
		"\n",
		"1",
		"2",
		"3",
		"0",
		"-1",
		"9",
		"a",
		"bc",
		" ",
		"\"",
		"'",
		"\\",
		"\\x4f",
		"x",
		"\r",
		"*1\r\n",
		"*2\r\n",
		"*3\r\n",
		"$1\r\na\r\n",
		"$0\r\n\r\n",
		"$5\r\n12345\r\n",
		"$4\r\nPING\r\n",
		"POST ",
		"\xff",
		"$7\r\n",
		"\t",
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
		struct resp_limits limits = {random_next(&seed) % 5, random_next(&seed) % 9,
					     random_next(&seed) % 40, random_next(&seed) % 9};
		struct feed f = {.in = in, .skip = random_next(&seed) & 1, .cut = SIZE_MAX};

		f.len = random_input(&seed, in, sizeof(in));
		f.step = SIZE_MAX / 2;
		whole = drive(&limits, &f);
		f.cut = f.len ? random_next(&seed) % f.len : 0;
		f.step = 1 + random_next(&seed) % 7;
		pieces = drive(&limits, &f);
		assert_string_equal(whole, pieces);
		free(whole);
		free(pieces);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cut_everywhere),	 cmocka_unit_test(test_commands_in_a_row),
		cmocka_unit_test(test_limits),		 cmocka_unit_test(test_no_second_look),
		cmocka_unit_test(test_empty_one_by_one), cmocka_unit_test(test_steady_memory),
		cmocka_unit_test(test_missing),		 cmocka_unit_test(test_missing_dropped),
		cmocka_unit_test(test_garbage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
