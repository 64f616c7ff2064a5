/* SPDX-License-Identifier: MIT */
/*
 * A pool's slots and its queue as the control calls change them, without a turn of
 * the pump: no process is started, and the slots are in the states that a test says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "pool/worker.h"

#include <string.h>

static struct loop *loop;
static struct pools *pools;
static struct pool *pool;
static struct conf_pool pool_conf;
static struct conf conf;

static void
nothing(void *ctx, mono_t now)
{
	(void)ctx;
	(void)now;
}

static int
start(void **state)
{
	static const struct loop_ops ops = {.on_turn = nothing};
	static char *no_environment[] = {NULL};
	static char name[] = "p";
	static const int no_signals[] = {0};

	(void)state;
	pool_conf = (struct conf_pool){
		.name = name,
		.protocol = PROTOCOL_LINE,
		.workers = 3,
		.pipeline = 2,
		.queue = {.limit = 4, .memory = 1000},
		.job = {.timeout_us = USEC_INFINITY, .max_payload = 100},
	};
	conf = (struct conf){.pools = &pool_conf, .n_pools = 1};
	log_setup("test-roster", LOG_CRIT, LOG_FORMAT_TEXT);
	assert_int_equal(loop_new(&ops, NULL, no_signals, &loop), 0);
	pools = pools_new(loop, &conf, "/nonexistent", 1024, no_environment);
	pool = &pools->v[0];
	return 0;
}

static int
stop(void **state)
{
	(void)state;
	pools_free(pools);
	loop_free(loop);
	return 0;
}

/* ---- withdrawing ---- */

static struct job *
submit(const char *key, const char *payload, bool expect_new)
{
	struct submission s = {.payload = payload, .len = strlen(payload)};
	const char *why;
	struct job *j;
	bool fresh = !expect_new;

	if (key)
		s.opts = job_opts_new(key, strlen(key));
	assert_int_equal(pool_submit(pool, &s, mono_now(), &j, &fresh, &why), 0);
	assert_int_equal(fresh, expect_new);
	return j;
}

static void
test_withdrawn_is_as_if_never_submitted(void **state)
{
	struct job *stays, *goes;
	uint64_t id;

	(void)state;
	stays = submit(NULL, "stays", true);
	goes = submit("k", "goes", true);
	id = goes->id;
	assert_int_equal(pool->queue.count, 2);
	assert_int_equal(pool->queue.bytes, 9);
	pool_withdraw(goes);
	assert_int_equal(pool->queue.count, 1);
	assert_int_equal(pool->queue.bytes, 5);
	assert_int_equal(pools->job_count, 1);
	assert_null(pools_job(pools, id));
	assert_ptr_equal(pools_job(pools, stays->id), stays);
	/* The key is free, for another payload too, and the id is not used again. */
	assert_true(submit("k", "another", true)->id > id);
}

static void
test_withdrawing_makes_room(void **state)
{
	struct submission s = {.payload = "x", .len = 1};
	const char *why;
	struct job *j = NULL;
	bool fresh;

	(void)state;
	for (unsigned i = 0; i < pool_conf.queue.limit; i++)
		j = submit(NULL, "x", true);
	assert_int_equal(pool_submit(pool, &s, mono_now(), &j, &fresh, &why), POOL_E_FULL);
	pool_withdraw(j);
	assert_int_equal(pool_submit(pool, &s, mono_now(), &j, &fresh, &why), 0);
}

static void
test_a_job_found_by_its_key_is_not_new(void **state)
{
	struct job *j;

	(void)state;
	j = submit("k", "same", true);
	assert_ptr_equal(submit("k", "same", false), j);
	assert_int_equal(pool->queue.count, 1);
}

/* ---- slots ---- */

static void
test_slots_at_the_start(void **state)
{
	unsigned down = 0;

	(void)state;
	assert_int_equal(pool->slots, 3);
	assert_int_equal(pool->wanted, 3);
	list_foreach(it, next, &pool->down) {
		assert_int_equal(container_of(it, struct worker, load)->index, down);
		down++;
	}
	assert_int_equal(down, 3);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, start, stop)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_withdrawn_is_as_if_never_submitted),
		CASE(test_withdrawing_makes_room),
		CASE(test_a_job_found_by_its_key_is_not_new),
		CASE(test_slots_at_the_start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
