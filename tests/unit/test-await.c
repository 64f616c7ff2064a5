/* SPDX-License-Identifier: MIT */
/* AWAIT: slots that wait for some jobs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "connection.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Submit n jobs; they are 0 … n-1. */
static void
submit(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		send_text("SUBMIT p x\r\n");
	receive();
	got_len = 0;
}

/* "ALL 1h 0 2": the words behind the duration are jobs' numbers. */
static void
send_await(const char *words)
{
	char text[1024], mode[8], limit[16];
	int n = 0, used;
	unsigned i;

	sscanf(words, "%7s %15s%n", mode, limit, &used);
	n = sprintf(text, "AWAIT %s %s", mode, limit);
	for (const char *w = words + used; sscanf(w, "%u%n", &i, &used) == 1; w += used)
		n += sprintf(text + n, " %llu", (unsigned long long)first_id + i);
	sprintf(text + n, "\r\n");
	send_text(text);
}

/* "2 done two|0 failed no": the reply that says so. "0 done -" is null. */
static void
put_entries(char *dst, const char *entries)
{
	static char copy[4096], body[4096];
	char *rest = NULL;
	unsigned n = 0;

	body[0] = 0;
	snprintf(copy, sizeof(copy), "%s", entries);
	for (char *e = strtok_r(copy, "|", &rest); e; e = strtok_r(NULL, "|", &rest), n++) {
		char id[24], state[16], *at = body + strlen(body);
		unsigned i;
		int used;

		sscanf(e, "%u %15s %n", &i, state, &used);
		snprintf(id, sizeof(id), "%llu", (unsigned long long)first_id + i);
		at += sprintf(at, "*3\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n", strlen(id), id,
			      strlen(state), state);
		if (!strcmp(e + used, "-"))
			sprintf(at, "$-1\r\n");
		else
			sprintf(at, "$%zu\r\n%s\r\n", strlen(e + used), e + used);
	}
	sprintf(dst, "*%u\r\n%s", n, body);
}

static void
expect_entries(const char *entries)
{
	static char want[4200];

	put_entries(want, entries);
	expect(want);
}

static void
nothing_is_left(void)
{
	assert_int_equal(client_owed(client), 0);
	assert_int_equal(client->reply_bytes, 0);
}

/* ---- what ends it ---- */

static void
test_ends(void **state)
{
	static const struct {
		const char *words, *before, *after[4], *reply;
	} rows[] = {
		/* those that were over when it was asked, in the order of the words */
		{"ALL 1h 0", "0", {NULL}, "0 done 0"},
		{"ALL 1h 2 0 1", "012", {NULL}, "2 done 2|0 done 0|1 done 1"},
		{"ANY 1h 2 0 1", "02", {NULL}, "2 done 2|0 done 0"},
		{"ANY infinity 0", "0", {NULL}, "0 done 0"},
		/* then the others as they end */
		{"ALL infinity 0 1 2", "", {"2", "0", "1"}, "2 done 2|0 done 0|1 done 1"},
		{"ALL 1h 0 1 2", "1", {"2", "0"}, "1 done 1|2 done 2|0 done 0"},
		{"ALL 1h 0 1", "", {"10"}, "1 done 1|0 done 0"},
		{"ANY 1h 0 1 2", "", {"1"}, "1 done 1"},
		{"ANY 1h 0 1 2", "", {"20"}, "2 done 2"},
		/* at once: those that are over */
		{"ALL 0 0 1 2", "1", {NULL}, "1 done 1"},
		{"ANY 0s 0 1 2", "", {NULL}, ""},
		/* what is said twice counts once */
		{"ALL 1h 0 1 0 1", "1", {"0"}, "1 done 1|0 done 0"},
		{"ALL 1h 1 1", "1", {NULL}, "1 done 1"},
		{"ANY 1h 0 0", "", {"0"}, "0 done 0"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (i) {
			stop(state);
			start(state);
		}
		submit(3);
		for (const char *c = rows[i].before; *c; c++) {
			done((unsigned)(*c - '0'));
			turn();
		}
		send_await(rows[i].words);
		for (size_t k = 0; rows[i].after[k]; k++) {
			expect("");
			for (const char *c = rows[i].after[k]; *c; c++)
				done((unsigned)(*c - '0'));
			turn();
		}
		expect_entries(rows[i].reply);
		nothing_is_left();
		for (unsigned n = 0; n < 3; n++)
			assert_null(job(n)->waiters);
	}
}

/* Not only good ones. */
static void
test_outcomes(void **state)
{
	(void)state;
	submit(5);
	send_await("ALL 1h 0 1 2 3 4");
	end_job(0, JOB_DONE, REASON_NONE, NULL);
	end_job(1, JOB_FAILED, REASON_ERROR, "no such page");
	end_job(2, JOB_FAILED, REASON_ERROR, NULL);
	end_job(3, JOB_CANCELLED, REASON_REQUEST, NULL);
	end_job(4, JOB_FAILED, REASON_CRASHED, "worker exited with status 3");
	turn();
	expect_entries("0 done |1 failed no such page|2 failed the worker said ERR without a word|"
		       "3 cancelled cancelled on request|4 failed worker exited with status 3");
}

static void
test_time_passes(void **state)
{
	(void)state;
	submit(2);
	send_await("ALL 1ms 0 1");
	wait_for_reply();
	expect_entries("");
	send_await("ANY 1ms 0 1");
	wait_for_reply();
	expect_entries("");
	send_await("ALL 20ms 0 1");
	done(1);
	turn();
	wait_for_reply();
	expect_entries("1 done 1");
	nothing_is_left();
	assert_null(job(0)->waiters);
}

/* The same turn has the end of one job and of the wait: that one counts, also where
 * it is forgotten with that turn. */
static void
test_time_and_end(void **state)
{
	(void)state;
	pool_conf.job.keep_us = 0;
	submit(3);
	send_await("ALL 1ms 0 1 2");
	end_job(1, JOB_DONE, REASON_NONE, "one");
	while (mono_before(mono_now(), timers_next(loop_timers(thread.loop))))
		;
	turn();
	expect_entries("1 done one");
	turn();
	assert_null(job(1));
	nothing_is_left();
}

/* ---- jobs that are gone meanwhile ---- */

static void
test_forgotten_meanwhile(void **state)
{
	(void)state;
	pool_conf.job.keep_us = 0;
	submit(2);
	send_await("ALL 1h 0 1");
	done(0);
	turn();
	turn();
	assert_null(job(0));
	expect("");
	done(1);
	turn();
	expect_entries("0 done 0|1 done 1");
}

static void
test_refused(void **state)
{
	char text[256];

	(void)state;
	submit(1);
	snprintf(text, sizeof(text), "AWAIT ALL 1h %llu 77\r\n", (unsigned long long)first_id);
	send_text(text);
	expect("-NOJOB no job '77': it never was, or is no longer kept\r\n");
	assert_null(job(0)->waiters);
	send_text("AWAIT SOME 1h 77\r\n");
	expect("-BADOPTION 'SOME': must be ANY or ALL\r\n");
	send_text("AWAIT any soon 77\r\n");
	expect("-BADOPTION 'soon': must be a duration such as 500ms, 30s, 2h or infinity\r\n");
}

/* ---- order ---- */

static void
test_behind_and_before(void **state)
{
	char want[512] = "$1\r\n2\r\n";

	(void)state;
	submit(2);
	send_text("RUN p x\r\n");
	send_await("ALL 1h 0 1");
	send_text("PING\r\nRUN p x\r\n");
	done(3);
	done(1);
	turn();
	done(0);
	turn();
	expect("");
	done(2);
	turn();
	put_entries(want + strlen(want), "1 done 1|0 done 0");
	strcat(want, "+PONG\r\n$1\r\n3\r\n");
	expect(want);
	nothing_is_left();
}

/* Two that wait for the same, and a RESULT. */
static void
test_same_jobs(void **state)
{
	char want[512], text[64];

	(void)state;
	submit(2);
	send_await("ALL 1h 0 1");
	send_await("ANY 1h 1 0");
	snprintf(text, sizeof(text), "RESULT %llu WAIT 1h\r\n", (unsigned long long)first_id);
	send_text(text);
	done(0);
	turn();
	expect("");
	done(1);
	turn();
	put_entries(want, "0 done 0|1 done 1");
	put_entries(want + strlen(want), "0 done 0");
	strcat(want, "$1\r\n0\r\n");
	expect(want);
}

static void
test_protocol(void **state)
{
	(void)state;
	submit(1);
	send_text("HELLO 3\r\n");
	receive();
	got_len = 0;
	send_await("ALL 1h 0");
	end_job(0, JOB_FAILED, REASON_ERROR, "no");
	turn();
	expect_entries("0 failed no");
}

/* ---- budgets ---- */

/* What it holds counts, and is let go. */
static void
test_bytes(void **state)
{
	char large[4001];
	size_t empty, one;

	(void)state;
	memset(large, 'r', 4000);
	large[4000] = 0;
	submit(3);
	send_await("ALL 1h 0 1 2");
	empty = client_reply_bytes(client);
	assert_true(empty > 3 * sizeof(struct job_waiter));
	end_job(0, JOB_DONE, REASON_NONE, large);
	turn();
	one = client_reply_bytes(client);
	assert_int_equal(one, empty + 4000);
	end_job(1, JOB_DONE, REASON_NONE, large);
	end_job(2, JOB_DONE, REASON_NONE, large);
	turn();
	receive();
	assert_in_range(got_len, 12000, 12200);
	got_len = 0;
	nothing_is_left();
}

/* Over its budget nothing more is copied of what is kept anyway: it is got when it
 * is its turn, or is gone by then. */
static void
test_full(void **state)
{
	static char large[1001], want[4200], entries[2200];

	(void)state;
	conf.control.client_memory = 1000;
	memset(large, 'r', 1000);
	submit(5);
	send_text("RUN p x\r\n"); /* job 5: all wait for it */
	send_await("ALL 1h 0 1 2 3 4");
	end_job(0, JOB_DONE, REASON_NONE, large);
	turn();
	assert_in_range(client_reply_bytes(client), 1001, 2000);
	pool_conf.job.keep_us = 0;
	end_job(2, JOB_FAILED, REASON_ERROR, "two");
	turn();
	turn();
	assert_null(job(2));
	pool_conf.job.keep_us = 3600 * USEC_PER_SEC;
	end_job(1, JOB_DONE, REASON_NONE, large);
	end_job(3, JOB_DONE, REASON_NONE, NULL);
	done(4);
	turn();
	assert_in_range(client_reply_bytes(client), 1001, 2000);
	expect("");
	done(5);
	turn();
	snprintf(entries, sizeof(entries), "0 done %s|2 failed -|1 done %s|3 done |4 done 4", large,
		 large);
	strcpy(want, "$1\r\n5\r\n");
	put_entries(want + strlen(want), entries);
	expect(want);
	nothing_is_left();
}

/* ---- the end of the connection ---- */

static void
test_disconnect(void **state)
{
	(void)state;
	submit(3);
	send_await("ALL 1h 0 1 2");
	send_await("ANY infinity 2 1");
	done(0);
	turn();
	hang_up();
	turn();
	assert_true(orphaned);
	for (unsigned n = 1; n < 3; n++) {
		assert_int_equal(job(n)->state, JOB_QUEUED);
		assert_null(job(n)->waiters);
	}
	done(1);
	turn();
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_ends),
		TEST(test_outcomes),
		TEST(test_time_passes),
		TEST(test_time_and_end),
		TEST(test_forgotten_meanwhile),
		TEST(test_refused),
		TEST(test_behind_and_before),
		TEST(test_same_jobs),
		TEST(test_protocol),
		TEST(test_bytes),
		TEST(test_full),
		TEST(test_disconnect),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
