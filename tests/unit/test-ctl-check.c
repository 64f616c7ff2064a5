/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ctl/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define N(a) (sizeof(a) / sizeof((a)[0]))

/* --- limits --- */

static void
test_limits(void **state)
{
	static const struct {
		const char *text;
		bool of_time, share;
		double warn, crit;
	} cases[] = {
		{"10", false, false, 10, HUGE_VAL},   {"0", false, false, 0, HUGE_VAL},
		{"5%", false, true, 5, HUGE_VAL},     {"0.5%,1.25%", false, true, 0.5, 1.25},
		{"5,5", false, false, 5, 5},	      {"100%", false, true, 100, HUGE_VAL},
		{"90", true, false, 90, HUGE_VAL},    {"1m,10m", true, false, 60, 600},
		{"1.5s", true, false, 1.5, HUGE_VAL},
	};
	static const struct {
		const char *text;
		bool of_time;
	} bad[] = {
		{"", false},
		{",", false},
		{"5,", false},
		{",5", false},
		{"5,4", false},
		{"5%,4%", false},
		{"5,6%", false},
		{"5%,6", false},
		{"1,2,3", false},
		{"1.5", false},
		{"5.%", false},
		{"5%%", false},
		{"% 5", false},
		{"+5", false},
		{"0x10", false},
		{"1e3", false},
		{"nan", false},
		{"100.1%", false},
		{"9999999999999", false},
		{"10%", true},
		{"10m,1m", true},
		{"infinity", true},
		{"1 m", true},
		{"000000000000000000000001", false}, /* longer than what is kept of it */
	};
	struct limit l;

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		assert_null(limit_parse(&l, cases[i].of_time, cases[i].text));
		assert_true(l.given && l.share == cases[i].share);
		assert_true(l.warn == cases[i].warn && l.crit == cases[i].crit);
	}
	for (size_t i = 0; i < N(bad); i++)
		assert_non_null(limit_parse(&l, bad[i].of_time, bad[i].text));
	assert_null(limit_parse(&l, false, "00000000000000000000001")); /* just fits */
}

/* Both sides of each, and the place itself, which is still allowed. */
static void
test_judge(void **state)
{
	static const struct {
		const char *text;
		double value;
		enum check_status status;
	} cases[] = {
		{"2", 1.9, CHECK_OK},	      {"2", 2, CHECK_OK},      {"2", 2.1, CHECK_WARNING},
		{"2", 1e9, CHECK_WARNING},    {"2,4", 2, CHECK_OK},    {"2,4", 4, CHECK_WARNING},
		{"2,4", 4.1, CHECK_CRITICAL}, {"3,3", 3, CHECK_OK},    {"3,3", 3.1, CHECK_CRITICAL},
		{"0", 0, CHECK_OK},	      {"0", 1, CHECK_WARNING},
	};
	struct limit l;

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		assert_null(limit_parse(&l, false, cases[i].text));
		assert_int_equal(limit_judge(&l, cases[i].value), cases[i].status);
	}
	assert_int_equal(limit_judge(&(struct limit){0}, 1e9), CHECK_OK);
}

/* --- the line --- */

static void
free_check(struct check *c)
{
	buf_free(&c->figures);
	free(c->items);
}

static char *
line_of(const struct check *c)
{
	struct buf line = {0};

	check_format(c, "all of it", &line);
	buf_putc(&line, '\0');
	return buf_steal(&line, NULL);
}

static void
test_line(void **state)
{
	static const struct {
		enum check_status said[3], worst;
		const char *line;
	} cases[] = {
		{{CHECK_OK, CHECK_OK, CHECK_OK}, CHECK_OK, "PREFORKD OK: all of it; 0; 1; 2"},
		{{CHECK_OK, CHECK_UNKNOWN, CHECK_OK}, CHECK_UNKNOWN, "PREFORKD UNKNOWN: 1; 0; 2"},
		{{CHECK_UNKNOWN, CHECK_WARNING, CHECK_OK},
		 CHECK_WARNING,
		 "PREFORKD WARNING: 1; 0; 2"},
		{{CHECK_WARNING, CHECK_UNKNOWN, CHECK_CRITICAL},
		 CHECK_CRITICAL,
		 "PREFORKD CRITICAL: 2; 0; 1"},
	};

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		struct check c = {0};
		for (int n = 0; n < 3; n++)
			check_say(&c, cases[i].said[n], "%d", n);
		char *line = line_of(&c);
		assert_string_equal(line, cases[i].line);
		assert_int_equal(check_worst(&c), cases[i].worst);
		free(line);
		free_check(&c);
	}
}

/* Of any length and of any bytes. */
static void
test_line_is_one(void **state)
{
	char text[600];
	struct check c = {0};

	(void)state;
	for (size_t i = 0; i < 256; i++) {
		size_t len = i * 2 % (sizeof(text) - 1);
		memset(text, i ? (int)i : 1, sizeof(text));
		text[len] = '\0';
		check_say(&c, CHECK_WARNING, "%s", text);
		char *line = line_of(&c);
		assert_true(strlen(line) <= 1024);
		for (const char *s = line; *s; s++)
			assert_true((unsigned char)*s >= ' ' && *s != 127 && *s != '|');
		free(line);
	}
	char *line = line_of(&c);
	assert_non_null(strstr(line, " more"));
	free(line);
	free_check(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_judge),
		cmocka_unit_test(test_line),
		cmocka_unit_test(test_line_is_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
