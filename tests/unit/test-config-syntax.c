/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/config_schema.h"
#include "daemon/config_syntax.h"

#include <stdlib.h>
#include <string.h>

#define N(array) (sizeof(array) / sizeof((array)[0]))

static const struct {
	const char *text;
	int at;		     /* -1: good */
	const char *message; /* part of it */
} syntaxes[] = {
	{"", -1, ""},
	{"a = 1", -1, ""},
	{"a = 1 b : 2, c = 3; # end", -1, ""},
	{"/* a */ a = { b = ( [ 1, 2 ], { c = \"x\" \"y\"; } ); }; // end\n", -1, ""},
	{"a = ( ); b = [ ]; c = { };", -1, ""},
	{"a = -5; b = +1.5e3; c = .5; d = 0xfFL; e = 12LL; f = TRUE; g = False", -1, ""},
	{"a = \"\\\" \\\\ \\x41 \\q\";", -1, ""},
	{"a = 1E7L;", 4, "not a number"},
	{"a = 1.5L;", 4, "not a number"},
	{"a = 1LLL;", 4, "not a number"},
	{"timeout = 30s;", 10, "strings: \"30s\""},
	{"workers = 2..16;", 10, "\"2..16\""},
	{"a = 10%;", 4, "\"10%\""},
	{"a = line;", 4, "quotes: \"line\""},
	{"a = /usr/bin/x;", 4, "\"/usr/bin/x\""},
	{"a = yes;", 4, "write true"},
	{"a = 'x';", 4, "double quotes"},
	{"a = ;", 4, "a value is missing"},
	{"a =", 3, "a value is missing"},
	{"a =\n\n# x\n", 8, "a value is missing"},
	{"a { b = 1; }", 0, "a = is missing behind a"},
	{"a.b = 1;", 1, "a = { key = value; }"},
	{"a = [ 1, 2, ];", 12, "leave the last comma out"},
	{"a = [ 1 2 ];", 8, "a comma is expected here, or the ]"},
	{"a = ( \"x\"; \"y\" );", 9, "a comma is expected here, or the )"},
	{"a = [ \"x\", 1 ];", 11, "of one type"},
	{"a = [ { } ];", 6, "is ( )"},
	{"a = { b = 1;", 4, "this { is not closed"},
	{"a = [ 1", 4, "this [ is not closed"},
	{"a = [ 1,", 4, "this [ is not closed"},
	{"a = 1; }", 7, "nothing is open"},
	{"a = 1;;", 6, "a ; too many"},
	{"a = \"x;\nb = \"y\";", 4, "does not end in its line"},
	{"a = \"x", 4, "does not end in its line"},
	{"a = \"\\x00\";", 5, "zero byte"},
	{"a = 1; /* b", 7, "does not end"},
	{"a = 1; b = 2; a = 3;", 14, "a is set twice, in line 1"},
	{"a = { b = 1; b = 2; };", 13, "b is set twice"},
	{"a = { b = 1; }; c = { b = 1; };", -1, ""},
	{"\"a\" = 1;", 0, "no quotes"},
	{"@include \"x\"", 0, "@include"},
	{"= 1", 0, "name = value"},
	{"a = (((((((((((((((((1)))))))))))))))));", 20, "nested too deep"},
};

static void
syntax_finds_the_place(void **state)
{
	(void)state;
	for (size_t i = 0; i < N(syntaxes); i++) {
		const char *text = syntaxes[i].text;
		struct syntax s;
		bool good = syntax_check(text, strlen(text), &s);

		if (good != (syntaxes[i].at < 0))
			fail_msg("%s: %s", text, good ? "taken" : s.message);
		if (!good &&
		    ((int)s.at != syntaxes[i].at || !strstr(s.message, syntaxes[i].message)))
			fail_msg("%s: at %zu: %s", text, s.at, s.message);
		syntax_free(&s);
	}
}

/* Nothing is read behind the end, wherever that is. */
static void
syntax_cut_anywhere(void **state)
{
	static const char text[] =
		"a = { b = [ \"x\\n\", \"y\" ]; }; /* c */ d = ( 0x1fL, -1.5e+3, "
		"true ); # e\nf : 1 g = \"a\" \"b\" // h\n";

	(void)state;
	for (size_t len = 0; len < sizeof(text); len++) {
		char *copy = malloc(len + 1);
		struct buf shown = {0};
		struct syntax s;

		assert_non_null(copy);
		memcpy(copy, text, len);
		copy[len] = 0;
		if (!syntax_check(copy, len, &s)) {
			assert_true(s.at <= len && s.message[0]);
			syntax_show(copy, len, s.at, &shown);
		}
		buf_free(&shown);
		syntax_free(&s);
		free(copy);
	}
}

static void
syntax_notes_numbers(void **state)
{
	static const char text[] =
		"a = 5000000000; # 7\nb = [ 1, -2 ]; c = \"3\"; d = { e = 0x1fL; "
		"f = 1.5; /* 8 */ g = true; };";
	static const char *const expected[] = {"5000000000", "1", "-2", "0x1fL", "1.5"};
	struct syntax s;

	(void)state;
	assert_true(syntax_check(text, strlen(text), &s));
	assert_int_equal(s.n_numbers, N(expected));
	for (size_t i = 0; i < N(expected); i++)
		assert_string_equal(s.numbers[i], expected[i]);
	syntax_free(&s);
}

static void
syntax_shows_a_caret(void **state)
{
	static const char text[] = "a = 1;\n\tb\t= \"\xc3\xa9\" x;\r\nc = 2;\n";
	struct buf out = {0};

	(void)state;
	assert_int_equal(syntax_line(text, 16), 2);
	syntax_show(text, strlen(text), 17, &out);
	assert_string_equal(schema_text(&out), "     b = \"\xc3\xa9\" x;\n"
					       "             ^\n");
	buf_free(&out);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(syntax_finds_the_place),
		cmocka_unit_test(syntax_cut_anywhere),
		cmocka_unit_test(syntax_notes_numbers),
		cmocka_unit_test(syntax_shows_a_caret),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
