/* SPDX-License-Identifier: MIT */
/*
 * News in a client's output: where they go among its replies, how much of them,
 * and that nothing of a subscription is left. Over real connections to a server
 * with one pool that has no workers: jobs begin and end when the test says so.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "connection.h"
#include "control/events.h"

#include "base/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MEMORY (64 * 1024) /* control.client_memory */

static struct events *events;

static int
start_events(void **state)
{
	start(state);
	pool_conf.job.replay = 1000;
	conf.control.client_memory = MEMORY;
	events = server->events;
	return 0;
}

static void
done_with(unsigned n, const char *result)
{
	end_job(n, JOB_DONE, REASON_NONE, result);
}

static void
say(unsigned n, const char *text, size_t len)
{
	pools->ops->on_out(pools->ops_ctx, job(n), text, len);
}

/* Nothing of any subscription is left. */
static void
assert_nobody_listens(void)
{
	assert_int_equal(events->channels.count, 0);
	assert_int_equal(events->pattern_names.count, 0);
	assert_int_equal(events->subscriptions.count, 0);
	assert_int_equal(events->matching, 0);
	assert_true(list_empty(&events->patterns));
	for (unsigned f = 0; f < FAMILIES; f++)
		assert_int_equal(events->wanted[f], 0);
	assert_null(pools->ops);
}

#define HELLO "HELLO 3\r\n"
#define SUBSCRIBED(name, n) ">3\r\n$9\r\nsubscribe\r\n" name ":" #n "\r\n"
#define KEY_CHANNEL "$7\r\nkey.p.k\r\n"
#define KEY_NEWS(text) ">3\r\n$7\r\nmessage\r\n" KEY_CHANNEL text

static void
hello(void)
{
	send_text(HELLO);
	receive();
	assert_int_equal(client->proto, RESP3);
	got_len = 0;
}

/* ---- families ---- */

static void
test_families(void **state)
{
	static const struct {
		const char *name, *rest;
		unsigned family;
	} channels[] = {
		{"job.1", "1", 1U << FAMILY_JOB},
		{"out.", "", 1U << FAMILY_OUT},
		{"key.p.a.b", "p.a.b", 1U << FAMILY_KEY},
		{"progress.7", "7", 1U << FAMILY_PROGRESS},
		{"pool.p", "p", 1U << FAMILY_POOL},
		{"worker.p", "p", 1U << FAMILY_WORKER},
		{"job", NULL, 0},
		{"jobs.p", "p", 1U << FAMILY_JOBS},
		{"jobsworth.1", NULL, 0},
		{".job", NULL, 0},
		{"", NULL, 0},
		{"lost", NULL, 0},
	};
	static const struct {
		const char *prefix;
		unsigned families;
	} prefixes[] = {
		{"", (1U << FAMILIES) - 1},
		{"p", 1U << FAMILY_PROGRESS | 1U << FAMILY_POOL},
		{"job", 1U << FAMILY_JOB | 1U << FAMILY_JOBS},
		{"job.", 1U << FAMILY_JOB},
		{"job.12", 1U << FAMILY_JOB},
		{"jobs", 1U << FAMILY_JOBS},
		{"jobsw", 0},
		{"x", 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(channels) / sizeof(channels[0]); i++) {
		struct resp_slice s = {channels[i].name, strlen(channels[i].name)}, rest;

		assert_int_equal(family_of(&s, &rest), channels[i].family);
		if (channels[i].family)
			assert_int_equal(rest.len, strlen(channels[i].rest));
		if (channels[i].family)
			assert_memory_equal(rest.data, channels[i].rest, rest.len);
	}
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		assert_int_equal(families_like(prefixes[i].prefix, strlen(prefixes[i].prefix)),
				 prefixes[i].families);
}

/* ---- order ---- */

static void
test_nothing_before_the_confirmation(void **state)
{
	(void)state;
	hello();
	send_text("RUN p a\r\nSUBSCRIBE key.p.k\r\nPING\r\nSUBMIT p KEY k b\r\nRUN p c\r\n");
	expect("");
	done_with(1, "x"); /* of which there is news, while all wait behind the first RUN */
	turn();
	expect("");
	done_with(0, "one");
	turn();
	receive();
	/* the SUBMIT's id is the second job's */
	assert_memory_equal(got, "$3\r\none\r\n" SUBSCRIBED(KEY_CHANNEL, 1) "+PONG\r\n",
			    strlen("$3\r\none\r\n" SUBSCRIBED(KEY_CHANNEL, 1) "+PONG\r\n"));
	assert_non_null(strstr(got, KEY_NEWS("$10\r\njob queued\r\n")));
	assert_non_null(strstr(got, KEY_NEWS("$8\r\njob done\r\n")));
	assert_null(client->news.behind);
	got_len = 0;
	done_with(2, "three");
	turn();
	expect("$5\r\nthree\r\n");
	assert_int_equal(client->reply_bytes, 0);
}

/* News wait behind what is marked, and no longer: a RUN behind it holds up none. */
static void
test_past_what_is_owed(void **state)
{
	(void)state;
	hello();
	send_text("SUBSCRIBE key.p.k\r\nSUBMIT p KEY k a\r\nRUN p b\r\n");
	receive();
	got_len = 0;
	begin_job(0);
	say(0, "first", 5);
	turn();
	expect(KEY_NEWS("$9\r\nout first\r\n"));
	send_text("SUBSCRIBE x\r\nRUN p c\r\n");
	expect("");
	say(0, "second", 6);
	done_with(2, "c");
	turn();
	expect("");
	done_with(1, "b");
	turn();
	expect("$1\r\nb\r\n" SUBSCRIBED("$1\r\nx\r\n", 2)
		       KEY_NEWS("$10\r\nout second\r\n") "$1\r\nc\r\n");
	say(0, "third", 5);
	turn();
	expect(KEY_NEWS("$9\r\nout third\r\n"));
}

static void
test_not_into_a_reply(void **state)
{
	(void)state;
	hello();
	send_text("SUBSCRIBE key.p.k\r\n");
	receive();
	got_len = 0;
	send_text("MULTI\r\nPING\r\nSUBMIT p KEY k a\r\nRUN p b\r\nPING\r\nEXEC\r\n");
	begin_job(0);
	say(0, "early", 5);
	turn();
	receive();
	assert_non_null(strstr(got, "*4\r\n+PONG\r\n$15\r\n"));
	assert_null(strstr(got, "message"));
	got_len = 0;
	done_with(1, "b");
	turn();
	expect("$1\r\nb\r\n+PONG\r\n" KEY_NEWS("$10\r\njob queued\r\n")
		       KEY_NEWS("$9\r\nout early\r\n"));
	send_text("MULTI\r\nPING\r\nEXEC\r\n"); /* nothing is owed: nothing is held */
	say(0, "late", 4);
	turn();
	expect("+OK\r\n+QUEUED\r\n*1\r\n+PONG\r\n" KEY_NEWS("$8\r\nout late\r\n"));
	assert_int_equal(client_owed(client), 0);
}

/* In the new form they come when the client knows of it. */
static void
test_other_protocol(void **state)
{
	static const char news[] = "*3\r\n$7\r\nmessage\r\n" KEY_CHANNEL "$5\r\nout x\r\n";

	(void)state;
	hello();
	send_text("SUBSCRIBE key.p.k\r\nSUBMIT p KEY k a\r\nRUN p b\r\n");
	receive();
	got_len = 0;
	begin_job(0);
	send_text("HELLO 2\r\n");
	say(0, "x", 1);
	turn();
	expect("");
	done_with(1, "b");
	turn();
	receive();
	assert_memory_equal(got, "$1\r\nb\r\n*14\r\n", 12);
	assert_string_equal(got + got_len - strlen(news), news);
	got_len = 0;
}

/* What lies behind a reply that is owed is in the client's account. */
static void
test_account(void **state)
{
	static char text[4000];
	size_t before;

	(void)state;
	memset(text, 'x', sizeof(text));
	hello();
	send_text("RUN p a\r\nSUBSCRIBE key.p.k\r\nRUN p b\r\nSUBMIT p KEY k c\r\n");
	begin_job(2);
	before = client_reply_bytes(client);
	assert_true(before > 0);
	say(2, text, sizeof(text));
	assert_in_range(client_reply_bytes(client), before + 4000, before + 4100);
	for (int i = 0; i < 100; i++)
		say(2, text, sizeof(text));
	assert_true(client->news.lost > 90);
	assert_in_range(client_reply_bytes(client), MEMORY / 4, MEMORY / 4 + 5000);
	done_with(0, "a");
	done_with(1, "b");
	turn();
	receive();
	assert_int_equal(client->reply_bytes, 0);
	assert_int_equal(client_reply_bytes(client), buf_len(&client->stream.out));
}

/* ---- who does not take them ---- */

/* The peer reads nothing: what its socket does not take lies in our buffer. */
static void
fill(void)
{
	static char text[4000];

	memset(text, 'x', sizeof(text));
	for (int i = 0; i < 1000 && !client->news.lost; i++) {
		say(0, text, sizeof(text));
		turn();
	}
}

static void
test_losing(void **state)
{
	uint64_t lost;

	(void)state;
	hello();
	send_text("SUBSCRIBE key.p.k lost\r\nSUBMIT p KEY k a\r\n");
	begin_job(0);
	fill();
	assert_int_equal(client->news.lost, 1);
	assert_true(client->news.losing);
	assert_in_range(buf_len(&client->stream.out), MEMORY / 4, MEMORY / 4 + 8000);
	/* It does not hold up the daemon's end, unless it is owed a reply. */
	assert_false(client_is_flushed(client));
	assert_true(server_flushed(server));
	send_text("PING\r\n");
	assert_false(server_flushed(server));
	say(0, "x", 1);
	assert_false(server_flushed(server));
	lost = client->news.lost;
	assert_int_equal(lost, 2);
	/* It takes all: the number comes by itself, and then what comes next. */
	for (int i = 0; i < 1000 && client->news.lost; i++) {
		receive();
		got_len = 0;
		turn();
	}
	assert_int_equal(client->news.lost, 0);
	assert_false(client->news.losing);
	assert_true(server_flushed(server));
	for (int i = 0; i < 10; i++) {
		turn();
		receive();
	}
	assert_non_null(strstr(got, ">3\r\n$7\r\nmessage\r\n$4\r\nlost\r\n$1\r\n2\r\n"));
	got_len = 0;
	say(0, "again", 5);
	turn();
	expect(KEY_NEWS("$9\r\nout again\r\n"));
}

/* ---- the end ---- */

static void
test_nothing_is_left(void **state)
{
	(void)state;
	assert_nobody_listens();
	hello();
	send_text("SUBSCRIBE a job.1 key.p.k pool.p lost\r\nPSUBSCRIBE * job.* [a-z]*\r\n");
	assert_int_equal(client_subscriptions(client), 8);
	assert_int_equal(events->wanted[FAMILY_JOB], 4);
	assert_int_equal(events->wanted[FAMILY_WORKER], 2);
	assert_true(client->news.wants_lost);
	assert_non_null(pools->ops);
	send_text("SUBSCRIBE a a\r\nPSUBSCRIBE *\r\n"); /* twice is once */
	assert_int_equal(client_subscriptions(client), 8);
	send_text("UNSUBSCRIBE a job.1 b\r\nPUNSUBSCRIBE *\r\n");
	assert_int_equal(client_subscriptions(client), 5);
	assert_int_equal(events->wanted[FAMILY_JOB], 2);
	send_text("UNSUBSCRIBE\r\nPUNSUBSCRIBE\r\n");
	assert_nobody_listens();
	assert_int_equal(client->news.bytes, 0);
	assert_false(client->news.wants_lost);
	send_text("SUBSCRIBE a lost\r\nPSUBSCRIBE *\r\nRESET\r\n");
	assert_nobody_listens();
	send_text("SUBSCRIBE a\r\nPSUBSCRIBE *\r\nRUN p x\r\nSUBSCRIBE b\r\n");
	assert_non_null(pools->ops);
	hang_up();
	turn();
	assert_int_equal(server->client_count, 0);
	assert_nobody_listens();
}

/* Two of a topic: it stays for the other one, and hears on. */
static void
test_two_subscribers(void **state)
{
	struct client *other;
	int pair[2];
	char text[256];
	ssize_t n;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	fcntl(pair[1], F_SETFL, O_NONBLOCK);
	assert_int_equal(server_adopt(server, pair[0]), 0);
	other = container_of(server->clients.prev, struct client, all);
	assert_int_equal(write(pair[1], "SUBSCRIBE key.p.k\r\n", 19), 19);
	turn();
	send_text("SUBSCRIBE key.p.k\r\n");
	assert_int_equal(events->channels.count, 1);
	assert_int_equal(events->subscriptions.count, 2);
	assert_int_equal(client_subscriptions(other), 1);
	hang_up();
	turn();
	assert_int_equal(events->channels.count, 1);
	assert_int_equal(events->subscriptions.count, 1);
	n = read(pair[1], text, sizeof(text));
	assert_true(n > 0);
	close(pair[1]);
	turn();
	assert_nobody_listens();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start_events, stop)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_families),
		TEST(test_nothing_before_the_confirmation),
		TEST(test_past_what_is_owed),
		TEST(test_not_into_a_reply),
		TEST(test_other_protocol),
		TEST(test_account),
		TEST(test_losing),
		TEST(test_nothing_is_left),
		TEST(test_two_subscribers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
