/* SPDX-License-Identifier: MIT */
/* What a worker and its master say to each other: jobs out, answers in. */
#include "base/mem.h"
#include "base/text.h"
#include "core/stint.h"
#include "pool/worker.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

/* ---- the ring of jobs in flight, oldest first ---- */

static struct flight *
flight_at(const struct worker *w, unsigned i)
{
	return &w->flights[(w->first + i) & w->mask];
}

static unsigned
flight_find(const struct worker *w, uint64_t id)
{
	unsigned i;

	for (i = 0; i < w->count; i++)
		if (flight_at(w, i)->id == id)
			break;
	return i;
}

/* Take the i-th one out, and what it is for, if anything; what is older moves up. */
static struct job *
flight_take(struct worker *w, unsigned i)
{
	struct job *j = flight_at(w, i)->job;

	for (; i > 0; i--)
		*flight_at(w, i) = *flight_at(w, i - 1);
	w->first = (w->first + 1) & w->mask;
	w->count--;
	return j;
}

struct job *
worker_job(const struct worker *w, unsigned i)
{
	return flight_at(w, i)->job;
}

bool
worker_has_jobs(const struct worker *w)
{
	for (unsigned i = 0; i < w->count; i++)
		if (worker_job(w, i))
			return true;
	return false;
}

static bool
in_order(const struct worker *w)
{
	return w->codec.in_order;
}

/* ---- out ---- */

/* The job's clock starts now: it is what the worker is at. */
static void
clock_start(struct worker *w, struct job *j, mono_t now)
{
	int64_t timeout = job_timeout_us(j, w->pool->conf->job.timeout_us);

	j->run->started = now;
	if (timeout != USEC_INFINITY)
		timer_set(loop_timers(w->pool->pools->loop), &j->run->timer,
			  mono_add(now, timeout));
}

/* A worker that is up has no other deadline, but for the moment that it is given
 * when its channel has ended. */
static void
watch_patience(struct worker *w)
{
	if (w->state == SLOT_UP && !worker_is_done(w))
		worker_deadline(w, worker_patience(w));
}

/* An in-order worker's next job is what it is at now. One that was disowned while
 * it waited gets its time from here, too: others wait behind it. */
static void
clock_next(struct worker *w, mono_t now)
{
	struct flight *f = flight_at(w, 0);

	if (!w->count || !in_order(w))
		return;
	if (f->job && mono_is_never(f->job->run->started))
		clock_start(w, f->job, now);
	if (!f->job && mono_is_never(f->give_up)) {
		f->give_up = mono_add(now, f->timeout_us);
		watch_patience(w);
	}
}

void
worker_give(struct worker *w, struct job *j, mono_t now)
{
	struct job_run *run = job_need_run(j);
	struct flight *f = flight_at(w, w->count);

	assert(w->load_room && w->count <= w->mask);
	run->worker = w->index;
	run->pid = w->proc.pid;
	run->started = MONO_NEVER;
	run->timer.on_due = settle_on_job_due;
	j->in_flight = true;
	f->job = j;
	f->id = j->id;
	f->sent_start = w->chan.sent + buf_len(&w->chan.out);
	if (!w->count++)
		w->since = now;
	codec_put_job(&w->codec, &w->chan.out, j->id, j->attempt, j->payload, j->payload_len);
	if (w->count == 1 || !in_order(w))
		clock_start(w, j, now);
	if (buf_failed(&w->chan.out))
		worker_break(w, mem_strdup("out of memory for its jobs"));
	if (!list_linked(&w->flush))
		list_append(&w->pool->pools->flush, &w->flush);
	worker_shelve_for(w, worker_keeps_up(w) && !w->broken ? w->load_room - 1 : 0);
}

void
worker_flush(struct worker *w)
{
	stream_flush(&w->chan);
	if (w->chan.error && !w->ended) {
		w->ended = true;
		worker_note(w);
	}
	worker_shelve(w); /* below the high-water mark again, or no use any more */
}

void
worker_cancel(struct worker *w, const struct job *j)
{
	codec_put_cancel(&w->codec, &w->chan.out, j->id);
	w->cancelled = true;
	if (!list_linked(&w->flush))
		list_append(&w->pool->pools->flush, &w->flush);
}

void
worker_forget(struct worker *w, struct job *j)
{
	struct flight *f = flight_at(w, flight_find(w, j->id));

	assert(f->job == j);
	f->job = NULL;
	f->timeout_us = job_timeout_us(j, w->pool->conf->job.timeout_us);
	f->give_up = MONO_NEVER;
	j->in_flight = false;
}

void
worker_disown(struct worker *w, struct job *j, mono_t give_up)
{
	worker_forget(w, j);
	flight_at(w, flight_find(w, j->id))->give_up = give_up;
	watch_patience(w);
}

mono_t
worker_patience(const struct worker *w)
{
	mono_t first = MONO_NEVER;

	for (unsigned i = 0; i < w->count; i++) {
		const struct flight *f = flight_at(w, i);

		if (!f->job && mono_before(f->give_up, first))
			first = f->give_up;
	}
	return first;
}

void
worker_disown_all(struct worker *w)
{
	for (unsigned i = 0; i < w->count; i++)
		if (worker_job(w, i))
			worker_job(w, i)->in_flight = false;
	w->count = 0;
}

bool
worker_is_silent(const struct worker *w)
{
	return !buf_len(&w->chan.in) && !stream_unread(&w->chan);
}

/* A socket says at its end that something was left unread, not how much; a
 * pipe's unread bytes can be counted even when its reader is gone. */
bool
worker_never_read(const struct worker *w, unsigned i)
{
	uint64_t start = flight_at(w, i)->sent_start;
	int unread = 0;

	if (start >= w->chan.sent)
		return true;
	if (w->conf->channel == CHANNEL_PIPE) {
		if (w->chan.wfd < 0 || ioctl(w->chan.wfd, FIONREAD, &unread) < 0)
			return false;
		return start >= w->chan.sent - (uint64_t)unread;
	}
	return w->chan.reset && w->conf->pipeline == 1 && !w->cancelled;
}

/* ---- in ---- */

void
worker_break(struct worker *w, char *take_why)
{
	if (w->broken) {
		free(take_why);
		return;
	}
	w->broken = take_why;
	worker_note(w);
}

static void
worker_log(struct worker *w, const struct codec_event *ev)
{
	struct log_about about = worker_about(w);
	char text[2048];

	about.quoted = true;
	if (errlog_admit(&w->err))
		log_about(&about, ev->level, "%s",
			  text_escape(text, sizeof(text), ev->text, ev->len));
}

/* The job's end, as its worker tells it. */
static void
answer_record(struct worker *w, struct job *j, const struct codec_event *ev)
{
	enum job_state verdict = ev->verb == VERB_OK ? JOB_DONE : JOB_FAILED;
	enum job_reason reason = ev->verb == VERB_OK ? REASON_NONE : REASON_ERROR;

	job_decide(j, verdict, reason, ev->text, ev->len);
	list_append(&w->pool->decided, &j->link);
}

static void
on_unasked(struct worker *w, const struct codec_event *ev)
{
	char text[80];

	text_escape(text, sizeof(text), ev->text ? ev->text : "", ev->len);
	worker_break(w, mem_printf("sent an answer that no job waits for: '%s'", text));
}

static void
on_answer(struct worker *w, const struct codec_event *ev, mono_t now)
{
	unsigned i = in_order(w) ? 0 : flight_find(w, ev->id);
	struct job *j;

	if (i >= w->count) {
		on_unasked(w, ev);
		return;
	}
	errlog_catch_up(&w->err);
	j = flight_take(w, i);
	w->answers++;
	clock_next(w, now);
	if (!j)
		return;
	j->in_flight = false;
	if (!j->decided)
		answer_record(w, j, ev);
}

/* For those who ask late. */
static void
news_keep(struct job *j, const struct codec_event *ev)
{
	struct pool *p = job_pool(j);

	p->running_bytes -= job_running_bytes(j);
	if (ev->verb == VERB_PROGRESS)
		news_progress(job_need_news(j), ev->done, ev->total, ev->text, ev->len);
	else if (p->conf->job.replay)
		news_out(job_need_news(j), ev->text, ev->len, p->conf->job.replay);
	p->running_bytes += job_running_bytes(j);
}

static void
news_tell(const struct job *j, const struct codec_event *ev)
{
	const struct pools *ps = job_pool(j)->pools;

	if (!ps->ops)
		return;
	if (ev->verb == VERB_OUT)
		ps->ops->on_out(ps->ops_ctx, j, ev->text, ev->len);
	else
		ps->ops->on_progress(ps->ops_ctx, j, ev->done, ev->total, ev->text,
				     news_text_len(ev->text, ev->len));
}

/* What it says of a job that goes on: of an in-order worker its oldest. A job that
 * is decided otherwise has no more news. */
static void
on_news(struct worker *w, const struct codec_event *ev)
{
	unsigned i = in_order(w) ? 0 : flight_find(w, ev->id);
	struct job *j;

	if (i >= w->count) {
		worker_break(w, mem_strdup("sent news of a job that it does not have"));
		return;
	}
	j = worker_job(w, i);
	if (!j || j->decided)
		return;
	news_keep(j, ev);
	news_tell(j, ev);
}

static void
on_event(struct worker *w, const struct codec_event *ev, mono_t now)
{
	switch (ev->verb) {
	case VERB_OK:
	case VERB_ERR:
	case VERB_RETRY:
		on_answer(w, ev, now);
		return;
	case VERB_OUT:
	case VERB_PROGRESS:
		on_news(w, ev);
		return;
	case VERB_LOG:
		worker_log(w, ev);
		return;
	case VERB_READY:
		w->ready = true;
		if (ev->capacity && ev->capacity < w->capacity)
			w->capacity = (unsigned)ev->capacity;
		worker_shelve(w);
		worker_note(w);
		return;
	}
}

/* All that it had to say for now. */
static void
on_answers(struct worker *w, uint64_t n, mono_t now)
{
	struct pool *p = w->pool;

	p->stint = stint_next(p->stint, n, mono_since(now, w->since), w->conf->pipeline);
	w->since = now;
	pool_wake(p);
}

/* One message. How many bytes it had; 0: there is no whole one, or a bad one. */
static size_t
read_one(struct worker *w, const char *data, size_t len, mono_t now)
{
	struct codec_event ev;

	switch (codec_decode(&w->codec, data, len, &ev)) {
	case CODEC_AGAIN:
		w->chan.expected = codec_missing(&w->codec, len);
		return 0;
	case CODEC_BAD:
		worker_break(w, mem_strdup(w->codec.error));
		return 0;
	case CODEC_EVENT:
		on_event(w, &ev, now);
		return ev.used;
	}
	return 0;
}

void
worker_read(struct worker *w)
{
	struct buf *in = &w->chan.in;
	const char *data = buf_head(in);
	size_t len = buf_len(in), used = 0, n;
	mono_t now = loop_now(w->pool->pools->loop);
	uint64_t before = w->answers;

	while (used < len && !w->broken && (n = read_one(w, data + used, len - used, now)))
		used += n;
	buf_consume(in, used);
	worker_shelve(w); /* it has answered, perhaps, and has room */
	if (w->answers != before)
		on_answers(w, w->answers - before, now);
	if (w->answers != before && (!before || w->ended || w->retiring))
		worker_note(w); /* it is good: what held back the others may end; or was its last */
}
