/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "connection.h"

#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct loop_thread thread;
struct pools *pools;
struct server *server;
struct pool *pool;
struct client *client;
struct conf_pool pool_conf;
struct conf conf;
uint64_t first_id;
int peer;
bool orphaned;
char got[8 * 1024 * 1024];
size_t got_len;

/* ---- set-up ---- */

static void
on_turn(mono_t now)
{
	pools_turn(pools, now);
	server_turn(server);
}

static void
on_orphaned(void *ctx)
{
	(void)ctx;
	orphaned = true;
}

static const char *
state_name(void *ctx)
{
	(void)ctx;
	return "ready";
}

static const struct server_ops server_ops = {.orphaned = on_orphaned, .state = state_name};

int
start(void **state)
{
	static char *no_environment[] = {NULL};
	static char name[] = "p";
	int pair[2];

	(void)state;
	pool_conf = (struct conf_pool){
		.name = name,
		.protocol = PROTOCOL_LINE,
		.pipeline = 1,
		.queue = {.limit = 100000, .memory = UINT64_MAX},
		.job = {.timeout_us = USEC_INFINITY,
			.keep_us = 3600 * USEC_PER_SEC,
			.keep_memory = UINT64_MAX,
			.max_payload = 1 << 20,
			.max_result = 1 << 20},
	};
	conf = (struct conf){.pools = &pool_conf, .n_pools = 1};
	conf.control.client_memory = 1 << 20;
	conf.control.user_memory = UINT64_MAX;
	got_len = 0;
	orphaned = false;
	pools = NULL;
	log_setup("test", LOG_CRIT, LOG_FORMAT_TEXT);
	/* The loop must not turn before there is something to be turned. */
	loop_thread_start(&thread, NULL);
	pools = pools_new(thread.loop, &conf, "/nonexistent", 1024, no_environment);
	server = server_new(thread.loop, pools, &conf, &server_ops, NULL);
	pool = pools->v[0];
	first_id = pools->next_id;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	peer = pair[1];
	fcntl(peer, F_SETFL, O_NONBLOCK);
	assert_int_equal(server_adopt(server, pair[0]), 0);
	client = container_of(list_first(&server->clients), struct client, all);
	thread.on_turn = on_turn;
	return 0;
}

void
hang_up(void)
{
	close(peer);
	peer = -1;
}

int
stop(void **state)
{
	(void)state;
	server_free(server);
	pools_free(pools);
	thread.on_turn = NULL;
	loop_thread_stop(&thread);
	if (peer >= 0)
		hang_up();
	return 0;
}

void
turn(void)
{
	loop_thread_turn(&thread);
}

/* ---- the peer ---- */

void
send_all(const char *data, size_t len)
{
	assert_int_equal(write(peer, data, len), len);
}

void
send_text(const char *text)
{
	send_all(text, strlen(text));
	turn();
}

bool
receive(void)
{
	ssize_t n;

	while ((n = read(peer, got + got_len, sizeof(got) - 1 - got_len)) > 0)
		got_len += (size_t)n;
	got[got_len] = 0;
	return n < 0;
}

void
expect(const char *text)
{
	receive();
	if (got_len != strlen(text) || memcmp(got, text, got_len) != 0)
		fail_msg("'%.*s' for '%s'", (int)got_len, got, text);
	got_len = 0;
}

void
expect_end(const char *text)
{
	assert_false(receive());
	expect(text);
	assert_true(orphaned);
	assert_int_equal(server->client_count, 0);
}

void
wait_for_reply(void)
{
	char c;

	while (recv(peer, &c, 1, MSG_PEEK) < 0) {
		assert_int_equal(errno, EAGAIN);
		loop_thread_wait(&thread);
	}
}

/* ---- the workers' part ---- */

struct job *
job(unsigned n)
{
	return pools_job(pools, first_id + n);
}

void
begin_job(unsigned n)
{
	struct job *j = job(n);

	queue_remove(&pool->queue, j);
	job_move(j, JOB_RUNNING, REASON_NONE);
	job_need_run(j);
	pool->running++;
	pool->running_bytes += j->payload_len;
}

void
end_job(unsigned n, enum job_state verdict, enum job_reason reason, const char *text)
{
	if (job(n)->state == JOB_QUEUED && verdict != JOB_CANCELLED)
		begin_job(n);
	pool_decide(job(n), verdict, reason, text);
}

void
done(unsigned n)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", n);
	end_job(n, JOB_DONE, REASON_NONE, text);
}
