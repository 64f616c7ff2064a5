/* SPDX-License-Identifier: MIT */
/* A slot that waits for some jobs. Each result is copied when its job ends, since
 * the job may be forgotten before the others have; but for what is kept anyway
 * while the client has too much untaken. */
#include "control/command.h"
#include "control/reply.h"

#include <stdlib.h>
#include <string.h>

struct await_entry {
	struct await *await;
	struct job_waiter waiter; /* its at is NULL when it does not wait, or no more */
	const struct job *job;	  /* while it waits */
	struct list link;	  /* in await->over */
	uint64_t id;
	enum job_state state;
	bool fetch; /* the text is still to be got from the job */
	char *text; /* malloc'ed; NULL: none */
	size_t len;
};

struct await {
	struct reply *reply;
	struct list over;    /* struct await_entry, in the order in which they ended */
	size_t count;	     /* of them */
	size_t left;	     /* those that wait */
	size_t n, allocated; /* entries of v */
	size_t text_bytes;
	bool any;
	struct timer timer; /* when WAIT is over */
	struct await_entry v[];
};

static struct timers *
timers_of(const struct await *a)
{
	return loop_timers(a->reply->client->server->loop);
}

/* Everything that is to be waited for has been. */
static void
await_end(struct await *a)
{
	for (size_t i = 0; i < a->n; i++)
		job_drop_waiter(&a->v[i].waiter);
	timer_clear(timers_of(a), &a->timer);
	a->reply->state = REPLY_SOME;
	reply_end(a->reply);
}

static bool
await_is_content(const struct await *a)
{
	return !a->left || (a->any && a->count);
}

static void
entry_take_text(struct await_entry *e, const struct job *j)
{
	struct client *c = e->await->reply->client;
	size_t len;
	const char *text = job_outcome_text(j, &len);

	if (!len)
		return;
	if (j->attached || !client_is_full(c))
		e->text = malloc(len);
	if (!e->text) {
		e->fetch = true;
		return;
	}
	memcpy(e->text, text, len);
	e->len = len;
	e->await->text_bytes += len;
	reply_count(e->await->reply);
}

static void
entry_over(struct await_entry *e, const struct job *j)
{
	e->job = NULL;
	e->state = (enum job_state)j->state;
	list_append(&e->await->over, &e->link);
	e->await->count++;
	entry_take_text(e, j);
}

static void
on_done(struct job_waiter *w, struct job *j)
{
	struct await_entry *e = container_of(w, struct await_entry, waiter);
	struct await *a = e->await;

	entry_over(e, j);
	a->left--;
	if (await_is_content(a))
		await_end(a);
}

/* What has ended by now counts, though it may be this turn's pump that tells it. */
static void
on_due(struct timer *t, mono_t now)
{
	struct await *a = container_of(t, struct await, timer);

	(void)now;
	for (size_t i = 0; i < a->n; i++) {
		struct await_entry *e = &a->v[i];

		if (!e->job || e->job->decided)
			continue;
		job_drop_waiter(&e->waiter);
		e->job = NULL;
		a->left--;
	}
	if (!a->left)
		await_end(a);
}

static void
await_add(struct await *a, struct job *j)
{
	struct await_entry *e = &a->v[a->n];

	for (size_t i = 0; i < a->n; i++)
		if (a->v[i].id == j->id)
			return;
	a->n++;
	e->await = a;
	e->id = j->id;
	list_init(&e->link);
	if (job_is_over(j)) {
		entry_over(e, j);
		return;
	}
	a->left++;
	e->job = j;
	e->waiter.on_done = on_done;
	job_add_waiter(j, &e->waiter);
}

bool
client_await_some(struct client *c, struct job *const *jobs, size_t n, bool any, int64_t wait_us)
{
	struct await *a = calloc(1, sizeof(*a) + n * sizeof(a->v[0]));

	if (!a)
		return false;
	a->any = any;
	a->allocated = n;
	list_init(&a->over);
	a->timer.on_due = on_due;
	a->reply = reply_owe(c, REPLY_AWAITS_SOME);
	a->reply->await = a;
	if (wait_us != USEC_INFINITY)
		timer_set(timers_of(a), &a->timer, mono_add(loop_now(c->server->loop), wait_us));
	for (size_t i = 0; i < n; i++)
		await_add(a, jobs[i]);
	reply_count(a->reply);
	if (await_is_content(a) || !wait_us)
		await_end(a);
	return true;
}

size_t
await_bytes(const struct await *a)
{
	return sizeof(*a) + a->allocated * sizeof(a->v[0]) + a->text_bytes;
}

static void
put_text(const struct await_entry *e, struct buf *out)
{
	const struct reply *r = e->await->reply;
	const struct job *j = e->fetch ? pools_job(r->client->server->pools, e->id) : NULL;
	const char *text = e->text;
	size_t len = e->len;

	if (e->fetch && !j) { /* it was no longer kept when its turn came */
		resp_put_null(out, r->proto);
		return;
	}
	if (j)
		text = job_outcome_text(j, &len);
	resp_put_bulk(out, len ? text : "", len);
}

void
await_put(const struct await *a, struct buf *out)
{
	resp_put_array(out, a->count);
	list_foreach(it, next, &a->over) {
		const struct await_entry *e = container_of(it, struct await_entry, link);

		resp_put_array(out, 3);
		put_id(out, e->id);
		resp_put_str(out, job_state_name(e->state));
		put_text(e, out);
	}
}

void
await_free(struct await *a)
{
	timer_clear(timers_of(a), &a->timer);
	for (size_t i = 0; i < a->n; i++) {
		job_drop_waiter(&a->v[i].waiter);
		free(a->v[i].text);
	}
	free(a);
}
