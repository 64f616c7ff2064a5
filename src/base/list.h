/* SPDX-License-Identifier: MIT */
/*
 * list - doubly linked, circular, intrusive.
 *
 * Floor 0. The head and the links are the same struct. A link that is in no
 * list points at itself (list_init), so list_remove() is always safe and
 * list_linked() tells.
 */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *prev, *next;
};

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define LIST_INIT(l)                                                                               \
	{                                                                                          \
		&(l), &(l)                                                                         \
	}

static inline void
list_init(struct list *l)
{
	l->prev = l->next = l;
}

static inline bool
list_empty(const struct list *l)
{
	return l->next == l;
}

static inline bool
list_linked(const struct list *l)
{
	return l->next != l;
}

static inline void
list_insert_after(struct list *at, struct list *l)
{
	assert(at);
	l->prev = at;
	l->next = at->next;
	at->next->prev = l;
	at->next = l;
}

static inline void
list_prepend(struct list *head, struct list *l)
{
	list_insert_after(head, l);
}

static inline void
list_append(struct list *head, struct list *l)
{
	list_insert_after(head->prev, l);
}

static inline void
list_remove(struct list *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	list_init(l);
}

/* The first link, or NULL. */
static inline struct list *
list_first(const struct list *head)
{
	return list_empty(head) ? NULL : head->next;
}

/* Move all of from's links to the end of to, in order. */
static inline void
list_splice(struct list *to, struct list *from)
{
	if (list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	list_init(from);
}

/* it: the current link; next: what follows, taken before the body runs, so that
 * the body may remove (and free) the current one. */
#define list_foreach(it, next_, head)                                                              \
	for (struct list *it = (head)->next, *next_ = it->next; it != (head);                      \
	     it = next_, next_ = it->next)
