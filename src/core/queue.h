/* SPDX-License-Identifier: MIT */
/*
 * queue - the jobs of one pool that wait for a worker, first in, first out.
 *
 * Floor 2. The queue links jobs, it does not own them. Its limits are the
 * caller's to give, so that a changed configuration needs no call here.
 */
#pragma once

#include "core/job.h"

struct queue {
	uint64_t count;
	struct list jobs;
	struct list parked; /* jobs that are passed over; counted as the others are */
	uint64_t passed;    /* of count: how many those are */
	uint64_t bytes;	    /* of payload */
};

void queue_init(struct queue *q);

/* May a job of so many bytes come in? idle: jobs that would be taken at once,
 * which count as out of the queue already. */
bool queue_has_room(const struct queue *q, uint64_t limit, uint64_t memory, uint64_t idle,
		    size_t bytes);

void queue_push(struct queue *q, struct job *j);
void queue_push_front(struct queue *q, struct job *j); /* a job that comes back uncharged */
struct job *queue_pop(struct queue *q);		       /* NULL when none is left but parked ones */
void queue_remove(struct queue *q, struct job *j);     /* j is in q */

void queue_park(struct queue *q, struct job *j);   /* j is in q: pass it over from now on */
void queue_unpark(struct queue *q, struct job *j); /* back to the head; no-op when not parked */
void queue_unpark_all(struct queue *q);

/* The one that has waited longest; NULL when empty. */
struct job *queue_oldest(const struct queue *q);
