/* SPDX-License-Identifier: MIT */
/* What a map remembers of earlier ones: the log's records, and the tally of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ctl/ctl.h"
#include "ctl/map_log.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define N(a) (sizeof(a) / sizeof((a)[0]))
#define HEADING "Seq\tHash\tStart\tSeconds\tResult\tAttempts\tLine\n"
#define H1 "0000000000000001"
#define H2 "00000000000000ff"

static void
test_tally_hash(void **state)
{
	(void)state;
	/* they are in files: they must stay as they are */
	assert_true(tally_hash("", 0) == tally_hash(NULL, 0));
	assert_true(tally_hash("a", 1) == UINT64_C(0xdc585292de067940));
	assert_true(tally_hash("a", 1) != tally_hash("a\0", 2));
}

static void
test_tally_many(void **state)
{
	struct tally t;
	size_t most = 100000;

	(void)state;
	tally_init(&t, most);
	assert_true(t.places * sizeof(*t.rows) <= most * 21);
	assert_null(tally_find(&t, 1));
	for (size_t i = 1; i <= most; i++)
		tally_get(&t, tally_hash((const char *)&i, sizeof(i)))->done = (uint32_t)i;
	for (size_t i = 1; i <= most; i++)
		assert_int_equal(tally_find(&t, tally_hash((const char *)&i, sizeof(i)))->done, i);
	assert_int_equal(t.count, most);
	assert_null(tally_find(&t, most + 1001));
	tally_free(&t);
}

/* Neighbours at both ends: the walk goes round. */
static void
test_tally_walks(void **state)
{
	struct tally t;
	uint64_t most = 300;

	(void)state;
	tally_init(&t, (size_t)most);
	for (uint64_t i = 1; i <= most; i++)
		tally_get(&t, i % 2 ? i : UINT64_MAX - i)->done = (uint32_t)i;
	for (uint64_t i = 1; i <= most; i++)
		assert_int_equal(tally_get(&t, i % 2 ? i : UINT64_MAX - i)->done, i);
	assert_int_equal(t.count, most);
	tally_free(&t);
}

static void
test_tally_empty(void **state)
{
	struct tally t = {0};

	(void)state;
	assert_null(tally_find(&t, 7));
	tally_init(&t, 0);
	assert_null(tally_find(&t, 7));
	tally_free(&t);
}

static void
test_log_parses(void **state)
{
	static const char *const bad[] = {
		"",
		"1",
		"1\t" H1 "\t1.0\t0.1\tok\t1",
		"x\t" H1 "\t1.0\t0.1\tok\t1\tline",
		"1\t0000\t1.0\t0.1\tok\t1\tline",
		"1\t000000000000000G\t1.0\t0.1\tok\t1\tline",
		"1\t0000000000000000\t1.0\t0.1\tok\t1\tline",
		"1\t" H1 "\t1.0\t0.1\t\t1\tline",
		"1\t" H1 "\t1.0\t0.1\tok\t\tline",
		"1\t" H1 "\t1.0\t0.1\tok\t+\tline",
	};
	uint64_t hash;
	bool ok, again;

	(void)state;
	for (size_t i = 0; i < N(bad); i++)
		assert_false(map_log_parse(bad[i], strlen(bad[i]), &hash, &ok, &again));
	static const char good[] = "1\t" H2 "\t1.0\t0.1\tok\t1\tline\twith tabs";
	assert_true(map_log_parse(good, sizeof(good) - 1, &hash, &ok, &again));
	assert_true(hash == 255 && ok && !again);
	static const char failed[] = "1\t" H1 "\t1.0\t0.1\ttimeout\t+3\t";
	assert_true(map_log_parse(failed, sizeof(failed) - 1, &hash, &ok, &again));
	assert_true(hash == 1 && !ok && again);
}

/* --- files --- */

static char path[] = "/tmp/test-ctl-log-XXXXXX";

static void
put_file(const char *text)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static void
assert_file(const char *text)
{
	char data[4096];
	FILE *f = fopen(path, "re");

	assert_non_null(f);
	size_t n = fread(data, 1, sizeof(data), f);
	fclose(f);
	assert_int_equal(n, strlen(text));
	assert_memory_equal(data, text, n);
}

/* a: done once, failed twice, one of these is done since; b failed; c is torn. */
#define A(result, attempts) "1\tdc585292de067940\t1.000\t0.100\t" result "\t" attempts "\ta\n"

static void
test_log_resumes(void **state)
{
	struct map_log l;
	bool again;
	uint64_t a = tally_hash("a", 1);

	(void)state;
	put_file(HEADING A("ok", "1") A("failed", "1") A("crashed", "2") A("ok", "+1") "4\t00");
	assert_int_equal(map_log_open(&l, path, LOG_RESUME), STATUS_OK);
	assert_file(HEADING A("ok", "1") A("failed", "1") A("crashed", "2") A("ok", "+1"));
	assert_int_equal(l.was_done, 2);
	assert_int_equal(l.was_failed, 1);
	assert_true(map_log_wants(&l, 77, &again) && !again);
	assert_false(map_log_wants(&l, a, &again));
	assert_false(map_log_wants(&l, a, &again));
	assert_true(map_log_wants(&l, a, &again) && again);
	assert_true(map_log_wants(&l, a, &again) && !again);
	map_log_close(&l);
}

static void
test_log_retries(void **state)
{
	struct map_log l;
	bool again;
	uint64_t a = tally_hash("a", 1);

	(void)state;
	put_file(HEADING A("failed", "1") A("ok", "1") A("failed", "1"));
	assert_int_equal(map_log_open(&l, path, LOG_RETRY), STATUS_OK);
	assert_false(map_log_wants(&l, 77, &again));
	assert_true(map_log_wants(&l, a, &again) && again);
	assert_true(map_log_wants(&l, a, &again) && again);
	assert_false(map_log_wants(&l, a, &again));
	assert_int_equal(l.again, 2);
	map_log_close(&l);
}

static void
test_log_is_no_log(void **state)
{
	static const char *const others[] = {"some\ntext\n", "some text", "Seq\tHost\n",
					     HEADING "not a record\n", "Seq\tHashed"};
	struct map_log l;

	(void)state;
	for (size_t i = 0; i < N(others); i++) {
		put_file(others[i]);
		assert_int_equal(map_log_open(&l, path, LOG_RESUME), STATUS_USAGE);
		map_log_close(&l);
		assert_file(others[i]);
	}
	put_file(HEADING A("ok", "1"));
	assert_int_equal(map_log_open(&l, path, LOG_NEW), STATUS_USAGE);
	map_log_close(&l);
}

/* Nothing was logged yet: a heading, whole or torn, or nothing. */
static void
test_log_is_fresh(void **state)
{
	static const char *const fresh[] = {"", "Seq\tHa", HEADING};
	struct map_log l;

	(void)state;
	for (size_t i = 0; i < N(fresh); i++) {
		for (int use = LOG_NEW; use <= LOG_RETRY; use++) {
			put_file(use == LOG_NEW && i == 1 ? "" : fresh[i]);
			assert_int_equal(map_log_open(&l, path, (enum log_use)use), STATUS_OK);
			map_log_close(&l);
			assert_file(HEADING);
		}
	}
}

/* A record goes out when the output that it is about has gone out. */
static void
test_log_follows_output(void **state)
{
	struct map_log l;
	struct log_record r = {.line = 1, .result = "ok", .attempts = 1, .text = "a", .len = 1};

	(void)state;
	put_file("");
	assert_int_equal(map_log_open(&l, path, LOG_RESUME), STATUS_OK);
	l.unix_us = 1000000;
	r.hash = tally_hash("a", 1);
	r.answered.us = 100000;
	map_log_add(&l, &r);
	assert_int_equal(map_log_write(&l, 10, 9), 0);
	assert_file(HEADING);
	r.again = true;
	map_log_add(&l, &r);
	assert_int_equal(map_log_write(&l, 20, 10), 0);
	assert_file(HEADING A("ok", "1"));
	assert_int_equal(map_log_write(&l, 20, 19), 0);
	assert_file(HEADING A("ok", "1"));
	assert_int_equal(map_log_write(&l, 20, 20), 0);
	assert_file(HEADING A("ok", "1") A("ok", "+1"));
	/* what has no output goes at once */
	map_log_add(&l, &r);
	assert_int_equal(map_log_write(&l, 20, 20), 0);
	assert_int_equal(buf_len(&l.records), 0);
	map_log_close(&l);
}

static int
make_path(void **state)
{
	(void)state;
	int fd = mkstemp(path);
	return fd < 0 ? -1 : close(fd);
}

static int
remove_path(void **state)
{
	(void)state;
	return unlink(path);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tally_hash),   cmocka_unit_test(test_tally_many),
		cmocka_unit_test(test_tally_walks),  cmocka_unit_test(test_tally_empty),
		cmocka_unit_test(test_log_parses),   cmocka_unit_test(test_log_resumes),
		cmocka_unit_test(test_log_retries),  cmocka_unit_test(test_log_is_no_log),
		cmocka_unit_test(test_log_is_fresh), cmocka_unit_test(test_log_follows_output),
	};

	return cmocka_run_group_tests(tests, make_path, remove_path);
}
