/* SPDX-License-Identifier: MIT */
/*
 * ids - jobs by their ids, which ascend and are never given again.
 *
 * Floor 2. Jobs of 64 ids that follow each other share a leaf, and leaves are found
 * by their number: a job costs 9 bytes here where its neighbours are there too, and
 * 600 where it has none. They can be walked in the order of their ids. A zeroed
 * struct ids is an empty one; ids_free() frees the leaves, never the jobs.
 */
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "core/job.h"

struct ids_leaf;

struct ids {
	struct map leaves;
	struct list order;	 /* of leaves, by their numbers */
	struct ids_leaf *recent; /* the one that was used last, or NULL */
	uint64_t count;
};

void ids_init(struct ids *s);
void ids_free(struct ids *s);

/* j's id is above all that were ever in. 0, or -ENOMEM. */
int ids_add(struct ids *s, struct job *j);
void ids_remove(struct ids *s, const struct job *j); /* j is in */

struct job *ids_find(struct ids *s, uint64_t id); /* NULL: none */
/* The one with the least id above this; NULL: none. */
struct job *ids_next(struct ids *s, uint64_t id);
