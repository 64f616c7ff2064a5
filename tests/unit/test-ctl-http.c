/* SPDX-License-Identifier: MIT */
/* Heads of HTTP requests, each in one piece and cut at every byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ctl/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N(a) (sizeof(a) / sizeof((a)[0]))

/* A copy of the exact size, so that a sanitizer sees what is read behind it. */
static bool
parse(const char *text, size_t len, struct http_request *ret, char path[64])
{
	char *copy = malloc(len ? len : 1);

	assert_non_null(copy);
	memcpy(copy, text, len);
	bool known = http_parse(copy, len, ret);
	*path = 0;
	if (known && ret->status == 200) {
		assert_true(ret->path_len < 64);
		memcpy(path, ret->path, ret->path_len);
		path[ret->path_len] = 0;
	}
	free(copy);
	return known;
}

/* What is known of the text as it comes, a byte at a time; false: nothing, at its end. */
static bool
parse_bytewise(const char *text, size_t len, struct http_request *ret, char path[64])
{
	for (size_t n = 0; n <= len; n++)
		if (parse(text, n, ret, path))
			return true;
	return false;
}

static void
same(const char *text, size_t len, struct http_request *ret, char path[64])
{
	struct http_request slow;
	char slow_path[64];

	bool known = parse(text, len, ret, path);
	assert_true(parse_bytewise(text, len, &slow, slow_path) == known);
	if (!known) {
		ret->status = 0;
		return;
	}
	assert_int_equal(slow.status, ret->status);
	assert_string_equal(slow_path, path);
	if (ret->status != 200) {
		assert_string_equal(slow.why, ret->why);
		return;
	}
	assert_true(slow.get == ret->get && slow.head == ret->head);
	assert_true(slow.openmetrics == ret->openmetrics);
}

static void
test_heads(void **state)
{
	static const struct {
		const char *text;
		int status; /* 0: not all is there */
		const char *path;
		char method; /* G, H, or - for another one */
	} cases[] = {
		{"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 200, "/metrics", 'G'},
		{"GET /metrics HTTP/1.1\nHost: x\n\n", 200, "/metrics", 'G'},
		{"GET /metrics HTTP/1.1\r\nhOST:x\n\r\n", 200, "/metrics", 'G'},
		{"\r\n\nGET / HTTP/1.0\r\n\r\n", 200, "/", 'G'},
		{"HEAD /metrics?x=/y?z HTTP/1.0\r\n\r\n", 200, "/metrics", 'H'},
		{"POST /metrics HTTP/1.0\r\nContent-Length: 1\r\n\r\nx", 200, "/metrics", '-'},
		{"get / HTTP/1.0\r\n\r\n", 200, "/", '-'},
		{"M-SEARCH * HTTP/1.0\r\n\r\n", 200, "*", '-'},
		{"GET http://h:1/metrics?a HTTP/1.1\r\nHost: h\r\n\r\n", 200, "/metrics", 'G'},
		{"GET HTTP://h HTTP/1.1\r\nHost: h\r\n\r\n", 200, "/", 'G'},
		{"GET ?a HTTP/1.0\r\n\r\n", 200, "", 'G'},
		{"GET / HTTP/1.0\r\nA: b\tc \xc3\xa4\r\nEmpty:\r\n\r\n", 200, "/", 'G'},
		{"GET / HTTP/1.9\r\nHost: h\r\n\r\nGET / HT", 200, "/", 'G'},
		/* not all is there */
		{"", 0, "", 0},
		{"\r\n", 0, "", 0},
		{"GET /metrics HTTP/1.1\r\nHost: x\r\n", 0, "", 0},
		{"GET /metrics HTTP/1.1\r\nHost: x\r\n\r", 0, "", 0},
		{"GET /metrics", 0, "", 0},
		/* the first line */
		{"GET /metrics\r\n", 400, "", 0},
		{"GET\r\n", 400, "", 0},
		{" GET / HTTP/1.0\r\n", 400, "", 0},
		{"GET  / HTTP/1.0\r\n", 400, "", 0},
		{"GET /  HTTP/1.0\r\n", 400, "", 0},
		{"GET / HTTP/1.0 \r\n", 400, "", 0},
		{"GET / HTTP/11\r\n", 400, "", 0},
		{"GET / http/1.1\r\n", 400, "", 0},
		{"GET / FTTP/1.1\r\n", 400, "", 0},
		{"GET / HTTP/1.x\r\n", 400, "", 0},
		{"G(T / HTTP/1.1\r\n", 400, "", 0},
		{"GET /\xc3\xa4 HTTP/1.1\r\n", 400, "", 0},
		{"PRI * HTTP/2.0\r\n", 505, "", 0},
		{"GET / HTTP/0.9\r\n", 505, "", 0},
		{"GET /\t HTTP/1.1\r\n", 400, "", 0},
		{"\x16\x03\x01", 400, "", 0}, /* TLS */
		{"*1\r\n$4\r\nPING\r\n", 400, "", 0},
		{"GET /\r HTTP/1.1\r\n", 400, "", 0},
		/* the others */
		{"GET / HTTP/1.1\r\n\r\n", 400, "", 0},
		{"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "", 0},
		{"GET / HTTP/1.0\r\nHost\r\n", 400, "", 0},
		{"GET / HTTP/1.0\r\nHost : x\r\n", 400, "", 0},
		{"GET / HTTP/1.0\r\nA: b\r\n c\r\n", 400, "", 0},
		{"GET / HTTP/1.0\r\n: x\r\n", 400, "", 0},
		{"GET / HTTP/1.0\r\nA: b\001", 400, "", 0},
		{"GET / HTTP/1.0\r\nA: b\x7f\r\n", 400, "", 0},
		{"GET / HTTP/1.0\r\nA: b\rc\r\n", 400, "", 0},
	};
	struct http_request r;
	char path[64];

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		same(cases[i].text, strlen(cases[i].text), &r, path);
		if (r.status != cases[i].status || strcmp(path, cases[i].path) != 0)
			fail_msg("%s: %d '%s'", cases[i].text, r.status, path);
		if (r.status == 200)
			assert_int_equal(r.get ? 'G' : r.head ? 'H' : '-', cases[i].method);
	}
	same("GET / HTTP/1.0\r\nA: \0\r\n", 22, &r, path);
	assert_int_equal(r.status, 400);
}

/* As many bytes as there may be, and one more, in the first line and behind it. */
static void
test_long(void **state)
{
	static const struct {
		const char *begin, *end;
		size_t size;
		int status;
	} cases[] = {
		{"GET / HTTP/1.0\r\nA: ", "\r\n\r\n", HTTP_HEAD_MAX, 200},
		{"GET / HTTP/1.0\r\nA: ", "\r\n\r\n", HTTP_HEAD_MAX + 1, 431},
		{"GET / HTTP/1.0\r\nA: ", "", 1 << 20, 431},
		{"GET /?", " HTTP/1.0\r\n\r\n", HTTP_HEAD_MAX, 200},
		{"GET /?", " HTTP/1.0\r\n\r\n", HTTP_HEAD_MAX + 1, 431},
		{"GET /?", " HTTP/1.0\r\n\r\n", HTTP_HEAD_MAX + 3, 414},
		{"GET /", "", 1 << 20, 414},
		{"", "", HTTP_HEAD_MAX, 414},
		{"", "", HTTP_HEAD_MAX - 1, 0},
	};
	struct http_request r;

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		size_t size = cases[i].size, end = strlen(cases[i].end);
		char *text = malloc(size);

		assert_non_null(text);
		memset(text, 'a', size);
		memcpy(text, cases[i].begin, strlen(cases[i].begin));
		memcpy(text + size - end, cases[i].end, end);
		if (!http_parse(text, size, &r))
			r.status = 0;
		if (r.status != cases[i].status)
			fail_msg("case %zu: %d", i, r.status);
		free(text);
	}
}

/* A flood of short lines is bounded by the same size. */
static void
test_flood(void **state)
{
	char text[HTTP_HEAD_MAX + 2] = "GET / HTTP/1.0\r\n";
	struct http_request r;
	size_t len = strlen(text);

	(void)state;
	for (; len + 4 <= sizeof(text); len += 4)
		memcpy(text + len, "A:\r\n", 4);
	assert_true(http_parse(text, len, &r));
	assert_int_equal(r.status, 431);
}

static void
test_accept(void **state)
{
	static const struct {
		const char *accept;
		bool openmetrics;
	} cases[] = {
		{"", false},
		{"*/*", false},
		{"text/plain", false},
		{"text/html,application/xhtml+xml,*/*;q=0.8", false},
		{"application/openmetrics-text", true},
		{"Application/OpenMetrics-Text; VERSION=1.0.0", true},
		{"application/openmetrics-text; version=\"1.0.0\"; charset=utf-8", true},
		{"application/openmetrics-text; version=0.0.1", false},
		{"application/openmetrics-text; version=2.0.0", false},
		{"application/openmetrics-textile", false},
		{"application/openmetrics-text;q=0", false},
		{"application/openmetrics-text;q=0.000", false},
		{"application/openmetrics-text;q=0.001", true},
		{"application/openmetrics-text;q=nonsense", false},
		{"application/openmetrics-text;q=0.5,text/plain", false},
		{"application/openmetrics-text;q=0.5,text/plain;q=0.5", true},
		{"text/plain;q=0.4 , application/openmetrics-text ;q=0.5", true},
		{",,;;=,application/openmetrics-text;;q=1.000;,", true},
		/* Prometheus 2.42; 3.0 with its defaults, and told to prefer the old format */
		{"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version="
		 "0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
		 true},
		{"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
		 "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;"
		 "escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
		 true},
		{"text/plain;version=0.0.4;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5,"
		 "*/*;q=0.4",
		 false},
	};
	char text[1024], path[64];
	struct http_request r;

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		snprintf(text, sizeof(text), "GET / HTTP/1.0\r\naccept: %s\r\n\r\n",
			 cases[i].accept);
		same(text, strlen(text), &r, path);
		assert_int_equal(r.status, 200);
		if (r.openmetrics != cases[i].openmetrics)
			fail_msg("%s", cases[i].accept);
	}
	/* several lines are one list */
	snprintf(text, sizeof(text),
		 "GET / HTTP/1.0\nAccept: text/plain;q=0.5\nAccept: "
		 "application/openmetrics-text\n\n");
	same(text, strlen(text), &r, path);
	assert_true(r.openmetrics);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_heads),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_flood),
		cmocka_unit_test(test_accept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
