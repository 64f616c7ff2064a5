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
#include "pool/pump.h"

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
	pool = pools->v[0];
	return 0;
}

static int
stop(void **state)
{
	(void)state;
	for (unsigned i = 0; i < pool->slots; i++)
		buf_free(&pool->workers[i]->chan.out); /* of a channel that was never opened */
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
	assert_int_equal(pools->jobs.count, 1);
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

/* The slots that wait to be filled are these: a bit for each. */
static void
expect_down(unsigned long expected)
{
	unsigned long down = 0;

	list_foreach(it, next, &pool->down)
		down |= 1ul << container_of(it, struct worker, load)->index;
	assert_int_equal(down, expected);
}

/* It is up, with so many jobs, as far as the pool's books go. */
static struct worker *
set_up(unsigned i, unsigned jobs)
{
	struct worker *w = pool->workers[i];

	w->capacity = pool_conf.pipeline;
	w->generation = ++pool->generation;
	w->count = jobs;
	w->state = SLOT_UP;
	pool->up++;
	worker_shelve(w);
	return w;
}

/* Which of the workers has that job as its i-th oldest; -1: none. */
static int
worker_of(const struct job *j, unsigned i)
{
	for (unsigned n = 0; n < pool->slots; n++)
		if (pool->workers[n]->count > i && worker_job(pool->workers[n], i) == j)
			return (int)n;
	return -1;
}

/* Its process is gone. */
static void
set_down(struct worker *w)
{
	w->count = 0;
	worker_bury(w);
}

static void
test_slots_at_the_start(void **state)
{
	(void)state;
	assert_int_equal(pool->slots, 3);
	assert_int_equal(pool->wanted, 3);
	expect_down(7);
}

static void
test_slots_stay_where_they_are(void **state)
{
	struct worker *first = pool->workers[0], *third;

	(void)state;
	pool_scale(pool, 40);
	assert_int_equal(pool->slots, 40);
	assert_ptr_equal(pool->workers[0], first);
	expect_down((1ul << 40) - 1);
	third = pool->workers[2];
	pool_scale(pool, 2);
	assert_int_equal(pool->slots, 40);
	assert_int_equal(pool->wanted, 2);
	expect_down(3);
	pool_scale(pool, 3);
	assert_int_equal(pool->slots, 40);
	assert_ptr_equal(pool->workers[2], third);
	expect_down(7);
}

static void
test_scaled_down(void **state)
{
	struct worker *stays = set_up(0, 0), *busy = set_up(1, 1), *idle = set_up(2, 0);

	(void)state;
	assert_int_equal(pool->up, 3);
	assert_int_equal(pool->room, 5);
	assert_true(worker_can_take(busy));
	pool_scale(pool, 1);
	assert_int_equal(pool->up, 1);
	assert_int_equal(pool->room, 2);
	assert_true(worker_can_take(stays));
	assert_false(worker_can_take(busy) || worker_can_take(idle));
	assert_int_equal(pool_leaving(pool, 1), 2);
	assert_int_equal(pool_leaving(pool, 2), 1);
	assert_int_equal(pool_count_workers(pool).stopping, 2);
	set_down(idle);
	expect_down(0);
	assert_int_equal(pool_leaving(pool, 1), 1);
	assert_false(worker_is_there(idle));
	assert_true(worker_is_there(busy));
	/* One is recalled, the other's slot is to be filled anew. */
	pool_scale(pool, 3);
	assert_int_equal(pool->up, 2);
	assert_int_equal(pool->room, 3);
	assert_true(worker_can_take(busy));
	expect_down(4);
	set_down(busy);
	assert_int_equal(pool->up, 1);
	expect_down(6);
}

/* And of those with as many to the one that was used last. */
static void
test_a_job_goes_to_who_has_fewest(void **state)
{
	static const struct {
		int worker;
		unsigned place;
	} expected[] = {{2, 0}, {1, 0}, {0, 0}, {0, 1}, {1, 1}, {2, 1}, {-1, 0}};
	struct job *jobs[7];

	(void)state;
	pool_conf.queue.limit = 7;
	for (unsigned i = 0; i < 3; i++) {
		set_up(i, 0);
		codec_init(&pool->workers[i]->codec, CODEC_LINE, 100);
	}
	for (unsigned i = 0; i < 7; i++)
		jobs[i] = submit(NULL, "x", true);
	pools_turn(pools, mono_now());
	for (unsigned i = 0; i < 7; i++)
		assert_int_equal(worker_of(jobs[i], expected[i].place), expected[i].worker);
	assert_int_equal(pool->room, 0);
	assert_int_equal(pool->queue.count, 1);
	assert_int_equal(jobs[6]->state, JOB_QUEUED);
}

static void
test_what_it_has_not_read_is_a_limit(void **state)
{
	struct worker *w = set_up(0, 0);
	char payload[101] = "";

	(void)state;
	memset(payload, 'x', 100);
	set_up(1, 2);
	set_up(2, 2);
	codec_init(&w->codec, CODEC_LINE, 100);
	assert_int_equal(pool->room, 2);
	submit(NULL, payload, true);
	submit(NULL, "x", true);
	pools_turn(pools, mono_now());
	assert_int_equal(w->count, 1);
	assert_int_equal(pool->room, 0);
	assert_int_equal(pool->queue.count, 1);
	buf_consume(&w->chan.out, 1);
	worker_shelve(w);
	pool_wake(pool);
	pools_turn(pools, mono_now());
	assert_int_equal(w->count, 2);
	assert_int_equal(pool->queue.count, 0);
}

static void
test_one_that_was_told_to_end_is_not_recalled(void **state)
{
	struct worker *w = set_up(2, 0);

	(void)state;
	pool_scale(pool, 1);
	w->state = slot_next(w->state, SLOT_CLOSE);
	pool_scale(pool, 3);
	assert_int_equal(pool->up, 0);
	assert_false(worker_can_take(w));
	expect_down(3);
	set_down(w);
	assert_false(w->retiring);
	expect_down(7);
}

static void
hold_back(void)
{
	mono_t now = mono_now();

	for (unsigned i = 0; i < 2; i++) {
		throttle_failed(&pool->throttle, now, now, USEC_PER_SEC, USEC_PER_SEC);
		now = mono_add(now, 1);
	}
	assert_true(throttle_holds(&pool->throttle));
}

static void
test_new_slots_are_held_back_where_others_fail(void **state)
{
	(void)state;
	set_up(0, 0);
	pool->workers[2]->failed = true;
	hold_back();
	pool_scale(pool, 4);
	assert_true(pool->workers[3]->failed);
	assert_false(pool->workers[1]->failed); /* its last worker was good */
	pool_scale(pool, 3);
	assert_true(throttle_holds(&pool->throttle));
	/* Those that fail are not wanted any more. */
	pool_scale(pool, 2);
	assert_false(throttle_holds(&pool->throttle));
	pool_scale(pool, 3);
	assert_false(pool->workers[2]->failed);
}

static void
test_a_try_that_is_called_off_is_none(void **state)
{
	struct worker *tried = set_up(2, 0);

	(void)state;
	set_up(1, 0);
	tried->failed = pool->workers[0]->failed = true;
	hold_back();
	pool->throttle.next_try = mono_now();
	assert_true(throttle_try(&pool->throttle, mono_now(), USEC_PER_SEC, USEC_PER_SEC));
	pool_scale(pool, 2);
	assert_true(throttle_holds(&pool->throttle));
	assert_false(pool->throttle.trying);
}

/* ---- restarts ---- */

static const char *told; /* the event that was told last */
static unsigned times_told;

static void
on_pool(void *ctx, const struct pool *p, const char *event)
{
	(void)ctx;
	if (!event)
		return;
	told = event;
	times_told++;
	assert_int_equal(pool_restarting(p), 0); /* it is over when it is told */
}

static void
on_worker(void *ctx, const struct worker *w, enum slot_phase phase, const char *how)
{
	(void)ctx;
	(void)w;
	(void)phase;
	(void)how;
}

static void
listen_(void)
{
	static const struct pools_ops ops = {.on_pool = on_pool, .on_worker = on_worker};

	told = NULL;
	times_told = 0;
	pools_listen(pools, &ops, NULL);
}

static void
turn(void)
{
	pools_turn(pools, mono_now());
}

/* Its process is gone, and a new one is up. */
static void
replace(unsigned i)
{
	assert_int_equal(pool->workers[i]->state, SLOT_CLOSING);
	set_down(pool->workers[i]);
	set_up(i, 0);
	pool_wake(pool);
}

static void
test_which_is_next(void **state)
{
	struct worker *w[3];

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		w[i] = set_up(i, 0);
	assert_null(restart_next(pool)); /* no restart is on */
	pool->restart_generation = pool->generation;
	assert_ptr_equal(restart_next(pool), w[0]);
	list_append(&pool->in_hand, &w[2]->restart);
	assert_null(restart_next(pool)); /* one is in hand */
	list_remove(&w[2]->restart);
	w[0]->generation = ++pool->generation; /* it is new */
	assert_ptr_equal(restart_next(pool), w[1]);
	set_down(w[1]); /* comes back by itself */
	assert_ptr_equal(restart_next(pool), w[2]);
	pool_scale(pool, 2); /* is not wanted any more */
	assert_null(restart_next(pool));
}

static void
test_one_after_the_other(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++)
		set_up(i, 0);
	listen_();
	assert_int_equal(pool_restarting(pool), 0);
	pool_restart(pool);
	for (unsigned i = 0; i < 3; i++) {
		turn();
		assert_int_equal(pool->up, 2);
		turn(); /* changes nothing: this one is waited for */
		assert_int_equal(pool->up, 2);
		assert_int_equal(pool_restarting(pool), 3 - i);
		assert_null(told);
		replace(i);
	}
	turn();
	assert_string_equal(told, "restarted");
	assert_int_equal(times_told, 1);
	assert_int_equal(pool->up, 3);
	assert_false(pool->restarting);
}

static void
test_busy_one_finishes_first(void **state)
{
	struct worker *w = set_up(0, 1);

	(void)state;
	set_up(1, 0);
	set_up(2, 0);
	listen_();
	pool_restart_slot(pool, 0);
	turn();
	assert_int_equal(w->state, SLOT_UP);
	assert_false(worker_can_take(w));
	assert_int_equal(pool_restarting(pool), 1);
	w->count = 0;
	worker_note(w);
	turn();
	replace(0);
	turn();
	assert_string_equal(told, "restarted");
}

static void
test_replacement_is_looked_at_for_a_while(void **state)
{
	mono_t now = mono_now();

	(void)state;
	pool_conf.start.backoff_min_us = 300 * USEC_PER_MSEC;
	for (unsigned i = 0; i < 3; i++)
		set_up(i, 0);
	listen_();
	pool_restart_slot(pool, 0);
	turn();
	replace(0);
	pool->workers[0]->spawned = now;
	pools_turn(pools, mono_add(now, 299 * USEC_PER_MSEC));
	assert_null(told);
	assert_true(timer_is_set(&pool->probation));
	pool_wake(pool);
	pools_turn(pools, mono_add(now, 300 * USEC_PER_MSEC));
	assert_string_equal(told, "restarted");
	assert_false(timer_is_set(&pool->probation));
}

static void
test_an_answer_ends_the_look(void **state)
{
	(void)state;
	pool_conf.start.backoff_min_us = 300 * USEC_PER_SEC; /* more than is ever waited */
	for (unsigned i = 0; i < 3; i++)
		set_up(i, 0);
	listen_();
	pool_restart_slot(pool, 0);
	turn();
	replace(0);
	pool->workers[0]->spawned = mono_now();
	turn();
	assert_null(told);
	pool->workers[0]->answers = 1;
	pool_wake(pool);
	turn();
	assert_string_equal(told, "restarted");
}

static void
test_abandoned(void **state)
{
	struct worker *told_already, *busy;

	(void)state;
	told_already = set_up(0, 0);
	busy = set_up(1, 1);
	set_up(2, 0);
	listen_();
	pool_restart_slot(pool, 0);
	pool_restart_slot(pool, 1);
	turn();
	pool->workers[2]->failed = true;
	hold_back();
	pool_wake(pool);
	turn();
	assert_string_equal(told, "restart-failed");
	assert_int_equal(times_told, 1);
	assert_true(worker_can_take(busy)); /* it was told nothing yet, and goes on */
	assert_true(slot_is_stopping(told_already->state));
	assert_true(list_empty(&pool->in_hand));
}

static void
test_a_repaired_pool_is_tried_at_once(void **state)
{
	(void)state;
	set_up(0, 0);
	pool->workers[1]->failed = pool->workers[2]->failed = true;
	hold_back();
	pool_restart(pool);
	assert_false(throttle_holds(&pool->throttle));
	assert_false(pool->workers[1]->failed || pool->workers[2]->failed);
	assert_int_equal(pool_restarting(pool), 3);
	assert_null(restart_next(pool)); /* not before those that are down have shown something */
	assert_int_equal(pool->up, 1);
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
		CASE(test_slots_stay_where_they_are),
		CASE(test_scaled_down),
		CASE(test_a_job_goes_to_who_has_fewest),
		CASE(test_what_it_has_not_read_is_a_limit),
		CASE(test_one_that_was_told_to_end_is_not_recalled),
		CASE(test_new_slots_are_held_back_where_others_fail),
		CASE(test_a_try_that_is_called_off_is_none),
		CASE(test_which_is_next),
		CASE(test_one_after_the_other),
		CASE(test_busy_one_finishes_first),
		CASE(test_replacement_is_looked_at_for_a_while),
		CASE(test_an_answer_ends_the_look),
		CASE(test_abandoned),
		CASE(test_a_repaired_pool_is_tried_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
