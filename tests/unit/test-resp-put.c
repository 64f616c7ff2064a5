/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/resp.h"

#include <math.h>
#include <string.h>

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))
#define IN(s) s, sizeof(s) - 1

static void
put_values(struct buf *b, enum resp_proto proto)
{
	resp_put_simple(b, "OK");
	resp_put_int(b, 0);
	resp_put_int(b, -7);
	resp_put_int(b, INT64_MAX);
	resp_put_int(b, INT64_MIN);
	resp_put_bulk(b, "a\r\nb", 4);
	resp_put_bulk(b, NULL, 0);
	resp_put_str(b, "text");
	resp_put_str(b, NULL);
	resp_put_null(b, proto);
	resp_put_bool(b, proto, true);
	resp_put_bool(b, proto, false);
}

static void
put_containers(struct buf *b, enum resp_proto proto)
{
	resp_put_array(b, 0);
	resp_put_array(b, 12);
	resp_put_map(b, proto, 3);
	resp_put_set(b, proto, 4);
	resp_put_push(b, proto, 3);
}

static void
put_doubles(struct buf *b, enum resp_proto proto)
{
	static const double values[] = {0,	   -0.0,      1204, 3.1,      -0.5,
					1.0000004, -1e-9,     0.1,  2.000001, 999999.9999999,
					INFINITY,  -INFINITY, NAN,  1e12,     -1e300};

	for (size_t i = 0; i < LENGTH(values); i++)
		resp_put_double(b, proto, values[i]);
}

static void
put_errors(struct buf *b, enum resp_proto proto)
{
	(void)proto;
	resp_put_error(b, "ERR", IN("no such thing"));
	resp_put_error(b, "CANCELLED", NULL, 0);
	resp_put_error(b, "FAILED",
		       IN("two\r\nlines\tand\x1b[0m\0\x7f\xff caf\xc3\xa9 \xc2\x9b\r\n"));
	resp_put_error(b, "FAILED", IN(" \r\n"));
	resp_put_errorf(b, "NOPOOL", "no pool '%s', %d there", "x\ny", 3);
	resp_begin_error(b, "BUSY");
	buf_puts(b, "as it is");
	resp_end_error(b);
}

#define ERRORS                                                                                     \
	"-ERR no such thing\r\n-CANCELLED\r\n"                                                     \
	"-FAILED two  lines and\\x1b[0m\\x00\\x7f\\xff caf\xc3\xa9 \\xc2\\x9b\r\n"                 \
	"-FAILED\r\n-NOPOOL no pool 'x y', 3 there\r\n"                                            \
	"-BUSY as it is\r\n"

static const struct put_case {
	void (*put)(struct buf *b, enum resp_proto proto);
	const char *resp2, *resp3;
} put_cases[] = {
	{put_values,
	 "+OK\r\n:0\r\n:-7\r\n:9223372036854775807\r\n:-9223372036854775808\r\n"
	 "$4\r\na\r\nb\r\n$0\r\n\r\n$4\r\ntext\r\n$-1\r\n$-1\r\n:1\r\n:0\r\n",
	 "+OK\r\n:0\r\n:-7\r\n:9223372036854775807\r\n:-9223372036854775808\r\n"
	 "$4\r\na\r\nb\r\n$0\r\n\r\n$4\r\ntext\r\n$-1\r\n_\r\n#t\r\n#f\r\n"},
	{put_containers, "*0\r\n*12\r\n*6\r\n*4\r\n*3\r\n", "*0\r\n*12\r\n%3\r\n~4\r\n>3\r\n"},
	{put_doubles,
	 "$1\r\n0\r\n$1\r\n0\r\n$4\r\n1204\r\n$3\r\n3.1\r\n$4\r\n-0.5\r\n$1\r\n1\r\n$1\r\n0\r\n"
	 "$3\r\n0.1\r\n$8\r\n2.000001\r\n$7\r\n1000000\r\n$3\r\ninf\r\n$4\r\n-inf\r\n$3\r\nnan\r\n"
	 "$13\r\n1000000000000\r\n$24\r\n-1.0000000000000001e+300\r\n",
	 ",0\r\n,0\r\n,1204\r\n,3.1\r\n,-0.5\r\n,1\r\n,0\r\n"
	 ",0.1\r\n,2.000001\r\n,1000000\r\n,inf\r\n,-inf\r\n,nan\r\n"
	 ",1000000000000\r\n,-1.0000000000000001e+300\r\n"},
	{put_errors, ERRORS, ERRORS},
};

static void
test_writers(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(put_cases); i++) {
		struct buf two = {0}, three = {0};

		put_cases[i].put(&two, RESP2);
		put_cases[i].put(&three, RESP3);
		buf_putc(&two, '\0');
		buf_putc(&three, '\0');
		assert_string_equal(buf_head(&two), put_cases[i].resp2);
		assert_string_equal(buf_head(&three), put_cases[i].resp3);
		buf_free(&two);
		buf_free(&three);
	}
}

static uint64_t
random_next(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed * UINT64_C(0x2545f4914f6cdd1d) >> 16;
}

/* Whatever the text, the error is one line of at most so many bytes, without controls. */
static void
check_error_line(const char *text, size_t len)
{
	struct buf b = {0};
	const unsigned char *s;
	size_t n;

	resp_put_error(&b, "ERR", text, len);
	s = (const unsigned char *)buf_head(&b);
	n = buf_len(&b);
	assert_true(n >= 6 && n <= strlen("-ERR ") + RESP_ERROR_MAX + 2);
	assert_memory_equal(s, "-ERR", 4);
	assert_memory_equal(s + n - 2, "\r\n", 2);
	for (size_t i = 0; i < n - 2; i++)
		assert_true(s[i] >= ' ' && s[i] != 0x7f);
	buf_free(&b);
}

static void
test_any_error_text(void **state)
{
	static const size_t lengths[] = {1,    1000, RESP_ERROR_MAX - 1, RESP_ERROR_MAX, 1024,
					 1025, 4000};
	char text[4000];
	uint64_t seed = 7;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		for (size_t j = 0; j < sizeof(text); j++)
			text[j] = (char)random_next(&seed);
		check_error_line(text, random_next(&seed) % sizeof(text));
	}
	memset(text, 'x', sizeof(text));
	for (size_t i = 0; i < LENGTH(lengths); i++) {
		struct buf b = {0};
		bool cut = lengths[i] > RESP_ERROR_MAX;

		check_error_line(text, lengths[i]);
		resp_put_error(&b, "E", text, lengths[i]);
		assert_int_equal(buf_len(&b), 5 + (cut ? RESP_ERROR_MAX : lengths[i]));
		assert_memory_equal(buf_tail(&b) - 3, cut ? ".\r\n" : "x\r\n", 3);
		buf_free(&b);
	}
}

/* What the writers write, the parser reads. */
static void
test_round_trip(void **state)
{
	static const struct resp_limits roomy = {1000, 1000, 1000, 1000};
	uint64_t seed = 99;
	struct resp_parser p;

	(void)state;
	resp_parser_init(&p, &roomy);
	for (size_t args = 1; args < 40; args++) {
		char data[40];
		struct buf b = {0};
		size_t used;

		for (size_t i = 0; i < sizeof(data); i++)
			data[i] = (char)random_next(&seed);
		resp_put_array(&b, args);
		for (size_t i = 0; i < args; i++)
			resp_put_bulk(&b, data, i);
		assert_int_equal(resp_parse(&p, buf_head(&b), buf_len(&b), &used), RESP_OK);
		assert_int_equal(used, buf_len(&b));
		assert_int_equal(p.argc, args);
		for (size_t i = 0; i < args; i++) {
			assert_int_equal(p.argv[i].len, i);
			assert_memory_equal(p.argv[i].data, data, i);
		}
		buf_free(&b);
	}
	resp_parser_free(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_writers),
		cmocka_unit_test(test_any_error_text),
		cmocka_unit_test(test_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
