/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/text.h"
#include "random.h"

#include <stdlib.h>
#include <string.h>

#define N(array) (sizeof(array) / sizeof(array)[0])

/* Both ends in blocks of their own size, so that a sanitizer sees a byte read
 * or written outside. */
static void
check_escape(const char *src, size_t len, size_t cap, const char *expected)
{
	char *in = malloc(len ? len : 1), *out = malloc(cap);

	assert_non_null(in);
	assert_non_null(out);
	memcpy(in, src, len);
	assert_ptr_equal(text_escape(out, cap, in, len), out);
	assert_string_equal(out, expected);
	free(in);
	free(out);
}

static void
test_escape(void **state)
{
	static const struct {
		const char *src, *shown;
	} cases[] = {
		{"", ""},
		{"plain ~text", "plain ~text"},
		{"a\\b", "a\\b"},
		{"\x01\x1f\t\n\r\x1b[31m", "\\x01\\x1f\\x09\\x0a\\x0d\\x1b[31m"},
		{" \x7e\x7f", " ~\\x7f"},
		/* C1 as UTF-8, and the last byte before and the first one after. */
		{"\x7f\xc2\x80\xc2\x85\xc2\x9f\xc2\xa0",
		 "\\x7f\\xc2\\x80\\xc2\\x85\\xc2\\x9f\xc2\xa0"},
		/* The first and the last of each length. */
		{"\xc2\xa1\xdf\xbf", "\xc2\xa1\xdf\xbf"},
		{"\xe0\xa0\x80\xef\xbf\xbf", "\xe0\xa0\x80\xef\xbf\xbf"},
		{"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"},
		{"Gr\xc3\xbc\xc3\x9f\x65 \xe2\x82\xac \xf0\x9f\x98\x80",
		 "Gr\xc3\xbc\xc3\x9f\x65 \xe2\x82\xac \xf0\x9f\x98\x80"},
		/* Overlong forms of NUL, /, and the last of each shorter length. */
		{"\xc0\x80", "\\xc0\\x80"},
		{"\xc0\xaf", "\\xc0\\xaf"},
		{"\xc1\xbf", "\\xc1\\xbf"},
		{"\xe0\x80\x80", "\\xe0\\x80\\x80"},
		{"\xe0\x9f\xbf", "\\xe0\\x9f\\xbf"},
		{"\xf0\x80\x80\x8a", "\\xf0\\x80\\x80\\x8a"},
		{"\xf0\x8f\xbf\xbf", "\\xf0\\x8f\\xbf\\xbf"},
		/* Surrogates, and their neighbours, which are none. */
		{"\xed\x9f\xbf\xed\xa0\x80", "\xed\x9f\xbf\\xed\\xa0\\x80"},
		{"\xed\xbf\xbf\xee\x80\x80", "\\xed\\xbf\\xbf\xee\x80\x80"},
		/* Past U+10FFFF; bytes that are in no character. */
		{"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},
		{"\xf5\x80\x80\x80", "\\xf5\\x80\\x80\\x80"},
		{"\xf8\xfe\xff", "\\xf8\\xfe\\xff"},
		/* Cut sequences, at the end and before another character. */
		{"\x80x", "\\x80x"},
		{"\xc3", "\\xc3"},
		{"\xc3(", "\\xc3("},
		{"\xe2\x82", "\\xe2\\x82"},
		{"\xe2\x82z", "\\xe2\\x82z"},
		{"\xe2\xe2\x82\xac", "\\xe2\xe2\x82\xac"},
		{"\xf0\x9f\x98", "\\xf0\\x9f\\x98"},
		{"\xf0\x9f\x98\xc3\xbc", "\\xf0\\x9f\\x98\xc3\xbc"},
		{"\xc3\x1b[m", "\\xc3\\x1b[m"},
		/* The eight-bit CSI alone is no UTF-8, and a control either way. */
		{"\x9b"
		 "1m",
		 "\\x9b"
		 "1m"},
	};

	char string[128];

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		check_escape(cases[i].src, strlen(cases[i].src), 128, cases[i].shown);
		assert_ptr_equal(text_escape_str(string, sizeof(string), cases[i].src), string);
		assert_string_equal(string, cases[i].shown);
	}
	check_escape("a\0b", 3, 128, "a\\x00b");
	check_escape("\0", 1, 128, "\\x00");
}

static void
test_cut(void **state)
{
	static const struct {
		const char *src;
		size_t cap;
		const char *shown;
	} cases[] = {
		{"1234567", 8, "1234567"},
		{"12345678", 8, "1234..."},
		{"123456789", 9, "12345..."},
		{"123\n", 8, "123\\x0a"},
		{"1234\n", 8, "1234..."},
		{"12345\n", 8, "1234..."},
		{"123\nx", 8, "123..."}, /* not inside an escape */
		{"1\n2345", 10, "1\\x0a2345"},
		{"1\n23456", 10, "1\\x0a2..."},
		{"12345\n67", 12, "12345\\x0a67"},
		{"12345\n678", 12, "12345..."}, /* the dots would not fit behind it */
		{"\n\n", 8, "\\x0a..."},
		{"\xc2\x85", 8, "..."},
		{"\xc2\x85", 9, "\\xc2\\x85"},
		{"x\xc2\x85", 9, "x..."},
		{"\xe2\x82\xac\xe2\x82\xac", 8, "\xe2\x82\xac\xe2\x82\xac"},
		{"\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac", 8,
		 "\xe2\x82\xac..."}, /* nor a character */
		{"\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac", 9, "\xe2\x82\xac..."},
		{"\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac", 10,
		 "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac"},
		{"\xf0\x9f\x98\x80\xf0\x9f\x98\x80", 8, "\xf0\x9f\x98\x80..."},
		{"\xf0\x9f\x98\x80\xf0\x9f\x98\x80", 9, "\xf0\x9f\x98\x80\xf0\x9f\x98\x80"},
	};

	(void)state;
	for (size_t i = 0; i < N(cases); i++)
		check_escape(cases[i].src, strlen(cases[i].src), cases[i].cap, cases[i].shown);
}

/* Random bytes at every size: always terminated, never a control in it. */
static void
test_random(void **state)
{
	uint64_t seed = 88172645463325252;
	char src[64], dst[80];

	(void)state;
	for (int round = 0; round < 20000; round++) {
		size_t cap = 8 + (size_t)round % 73;

		for (size_t i = 0; i < sizeof src; i++) {
			seed ^= seed << 13;
			seed ^= seed >> 7;
			seed ^= seed << 17;
			src[i] = (char)(seed >> 24);
		}
		memset(dst, '\n', sizeof dst);
		(void)text_escape(dst, cap, src, (size_t)round % 65);
		assert_non_null(memchr(dst, '\0', cap));
		for (const char *s = dst; *s; s++)
			assert_true((unsigned char)*s >= 0x20 && *s != 0x7f);
	}
}

/* Texts that are cut anywhere: no character is in two parts, and no byte is held back
 * for one that is none. */
static void
test_whole(void **state)
{
	static const struct {
		const char *text;
		size_t len, whole;
	} cases[] = {
		{"", 0, 0},
		{"a", 1, 1},
		{"ab", 2, 2},
		{"a\xc3\xbc", 3, 3},
		{"a\xc3", 2, 1},
		{"a\xe2\x82\xac", 4, 4},
		{"a\xe2\x82", 3, 1},
		{"a\xe2", 2, 1},
		{"a\xf0\x9f\x98\x80", 5, 5},
		{"a\xf0\x9f\x98", 4, 1},
		{"a\xf0\x9f", 3, 1},
		{"a\xf0", 2, 1},
		/* What cannot become a character, and what is nothing else. */
		{"a\x80\x80\x80\x80", 5, 5},
		{"a\xff", 2, 2},
		{"a\xc0\x80", 3, 3},
		{"\xe2", 1, 1},
		{"\xe2\x82", 2, 2},
	};

	(void)state;
	for (size_t i = 0; i < N(cases); i++)
		assert_int_equal(text_whole(cases[i].text, cases[i].len), cases[i].whole);
}

static void
test_distance(void **state)
{
	static const struct {
		const char *a, *b;
		unsigned limit, distance;
	} cases[] = {
		{"", "", 0, 0},
		{"same", "same", 0, 0},
		{"same", "some", 0, 1},
		{"", "abc", 3, 3},
		{"", "abcd", 3, 4},
		{"timeout", "timout", 2, 1},
		{"timeout", "timeoutt", 2, 1},
		{"timeout", "tineout", 2, 1},
		{"timeout", "tiemout", 2, 1},
		{"timeout", "itmeotu", 2, 2},
		{"worker", "workers", 2, 1},
		{"queue", "que", 2, 2},
		{"grace", "keep", 2, 3},
		{"kitten", "sitting", 3, 3},
		{"kitten", "sitting", 2, 3},
		{"ab", "ba", 1, 1},
		{"ca", "abc", 3, 3}, /* a swapped pair is not edited again */
		{"a", "Zz", 5, 2},
	};

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		assert_int_equal(text_distance(cases[i].a, cases[i].b, cases[i].limit),
				 cases[i].distance);
		assert_int_equal(text_distance(cases[i].b, cases[i].a, cases[i].limit),
				 cases[i].distance);
	}
}

/* As Redis' stringmatchlen() has it. */
static void
test_glob(void **state)
{
	static const struct {
		const char *pattern, *s;
		bool matches;
	} cases[] = {
		{"", "", true},
		{"", "a", false},
		{"a", "", false},
		{"abc", "abc", true},
		{"abc", "abd", false},
		{"abc", "ab", false},
		{"ab", "abc", false},
		{"*", "", true},
		{"*", "anything", true},
		{"***", "", true},
		{"job.*", "job.1", true},
		{"job.*", "job.", true},
		{"job.*", "jobs.1", false},
		{"*.1", "job.1", true},
		{"*.1", "job.1.1", true},
		{"*.1", "job.12", false},
		{"a*b*c", "abc", true},
		{"a*b*c", "a-b-b-c", true},
		{"a*b*c", "a-c-b", false},
		{"?", "", false},
		{"?", "a", true},
		{"?", "ab", false},
		{"*?", "", false},
		{"?*?", "ab", true},
		{"h?llo", "hallo", true},
		{"[abc]", "b", true},
		{"[abc]", "d", false},
		{"[a-c]", "c", true},
		{"[c-a]", "b", true},
		{"[a-c]", "d", false},
		{"[^a-c]", "d", true},
		{"[^a-c]", "b", false},
		{"[^]", "a", true},
		{"[]", "a", false},
		{"[]a]", "]", false},
		{"[\\]]", "]", true},
		{"[\\^a]", "^", true},
		{"[a^]", "^", true},
		{"[a-]", "_", true}, /* a range to the bracket, and then the end */
		{"[!a]", "!", true}, /* negation is ^ alone */
		{"[!a]", "b", false},
		{"[a-\\]", "_", true}, /* to the backslash, which escapes nothing there */
		{"[a", "a", true},     /* the end closes it */
		{"[", "a", false},
		{"x[a-c]*z", "xb--z", true},
		{"*[0-9]", "abc7", true},
		{"*[0-9]", "abcd", false},
		{"\\*", "*", true},
		{"\\*", "a", false},
		{"a\\?b", "a?b", true},
		{"\\[a]", "[a]", true},
		{"a\\", "a\\", true}, /* the last one stands for itself */
		{"a\\", "a", false},
		{"\xff*", "\xff\x01", true},
		{"[\x80-\xff]", "\xc3", true},
	};

	(void)state;
	for (size_t i = 0; i < N(cases); i++)
		if (text_glob(cases[i].pattern, strlen(cases[i].pattern), cases[i].s,
			      strlen(cases[i].s)) != cases[i].matches)
			fail_msg("'%s' and '%s'", cases[i].pattern, cases[i].s);
}

/* What takes a matcher that tries every star again longer than the universe has. */
static void
test_glob_is_not_exponential(void **state)
{
	char pattern[256], s[4096];

	(void)state;
	for (size_t i = 0; i < sizeof pattern; i += 2)
		memcpy(pattern + i, "*a", 2);
	memset(s, 'a', sizeof s);
	assert_true(text_glob(pattern, sizeof pattern, s, sizeof s));
	s[sizeof s - 1] = 'b';
	assert_false(text_glob(pattern, sizeof pattern, s, sizeof s));
}

/* The rules of * and ? as they are said. */
static bool
simple_glob(const char *p, size_t n, const char *s, size_t m)
{
	if (!n)
		return !m;
	if (*p == '*')
		return simple_glob(p + 1, n - 1, s, m) || (m && simple_glob(p, n, s + 1, m - 1));
	return m && (*p == '?' || *p == *s) && simple_glob(p + 1, n - 1, s + 1, m - 1);
}

/* The first half of the rounds against the simple one; both ends in blocks of their
 * own size, so that a sanitizer sees a byte read outside. */
static void
test_glob_at_random(void **state)
{
	static const char letters[] = "ab*?[]^-\\";
	uint64_t seed = 4;

	(void)state;
	for (int round = 0; round < 40000; round++) {
		bool simple = round < 20000;
		size_t n = (size_t)round % 9, m = (size_t)(round / 9) % 9;
		char *pattern = malloc(n ? n : 1), *s = malloc(m ? m : 1);
		bool matches;

		for (size_t i = 0; i < n; i++)
			pattern[i] = letters[random_next(&seed) % (simple ? 4 : 9)];
		for (size_t i = 0; i < m; i++)
			s[i] = letters[random_next(&seed) % 2];
		matches = text_glob(pattern, n, s, m);
		if (simple)
			assert_int_equal(matches, simple_glob(pattern, n, s, m));
		assert_true(text_glob_prefix(pattern, n) <= n);
		free(pattern);
		free(s);
	}
}

static void
test_glob_prefix(void **state)
{
	static const struct {
		const char *pattern;
		size_t prefix;
	} cases[] = {
		{"", 0}, {"job.1", 5}, {"job.*", 4}, {"*", 0}, {"a?c", 1}, {"[ab]", 0}, {"a\\*", 1},
	};

	(void)state;
	for (size_t i = 0; i < N(cases); i++)
		assert_int_equal(text_glob_prefix(cases[i].pattern, strlen(cases[i].pattern)),
				 cases[i].prefix);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_escape),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_distance),
		cmocka_unit_test(test_glob),
		cmocka_unit_test(test_glob_is_not_exponential),
		cmocka_unit_test(test_glob_at_random),
		cmocka_unit_test(test_glob_prefix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
