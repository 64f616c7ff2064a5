/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mono.h"
#include "base/parse.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N(array) (sizeof(array) / sizeof(array)[0])
#define K UINT64_C(1024)
#define SEC USEC_PER_SEC
#define UNTOUCHED 4242

/* The text alone in a block of its own size, so that a sanitizer sees a byte
 * read behind it. */
static char *
exact(const char *s)
{
	size_t len = strlen(s);
	char *copy = malloc(len ? len : 1);

	assert_non_null(copy);
	return memcpy(copy, s, len);
}

static void
check_result(const char *what, const char *text, int r, int expected)
{
	if (r != expected)
		fail_msg("%s(\"%s\") gave %d, not %d", what, text, r, expected);
}

static void
check_value(const char *what, const char *text, uint64_t value, uint64_t expected)
{
	if (value != expected)
		fail_msg("%s(\"%s\") read %ju, not %ju", what, text, (uintmax_t)value,
			 (uintmax_t)expected);
}

static void
test_u64(void **state)
{
	static const struct {
		const char *text;
		uint64_t max;
		int result;
		uint64_t value;
	} cases[] = {
		{"0", UINT64_MAX, 0, 0},
		{"0", 0, 0, 0},
		{"1", 0, -ERANGE, 0},
		{"007", 7, 0, 7},
		{"8", 7, -ERANGE, 0},
		{"18446744073709551615", UINT64_MAX, 0, UINT64_MAX},
		{"18446744073709551615", UINT64_MAX - 1, -ERANGE, 0},
		{"18446744073709551616", UINT64_MAX, -ERANGE, 0},
		{"18446744073709551620", UINT64_MAX, -ERANGE, 0},
		{"99999999999999999999999999", UINT64_MAX, -ERANGE, 0},
		{"000000000000000000000000000001", 1, 0, 1},
		{"99999999999999999999999999x", UINT64_MAX, -EINVAL, 0},
		{"", UINT64_MAX, -EINVAL, 0},
		{"-1", UINT64_MAX, -EINVAL, 0},
		{"+1", UINT64_MAX, -EINVAL, 0},
		{" 1", UINT64_MAX, -EINVAL, 0},
		{"1 ", UINT64_MAX, -EINVAL, 0},
		{"1\n", UINT64_MAX, -EINVAL, 0},
		{"0x1", UINT64_MAX, -EINVAL, 0},
		{"1.0", UINT64_MAX, -EINVAL, 0},
		{"infinity", UINT64_MAX, -EINVAL, 0},
	};

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		char *text = exact(cases[i].text);
		uint64_t value = UNTOUCHED;

		check_result("parse_u64", cases[i].text,
			     parse_u64(text, strlen(cases[i].text), cases[i].max, &value),
			     cases[i].result);
		check_value("parse_u64", cases[i].text, value,
			    cases[i].result ? UNTOUCHED : cases[i].value);
		free(text);
	}
}

static void
test_size(void **state)
{
	static const struct {
		const char *text;
		int result;
		uint64_t value;
	} cases[] = {
		{"0", 0, 0},
		{"1000", 0, 1000},
		{"0T", 0, 0},
		{"1K", 0, K},
		{"1k", 0, K},
		{"64M", 0, 64 * K * K},
		{"3g", 0, 3 * K * K * K},
		{"2T", 0, 2 * K * K * K * K},
		{"infinity", 0, SIZE_INFINITY},
		{"18446744073709551614", 0, UINT64_MAX - 1},
		{"18446744073709551615", -ERANGE, 0}, /* would read as no limit */
		{"18446744073709551616", -ERANGE, 0},
		{"18014398509481983K", 0, 18014398509481983 * K},
		{"18014398509481984K", -ERANGE, 0},
		{"16777215T", 0, 16777215 * K * K * K * K},
		{"16777216T", -ERANGE, 0},
		{"99999999999999999999999T", -ERANGE, 0},
		{"99999999999999999999999P", -EINVAL, 0},
		{"", -EINVAL, 0},
		{"K", -EINVAL, 0},
		{"1KB", -EINVAL, 0},
		{"1KiB", -EINVAL, 0},
		{"1B", -EINVAL, 0},
		{"1 K", -EINVAL, 0},
		{"1.5M", -EINVAL, 0},
		{"-1", -EINVAL, 0},
		{"1\x0b", -EINVAL, 0}, /* a suffix but for its case bit */
		{"infinit", -EINVAL, 0},
		{"infinityK", -EINVAL, 0},
	};

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		char *text = exact(cases[i].text);
		uint64_t value = UNTOUCHED;

		check_result("parse_size", cases[i].text,
			     parse_size(text, strlen(cases[i].text), &value), cases[i].result);
		check_value("parse_size", cases[i].text, value,
			    cases[i].result ? UNTOUCHED : cases[i].value);
		free(text);
	}
}

static void
test_duration(void **state)
{
	static const struct {
		const char *text;
		int result;
		int64_t value;
	} cases[] = {
		{"0", 0, 0},
		{"0us", 0, 0},
		{"1", 0, SEC},
		{"30s", 0, 30 * SEC},
		{"1us", 0, 1},
		{"250ms", 0, 250000},
		{"2m", 0, 120 * SEC},
		{"3h", 0, 10800 * SEC},
		{"1d", 0, 86400 * SEC},
		{"1.5", 0, 1500000},
		{"1.5s", 0, 1500000},
		{"0.000001s", 0, 1},
		{"0.000001d", 0, 86400},
		{"0.999999", 0, 999999},
		{"1.25ms", 0, 1250},
		{"1.0us", 0, 1},
		{"infinity", 0, USEC_INFINITY},
		{"9223372036854775806us", 0, INT64_MAX - 1},
		{"9223372036854775807us", -ERANGE, 0}, /* would read as no end */
		{"9223372036854775808us", -ERANGE, 0},
		{"18446744073709551616us", -ERANGE, 0},
		{"9223372036854", 0, 9223372036854 * SEC},
		{"9223372036854.775806", 0, INT64_MAX - 1},
		{"9223372036854.775807", -ERANGE, 0},
		{"9223372036855", -ERANGE, 0},
		{"106751991d", 0, INT64_C(106751991) * 86400 * SEC},
		{"106751992d", -ERANGE, 0},
		{"99999999999999999999999h", -ERANGE, 0},
		{"0.5us", -ERANGE, 0}, /* finer than can be kept */
		{"0.0001ms", -ERANGE, 0},
		{"99999999999999999999999x", -EINVAL, 0},
		{"0.0000001", -EINVAL, 0},
		{"1.", -EINVAL, 0},
		{"1.s", -EINVAL, 0},
		{".5", -EINVAL, 0},
		{"1.2.3", -EINVAL, 0},
		{"", -EINVAL, 0},
		{"s", -EINVAL, 0},
		{"-1s", -EINVAL, 0},
		{"+1s", -EINVAL, 0},
		{"1 s", -EINVAL, 0},
		{"1s ", -EINVAL, 0},
		{"1S", -EINVAL, 0},
		{"1M", -EINVAL, 0},
		{"1min", -EINVAL, 0},
		{"1m30s", -EINVAL, 0},
		{"1e3", -EINVAL, 0},
		{"1,5", -EINVAL, 0},
		{"Infinity", -EINVAL, 0},
		{"infinitys", -EINVAL, 0},
	};

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		char *text = exact(cases[i].text);
		int64_t value = UNTOUCHED;

		check_result("parse_duration", cases[i].text,
			     parse_duration(text, strlen(cases[i].text), &value), cases[i].result);
		check_value("parse_duration", cases[i].text, (uint64_t)value,
			    cases[i].result ? UNTOUCHED : (uint64_t)cases[i].value);
		free(text);
	}
}

static void
test_duration_range(void **state)
{
	static const struct {
		const char *text;
		int result;
		int64_t min, max;
	} cases[] = {
		{"1s..1m", 0, SEC, 60 * SEC},
		{"1..1", 0, SEC, SEC},
		{"1us..9223372036854775806us", 0, 1, INT64_MAX - 1},
		{"0.5..1.5", 0, SEC / 2, SEC * 3 / 2},
		{"0..1s", -ERANGE, 0, 0},
		{"2s..1s", -ERANGE, 0, 0},
		{"1s..infinity", -ERANGE, 0, 0},
		{"infinity..infinity", -ERANGE, 0, 0},
		{"1s..9223372036855s", -ERANGE, 0, 0},
		{"9223372036855s..x", -EINVAL, 0, 0},
		{"", -EINVAL, 0, 0},
		{"..", -EINVAL, 0, 0},
		{"1s", -EINVAL, 0, 0},
		{"1s..", -EINVAL, 0, 0},
		{"..1s", -EINVAL, 0, 0},
		{"1s.1m", -EINVAL, 0, 0},
		{"1...2", -EINVAL, 0, 0},
		{"1s..2s..3s", -EINVAL, 0, 0},
		{"1s .. 2s", -EINVAL, 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		char *text = exact(cases[i].text);
		int64_t min = UNTOUCHED, max = UNTOUCHED;

		check_result("parse_duration_range", cases[i].text,
			     parse_duration_range(text, strlen(cases[i].text), &min, &max),
			     cases[i].result);
		check_value("parse_duration_range", cases[i].text, (uint64_t)min,
			    cases[i].result ? UNTOUCHED : (uint64_t)cases[i].min);
		check_value("parse_duration_range", cases[i].text, (uint64_t)max,
			    cases[i].result ? UNTOUCHED : (uint64_t)cases[i].max);
		free(text);
	}
}

/* A counted string: what follows it in memory does not count. */
static void
test_counted(void **state)
{
	uint64_t n;
	int64_t us;

	(void)state;
	assert_int_equal(parse_u64("123", 2, 99, &n), 0);
	assert_int_equal(n, 12);
	assert_int_equal(parse_size("5MB", 2, &n), 0);
	assert_int_equal(n, 5 * K * K);
	assert_int_equal(parse_duration("5ms", 2, &us), 0);
	assert_int_equal(us, 300 * SEC);
	assert_int_equal(parse_duration("1.5s", 2, &us), -EINVAL);
	assert_int_equal(parse_u64("1\0002", 3, 99, &n), -EINVAL);
	assert_int_equal(parse_u64(NULL, 0, 99, &n), -EINVAL);
	assert_int_equal(parse_size(NULL, 0, &n), -EINVAL);
	assert_int_equal(parse_duration(NULL, 0, &us), -EINVAL);
	assert_int_equal(parse_duration_range(NULL, 0, &us, &us), -EINVAL);
}

static void
test_format(void **state)
{
	static const struct {
		int64_t us;
		const char *text;
	} durations[] = {
		{0, "0s"},
		{1, "1us"},
		{1500, "1500us"},
		{1500000, "1500ms"},
		{SEC, "1s"},
		{60 * SEC, "1m"},
		{90 * SEC, "90s"},
		{3600 * SEC, "1h"},
		{86400 * SEC, "1d"},
		{90000 * SEC, "25h"},
		{INT64_MAX - 1, "9223372036854775806us"},
		{USEC_INFINITY, "infinity"},
	};
	static const struct {
		uint64_t bytes;
		const char *text;
	} sizes[] = {
		{0, "0"},
		{1000, "1000"},
		{1023, "1023"},
		{K, "1K"},
		{1536, "1536"},
		{64 * K * K, "64M"},
		{3 * K * K * K, "3G"},
		{K * K * K * K, "1T"},
		{K * K * K * K * K, "1024T"},
		{UINT64_MAX - 1, "18446744073709551614"},
		{SIZE_INFINITY, "infinity"},
	};
	char text[FORMAT_MAX];

	(void)state;
	for (size_t i = 0; i < N(durations); i++)
		assert_string_equal(format_duration(text, durations[i].us), durations[i].text);
	for (size_t i = 0; i < N(sizes); i++)
		assert_string_equal(format_size(text, sizes[i].bytes), sizes[i].text);
}

static void
check_roundtrip(uint64_t n)
{
	char text[FORMAT_MAX];
	int64_t us = (int64_t)(n & INT64_MAX), got_us;
	uint64_t got;

	(void)format_size(text, n);
	assert_int_equal(parse_size(text, strlen(text), &got), 0);
	check_value("parse_size", text, got, n);
	(void)format_duration(text, us);
	assert_int_equal(parse_duration(text, strlen(text), &got_us), 0);
	check_value("parse_duration", text, (uint64_t)got_us, (uint64_t)us);
}

/* What is written reads back the same: around every power of two, in steps of
 * every unit, and at seeded random places of every magnitude. */
static void
test_roundtrip(void **state)
{
	static const uint64_t steps[] = {1, 1000, 1000000, 60000000, 3600000000, 86400000000};
	uint64_t seed = 88172645463325252;

	(void)state;
	for (int bit = 0; bit < 64; bit++) {
		check_roundtrip(UINT64_C(1) << bit);
		check_roundtrip((UINT64_C(1) << bit) - 1);
		check_roundtrip((UINT64_C(1) << bit) + 1);
	}
	check_roundtrip(UINT64_MAX);
	for (size_t i = 0; i < N(steps); i++)
		for (uint64_t n = 0; n < 200; n++)
			check_roundtrip(n * steps[i]);
	for (int i = 0; i < 20000; i++) {
		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		check_roundtrip(seed >> (i % 64));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_u64),	  cmocka_unit_test(test_size),
		cmocka_unit_test(test_duration),  cmocka_unit_test(test_duration_range),
		cmocka_unit_test(test_counted),	  cmocka_unit_test(test_format),
		cmocka_unit_test(test_roundtrip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
