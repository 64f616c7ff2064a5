/* SPDX-License-Identifier: MIT */
/*
 * Reply slots, over a real connection to a server with one pool that has no
 * workers: jobs begin and end when the test says so, in a real pump.
 */
/* long: all cases stand on one set-up, a server with a scripted pool */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "connection.h"
#include "random.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* ---- order ---- */

static void
test_at_once(void **state)
{
	(void)state;
	send_text("PING\r\nECHO a\r\n");
	expect("+PONG\r\n$1\r\na\r\n");
	assert_int_equal(client_owed(client), 0);
}

static void
test_at_once_behind_awaited(void **state)
{
	(void)state;
	send_text("ECHO x\r\nRUN p a\r\nPING\r\nECHO y\r\n");
	expect("$1\r\nx\r\n");
	send_text("ECHO z\r\n");
	expect("");
	done(0);
	turn();
	expect("$1\r\n0\r\n+PONG\r\n$1\r\ny\r\n$1\r\nz\r\n");
	assert_int_equal(client_owed(client), 0);
	assert_int_equal(client->reply_bytes, 0);
	assert_null(job(0)); /* answered, and so gone */
}

/* An error of RUN itself, and a SUBMIT's id, are there at once too. */
static void
test_errors_behind_awaited(void **state)
{
	char want[128];

	(void)state;
	send_text("RUN p a\r\nRUN q b\r\nSUBMIT p c\r\nRUN p d\r\n");
	expect("");
	done(2);
	turn();
	expect("");
	done(0);
	turn();
	snprintf(want, sizeof(want),
		 "$1\r\n0\r\n-NOPOOL no pool 'q': POOLS lists those there are\r\n$%d\r\n%llu\r\n"
		 "$1\r\n2\r\n",
		 snprintf(NULL, 0, "%llu", (unsigned long long)first_id + 1),
		 (unsigned long long)first_id + 1);
	expect(want);
}

/* Put the replies to jobs from … to-1, and the PINGs between them, behind want. */
static void
want_replies(char *want, unsigned from, unsigned to)
{
	for (unsigned n = from; n < to; n++)
		sprintf(want + strlen(want), "$1\r\n%u\r\n+PONG\r\n", n);
}

/* Four jobs, finished in each of their 24 orders, one a turn: after each what is
 * ready up to the first that is not has left. */
static void
test_any_order(void **state)
{
	for (unsigned o = 0; o < 24; o++) {
		unsigned left[4] = {0, 1, 2, 3}, out = 0;
		bool over[5] = {false};

		if (o) { /* the first one's set-up is the test's */
			stop(state);
			start(state);
		}
		send_text("RUN p a\r\nPING\r\nRUN p b\r\nPING\r\nRUN p c\r\nPING\r\nRUN p d\r\n"
			  "PING\r\n");
		for (unsigned i = 4, rest = o; i > 0; rest /= i, i--) {
			unsigned pick = rest % i, n = left[pick], was = out;
			char want[128] = "";

			memmove(left + pick, left + pick + 1, (3 - pick) * sizeof(left[0]));
			done(n);
			over[n] = true;
			turn();
			while (over[out])
				out++;
			want_replies(want, was, out);
			expect(want);
		}
		assert_int_equal(out, 4);
		assert_int_equal(client_owed(client), 0);
		assert_int_equal(client->reply_bytes, 0);
	}
}

static void
test_all_in_one_turn(void **state)
{
	(void)state;
	send_text("RUN p a\r\nRUN p b\r\nPING\r\nRUN p c\r\n");
	done(2);
	done(0);
	done(1);
	turn();
	expect("$1\r\n0\r\n$1\r\n1\r\n+PONG\r\n$1\r\n2\r\n");
}

static uint64_t seed = 88172645463325252u;

/* Commands and ends as they fall: what arrives is what the commands were. */
static void
test_random(void **state)
{
	static char want[200000];
	static unsigned open[4000];
	unsigned jobs = 0, n_open = 0;
	char *w = want;

	(void)state;
	for (int n = 0; n < 3000; n++) {
		uint64_t dice = random_next(&seed) % 8;

		if (dice < 2) {
			send_all("PING\r\n", 6);
			w += sprintf(w, "+PONG\r\n");
		} else if (dice < 5) {
			send_all("RUN p x\r\n", 9);
			w += sprintf(w, "$%d\r\n%u\r\n", snprintf(NULL, 0, "%u", jobs), jobs);
			turn();
			open[n_open++] = jobs++;
		} else if (dice < 7 && n_open) {
			unsigned pick = (unsigned)random_next(&seed) % n_open;

			done(open[pick]);
			open[pick] = open[--n_open];
		} else {
			turn();
		}
	}
	turn();
	while (n_open) {
		done(open[--n_open]);
		if (n_open % 3 == 0)
			turn();
	}
	expect(want);
	assert_int_equal(client_owed(client), 0);
	assert_int_equal(client->reply_bytes, 0);
	assert_int_equal(pools->jobs.count, 0);
}

/* ---- outcomes ---- */

static void
test_outcomes(void **state)
{
	static const struct {
		enum job_state verdict;
		enum job_reason reason;
		const char *text, *reply;
	} rows[] = {
		{JOB_DONE, REASON_NONE, "a b", "$3\r\na b\r\n"},
		{JOB_DONE, REASON_NONE, NULL, "$0\r\n\r\n"},
		{JOB_FAILED, REASON_ERROR, "no such page", "-FAILED no such page\r\n"},
		{JOB_FAILED, REASON_ERROR, NULL, "-FAILED the worker said ERR without a word\r\n"},
		{JOB_FAILED, REASON_ERROR, "two\r\nlines", "-FAILED two  lines\r\n"},
		{JOB_FAILED, REASON_CRASHED, "worker exited", "-CRASHED worker exited\r\n"},
		{JOB_FAILED, REASON_TIMEOUT, "took longer than 1s",
		 "-TIMEOUT took longer than 1s\r\n"},
		{JOB_CANCELLED, REASON_REQUEST, NULL, "-CANCELLED cancelled on request\r\n"},
		{JOB_CANCELLED, REASON_DOWN, "exits at start", "-DOWN exits at start\r\n"},
		{JOB_CANCELLED, REASON_DRAINING, NULL,
		 "-DRAINING preforkd finishes what it has and takes no new jobs\r\n"},
		{JOB_CANCELLED, REASON_STOPPING, NULL, "-CANCELLED preforkd is stopping\r\n"},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		send_text("RUN p a\r\n");
		end_job(i, rows[i].verdict, rows[i].reason, rows[i].text);
		turn();
		expect(rows[i].reply);
	}
}

/* ---- WAIT ---- */

static void
expect_pending(unsigned n)
{
	char want[64];

	snprintf(want, sizeof(want), "-PENDING %llu\r\n", (unsigned long long)first_id + n);
	expect(want);
}

static void
send_result(unsigned n, const char *options)
{
	char text[128];

	snprintf(text, sizeof(text), "RESULT %llu%s\r\n", (unsigned long long)first_id + n,
		 options);
	send_text(text);
}

static void
test_wait_run(void **state)
{
	(void)state;
	send_text("RUN p WAIT 1ms a\r\n");
	wait_for_reply();
	expect_pending(0);
	done(0); /* it goes on by itself, and is kept */
	turn();
	expect("");
	assert_int_equal(job(0)->state, JOB_DONE);
	send_result(0, "");
	expect("$1\r\n0\r\n");
}

static void
test_wait_result(void **state)
{
	(void)state;
	send_text("SUBMIT p a\r\n");
	receive();
	got_len = 0;
	send_result(0, "");
	expect("$-1\r\n");
	send_result(0, " WAIT 1ms");
	wait_for_reply();
	expect("$-1\r\n");
	send_result(0, " WAIT 1h");
	expect("");
	done(0);
	turn();
	expect("$1\r\n0\r\n");
	send_result(0, " WAIT 1ms");
	expect("$1\r\n0\r\n");
}

/* RESP3's null, as it was when the command was read. */
static void
test_wait_protocol(void **state)
{
	(void)state;
	send_text("SUBMIT p a\r\nHELLO 3\r\n");
	receive();
	got_len = 0;
	send_result(0, "");
	expect("_\r\n");
	send_result(0, " WAIT 1ms");
	send_all("HELLO 2\r\n", 9);
	wait_for_reply();
	receive();
	assert_true(got_len > 3);
	assert_memory_equal(got, "_\r\n", 3);
	turn();
	receive();
	got_len = 0;
	send_result(0, " WAIT 1ms");
	wait_for_reply();
	expect("$-1\r\n");
}

/* The wait is over, and one before it is not: the reply waits for that. */
static void
test_wait_in_order(void **state)
{
	char want[64];

	(void)state;
	send_text("RUN p a\r\nRUN p WAIT 1ms b\r\nPING\r\n");
	while (job(1)->waiters)
		loop_thread_wait(&thread);
	turn();
	expect("");
	done(0);
	turn();
	snprintf(want, sizeof(want), "$1\r\n0\r\n-PENDING %llu\r\n+PONG\r\n",
		 (unsigned long long)first_id + 1);
	expect(want);
}

/* The same turn has the end of the job and of the wait. */
static void
test_wait_and_done(void **state)
{
	(void)state;
	send_text("RUN p WAIT 1h a\r\n");
	done(0);
	turn();
	expect("$1\r\n0\r\n");
	assert_true(mono_is_never(timers_next(loop_timers(thread.loop))));
}

/* ---- budgets ---- */

/* A reply that is owed is one slot, whatever is before it. */
static void
test_slots_count(void **state)
{
	(void)state;
	send_text("RUN p a\r\nRUN p b\r\nRUN p c\r\n");
	assert_int_equal(client_owed(client), 3);
	send_text("PING\r\nPING\r\n"); /* these share one */
	assert_int_equal(client_owed(client), 4);
	send_text("RUN p d\r\n");
	assert_int_equal(client_owed(client), 5);
	for (unsigned n = 0; n < 4; n++)
		done(n);
	turn();
	expect("$1\r\n0\r\n$1\r\n1\r\n$1\r\n2\r\n+PONG\r\n+PONG\r\n$1\r\n3\r\n");
	assert_int_equal(client_owed(client), 0);
}

/* A turn takes so many commands of a client, and the next goes on. */
static void
catch_up(void)
{
	while (client->more && !client->stream.held)
		turn();
}

/* Send so many RUNs of one byte, as far as they are taken. */
static void
run_many(unsigned n)
{
	static char text[9 * 1000 + 1];

	for (unsigned i = 0; i < n; i += 1000) {
		for (unsigned k = 0; k < 1000; k++)
			memcpy(text + k * 9, "RUN p x\r\n", 9);
		send_text(text);
		catch_up();
	}
	turn();
}

/* Empty commands are commands, too. */
static void
test_empty_commands(void **state)
{
	static char empty[4096 + 1];

	(void)state;
	memset(empty, '\n', sizeof(empty) - 1);
	send_text(empty);
	assert_true(client->more);
	assert_in_range(buf_len(&client->stream.in), 1, sizeof(empty) - 2);
	send_all("PING\r\n", 6);
	catch_up();
	turn();
	expect("+PONG\r\n");
}

/* Of what is refused a turn takes fewer. */
static void
test_errors_count_for_more(void **state)
{
	static char good[400 * 6 + 1], bad[400 * 6 + 1];

	(void)state;
	for (unsigned i = 0; i < 400; i++) {
		memcpy(good + i * 6, "PING\r\n", 6);
		memcpy(bad + i * 6, "PONG\r\n", 6);
	}
	send_text(good);
	assert_false(client->more);
	assert_int_equal(client->commands, 400);
	send_text(bad);
	assert_true(client->more);
	assert_in_range(client->commands, 401, 400 + 400 / 2);
	catch_up();
	assert_int_equal(client->commands, 800);
	send_text(good);
	assert_false(client->more);
}

/* What is missing of a command is expected until it is there, and no longer. */
static void
test_expected(void **state)
{
	static char rest[15 + 4096 + 1];

	(void)state;
	send_text("*2\r\n$4\r\nECHO\r\n$15\r\nnot ");
	assert_int_equal(client->stream.expected, 13);
	memset(rest, '\n', sizeof(rest) - 1);
	memcpy(rest, "a word long\r\n", 13);
	send_text(rest);
	assert_true(client->more);
	assert_int_equal(client->stream.expected, 0);
	catch_up();
	expect("$15\r\nnot a word long\r\n");
}

/* The clock goes on by so many seconds whenever it is looked at. */
static time_t hurry;

int
clock_gettime(clockid_t id, struct timespec *ret)
{
	static time_t ahead;
	long r = syscall(SYS_clock_gettime, id, ret);

	ahead += hurry;
	ret->tv_sec += ahead;
	return (int)r;
}

/* A turn that has taken long ends at the next look at the clock: after a command, or after
 * 32 that take next to nothing, one of which it is taken to have begun with. */
static void
test_late(void **state)
{
	static const struct {
		const char *command;
		unsigned a_read;
	} cases[] = {
		{"PING\n", CLIENT_BRIEF_MAX - 1},
		{"ECHO x\n", CLIENT_BRIEF_MAX - 1},
		{"RUN p x\n", CLIENT_BRIEF_MAX - 1},
		{"RUN none x\n", CLIENT_BRIEF_MAX - 1},
		{"SUBMIT p x\n", CLIENT_BRIEF_MAX - 1},
		{"RUN\n", CLIENT_BRIEF_MAX - 1},
		{"COMMAND COUNT\n", 1},
		{"nonsense\n", 1},
		{"RESULT 0\n", 1},
	};
	char text[100 * 16 + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t before = client->commands;

		text[0] = 0;
		for (int k = 0; k < 100; k++)
			strcat(text, cases[i].command);
		hurry = 1;
		send_text(text);
		hurry = 0;
		/* One read when they come, one at the turn's end. */
		assert_int_equal(client->commands - before, 2 * cases[i].a_read);
		catch_up();
		assert_int_equal(client->commands - before, 100);
	}
	receive();
	got_len = 0;
}

static void
test_slots_budget(void **state)
{
	(void)state;
	run_many(18000);
	assert_int_equal(client_owed(client), CLIENT_SLOTS_MAX);
	assert_int_equal(pools->jobs.count, CLIENT_SLOTS_MAX);
	assert_true(client->stream.held);
	done(5); /* not the first: its reply is still owed */
	turn();
	assert_int_equal(client_owed(client), CLIENT_SLOTS_MAX);
	for (unsigned n = 0; n < 5; n++)
		done(n);
	turn(); /* six are out: six more come in */
	turn();
	assert_int_equal(client_owed(client), CLIENT_SLOTS_MAX);
	assert_int_equal(pools->jobs.count, CLIENT_SLOTS_MAX);
	assert_true(client->stream.held);
	for (unsigned n = 6; n < 2006; n++)
		done(n);
	for (int i = 0; i < 40; i++)
		turn();
	assert_int_equal(client_owed(client), 18000 - 2006);
	assert_false(client->stream.held);
}

/* Replies at once that wait for an awaited one are counted in bytes. */
static void
test_bytes_behind_awaited(void **state)
{
	(void)state;
	conf.control.client_memory = 1000;
	send_text("RUN p a\r\n");
	for (int i = 0; i < 100; i++)
		send_all("ECHO 0123456789\r\n", 17); /* 17 bytes of reply each */
	turn();
	turn();
	assert_true(client->stream.held);
	assert_in_range(client_reply_bytes(client), 1001, 1017);
	done(0);
	for (int i = 0; i < 6; i++)
		turn();
	assert_false(client->stream.held);
	assert_true(receive());
	assert_int_equal(got_len, 7 + 100 * 17);
}

/* Results that wait for an earlier one are too, and are let go with it. */
static void
test_bytes_of_results(void **state)
{
	static char large[600];

	(void)state;
	conf.control.client_memory = 1000;
	memset(large, 'r', sizeof(large) - 1);
	send_text("RUN p a\r\nRUN p b\r\nRUN p c\r\n");
	end_job(1, JOB_DONE, REASON_NONE, large);
	turn();
	assert_int_equal(client_reply_bytes(client), sizeof(large) - 1);
	end_job(2, JOB_DONE, REASON_NONE, large);
	turn();
	assert_int_equal(client_reply_bytes(client), 2 * (sizeof(large) - 1));
	send_text("PING\r\n");
	assert_true(client->stream.held);
	done(0);
	turn();
	turn();
	assert_int_equal(client_reply_bytes(client), 0);
	receive();
	assert_memory_equal(got + got_len - 7, "+PONG\r\n", 7);
}

/* A client that does not take its replies is not read from, and loses none. */
static void
test_bytes_not_taken(void **state)
{
	static char command[4096];
	unsigned sent = 0;

	(void)state;
	conf.control.client_memory = 20000;
	sprintf(command, "ECHO %04000d\r\n", 7);
	while (write(peer, command, 4007) == 4007 && sent < 2000) {
		sent++;
		turn();
	}
	assert_true(sent < 2000 && client->stream.held);
	assert_in_range(client_reply_bytes(client), 20001, 20000 + 4100);
	assert_true(buf_len(&client->stream.in) <= 256 * 1024);
	hang_up();
	turn();
	turn();
	assert_true(orphaned);
}

/* No memory for a reply: it must not be missed unknowingly. */
static void
test_reply_without_memory(void **state)
{
	(void)state;
	send_text("RUN p a\r\nPING\r\n");
	client_reply(client)->failed = true;
	done(0);
	turn();
	assert_true(orphaned);
}

/* ---- disconnection ---- */

enum { QUEUED, RUNNING, ANSWERED, KEYED, WAITED };

/* The connection goes while its RUN is in that state (answered: running, and the
 * answer comes after that). What is left of the job, with nothing else to make a
 * turn happen: its state; or -1: it is gone. */
static void
check_disconnect(enum conf_on_disconnect how, int when, int left)
{
	pool_conf.job.on_disconnect = how;
	send_text(when == KEYED ? "RUN p KEY k a\r\n" : "RUN p WAIT 1h a\r\n");
	if (when == RUNNING || when == ANSWERED)
		begin_job(0);
	if (when == WAITED)
		job_detach(job(0)); /* as -PENDING does */
	hang_up();
	turn();
	assert_true(orphaned);
	if (job(0) && job(0)->decided)
		loop_thread_wait(&thread); /* a cancelled job makes another turn happen */
	if (when == ANSWERED) {
		done(0);
		turn();
	}
	if (left < 0) {
		assert_null(job(0));
		return;
	}
	assert_int_equal(job(0)->state, left);
	assert_null(job(0)->waiters);
}

static void
test_disconnect(void **state)
{
	static const struct {
		enum conf_on_disconnect how;
		int when, left;
	} rows[] = {
		{DISCONNECT_DROP, QUEUED, -1},
		{DISCONNECT_DROP, RUNNING, JOB_RUNNING},
		{DISCONNECT_DROP, ANSWERED, JOB_DONE},
		{DISCONNECT_DROP, KEYED, JOB_QUEUED},
		{DISCONNECT_DROP, WAITED, JOB_QUEUED},
		{DISCONNECT_CANCEL, QUEUED, -1},
		{DISCONNECT_CANCEL, RUNNING, -1},
		{DISCONNECT_CANCEL, KEYED, JOB_QUEUED},
		{DISCONNECT_CANCEL, WAITED, JOB_QUEUED},
		{DISCONNECT_FINISH, QUEUED, JOB_QUEUED},
		{DISCONNECT_FINISH, RUNNING, JOB_RUNNING},
		{DISCONNECT_FINISH, ANSWERED, JOB_DONE},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (i) {
			stop(state);
			start(state);
		}
		check_disconnect(rows[i].how, rows[i].when, rows[i].left);
	}
}

/* All kinds of slots at once. */
static void
test_disconnect_with_many(void **state)
{
	(void)state;
	pool_conf.job.on_disconnect = DISCONNECT_CANCEL;
	send_text("RUN p a\r\nPING\r\nRUN p b\r\nRUN p WAIT 1h c\r\nSUBMIT p d\r\nECHO x\r\n");
	send_result(3, " WAIT 1h");
	done(1);
	turn();
	begin_job(2);
	assert_null(job(1));
	hang_up();
	turn();
	loop_thread_wait(&thread);
	assert_null(job(0));
	assert_null(job(2));
	assert_int_equal(job(3)->state, JOB_QUEUED); /* a SUBMIT is nobody's connection's */
	assert_null(job(3)->waiters);
	assert_int_equal(pools->jobs.count, 1);
}

static void
test_half_close(void **state)
{
	(void)state;
	send_all("RUN p a\r\nPING\r\nRUN p b\r\n", 24);
	shutdown(peer, SHUT_WR);
	turn();
	turn();
	expect("");
	done(1);
	turn();
	expect("");
	assert_false(orphaned);
	done(0);
	turn();
	expect_end("$1\r\n0\r\n+PONG\r\n$1\r\n1\r\n");
}

static void
test_half_close_owed_nothing(void **state)
{
	(void)state;
	send_all("PING\r\nRUN p ", 12); /* half a command */
	shutdown(peer, SHUT_WR);
	turn();
	turn();
	expect_end("+PONG\r\n");
}

/* What was sent before the half-close is carried out, budget or not. */
static void
test_half_close_over_budget(void **state)
{
	(void)state;
	conf.control.client_memory = 1000;
	send_text("RUN p a\r\n");
	for (int i = 0; i < 200; i++)
		send_all("ECHO 0123456789\r\n", 17);
	shutdown(peer, SHUT_WR);
	turn();
	turn();
	assert_true(client->stream.held);
	done(0);
	for (int i = 0; i < 8 && !orphaned; i++)
		turn();
	assert_false(receive());
	assert_int_equal(got_len, 7 + 200 * 17);
}

/* QUIT answers what is owed, takes nothing more, and closes. */
static void
test_quit(void **state)
{
	static char more[100000];

	(void)state;
	send_text("RUN p a\r\nQUIT\r\nPING\r\n");
	expect("");
	memset(more, 'x', sizeof(more));
	send_all(more, sizeof(more));
	turn();
	turn();
	assert_true(buf_len(&client->stream.in) < sizeof(more));
	done(0);
	turn();
	receive();
	assert_true(orphaned);
	expect("$1\r\n0\r\n+OK\r\n");
}

static void
test_bad_protocol(void **state)
{
	(void)state;
	send_text("RUN p a\r\n*1\r\n!\r\nPING\r\n");
	expect("");
	done(0);
	turn();
	receive();
	assert_true(orphaned);
	assert_memory_equal(got, "$1\r\n0\r\n-ERR Protocol error", 26);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_at_once),
		TEST(test_at_once_behind_awaited),
		TEST(test_errors_behind_awaited),
		TEST(test_any_order),
		TEST(test_all_in_one_turn),
		TEST(test_random),
		TEST(test_outcomes),
		TEST(test_wait_run),
		TEST(test_wait_result),
		TEST(test_wait_protocol),
		TEST(test_wait_in_order),
		TEST(test_wait_and_done),
		TEST(test_slots_count),
		TEST(test_empty_commands),
		TEST(test_errors_count_for_more),
		TEST(test_expected),
		TEST(test_late),
		TEST(test_slots_budget),
		TEST(test_bytes_behind_awaited),
		TEST(test_bytes_of_results),
		TEST(test_bytes_not_taken),
		TEST(test_reply_without_memory),
		TEST(test_disconnect),
		TEST(test_disconnect_with_many),
		TEST(test_half_close),
		TEST(test_half_close_owed_nothing),
		TEST(test_half_close_over_budget),
		TEST(test_quit),
		TEST(test_bad_protocol),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
