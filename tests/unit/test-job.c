/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/slab.h"
#include "core/job.h"

#include "aborts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct job *
make(void)
{
	struct job *j = job_new(7, NULL, 1000, "payload", 7, NULL);

	assert_non_null(j);
	return j;
}

static void
test_new(void **state)
{
	struct job_opts *o = job_opts_new("k\0y", 3);
	struct job *j = job_new(42, state, 33, "a\0b", 3, o);

	assert_int_equal(j->id, 42);
	assert_ptr_equal(j->owner, state);
	assert_int_equal(j->uid, 33);
	assert_int_equal(j->payload_len, 3);
	assert_memory_equal(j->payload, "a\0b", 3);
	assert_int_equal(j->state, JOB_NEW);
	assert_int_equal(j->reason, REASON_NONE);
	assert_int_equal(j->attempt, 0);
	assert_int_equal(o->key_len, 3);
	assert_memory_equal(o->key, "k\0y", 3);
	assert_null(j->run);
	job_free(j); /* and with it o */
	j = job_new(1, NULL, 0, NULL, 0, job_opts_new(NULL, 0));
	assert_int_equal(j->payload_len, 0);
	assert_int_equal(job_bytes(j), 0);
	job_free(j);
}

/* ---- moves ---- */

/* From each state (new, queued, running, done, failed, cancelled) to each. */
static const char *const moves[JOB_STATES] = {
	[JOB_NEW] = ".q....",  [JOB_QUEUED] = "..r..c", [JOB_RUNNING] = ".q.dfc",
	[JOB_DONE] = "......", [JOB_FAILED] = "......", [JOB_CANCELLED] = "......",
};

struct move {
	struct job *job;
	unsigned to;
};

static void
do_move(void *arg)
{
	const struct move *m = arg;

	job_move(m->job, (enum job_state)m->to, REASON_ERROR);
}

static void
test_moves(void **state)
{
	struct move m = {.job = make()};

	(void)state;
	for (unsigned from = 0; from < JOB_STATES; from++)
		for (m.to = 0; m.to < JOB_STATES; m.to++) {
			m.job->state = (uint8_t)from;
			m.job->reason = REASON_NONE;
			if (moves[from][m.to] == '.') {
				assert_true(aborts(do_move, &m));
				continue;
			}
			do_move(&m);
			assert_int_equal(m.job->state, m.to);
			assert_int_equal(m.job->reason, REASON_ERROR);
			assert_int_equal(job_is_over(m.job), m.to >= JOB_DONE);
		}
	job_free(m.job);
}

/* ---- names ---- */

static void
test_state_names(void **state)
{
	static const char *const names[JOB_STATES] = {"new",  "queued", "running",
						      "done", "failed", "cancelled"};

	(void)state;
	for (unsigned s = 0; s < JOB_STATES; s++) {
		const char *name = job_state_name((enum job_state)s);
		enum job_state got = JOB_NEW;

		assert_string_equal(name, names[s]);
		if (s == JOB_NEW)
			continue;
		assert_int_equal(job_state_parse(name, strlen(name), &got), 0);
		assert_int_equal(got, s);
	}
}

static void
test_reason_names(void **state)
{
	static const char *const names[JOB_REASONS] = {NULL,	   "error",    "crashed",
						       "timeout",  "request",  "down",
						       "draining", "stopping", "reload"};

	(void)state;
	assert_null(job_reason_name(REASON_NONE));
	for (unsigned r = 1; r < JOB_REASONS; r++) {
		const char *name = job_reason_name((enum job_reason)r);
		enum job_reason got = REASON_NONE;

		assert_string_equal(name, names[r]);
		assert_int_equal(job_reason_parse(name, strlen(name), &got), 0);
		assert_int_equal(got, r);
	}
}

static void
test_parse(void **state)
{
	static const struct {
		const char *word;
		size_t len;
		int state, reason; /* or -EINVAL */
	} rows[] = {
		{"DONE", 4, JOB_DONE, -EINVAL},
		{"Failed", 6, JOB_FAILED, -EINVAL},
		{"Crashed", 7, -EINVAL, REASON_CRASHED},
		{"donex", 4, JOB_DONE, -EINVAL}, /* by length, not up to a NUL */
		{"done", 3, -EINVAL, -EINVAL},
		{"done\0", 5, -EINVAL, -EINVAL},
		{"don\0", 4, -EINVAL, -EINVAL},
		{"dones", 5, -EINVAL, -EINVAL},
		{"new", 3, -EINVAL, -EINVAL}, /* nobody ever sees one */
		{"", 0, -EINVAL, -EINVAL},
		{"none", 4, -EINVAL, -EINVAL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		enum job_state s = JOB_NEW;
		enum job_reason r = REASON_NONE;
		int a = job_state_parse(rows[i].word, rows[i].len, &s);
		int b = job_reason_parse(rows[i].word, rows[i].len, &r);

		assert_int_equal(a < 0 ? a : (int)s, rows[i].state);
		assert_int_equal(b < 0 ? b : (int)r, rows[i].reason);
	}
}

/* ---- waiters ---- */

static size_t
count_waiters(const struct job *j)
{
	size_t n = 0;

	for (const struct job_waiter *w = j->waiters; w; w = w->next)
		n++;
	return n;
}

static bool
waits(const struct job *j, const struct job_waiter *who)
{
	for (const struct job_waiter *w = j->waiters; w; w = w->next)
		if (w == who)
			return true;
	return false;
}

/* Three wait, and go in any order. */
static void
test_waiters(void **state)
{
	static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
					 {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};

	(void)state;
	for (size_t o = 0; o < 6; o++) {
		struct job_waiter w[3] = {{.next = NULL}}, stranger = {.next = NULL};
		struct job *j = make();

		for (int i = 0; i < 3; i++)
			job_add_waiter(j, &w[i]);
		for (int i = 0; i < 3; i++) {
			job_drop_waiter(&stranger);
			assert_int_equal(count_waiters(j), 3 - i);
			assert_true(waits(j, &w[orders[o][i]]));
			job_drop_waiter(&w[orders[o][i]]);
			assert_false(waits(j, &w[orders[o][i]]));
			assert_null(w[orders[o][i]].next);
			assert_null(w[orders[o][i]].at);
			job_drop_waiter(&w[orders[o][i]]); /* and once more */
		}
		assert_null(j->waiters);
		job_free(j);
	}
}

static void
do_free(void *job)
{
	job_free(job);
}

static void
test_no_free_in_use(void **state)
{
	struct job_waiter w = {.next = NULL};
	struct list head = LIST_INIT(head);
	struct job *j = make();

	(void)state;
	job_add_waiter(j, &w);
	assert_true(aborts(do_free, j));
	job_drop_waiter(&w);
	list_append(&head, &j->link);
	assert_true(aborts(do_free, j));
	list_remove(&j->link);
	job_free(j);
}

/* ---- the end ---- */

static void
decide_again(void *job)
{
	job_decide(job, JOB_DONE, REASON_NONE, NULL, 0);
}

static void
test_decide(void **state)
{
	struct job *j = make();

	(void)state;
	job_move(j, JOB_QUEUED, REASON_NONE);
	job_move(j, JOB_RUNNING, REASON_NONE);
	assert_int_equal(job_bytes(j), 7);
	job_decide(j, JOB_FAILED, REASON_ERROR, "no\0t", 4);
	assert_true(j->decided);
	assert_int_equal(j->state, JOB_RUNNING); /* the pump moves it */
	assert_int_equal(j->verdict, JOB_FAILED);
	assert_int_equal(j->reason, REASON_ERROR);
	assert_int_equal(j->run->text_len, 4);
	assert_int_equal(job_bytes(j), 11);
	assert_true(mono_is_never(j->run->started));
	assert_true(aborts(decide_again, j));
	j->decided = false;
	job_move(j, JOB_FAILED, REASON_ERROR);
	assert_true(aborts(decide_again, j)); /* over is over */
	job_free(j);
}

static void
test_news(void **state)
{
	struct job *j = make();

	(void)state;
	job_drop_news(j); /* there are none, nor a run */
	job_move(j, JOB_QUEUED, REASON_NONE);
	job_move(j, JOB_RUNNING, REASON_NONE);
	assert_int_equal(job_running_bytes(j), 7);
	news_out(job_need_news(j), "out", 3, 1000);
	assert_int_equal(job_running_bytes(j), 7 + j->run->news->bytes);
	assert_ptr_equal(job_need_news(j), j->run->news);
	job_decide(j, JOB_DONE, REASON_NONE, "text", 4);
	assert_int_equal(job_running_bytes(j), 7 + j->run->news->bytes); /* as it was */
	assert_int_equal(job_bytes(j), 7 + j->run->news->bytes + 4);
	job_drop_news(j);
	assert_int_equal(job_bytes(j), 11);
	news_out(job_need_news(j), "out", 3, 1000); /* goes with the job */
	job_free(j);
}

/* Whatever the memory was before. */
static void
test_new_run(void **state)
{
	struct job *j = make();
	void *before = slab_alloc(sizeof(struct job_run));
	struct job_run *run;

	(void)state;
	memset(before, 0xff, sizeof(*run));
	slab_free(before, sizeof(*run));
	run = job_need_run(j);
	assert_ptr_equal(run, before);
	assert_ptr_equal(run->job, j);
	assert_true(mono_is_never(run->started) && mono_is_never(run->ended));
	assert_true(!run->worker && !run->pid && !run->text_len);
	assert_ptr_equal(run->text, run->small);
	assert_true(!run->last_stderr && !run->news);
	assert_true(!timer_is_set(&run->timer) && !run->timer.on_due);
	assert_ptr_equal(job_need_run(j), run);
	job_free(j);
}

static void
test_decide_without_text(void **state)
{
	struct job *j = make();
	struct job_run *run = job_need_run(j);

	(void)state;
	job_move(j, JOB_QUEUED, REASON_NONE);
	job_decide(j, JOB_CANCELLED, REASON_REQUEST, NULL, 0);
	assert_ptr_equal(j->run, run);
	assert_int_equal(run->text_len, 0);
	job_free(j);
}

/* A text of each length around that which needs no memory of its own. */
static void
test_texts(void **state)
{
	static const char text[] = "abcdefghijklmnopqrstuvwxyz0123456789";

	(void)state;
	for (size_t len = 0; len < sizeof(text); len++) {
		struct job *j = make();

		job_decide(j, JOB_DONE, REASON_NONE, text, len);
		assert_int_equal(j->run->text_len, len);
		assert_int_equal(job_bytes(j), 7 + len);
		if (len)
			assert_memory_equal(j->run->text, text, len);
		assert_int_equal(j->run->text == j->run->small, len <= JOB_SMALL_TEXT);
		job_free(j);
	}
}

/* Only who is told last, of a job that goes then, gets the job's own run. */
static void
test_take_run(void **state)
{
	static const struct {
		const char *text;
		bool attached, others, taken;
	} cases[] = {
		{"text", true, false, true},
		{"text", true, true, false},
		{"text", false, false, false},
		{"text", false, true, false},
		{"a text that takes memory of its own", true, false, true},
		{"a text that takes memory of its own", true, true, false},
		{NULL, true, false, true},
		{NULL, false, false, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct job *j = make();
		struct job_waiter w = {.on_done = NULL};
		size_t want = cases[i].text ? strlen(cases[i].text) : 0;
		struct job_run *run;

		j->attached = cases[i].attached;
		if (cases[i].others)
			job_add_waiter(j, &w);
		news_out(job_need_news(j), "out", 3, 1000);
		job_decide(j, JOB_DONE, REASON_NONE, cases[i].text, want);
		run = job_take_run(j);
		assert_int_equal(run->text_len, want);
		if (want)
			assert_memory_equal(run->text, cases[i].text, want);
		assert_null(run->news); /* nobody has counted them there */
		assert_int_equal(!j->run, cases[i].taken);
		if (j->run) {
			assert_int_equal(j->run->text_len, want);
			assert_true(!want || run->text != j->run->text);
		}
		job_drop_waiter(&w);
		job_free(j);
		if (want)
			assert_memory_equal(run->text, cases[i].text, want);
		job_run_free(run);
	}
}

static void
test_own_limits(void **state)
{
	struct job *plain = make();
	struct job *j = job_new(1, NULL, 0, "", 0, job_opts_new("k", 1));

	(void)state;
	assert_int_equal(job_timeout_us(plain, 50), 50);
	assert_int_equal(job_keep_us(plain, 60), 60);
	assert_int_equal(job_timeout_us(j, 50), 50); /* options, and not these */
	assert_int_equal(job_keep_us(j, 60), 60);
	j->opts->timeout_us = 5;
	j->opts->keep_us = 0;
	assert_int_equal(job_timeout_us(j, 50), 5);
	assert_int_equal(job_keep_us(j, 60), 0);
	j->opts->timeout_us = USEC_INFINITY;
	assert_true(job_timeout_us(j, 50) == USEC_INFINITY);
	job_free(plain);
	job_free(j);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_new),
		cmocka_unit_test(test_moves),
		cmocka_unit_test(test_state_names),
		cmocka_unit_test(test_reason_names),
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_waiters),
		cmocka_unit_test(test_no_free_in_use),
		cmocka_unit_test(test_decide),
		cmocka_unit_test(test_news),
		cmocka_unit_test(test_new_run),
		cmocka_unit_test(test_decide_without_text),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_take_run),
		cmocka_unit_test(test_own_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
