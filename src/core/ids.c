/* SPDX-License-Identifier: MIT */
#include "core/ids.h"

#include "base/slab.h"

#include <assert.h>
#include <errno.h>

#define LEAF_BITS 6
#define LEAF_JOBS (1U << LEAF_BITS)

struct ids_leaf {
	struct map_node node;
	struct list order;
	uint64_t number; /* of its ids: what is above the last LEAF_BITS */
	uint64_t there;	 /* bits: which of them are in */
	struct job *jobs[LEAF_JOBS];
};

void
ids_init(struct ids *s)
{
	*s = (struct ids){.count = 0};
	list_init(&s->order);
}

static void
leaf_free(struct ids *s, struct ids_leaf *l)
{
	if (s->recent == l)
		s->recent = NULL;
	map_remove(&s->leaves, &l->node);
	list_remove(&l->order);
	slab_free(l, sizeof(*l));
}

void
ids_free(struct ids *s)
{
	list_foreach(it, next, &s->order)
		leaf_free(s, container_of(it, struct ids_leaf, order));
	map_free(&s->leaves);
}

/* NULL: there is no memory. */
static struct ids_leaf *
leaf_new(struct ids *s, uint64_t number)
{
	struct ids_leaf *l = slab_alloc(sizeof(*l));

	if (!l)
		return NULL;
	if (map_add(&s->leaves, &l->node, map_hash_u64(number)) < 0) {
		slab_free(l, sizeof(*l));
		return NULL;
	}
	l->number = number;
	l->there = 0;
	list_append(&s->order, &l->order);
	return l;
}

static struct ids_leaf *
leaf_look_up(struct ids *s, uint64_t number)
{
	struct map_node *n = map_find(&s->leaves, map_hash_u64(number));

	for (; n; n = map_find_next(n)) {
		struct ids_leaf *l = container_of(n, struct ids_leaf, node);

		if (l->number == number)
			return s->recent = l;
	}
	return NULL;
}

/* The leaf of that number, or NULL. */
static inline struct ids_leaf *
leaf_find(struct ids *s, uint64_t number)
{
	return s->recent && s->recent->number == number ? s->recent : leaf_look_up(s, number);
}

/* The first one with that number or a higher one, or NULL. */
static struct ids_leaf *
leaf_from(struct ids *s, uint64_t number)
{
	struct ids_leaf *l = leaf_find(s, number);

	if (l)
		return l;
	list_foreach(it, next, &s->order) {
		l = container_of(it, struct ids_leaf, order);
		if (l->number >= number)
			return l;
	}
	return NULL;
}

static unsigned
place_of(uint64_t id)
{
	return (unsigned)(id % LEAF_JOBS);
}

int
ids_add(struct ids *s, struct job *j)
{
	struct ids_leaf *l = leaf_find(s, j->id >> LEAF_BITS);

	if (!l)
		l = leaf_new(s, j->id >> LEAF_BITS);
	if (!l)
		return -ENOMEM;
	l->there |= UINT64_C(1) << place_of(j->id);
	l->jobs[place_of(j->id)] = j;
	s->recent = l;
	s->count++;
	return 0;
}

void
ids_remove(struct ids *s, const struct job *j)
{
	struct ids_leaf *l = leaf_find(s, j->id >> LEAF_BITS);

	assert(l && l->there >> place_of(j->id) & 1);
	l->there &= ~(UINT64_C(1) << place_of(j->id));
	s->count--;
	if (!l->there)
		leaf_free(s, l);
}

struct job *
ids_find(struct ids *s, uint64_t id)
{
	struct ids_leaf *l = leaf_find(s, id >> LEAF_BITS);

	return l && l->there >> place_of(id) & 1 ? l->jobs[place_of(id)] : NULL;
}

struct job *
ids_next(struct ids *s, uint64_t id)
{
	uint64_t from = id + 1, rest;
	struct ids_leaf *l = from ? leaf_from(s, from >> LEAF_BITS) : NULL;

	if (!l)
		return NULL;
	rest = l->there;
	if (l->number == from >> LEAF_BITS)
		rest &= UINT64_MAX << place_of(from);
	if (!rest) { /* a leaf that is there is never empty */
		if (l->order.next == &s->order)
			return NULL;
		l = container_of(l->order.next, struct ids_leaf, order);
		rest = l->there;
	}
	return l->jobs[__builtin_ctzll(rest)];
}
