/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/resp.h"

#include <stdlib.h>
#include <string.h>

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))

static const struct resp_limits limits = {1000, 1000, 1000, 1000};

#define AB "*2\r\n$1\r\na\r\n$1\r\nb\r\n"
#define AC "*2\r\n$1\r\na\r\n$1\r\nc\r\n"
#define LONG "*3\r\n$40\r\n0123456789012345678901234567890123456789\r\n"

static const struct repeat_case {
	const char *first, *second;
	bool repeats;
} repeat_cases[] = {
	{AB, AB, true},
	{AB, AC, true},
	{AB, "*2\r\n$1\r\na\r\n$11\r\n12345678901\r\n", true},
	{AB, "*2\r\n$1\r\na\r\n$1\r", true},
	{AB, "*2\r\n$1\r\na\r\n!", true},
	{AB, "*2\r\n$1\r\na\r\n$1\r\nb\n\n", true},
	{AB, "*2\r\n$1\r\na\r", false},
	{AB, "*2\r\n$1\r\nx\r\n$1\r\nb\r\n", false},
	{AB, "*3\r\n$1\r\na\r\n$1\r\nb\r\n$0\r\n\r\n", false},
	{AB, "a b\n", false},
	{AB, "", false},
	{"a b\n", "a b\n", false},
	{"a b\n", AB, false},
	{"*1\r\n$1\r\na\r\n", "*1\r\n$1\r\na\r\n", false},
	{"*3\r\n$0\r\n\r\n$1\r\n1\r\n$0\r\n\r\n", "*3\r\n$0\r\n\r\n$1\r\n1\r\n$1\r\n2\r\n", true},
	/* A head of 64 bytes is kept, and none of 65. */
	{LONG "$7\r\n1234567\r\n$0\r\n\r\n", LONG "$7\r\n1234567\r\n$1\r\nb\r\n", true},
	{LONG "$8\r\n12345678\r\n$0\r\n\r\n", LONG "$8\r\n12345678\r\n$1\r\nb\r\n", false},
};

/* Both of them say the same of these bytes, which have a block to themselves. */
static void
assert_alike(struct resp_parser *p, struct resp_parser *other, const char *in)
{
	size_t len = strlen(in), used, other_used;
	char *copy = malloc(len + 1);
	enum resp_result r;

	assert_non_null(copy);
	memcpy(copy, in, len);
	r = resp_parse(p, copy, len, &used);
	assert_int_equal(r, resp_parse(other, copy, len, &other_used));
	assert_int_equal(used, other_used);
	if (r == RESP_BAD)
		assert_string_equal(p->error, other->error);
	assert_int_equal(p->argc, other->argc);
	for (size_t i = 0; i < p->argc; i++) {
		assert_ptr_equal(p->argv[i].data, other->argv[i].data);
		assert_int_equal(p->argv[i].len, other->argv[i].len);
	}
	free(copy);
}

/* What begins as the last command is known wherever it lies, and is read as by a parser that
 * has seen nothing. */
static void
test_as_a_new_one(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(repeat_cases); i++) {
		const struct repeat_case *c = &repeat_cases[i];
		struct resp_parser p, first, second;

		resp_parser_init(&p, &limits);
		resp_parser_init(&first, &limits);
		resp_parser_init(&second, &limits);
		assert_alike(&p, &first, c->first);
		assert_false(p.repeats);
		assert_alike(&p, &second, c->second);
		assert_int_equal(p.repeats, c->repeats);
		assert_false(second.repeats);
		resp_parser_free(&p);
		resp_parser_free(&first);
		resp_parser_free(&second);
	}
}

static bool
repeats(struct resp_parser *p, const char *in, size_t len)
{
	size_t used;

	assert_int_equal(resp_parse(p, in, len, &used), RESP_OK);
	assert_int_equal(used, len);
	return p->repeats;
}

/* Any number of times, also in pieces, until another command has come. */
static void
test_until_another(void **state)
{
	struct resp_parser p;
	size_t used;

	(void)state;
	resp_parser_init(&p, &limits);
	assert_false(repeats(&p, AB, strlen(AB)));
	assert_true(repeats(&p, AC, strlen(AC)));
	assert_true(repeats(&p, AB, strlen(AB)));
	assert_int_equal(resp_parse(&p, AC, strlen(AC) - 2, &used), RESP_AGAIN);
	assert_true(repeats(&p, AC, strlen(AC)));
	assert_true(repeats(&p, AB, strlen(AB)));
	assert_memory_equal(p.argv[0].data, "a", 1);
	assert_memory_equal(p.argv[1].data, "b", 1);
	assert_int_equal(resp_parse(&p, "\n", 1, &used), RESP_SKIPPED);
	assert_false(repeats(&p, AB, strlen(AB)));
	assert_true(repeats(&p, AB, strlen(AB)));
	assert_int_equal(resp_parse(&p, AB, 4, &used), RESP_AGAIN);
	assert_false(repeats(&p, AB, strlen(AB)));
	resp_parser_free(&p);
}

/* What was given back is not there to be repeated. */
static void
test_trimmed(void **state)
{
	struct resp_parser p;
	char words[800];

	(void)state;
	for (size_t i = 0; i < sizeof(words); i += 2)
		memcpy(words + i, "x ", 2);
	words[sizeof(words) - 1] = '\n';
	resp_parser_init(&p, &limits);
	assert_false(repeats(&p, words, sizeof(words)));
	assert_false(repeats(&p, AB, strlen(AB)));
	resp_parser_trim(&p);
	assert_null(p.argv);
	assert_false(repeats(&p, AB, strlen(AB)));
	assert_memory_equal(p.argv[0].data, "a", 1);
	resp_parser_free(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_as_a_new_one),
		cmocka_unit_test(test_until_another),
		cmocka_unit_test(test_trimmed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
