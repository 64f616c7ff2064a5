/* SPDX-License-Identifier: MIT */
/* Reply slots: replies leave in the order of their commands, jobs end in any. */
#include "control/reply.h"

#include "base/mem.h"
#include "base/slab.h"
#include "control/user.h"

#include <stdlib.h>
#include <string.h>

static struct reply *
first_reply(const struct client *c)
{
	struct list *l = list_first(&c->replies);

	return l ? container_of(l, struct reply, link) : NULL;
}

static struct reply *
last_reply(const struct client *c)
{
	return container_of(c->replies.prev, struct reply, link);
}

static struct reply *
reply_new(struct client *c)
{
	struct reply *r = mem_slab(sizeof(*r));

	*r = (struct reply){.client = c, .proto = c->proto, .muted = c->mute};
	list_init(&r->reload);
	list_append(r->muted ? &c->muted : &c->replies, &r->link);
	c->reply_count++;
	return r;
}

void
reply_count(struct reply *r)
{
	size_t bytes = buf_len(&r->out) + r->end.len + (r->await ? await_bytes(r->await) : 0);

	r->client->reply_bytes += bytes - r->counted;
	r->counted = bytes;
}

/* Does it wait for a job, or lie here in parts? Then it takes no other reply. */
static bool
reply_is_taken(const struct reply *r)
{
	return r->job || r->end.state || r->await || r->kept_id || list_linked(&r->reload);
}

static void
reply_free(struct reply *r)
{
	if (r->client->news.behind == r)
		r->client->news.behind = NULL;
	list_remove(&r->link);
	list_remove(&r->reload);
	r->client->reply_count--;
	r->client->reply_bytes -= r->counted;
	slab_free(r->end.text, r->end.len);
	buf_free(&r->out);
	await_free(r->await);
	slab_free(r, sizeof(*r));
}

/* ---- outcomes ---- */

static const struct {
	const char *code, *text; /* text: where the job has none */
} outcome_errors[JOB_REASONS] = {
	[REASON_NONE] = {"CANCELLED", "cancelled"},
	[REASON_ERROR] = {"FAILED", "the worker said ERR without a word"},
	[REASON_CRASHED] = {"CRASHED", "the worker died"},
	[REASON_TIMEOUT] = {"TIMEOUT", "took too long"},
	[REASON_REQUEST] = {"CANCELLED", "cancelled on request"},
	[REASON_DOWN] = {"DOWN", "the pool's workers cannot start"},
	[REASON_DRAINING] = {"DRAINING", "preforkd finishes what it has and takes no new jobs"},
	[REASON_STOPPING] = {"CANCELLED", "preforkd is stopping"},
	[REASON_RELOAD] = {"CANCELLED", "the pool was taken out of the configuration"},
};

/* What is told of an end without a text. */
static const char *
default_text(enum job_state state, enum job_reason reason)
{
	return state == JOB_DONE ? "" : outcome_errors[reason].text;
}

const char *
job_outcome_text(const struct job *j, size_t *ret_len)
{
	const char *text;

	*ret_len = j->run->text_len;
	if (*ret_len)
		return j->run->text;
	text = default_text((enum job_state)j->state, (enum job_reason)j->reason);
	*ret_len = strlen(text);
	return text;
}

static void
put_outcome(struct buf *out, const struct outcome *end)
{
	const char *text = end->len ? end->text : default_text(end->state, end->reason);
	size_t len = end->len ? end->len : strlen(text);

	if (end->state == JOB_DONE)
		resp_put_bulk(out, text, len);
	else
		resp_put_error(out, outcome_errors[end->reason].code, text, len);
}

/* The text stays the job's. */
static struct outcome
outcome_of(const struct job *j)
{
	return (struct outcome){
		.state = (enum job_state)j->state,
		.reason = (enum job_reason)j->reason,
		.text = j->run->text,
		.len = j->run->text_len,
	};
}

void
job_put_outcome(struct buf *out, const struct job *j)
{
	struct outcome end = outcome_of(j);

	put_outcome(out, &end);
}

/* ---- a reply becomes ready ---- */

bool
client_is_full(struct client *c)
{
	return client_reply_bytes(c) > c->server->conf->control.client_memory;
}

struct buf *
reply_begin(struct reply *r)
{
	return first_reply(r->client) == r ? &r->client->stream.out : &r->out;
}

void
reply_end(struct reply *r)
{
	struct client *c = r->client;

	timer_clear(loop_timers(c->server->loop), &r->timer);
	r->job = NULL;
	reply_count(r);
	if (buf_failed(&r->out))
		c->gone = true;
	if (r->muted || (first_reply(c) == r && !reply_is_taken(r)))
		reply_free(r);
	client_note(c);
}

/* Its turn has not come. */
static void
reply_keep(struct reply *r, struct job *j)
{
	r->end = outcome_of(j);
	r->end.text = job_take_text(j, &r->end.len);
	if (j->run->text_len && !r->end.text) /* it must not miss one unknowingly */
		r->client->gone = true;
}

static void
on_done(struct job_waiter *w, struct job *j)
{
	struct reply *r = container_of(w, struct reply, waiter);

	/* What is kept anyway can stay where it is until a slow client has room for it. */
	if (!j->attached && client_is_full(r->client))
		r->kept_id = j->id;
	else if (!r->muted && first_reply(r->client) == r)
		job_put_outcome(&r->client->stream.out, j);
	else if (!r->muted)
		reply_keep(r, j);
	reply_end(r);
}

/* WAIT is over before the job is. */
static void
on_wait_over(struct timer *t, mono_t now)
{
	struct reply *r = container_of(t, struct reply, timer);
	struct buf *out = reply_begin(r);

	(void)now;
	if (r->job->decided)
		return; /* its end is there already: this turn's pump tells it */
	job_drop_waiter(&r->waiter);
	if (r->run) {
		job_detach(r->job);
		resp_put_errorf(out, "PENDING", "%llu", (unsigned long long)r->job->id);
	} else {
		resp_put_null(out, r->proto);
	}
	reply_end(r);
}

struct reply *
reply_owe(struct client *c, int64_t wait_us, void (*on_due)(struct timer *t, mono_t))
{
	struct reply *r = list_empty(&c->replies) ? NULL : last_reply(c);

	/* The slot that was made for a reply that is there at once is taken. */
	if (!r || c->mute || reply_is_taken(r) || buf_len(&r->out) || buf_failed(&r->out) ||
	    r == c->news.behind)
		r = reply_new(c);
	r->proto = c->proto;
	r->timer.on_due = on_due;
	if (wait_us != USEC_INFINITY)
		timer_set(loop_timers(c->server->loop), &r->timer,
			  mono_add(loop_now(c->server->loop), wait_us));
	return r;
}

void
client_await(struct client *c, struct job *j, bool run, int64_t wait_us)
{
	struct reply *r = reply_owe(c, wait_us, on_wait_over);

	r->job = j;
	r->run = run;
	r->waiter.on_done = on_done;
	r->waiter.taker = run && !r->muted ? &c->taker : NULL;
	job_add_waiter(j, &r->waiter);
}

/* ---- order ---- */

void
client_begin_command(struct client *c)
{
	c->mute = c->reply_off || c->skip_next;
	c->skip_next = false;
}

void
client_end_command(struct client *c)
{
	if (c->sink.data)
		buf_free(&c->sink);
	c->mute = false;
}

struct buf *
client_reply(struct client *c)
{
	struct reply *last;

	if (c->mute)
		return &c->sink;
	if (list_empty(&c->replies))
		return &c->stream.out;
	last = last_reply(c);
	if (reply_is_taken(last)) /* a slot behind it, which takes all that are there at once */
		last = reply_new(c);
	return &last->out;
}

struct buf *
client_news(struct client *c)
{
	if (c->news.hold)
		return &c->news.aside;
	return c->news.behind ? &c->news.behind->out : &c->stream.out;
}

void
client_news_wait(struct client *c)
{
	struct reply *last = list_empty(&c->replies) ? NULL : last_reply(c);

	if (c->mute) /* there is no reply to wait for */
		return;
	c->news.behind = last && reply_is_taken(last) ? reply_new(c) : last;
}

void
client_news_hold(struct client *c, bool hold)
{
	struct buf *aside = &c->news.aside;

	c->news.hold = hold;
	if (hold)
		return;
	client_news_wait(c);
	if (buf_failed(aside))
		c->gone = true;
	if (buf_len(aside))
		buf_put(client_news(c), buf_head(aside), buf_len(aside));
	buf_free(aside);
}

/* Put what is not in r->out. False: there is no room for it. */
static bool
reply_fetch(struct reply *r)
{
	struct client *c = r->client;
	const struct job *j = r->kept_id ? pools_job(c->server->pools, r->kept_id) : NULL;

	if (r->end.state) {
		put_outcome(&c->stream.out, &r->end);
		return true;
	}
	if (buf_len(&c->stream.out) > c->server->conf->control.client_memory)
		return false;
	if (r->await)
		await_put(r->await, &c->stream.out);
	else if (j)
		job_put_outcome(&c->stream.out, j);
	else
		resp_put_errorf(&c->stream.out, "NOJOB",
				"its result was no longer kept when its turn came");
	return true;
}

static bool
reply_waits(const struct reply *r)
{
	return r->job || (r->await && await_waits(r->await)) || list_linked(&r->reload);
}

bool
client_collect(struct client *c)
{
	struct reply *r;

	while ((r = first_reply(c)) && !reply_waits(r)) {
		if (reply_is_taken(r) && !reply_fetch(r))
			return false;
		if (buf_failed(&r->out))
			c->gone = true;
		if (buf_len(&r->out))
			buf_put(&c->stream.out, buf_head(&r->out), buf_len(&r->out));
		reply_free(r);
	}
	return true;
}

size_t
client_reply_bytes(struct client *c)
{
	/* Replies that are there at once go to the last slot alone, and news to one. */
	if (!list_empty(&c->replies))
		reply_count(last_reply(c));
	if (c->news.behind)
		reply_count(c->news.behind);
	return c->reply_bytes + buf_len(&c->stream.out);
}

/* Jobs of a client that does not take its results are not begun: their results
 * would only lie here. But for the one whose reply is next, where it is that one
 * which the others wait behind, and not the client. */
void
client_hold_jobs(struct client *c)
{
	uint64_t budget = c->server->conf->control.client_memory;
	struct reply *r = first_reply(c);
	bool was_full = c->taker.full;

	/* Where it is the user's budget, the results of all its connections would. */
	if (r && user_is_full(c)) {
		budget = 0;
		user_wait(c);
	}
	c->taker.full = client_is_full(c) || user_is_full(c);
	c->taker.next = r && r->job && buf_len(&c->stream.out) <= budget ? &r->waiter : NULL;
	if (was_full && !c->taker.full)
		pools_unpark(c->server->pools);
	else if (c->taker.next)
		pool_unpark(r->job);
}

static void
drop_reply(struct reply *r)
{
	struct job *j = r->job;

	timer_clear(loop_timers(r->client->server->loop), &r->timer);
	if (j)
		job_drop_waiter(&r->waiter);
	if (j && r->run && j->attached)
		pool_disconnect(j);
	reply_free(r);
}

void
client_drop_replies(struct client *c)
{
	c->taker.full = false;
	pools_unpark(c->server->pools);
	list_splice(&c->replies, &c->muted);
	list_foreach(it, next, &c->replies)
		drop_reply(container_of(it, struct reply, link));
}
