/* SPDX-License-Identifier: MIT */
#include "core/queue.h"

void
queue_init(struct queue *q)
{
	*q = (struct queue){.count = 0};
	list_init(&q->jobs);
	list_init(&q->parked);
}

bool
queue_has_room(const struct queue *q, uint64_t limit, uint64_t memory, uint64_t idle, size_t bytes)
{
	if (q->count < idle)
		return true;
	return q->count - idle < limit && q->bytes <= memory && bytes <= memory - q->bytes;
}

static void
queue_count(struct queue *q, const struct job *j)
{
	q->count++;
	q->bytes += j->payload_len;
}

void
queue_push(struct queue *q, struct job *j)
{
	list_append(&q->jobs, &j->link);
	queue_count(q, j);
}

void
queue_push_front(struct queue *q, struct job *j)
{
	list_prepend(&q->jobs, &j->link);
	queue_count(q, j);
}

void
queue_remove(struct queue *q, struct job *j)
{
	list_remove(&j->link);
	q->passed -= j->parked;
	j->parked = false;
	q->count--;
	q->bytes -= j->payload_len;
}

static struct job *
first_of(const struct list *jobs)
{
	struct list *l = list_first(jobs);

	return l ? container_of(l, struct job, link) : NULL;
}

struct job *
queue_pop(struct queue *q)
{
	struct job *j = first_of(&q->jobs);

	if (j)
		queue_remove(q, j);
	return j;
}

struct job *
queue_oldest(const struct queue *q)
{
	struct job *j = first_of(&q->jobs), *parked = first_of(&q->parked);

	return !j || (parked && mono_before(parked->queued, j->queued)) ? parked : j;
}

void
queue_park(struct queue *q, struct job *j)
{
	list_remove(&j->link);
	list_append(&q->parked, &j->link);
	j->parked = true;
	q->passed++;
}

void
queue_unpark(struct queue *q, struct job *j)
{
	if (!j->parked)
		return;
	list_remove(&j->link);
	list_prepend(&q->jobs, &j->link);
	j->parked = false;
	q->passed--;
}

void
queue_unpark_all(struct queue *q)
{
	while (!list_empty(&q->parked))
		queue_unpark(q, container_of(q->parked.prev, struct job, link));
}
