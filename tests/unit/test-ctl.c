/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "ctl/args.h"
#include "ctl/errors.h"
#include "ctl/human.h"
#include "ctl/json.h"
#include "ctl/reply.h"
#include "ctl/table.h"
#include "holds.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N(a) (sizeof(a) / sizeof((a)[0]))

/* --- numbers --- */

static void
test_human(void **state)
{
	static const struct {
		char *(*write)(char dst[HUMAN_MAX], int64_t n);
		int64_t n;
		const char *text;
	} cases[] = {
		{human_span, -1, "-"},
		{human_span, 0, "0ms"},
		{human_span, 3, "0.01ms"},
		{human_span, 57, "0.05ms"},
		{human_span, 99, "0.09ms"},
		{human_span, 300, "0.3ms"},
		{human_span, 2000, "2ms"},
		{human_span, 2500, "2.5ms"},
		{human_span, 9999, "9.9ms"},
		{human_span, 10000, "10ms"},
		{human_span, 999999, "999ms"},
		{human_span, 1000000, "1s"},
		{human_span, 11823000, "11.8s"},
		{human_span, 59999999, "59.9s"},
		{human_span, 60000000, "1m"},
		{human_span, 182000000, "3m2s"},
		{human_span, INT64_C(273600000000), "3d4h"},
		{human_age, -5, "-"},
		{human_age, 0, "0ms"},
		{human_age, 250, "250ms"},
		{human_age, 12345, "12s"},
		{human_age, 182000, "3m2s"},
		{human_age, 3600000, "1h"},
		{human_age, INT64_C(86400000) * 400, "400d"},
		{human_long, -1, "-"},
		{human_long, 500, "0s"},
		{human_long, 12000, "12s"},
		{human_long, 182000, "3m 2s"},
		{human_long, (3 * 24 + 4) * INT64_C(3600000), "3d 4h"},
		{human_size, -1, "-"},
		{human_size, 0, "0"},
		{human_size, 1023, "1023"},
		{human_size, 1024, "1K"},
		{human_size, 1536, "1.5K"},
		{human_size, 9 << 20, "9M"},
		{human_size, 100 << 20, "100M"},
		{human_size, INT64_MAX, "8192P"},
		{human_time, -1, "-"},
		{human_time, 0, "1970-01-01 00:00:00"},
	};
	char dst[HUMAN_MAX];

	(void)state;
	setenv("TZ", "UTC", 1);
	for (size_t i = 0; i < N(cases); i++)
		assert_string_equal(cases[i].write(dst, cases[i].n), cases[i].text);
}

static void
test_rate(void **state)
{
	static const struct {
		double n;
		const char *text;
	} cases[] = {{-1, "-"},	 {0, "0"},	 {0.04, "0"},	   {3.14, "3.1"},
		     {10, "10"}, {99.96, "100"}, {1203.6, "1204"}, {1e300, "1000000000000000"}};
	char dst[HUMAN_MAX];

	(void)state;
	for (size_t i = 0; i < N(cases); i++)
		assert_string_equal(human_rate(dst, cases[i].n), cases[i].text);
}

/* --- errors --- */

static void
test_errors(void **state)
{
	static const struct {
		const char *text;
		const char *word;
		int status;
		bool ends_map;
	} cases[] = {
		{"FAILED no such file", "FAILED", 1, false},
		{"TIMEOUT after 5s", "TIMEOUT", 124, false},
		{"CRASHED killed by signal 9 (SIGKILL)", "CRASHED", 70, false},
		{"BUSY", "BUSY", 75, false},
		{"PENDING 123", "PENDING", 75, false},
		{"DRAINING", "DRAINING", 75, true},
		{"BADPAYLOAD a line feed", "BADPAYLOAD", 65, false},
		{"TOOBIG", "TOOBIG", 65, false},
		{"DOWN exits at start", "DOWN", 69, true},
		{"NOPERM", "NOPERM", 77, true},
		{"BADOPTION", "BADOPTION", 64, true},
		{"NOPOOL x", "NOPOOL", 1, true},
		{"NOJOB x", "NOJOB", 1, true},
		{"KEYMISMATCH", "KEYMISMATCH", 1, true},
		{"CANCELLED", "CANCELLED", 1, false},
		{"ERR what", "ERR", 1, true},
		{"BUSYNESS", "ERR", 1, true},
		{"SOMETHING new", "ERR", 1, true},
		{"", "ERR", 1, true},
	};

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		const struct error_row *row = error_find(cases[i].text, strlen(cases[i].text));
		assert_string_equal(row->word, cases[i].word);
		assert_int_equal(row->status, cases[i].status);
		assert_int_equal(row->ends_map, cases[i].ends_map);
	}
}

/* --- replies and JSON --- */

static redisReply *
reply_of(const char *wire)
{
	redisReader *reader = redisReaderCreate();
	void *reply = NULL;

	assert_int_equal(redisReaderFeed(reader, wire, strlen(wire)), REDIS_OK);
	assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_OK);
	assert_non_null(reply);
	redisReaderFree(reader);
	return reply;
}

static const char map_wire[] = "*12\r\n$4\r\nname\r\n$1\r\nx\r\n$6\r\nqueued\r\n:-7\r\n"
			       "$10\r\ndone_per_s\r\n$3\r\n3.1\r\n$2\r\nid\r\n$2\r\n12\r\n"
			       "$3\r\nkey\r\n$-1\r\n$4\r\nlist\r\n*2\r\n:1\r\n+a\r\n";

static void
test_reply(void **state)
{
	redisReply *r = reply_of(map_wire);

	(void)state;
	assert_string_equal(reply_str(r, "name", "?"), "x");
	assert_int_equal(reply_int(r, "queued", 1), -7);
	assert_int_equal(reply_int(r, "id", 1), 12);
	assert_int_equal(reply_int(r, "name", 5), 5);
	assert_int_equal(reply_int(r, "done_per_s", 5), 5);
	assert_true(reply_double(r, "done_per_s", 0) > 3.09);
	assert_true(reply_double(r, "queued", 0) < -6.9);
	assert_null(reply_get(r, "key"));
	assert_null(reply_get(r, "x"));
	assert_null(reply_get(NULL, "x"));
	assert_string_equal(reply_str(r, "key", "-"), "-");
	assert_string_equal(reply_str(r, "queued", "-"), "-");
	freeReplyObject(r);
}

static void
test_json_reply(void **state)
{
	static const struct {
		const char *wire;
		enum json_shape shape;
		const char *json;
	} cases[] = {
		{map_wire, JSON_MAP,
		 "{\"name\":\"x\",\"queued\":-7,\"done_per_s\":3.1,\"id\":\"12\",\"key\":null,"
		 "\"list\":[1,\"a\"]}"},
		{"*0\r\n", JSON_MAP, "{}"},
		{"*0\r\n", JSON_MAPS, "[]"},
		{"*2\r\n*2\r\n+a\r\n:1\r\n*2\r\n+a\r\n:2\r\n", JSON_MAPS, "[{\"a\":1},{\"a\":2}]"},
		{"*2\r\n+a\r\n:1\r\n", JSON_LIST, "[\"a\",1]"},
		{"$-1\r\n", JSON_MAP, "null"},
		{"+OK\r\n", JSON_LIST, "\"OK\""},
	};

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		redisReply *r = reply_of(cases[i].wire);
		struct buf b = {0};
		json_reply(&b, r, cases[i].shape);
		assert_holds(&b, cases[i].json);
		buf_free(&b);
		freeReplyObject(r);
	}
}

static void
test_json_string(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		const char *json;
	} cases[] = {
		{"", 0, "\"\""},
		{"a\"b\\c/", 6, "\"a\\\"b\\\\c/\""},
		{"\b\f\n\r\t", 5, "\"\\b\\f\\n\\r\\t\""},
		{"\0\x01\x1f\x7f", 4, "\"\\u0000\\u0001\\u001f\\u007f\""},
		{"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9,
		 "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
		{"\xff", 1, "\"\\ufffd\""},
		{"\xc0\x80", 2, "\"\\ufffd\\ufffd\""},		  /* overlong */
		{"\xe0\x80\x80", 3, "\"\\ufffd\\ufffd\\ufffd\""}, /* overlong */
		{"\xed\xa0\x80", 3, "\"\\ufffd\\ufffd\\ufffd\""}, /* surrogate */
		{"\xf4\x90\x80\x80", 4, "\"\\ufffd\\ufffd\\ufffd\\ufffd\""},
		{"\xe2\x82", 2, "\"\\ufffd\\ufffd\""}, /* cut */
		{"\xc3(", 2, "\"\\ufffd(\""},
	};

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		struct buf b = {0};
		json_string(&b, cases[i].text, cases[i].len);
		assert_holds(&b, cases[i].json);
		buf_free(&b);
	}
}

static void
test_json_bytes(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		const char *json;
	} cases[] = {
		{"", 0, "\"r\":\"\""},
		{"a\0b", 3, "\"r\":\"a\\u0000b\""},
		{"\xff", 1, "\"r_base64\":\"/w==\""},
		{"\xff\xfe", 2, "\"r_base64\":\"//4=\""},
		{"\xff\x00\x01", 3, "\"r_base64\":\"/wAB\""},
		{"abc\xff", 4, "\"r_base64\":\"YWJj/w==\""},
	};

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		struct buf b = {0};
		json_bytes(&b, "r", cases[i].text, cases[i].len);
		assert_holds(&b, cases[i].json);
		buf_free(&b);
	}
}

/* --- tables --- */

static void
assert_table(struct table *t, size_t width, const char *expected)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	table_print(t, f, width);
	fclose(f);
	assert_string_equal(text, expected);
	free(text);
}

static void
test_table(void **state)
{
	static const struct column columns[] = {{"NAME", false}, {"N", true}, {"TEXT", false}};
	struct table t;

	(void)state;
	table_init(&t, columns, 3);
	assert_table(&t, 0, "NAME  N  TEXT\n");
	table_add(&t, "a");
	table_addf(&t, "%d", 1234);
	table_add(&t, NULL);
	table_add(&t, "longer");
	table_addf(&t, "%d", 5);
	table_add_bytes(&t, "x\0\n\x1b[31m", 8);
	assert_table(&t, 0,
		     "NAME       N  TEXT\n"
		     "a       1234  -\n"
		     "longer     5  x\\x00\\x0a\\x1b[31m\n");
	assert_table(&t, 17,
		     "NAME       N  TE…\n"
		     "a       1234  -\n"
		     "longer     5  x\\…\n");
	table_continue(&t);
	for (int i = 0; i < 3; i++)
		table_add(&t, "b");
	assert_table(&t, 0, "b          b  b\n");
	table_free(&t);
}

static void
test_width(void **state)
{
	static const struct column columns[] = {{"A", false}, {"B", false}};
	struct table t;

	(void)state;
	if (!setlocale(LC_CTYPE, "C.UTF-8"))
		skip();
	assert_int_equal(table_text_width("h\xc3\xa9llo"), 5);
	assert_int_equal(table_text_width("\xe6\xbc\xa2\xe5\xad\x97"), 4);
	table_init(&t, columns, 2);
	table_add(&t, "\xc3\xa9");
	table_add(&t, "\xe6\xbc\xa2\xe5\xad\x97");
	assert_table(&t, 0, "A  B\n\xc3\xa9  \xe6\xbc\xa2\xe5\xad\x97\n");
	assert_table(&t, 6, "A  B\n\xc3\xa9  \xe6\xbc\xa2…\n");
	table_free(&t);
}

/* --- the command line --- */

static int
parse(struct args *args, const struct verb **verb, const char *const words[8])
{
	static char storage[8][32];
	static char *argv[8];
	int n = 0;

	for (; n < 8 && words[n]; n++) {
		snprintf(storage[n], sizeof(storage[n]), "%s", words[n]);
		argv[n] = storage[n];
	}
	return args_parse(n, argv, args, verb);
}

static void
test_args(void **state)
{
	static const struct {
		const char *words[8];
		int status;
		const char *verb;
		int count, command;
		enum opt opt;
		const char *value;
	} cases[] = {
		{{"status"}, 0, "status", 0, -1, OPT_JSON, NULL},
		{{"--json", "status"}, 0, "status", 0, -1, OPT_JSON, ""},
		{{"status", "--json", "-s", "/x"}, 0, "status", 0, -1, OPT_SOCKET, "/x"},
		{{"-s/x", "ping"}, 0, "ping", 0, -1, OPT_SOCKET, "/x"},
		{{"run", "p", "--timeout", "5s", "a", "--wait"}, 0, "run", 3, -1, OPT_TIMEOUT, "5s"},
		{{"run", "--timeout=5s", "p", "-"}, 0, "run", 2, -1, OPT_TIMEOUT, "5s"},
		{{"run", "p", "a", "--json"}, 0, "run", 3, -1, OPT_JSON, NULL},
		{{"run", "p", "--", "--json"}, 0, "run", 2, 1, OPT_JSON, NULL},
		{{"run"}, STATUS_USAGE, "run", 0, -1, OPT_MAX, NULL},
		{{"run", "p", "--timeout", "x"}, STATUS_USAGE, "run", 1, -1, OPT_MAX, NULL},
		{{"run", "p", "--timeout"}, STATUS_USAGE, "run", 1, -1, OPT_MAX, NULL},
		{{"run", "p", "--json=1"}, STATUS_USAGE, "run", 1, -1, OPT_MAX, NULL},
		{{"run", "p", "--now"}, STATUS_USAGE, "run", 1, -1, OPT_MAX, NULL},
		{{"status", "x"}, STATUS_USAGE, "status", 1, -1, OPT_MAX, NULL},
		{{"stauts"}, STATUS_USAGE, "", 0, -1, OPT_MAX, NULL},
		{{"--now", "stop"}, STATUS_USAGE, "", 0, -1, OPT_MAX, NULL},
		{{"stop", "--now"}, 0, "stop", 0, -1, OPT_NOW, ""},
		{{"jobs", "-n0"}, STATUS_USAGE, "jobs", 0, -1, OPT_MAX, NULL},
		{{"jobs", "-n5"}, 0, "jobs", 0, -1, OPT_COUNT, "5"},
		{{"map", "-j2", "--filter", "--", "jq", "-c", "."}, 0, "map", 3, 0, OPT_WORKERS, "2"},
		{{"map", "--json", "p"}, STATUS_USAGE, "map", 0, -1, OPT_MAX, NULL},
		{{"--json", "map", "p"}, STATUS_USAGE, "map", 1, -1, OPT_MAX, NULL},
		{{"help", "run"}, 0, "help", 1, -1, OPT_HELP, NULL},
		{{"run", "-h"}, 0, "run", 0, -1, OPT_HELP, ""},
	};

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		struct args args;
		const struct verb *verb = NULL;
		assert_int_equal(parse(&args, &verb, cases[i].words), cases[i].status);
		assert_int_equal(args.count, cases[i].count);
		assert_int_equal(args.command, cases[i].command);
		assert_string_equal(verb ? verb->name : "", cases[i].verb);
		if (cases[i].opt == OPT_MAX)
			;
		else if (cases[i].value)
			assert_string_equal(args.values[cases[i].opt], cases[i].value);
		else
			assert_null(args.values[cases[i].opt]);
		free(args.words);
	}
}

static void
test_verbs(void **state)
{
	(void)state;
	for (const struct verb *v = verbs; v->name; v++) {
		char *synopsis = verb_synopsis(v);
		assert_ptr_equal(verb_find(v->name), v);
		assert_non_null(v->summary);
		assert_non_null(v->run);
		assert_int_equal(strncmp(synopsis, "preforkctl ", 11), 0);
		assert_true(v->group < GROUP_MAX);
		assert_true(v->before || v->max == 0);
		assert_true(v->max != 0 || v->words[0] == COMPLETE_NOTHING);
		assert_true(v->max < 0 || v->max > 1 || v->words[1] == COMPLETE_NOTHING);
		free(synopsis);
	}
	assert_null(verb_find("nothing"));
	for (int i = 0; i < OPT_MAX; i++) {
		assert_non_null(options[i].name);
		assert_non_null(options[i].summary);
		assert_int_equal(options[i].kind == KIND_FLAG, options[i].value == NULL);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_human),	   cmocka_unit_test(test_rate),
		cmocka_unit_test(test_errors),	   cmocka_unit_test(test_reply),
		cmocka_unit_test(test_json_reply), cmocka_unit_test(test_json_string),
		cmocka_unit_test(test_json_bytes), cmocka_unit_test(test_table),
		cmocka_unit_test(test_width),	   cmocka_unit_test(test_args),
		cmocka_unit_test(test_verbs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
