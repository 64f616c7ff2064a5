/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/queue.h"
#include "random.h"

static struct job *
make(uint64_t id, size_t len)
{
	static const char payload[64];
	struct job *j = job_new(id, NULL, 0, payload, len, NULL);

	assert_non_null(j);
	return j;
}

/* Take the first one out; it is the one of that id. */
static void
pop(struct queue *q, uint64_t id)
{
	struct job *oldest = queue_oldest(q);
	struct job *j = queue_pop(q);

	assert_non_null(j);
	assert_ptr_equal(j, oldest);
	assert_int_equal(j->id, id);
	assert_false(list_linked(&j->link));
	job_free(j);
}

static void
test_empty(void **state)
{
	struct queue q;

	(void)state;
	queue_init(&q);
	assert_null(queue_oldest(&q));
	assert_null(queue_pop(&q));
	assert_int_equal(q.count, 0);
	assert_int_equal(q.bytes, 0);
}

static void
test_first_in_first_out(void **state)
{
	struct queue q;

	(void)state;
	queue_init(&q);
	for (uint64_t id = 1; id <= 5; id++)
		queue_push(&q, make(id, id));
	assert_int_equal(q.count, 5);
	assert_int_equal(q.bytes, 15);
	for (uint64_t id = 1; id <= 5; id++)
		pop(&q, id);
	assert_null(queue_pop(&q));
	assert_int_equal(q.bytes, 0);
}

/* Jobs that come back are given newest first, and stand in their old order. */
static void
test_front(void **state)
{
	struct queue q;

	(void)state;
	queue_init(&q);
	queue_push(&q, make(4, 1));
	queue_push_front(&q, make(3, 2));
	queue_push_front(&q, make(2, 3));
	queue_push(&q, make(5, 4));
	queue_push_front(&q, make(1, 5));
	assert_int_equal(q.bytes, 15);
	for (uint64_t id = 1; id <= 5; id++)
		pop(&q, id);
}

static void
test_remove(void **state)
{
	struct queue q;
	struct job *j[5];

	(void)state;
	queue_init(&q);
	for (unsigned i = 0; i < 5; i++)
		queue_push(&q, j[i] = make(i, 10 + i));
	queue_remove(&q, j[2]); /* the middle, the first, the last */
	queue_remove(&q, j[0]);
	queue_remove(&q, j[4]);
	assert_int_equal(q.count, 2);
	assert_int_equal(q.bytes, 11 + 13);
	queue_push(&q, j[0]); /* one that was in before */
	job_free(j[2]);
	job_free(j[4]);
	pop(&q, 1);
	pop(&q, 3);
	pop(&q, 0);
}

/* Those that are passed over are in it, and are known to be. */
static void
test_passed(void **state)
{
	struct queue q;
	struct job *j[4];

	(void)state;
	queue_init(&q);
	for (unsigned i = 0; i < 4; i++)
		queue_push(&q, j[i] = make(i, 1));
	for (unsigned i = 0; i < 3; i++)
		queue_park(&q, j[i]);
	assert_int_equal(q.count, 4);
	assert_int_equal(q.passed, 3);
	queue_unpark(&q, j[0]);
	queue_unpark(&q, j[0]);
	assert_int_equal(q.passed, 2);
	queue_remove(&q, j[1]);
	job_free(j[1]);
	assert_int_equal(q.passed, 1);
	pop(&q, 0);
	pop(&q, 3);
	assert_int_equal(q.count, 1);
	queue_unpark_all(&q);
	assert_int_equal(q.passed, 0);
	pop(&q, 2);
}

#define MAX UINT64_MAX

static void
test_room(void **state)
{
	static const struct {
		uint64_t count, bytes, limit, memory, idle;
		size_t len;
		bool room;
	} rows[] = {
		/* both sides of the count */
		{0, 0, 3, 100, 0, 1, true},
		{2, 0, 3, 100, 0, 1, true},
		{3, 0, 3, 100, 0, 1, false},
		{4, 0, 3, 100, 0, 1, false},
		{0, 0, 0, 100, 0, 0, false},
		{0, 0, 1, 100, 0, 0, true},
		{MAX - 1, 0, MAX, 100, 0, 1, true},
		/* both sides of the memory */
		{1, 60, 9, 100, 0, 39, true},
		{1, 60, 9, 100, 0, 40, true},
		{1, 60, 9, 100, 0, 41, false},
		{1, 100, 9, 100, 0, 0, true},
		{1, 100, 9, 100, 0, 1, false},
		{1, 101, 9, 100, 0, 0, false}, /* over: a job has come back */
		{0, 0, 9, 0, 0, 0, true},
		{0, 0, 9, 0, 0, 1, false},
		{1, 60, 9, MAX, 0, SIZE_MAX, false}, /* the sum does not wrap */
		{0, 0, 9, MAX, 0, SIZE_MAX, true},
		/* both sides of the idle workers, which take theirs at once */
		{0, 0, 0, 0, 1, 5, true},
		{1, 5, 0, 0, 1, 5, false},
		{1, 5, 0, 0, 2, 5, true},
		{2, 10, 0, 100, 2, 5, false},
		{2, 10, 1, 100, 2, 5, true},
		{3, 15, 1, 100, 2, 5, false},
		{3, 15, 2, 100, 2, 5, true},
		{3, 100, 2, 100, 2, 5, false}, /* a place, and no memory */
		{2, 100, 2, 100, 3, 5, true},  /* an idle worker, whatever the memory */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct queue q = {.count = rows[i].count, .bytes = rows[i].bytes};

		if (queue_has_room(&q, rows[i].limit, rows[i].memory, rows[i].idle, rows[i].len) !=
		    rows[i].room)
			fail_msg("row %zu", i);
	}
}

static uint64_t seed = 88172645463325252u;

/* Against a plain array in which first … last are the ids. */
static void
test_random(void **state)
{
	static struct job *model[4001];
	size_t first = 2000, last = 2000;
	uint64_t id = 0, bytes = 0;
	struct queue q;

	(void)state;
	queue_init(&q);
	for (unsigned n = 0; n < 2000; n++) {
		uint64_t dice = random_next(&seed) % 10;
		struct job *j = dice < 6 ? make(++id, random_next(&seed) % 50) : queue_pop(&q);

		if (dice < 5)
			queue_push(&q, model[last++] = j);
		else if (dice < 6)
			queue_push_front(&q, model[--first] = j);
		else if (first == last)
			assert_null(j);
		else
			assert_ptr_equal(j, model[first++]);
		if (dice < 6) {
			bytes += j->payload_len;
		} else if (j) {
			bytes -= j->payload_len;
			job_free(j);
		}
		assert_int_equal(q.count, last - first);
		assert_int_equal(q.bytes, bytes);
	}
	while (first < last)
		pop(&q, model[first++]->id);
	assert_int_equal(q.bytes, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),  cmocka_unit_test(test_first_in_first_out),
		cmocka_unit_test(test_front),  cmocka_unit_test(test_remove),
		cmocka_unit_test(test_passed), cmocka_unit_test(test_room),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
