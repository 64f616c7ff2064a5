/* SPDX-License-Identifier: MIT */
/* Reply slots: replies leave in the order of their commands, jobs end in any. */
#include "control/reply.h"

#include "base/mem.h"
#include "base/slab.h"
#include "control/user.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* When RUN or RESULT with WAIT is answered, whether its job is over or not. */
struct reply_limit {
	struct timer timer;
	struct reply *reply;
};

static struct timers *
timers_of(const struct client *c)
{
	return loop_timers(c->server->loop);
}

static struct reply *
first_reply(const struct client *c)
{
	struct list *l = list_first(&c->replies);

	return l ? container_of(l, struct reply, link) : NULL;
}

static bool
is_first(const struct reply *r)
{
	return r->client->replies.next == &r->link;
}

static struct reply *
reply_new(struct client *c, enum reply_state state, bool muted)
{
	struct reply *r = mem_slab(sizeof(*r));

	r->client = c;
	r->counted = 0;
	r->state = state;
	r->proto = c->proto;
	r->run = false;
	r->muted = muted;
	list_append(muted ? &c->muted : &c->replies, &r->link);
	c->reply_count++;
	return r;
}

static void
limit_set(struct reply *r, int64_t wait_us, void (*on_due)(struct timer *t, mono_t now))
{
	struct reply_limit *limit = mem_slab(sizeof(*limit));

	*limit = (struct reply_limit){.timer.on_due = on_due, .reply = r};
	timer_set(timers_of(r->client), &limit->timer,
		  mono_add(loop_now(r->client->server->loop), wait_us));
	r->awaited.limit = limit;
}

static void
limit_drop(struct reply *r)
{
	struct reply_limit *limit = r->awaited.limit;

	if (!limit)
		return;
	timer_clear(timers_of(r->client), &limit->timer);
	slab_free(limit, sizeof(*limit));
	r->awaited.limit = NULL;
}

static size_t
bytes_of(const struct reply *r)
{
	switch (r->state) {
	case REPLY_BYTES:
		return buf_len(&r->bytes);
	case REPLY_OUTCOME:
		return r->end.run->text_len;
	case REPLY_AWAITS_SOME:
	case REPLY_SOME:
		return await_bytes(r->await);
	case REPLY_AWAITS_JOB:
	case REPLY_AWAITS_RELOAD:
	case REPLY_ID:
		break;
	}
	return 0;
}

void
reply_count(struct reply *r)
{
	size_t bytes = bytes_of(r);

	r->client->reply_bytes += bytes - r->counted;
	r->counted = bytes;
}

/* Give up what it has. */
static void
reply_clear(struct reply *r)
{
	switch (r->state) {
	case REPLY_AWAITS_JOB:
		limit_drop(r);
		job_drop_waiter(&r->awaited.waiter);
		break;
	case REPLY_AWAITS_RELOAD:
		list_remove(&r->reload);
		break;
	case REPLY_BYTES:
		if (r->client->news.behind == &r->bytes)
			r->client->news.behind = NULL;
		buf_free(&r->bytes);
		break;
	case REPLY_OUTCOME:
		job_run_free(r->end.run);
		break;
	case REPLY_AWAITS_SOME:
	case REPLY_SOME:
		await_free(r->await);
		break;
	case REPLY_ID:
		break;
	}
}

static void
reply_free(struct reply *r)
{
	reply_clear(r);
	list_remove(&r->link);
	r->client->reply_count--;
	r->client->reply_bytes -= r->counted;
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
	const char *text = end->run->text;
	size_t len = end->run->text_len;

	if (!len) {
		text = default_text(end->state, end->reason);
		len = strlen(text);
	}
	if (end->state == JOB_DONE)
		resp_put_bulk(out, text, len);
	else
		resp_put_error(out, outcome_errors[end->reason].code, text, len);
}

/* The run stays the job's. */
static struct outcome
outcome_of(const struct job *j)
{
	return (struct outcome){
		.state = (enum job_state)j->state,
		.reason = (enum job_reason)j->reason,
		.run = j->run,
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
client_is_full(const struct client *c)
{
	return client_reply_bytes(c) > c->server->conf->control.client_memory;
}

struct buf *
reply_begin(struct reply *r)
{
	reply_clear(r);
	r->state = REPLY_BYTES;
	r->bytes = (struct buf){0};
	return is_first(r) ? &r->client->stream.out : &r->bytes;
}

void
reply_end(struct reply *r)
{
	struct client *c = r->client;

	reply_count(r);
	if (r->state == REPLY_BYTES && buf_failed(&r->bytes))
		c->gone = true;
	if (r->muted || (r->state == REPLY_BYTES && is_first(r)))
		reply_free(r);
	client_note(c);
}

/* Its turn has not come. */
static void
reply_keep(struct reply *r, struct job *j)
{
	struct job_run *run = job_take_run(j);

	if (!run) { /* it must not miss one unknowingly */
		r->client->gone = true;
		r->state = REPLY_ID;
		r->kept_id = j->id;
		return;
	}
	r->state = REPLY_OUTCOME;
	r->end.state = (enum job_state)j->state;
	r->end.reason = (enum job_reason)j->reason;
	r->end.run = run;
	reply_count(r);
}

static void
on_done(struct job_waiter *w, struct job *j)
{
	struct reply *r = container_of(w, struct reply, awaited.waiter);
	struct client *c = r->client;

	client_note(c);
	limit_drop(r);
	/* What is kept anyway can stay where it is until a slow client has room for it. */
	if (!r->muted && !j->attached && client_is_full(c)) {
		r->state = REPLY_ID;
		r->kept_id = j->id;
		return;
	}
	if (!r->muted && !is_first(r)) {
		reply_keep(r, j);
		return;
	}
	if (!r->muted)
		job_put_outcome(&c->stream.out, j);
	reply_free(r);
}

/* WAIT is over before the job is. */
static void
on_wait_over(struct timer *t, mono_t now)
{
	struct reply *r = container_of(t, struct reply_limit, timer)->reply;
	struct job *j = r->awaited.job;
	struct buf *out;

	(void)now;
	if (j->decided)
		return; /* its end is there already: this turn's pump tells it */
	out = reply_begin(r);
	if (r->run) {
		job_detach(j);
		resp_put_errorf(out, "PENDING", "%llu", (unsigned long long)j->id);
	} else {
		resp_put_null(out, r->proto);
	}
	reply_end(r);
}

static bool
tail_is_used(const struct client *c)
{
	return buf_len(&c->tail) || buf_failed(&c->tail) || c->news.behind == &c->tail;
}

/* What is in the tail is before what comes now. */
static void
tail_end(struct client *c)
{
	struct reply *r = reply_new(c, REPLY_BYTES, false);

	r->bytes = c->tail;
	c->tail = (struct buf){0};
	if (c->news.behind == &c->tail)
		c->news.behind = &r->bytes;
	reply_count(r);
}

struct reply *
reply_owe(struct client *c, enum reply_state awaits)
{
	if (!c->mute && tail_is_used(c))
		tail_end(c);
	return reply_new(c, awaits, c->mute);
}

void
client_await(struct client *c, struct job *j, bool run, int64_t wait_us)
{
	struct reply *r = reply_owe(c, REPLY_AWAITS_JOB);

	r->run = run;
	r->awaited.job = j;
	r->awaited.limit = NULL;
	if (wait_us != USEC_INFINITY)
		limit_set(r, wait_us, on_wait_over);
	r->awaited.waiter.on_done = on_done;
	r->awaited.waiter.taker = run && !r->muted ? &c->taker : NULL;
	job_add_waiter(j, &r->awaited.waiter);
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

/* Has it all that it is owed? But for what is being put now. */
static bool
is_answered(const struct client *c)
{
	return list_empty(&c->replies) && !buf_len(&c->tail);
}

struct buf *
client_reply(struct client *c)
{
	if (c->mute)
		return &c->sink;
	return is_answered(c) ? &c->stream.out : &c->tail;
}

struct buf *
client_news(struct client *c)
{
	if (c->news.hold)
		return &c->news.aside;
	return c->news.behind ? c->news.behind : &c->stream.out;
}

void
client_news_count(struct client *c)
{
	if (c->news.behind && c->news.behind != &c->tail)
		reply_count(container_of(c->news.behind, struct reply, bytes));
}

void
client_news_wait(struct client *c)
{
	if (!c->mute) /* else there is no reply to wait for */
		c->news.behind = is_answered(c) ? NULL : &c->tail;
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

static void
put_bytes(struct client *c, const struct buf *bytes)
{
	if (buf_failed(bytes))
		c->gone = true;
	if (buf_len(bytes))
		buf_put(&c->stream.out, buf_head(bytes), buf_len(bytes));
}

static void
put_kept(struct client *c, uint64_t id)
{
	const struct job *j = pools_job(c->server->pools, id);

	if (j)
		job_put_outcome(&c->stream.out, j);
	else
		resp_put_errorf(&c->stream.out, "NOJOB",
				"its result was no longer kept when its turn came");
}

/* False: there is no room for what it is about. */
static bool
reply_put(const struct reply *r)
{
	struct client *c = r->client;

	if (r->state == REPLY_OUTCOME)
		put_outcome(&c->stream.out, &r->end);
	else if (r->state == REPLY_BYTES)
		put_bytes(c, &r->bytes);
	else if (buf_len(&c->stream.out) > c->server->conf->control.client_memory)
		return false;
	else if (r->state == REPLY_SOME)
		await_put(r->await, &c->stream.out);
	else
		put_kept(c, r->kept_id);
	return true;
}

/* Nothing is before it any more. */
static void
tail_put(struct client *c)
{
	put_bytes(c, &c->tail);
	buf_free(&c->tail);
	if (c->news.behind == &c->tail)
		c->news.behind = NULL;
}

bool
client_collect(struct client *c)
{
	struct reply *r;

	while ((r = first_reply(c)) && r->state >= REPLY_BYTES) {
		if (!reply_put(r))
			return false;
		reply_free(r);
	}
	if (!r)
		tail_put(c);
	return true;
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
	c->taker.next = r && r->state == REPLY_AWAITS_JOB && buf_len(&c->stream.out) <= budget ?
				&r->awaited.waiter :
				NULL;
	if (was_full && !c->taker.full)
		pools_unpark(c->server->pools);
	else if (c->taker.next)
		pool_unpark(r->awaited.job);
}

static void
drop_reply(struct reply *r)
{
	struct job *j = r->state == REPLY_AWAITS_JOB && r->run ? r->awaited.job : NULL;

	reply_free(r);
	if (j && j->attached)
		pool_disconnect(j);
}

void
client_drop_replies(struct client *c)
{
	c->taker.full = false;
	pools_unpark(c->server->pools);
	list_splice(&c->replies, &c->muted);
	list_foreach(it, next, &c->replies)
		drop_reply(container_of(it, struct reply, link));
	buf_free(&c->tail);
	assert(!c->reply_count && !c->reply_bytes);
}
