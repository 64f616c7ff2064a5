/* SPDX-License-Identifier: MIT */
#include "core/queue.h"

void
queue_init(struct queue *q)
{
	*q = (struct queue){.count = 0};
	list_init(&q->jobs);
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
	q->count--;
	q->bytes -= j->payload_len;
}

struct job *
queue_pop(struct queue *q)
{
	struct job *j = queue_oldest(q);

	if (j)
		queue_remove(q, j);
	return j;
}
