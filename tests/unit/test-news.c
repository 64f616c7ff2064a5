/* SPDX-License-Identifier: MIT */
/*
 * What a listener is told of the pools, and in what order. The pool has no
 * workers: jobs begin and end when the test says so, in a real pump; what a
 * worker says is put into the buffer of one that has no process.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pool/pump.h"

#include "base/mem.h"
#include "loop-thread.h"

#include <string.h>

static struct loop_thread t;
static struct pools *pools;
static struct pool *pool;
static struct conf_pool pool_conf;
static struct conf conf;
static struct worker worker;
static uint64_t first; /* id of the first job; they are counted from 0 below */
static struct buf heard;

/* ---- the listener ---- */

static unsigned
number(const struct job *j)
{
	return (unsigned)(j->id - first);
}

static void
on_job(void *ctx, const struct job *j)
{
	assert_ptr_equal(ctx, &heard);
	buf_putf(&heard, "%u:%s ", number(j), job_state_name((enum job_state)j->state));
}

static void
on_out(void *ctx, const struct job *j, const char *text, size_t len)
{
	(void)ctx;
	buf_putf(&heard, "%u:out(%.*s) ", number(j), (int)len, text);
}

static void
on_progress(void *ctx, const struct job *j, uint64_t done, uint64_t total, const char *text,
	    size_t len)
{
	(void)ctx;
	buf_putf(&heard, "%u:%u/%u(%.*s) ", number(j), (unsigned)done, (unsigned)total, (int)len,
		 text);
}

static void
on_pool(void *ctx, const struct pool *p, const char *event)
{
	(void)ctx;
	assert_ptr_equal(p, pool);
	buf_putf(&heard, "pool%s ", event ? event : "");
}

static void
on_worker(void *ctx, const struct worker *w, enum slot_phase phase, const char *how)
{
	(void)ctx;
	buf_putf(&heard, "worker%u:%s(%s) ", w->index, slot_phase_name(phase), how ? how : "");
}

static const struct pools_ops ops = {on_job, on_out, on_progress, on_pool, on_worker};

/* Exactly this was told since the last look. */
static void
expect(const char *text)
{
	buf_putc(&heard, 0);
	assert_string_equal(buf_head(&heard), text);
	buf_free(&heard);
}

/* ---- set-up ---- */

static int
start(void **state)
{
	static char *no_environment[] = {NULL};
	static char name[] = "p";

	(void)state;
	pool_conf = (struct conf_pool){
		.name = name,
		.protocol = PROTOCOL_LINE,
		.pipeline = 2,
		.queue = {.limit = 100, .memory = UINT64_MAX},
		.job = {.timeout_us = USEC_INFINITY,
			.keep_us = 3600 * USEC_PER_SEC,
			.keep_memory = UINT64_MAX,
			.replay = 1000,
			.max_payload = 1 << 20,
			.max_result = 1 << 20},
	};
	conf = (struct conf){.pools = &pool_conf, .n_pools = 1};
	log_setup("test-news", LOG_CRIT, LOG_FORMAT_TEXT);
	loop_thread_start(&t, NULL);
	pools = pools_new(t.loop, &conf, "/nonexistent", 1024, no_environment);
	pool = pools->v[0];
	first = pools->next_id;
	pools_listen(pools, &ops, &heard);
	worker_init(&worker, pool, 0);
	worker.state = SLOT_UP; /* and without capacity: the pump has nothing to do with it */
	list_remove(&worker.load);
	codec_init(&worker.codec, CODEC_LINE, 1000);
	return 0;
}

static int
stop(void **state)
{
	(void)state;
	buf_free(&worker.chan.in);
	worker_fini(&worker);
	pools_free(pools);
	loop_thread_stop(&t);
	buf_free(&heard);
	return 0;
}

static struct job *
submit(const char *payload)
{
	struct submission s = {.payload = payload, .len = strlen(payload)};
	struct job *j;
	const char *why;
	bool fresh;

	assert_int_equal(pool_submit(pool, &s, loop_now(t.loop), &j, &fresh, &why), 0);
	return j;
}

/* A worker has it, behind those that it has already. */
static void
begin(struct job *j)
{
	queue_remove(&pool->queue, j);
	job_move(j, JOB_RUNNING, REASON_NONE);
	job_need_run(j);
	pool->running++;
	pool->running_bytes += j->payload_len;
	worker.flights[worker.count++] = (struct flight){.job = j, .id = j->id};
}

static void
say(const char *text)
{
	buf_puts(&worker.chan.in, text);
	worker_read(&worker);
}

static void
turn(void)
{
	pools_turn(pools, loop_now(t.loop));
}

/* ---- tests ---- */

static void
test_states(void **state)
{
	struct job *a = submit("a"), *b = submit("b");

	(void)state;
	expect("0:queued 1:queued ");
	turn();
	expect("pool ");
	pool_cancel(a);
	expect("");
	begin(b);
	pool_decide(b, JOB_FAILED, REASON_ERROR, "no");
	turn();
	expect("0:cancelled 1:failed pool ");
	worker.count = 0;
}

static void
on_done(struct job_waiter *w, struct job *j)
{
	(void)w;
	buf_putf(&heard, "%u:answered ", number(j));
}

static void
test_before_its_waiters(void **state)
{
	struct job_waiter w = {.on_done = on_done};
	struct job *j = submit("a");

	(void)state;
	job_add_waiter(j, &w);
	j->attached = true; /* and so gone when it is answered */
	pool_cancel(j);
	turn();
	expect("0:queued 0:cancelled 0:answered pool ");
}

static void
test_out_and_progress(void **state)
{
	struct job *a = submit("a"), *b = submit("b");

	(void)state;
	begin(a);
	begin(b);
	expect("0:queued 1:queued ");
	say("OUT one\nPROGRESS 1 3 half way\nOUT\nPROGRESS 2 3\n");
	expect("0:out(one) 0:1/3(half way) 0:out() 0:2/3() ");
	say("OK\nOUT two\nOK\n");
	expect("1:out(two) ");
	turn();
	expect("0:done 1:done pool ");
}

/* What is kept with a job is in the pool's account as long as the job is. */
static void
test_account(void **state)
{
	struct job *a = submit("a"), *b = submit("b");

	(void)state;
	begin(a);
	begin(b);
	assert_int_equal(pool_bytes(pool), 2);
	say("OUT one\nPROGRESS 1 3 half way\n");
	assert_int_equal(pool_bytes(pool), 2 + a->run->news->bytes);
	assert_int_equal(pool->running_bytes, pool_bytes(pool));
	say("OK result\nOUT two\nOK\n");
	turn();
	assert_int_equal(pool->running_bytes, 0);
	assert_int_equal(pool_bytes(pool), 2 + 6 + a->run->news->bytes + b->run->news->bytes);
	pool_conf.job.keep_memory = 0;
	a = submit("c");
	begin(a);
	say("OUT three\nOK\n");
	turn();
	assert_int_equal(pool_bytes(pool), 0);
	assert_int_equal(pools->jobs.count, 0);
	buf_free(&heard);
}

static void
test_nothing_kept(void **state)
{
	struct job *a = submit("a");

	(void)state;
	pool_conf.job.replay = 0;
	begin(a);
	say("OUT one\n");
	assert_null(a->run->news);
	say("PROGRESS 1 2\n");
	assert_int_equal(a->run->news->done, 1);
	say("OK\n");
	turn();
	expect("0:queued 0:out(one) 0:1/2() 0:done pool ");
}

/* A job whose end is decided otherwise has no more news, and the next one does
 * not get what is left of it. */
static void
test_decided_otherwise(void **state)
{
	struct job *a = submit("a"), *b = submit("b");

	(void)state;
	begin(a);
	begin(b);
	pool_cancel(a);
	say("OUT late\n");
	worker.flights[worker.first].job = NULL; /* disowned */
	say("OUT later\nOK\nOUT mine\n");
	expect("0:queued 1:queued 1:out(mine) ");
	assert_null(worker.broken);
	say("OK\nOUT nobody's\n");
	assert_non_null(worker.broken);
	turn();
	expect("worker0:stopping() 0:cancelled 1:done pool ");
}

static void
test_events_and_workers(void **state)
{
	(void)state;
	tell_pool(pool, "=over");
	tell_worker(&worker, PHASE_DOWN, "exited with status 1");
	tell_worker(&worker, PHASE_STARTING, NULL);
	expect("pool=over worker0:down(exited with status 1) worker0:starting() ");
}

static void
test_nobody_listens(void **state)
{
	struct job *a;

	(void)state;
	pools_listen(pools, NULL, NULL);
	a = submit("a");
	begin(a);
	say("OUT one\nPROGRESS 1 1\nOK\n");
	turn();
	tell_pool(pool, "x");
	tell_worker(&worker, PHASE_UP, NULL);
	expect("");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_states),
		TEST(test_before_its_waiters),
		TEST(test_out_and_progress),
		TEST(test_account),
		TEST(test_nothing_kept),
		TEST(test_decided_otherwise),
		TEST(test_events_and_workers),
		TEST(test_nobody_listens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
