/* SPDX-License-Identifier: MIT */
#include "pool/worker.h"

#include "base/fd.h"
#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* How long a process may live on after it has closed its channel, before its
 * jobs are given up: exiting takes a moment, and tells more. */
#define LINGER_US (100 * USEC_PER_MSEC)
#define REPORT_MAX 1024
#define READ_A_TURN (256 * 1024) /* of one worker: others want the loop too */

static void
on_timer(struct timer *t, mono_t now)
{
	struct worker *w = container_of(t, struct worker, timer);

	(void)now;
	w->due = true;
	worker_note(w);
}

static void
worker_make_ring(struct worker *w)
{
	unsigned n = 1;

	while (n < w->conf->pipeline)
		n *= 2;
	if (w->flights && w->mask == n - 1)
		return;
	free(w->flights);
	w->flights = mem_array(n, sizeof(*w->flights));
	w->mask = n - 1;
	w->first = 0;
}

void
worker_init(struct worker *w, struct pool *p, unsigned index)
{
	*w = (struct worker){
		.pool = p,
		.index = index,
		.state = SLOT_DOWN,
		.timer.on_due = on_timer,
		.report.fd = -1,
		.proc.pidfd = -1,
		.err.fd = -1,
		.chan.rfd = -1,
		.chan.wfd = -1,
	};
	list_init(&w->load);
	list_init(&w->changed);
	list_init(&w->flush);
	list_init(&w->restart);
	w->conf = p->conf;
	worker_make_ring(w);
	list_append(&p->down, &w->load);
}

bool
worker_adopt(struct worker *w)
{
	const struct conf_pool *conf = w->pool->conf;

	if (w->state != SLOT_DOWN && !conf_pool_same_worker(w->conf, conf))
		return false;
	w->conf = conf;
	if (w->state == SLOT_STARTING)
		worker_note(w); /* for a READY, perhaps, that it need not say any more */
	return true;
}

/* Let go of everything that belonged to the process. */
static void
worker_release(struct worker *w)
{
	int fd = w->report.fd;

	watch_remove(w->pool->pools->loop, &w->report);
	fd_close(&fd);
	stream_close(&w->chan);
	errlog_close(&w->err);
	proc_forget(&w->proc);
	timer_clear(loop_timers(w->pool->pools->loop), &w->timer);
	buf_free(&w->report_text);
	free(w->broken);
	w->broken = NULL;
	list_remove(&w->flush);
	list_remove(&w->changed); /* its last words may have been news */
}

void
worker_fini(struct worker *w)
{
	worker_release(w);
	list_remove(&w->load);
	list_remove(&w->restart);
	free(w->flights);
}

struct log_about
worker_about(const struct worker *w)
{
	bool certain = w->count == 1 || (w->count && w->codec.in_order);
	const struct job *j = certain ? worker_job(w, 0) : NULL;

	return (struct log_about){
		.pool = w->pool->conf->name,
		.worker = (int)w->index + 1,
		.pid = w->state == SLOT_DOWN ? 0 : w->proc.pid,
		.job = j ? j->id : 0,
	};
}

void
worker_note(struct worker *w)
{
	if (!list_linked(&w->changed))
		list_append(&w->pool->changed, &w->changed);
	pool_wake(w->pool);
}

static void
worker_event(struct worker *w, enum slot_event e)
{
	enum slot_state was = w->state;

	w->pool->up -= worker_is_up(w);
	w->state = slot_next(was, e);
	w->pool->up += worker_is_up(w);
	worker_shelve(w);
	/* Of its end whoever buries it knows more. */
	if (slot_phase(w->state) != slot_phase(was) && w->state != SLOT_DOWN)
		tell_worker(w, slot_phase(w->state), NULL);
}

void
worker_deadline(struct worker *w, mono_t at)
{
	w->due = false;
	timer_set(loop_timers(w->pool->pools->loop), &w->timer, at);
}

/* ---- news from the loop ---- */

static void
on_exit_(struct proc *p)
{
	worker_note(container_of(p, struct worker, proc));
}

/* The loader's pipe: a line when a step failed, end of file when the program
 * runs (the pipe is close-on-exec) or the loader has died. */
static void
on_report(struct watch *watch, uint32_t events)
{
	struct worker *w = container_of(watch, struct worker, report);
	int fd = watch->fd;
	ssize_t n = -1;

	(void)events;
	if (buf_len(&w->report_text) < REPORT_MAX && buf_reserve(&w->report_text, REPORT_MAX))
		n = read(fd, buf_tail(&w->report_text), REPORT_MAX);
	if (n > 0) {
		buf_commit(&w->report_text, (size_t)n);
		return;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	watch_remove(w->pool->pools->loop, watch);
	fd_close(&fd);
	w->execed = buf_len(&w->report_text) == 0;
	worker_note(w);
}

static void
on_channel_end(struct stream *s)
{
	struct worker *w = container_of(s, struct worker, chan);

	if (w->ended && (w->heard_eof || !s->eof))
		return;
	w->ended = true;
	w->heard_eof = s->eof;
	worker_shelve(w);
	worker_note(w);
}

static void
on_channel_input(struct stream *s)
{
	worker_read(container_of(s, struct worker, chan));
}

/* Below the high-water mark again, perhaps: then it can take another job. */
static void
on_channel_output(struct stream *s)
{
	struct worker *w = container_of(s, struct worker, chan);

	worker_shelve(w);
	if (w->pool->queue.count && worker_can_take(w))
		pool_wake(w->pool);
}

static const struct stream_ops channel_ops = {
	.on_input = on_channel_input,
	.on_end = on_channel_end,
	.on_output = on_channel_output,
};

/* ---- birth ---- */

static int
worker_attach(struct worker *w, struct spawn_fds *fds)
{
	struct loop *l = w->pool->pools->loop;
	int r;

	r = stream_open(&w->chan, l, fds->in, fds->out, READ_A_TURN, &channel_ops);
	if (r >= 0)
		r = errlog_open(&w->err, l, fds->err);
	else
		fd_close(&fds->err);
	if (r >= 0)
		r = watch_add(l, &w->report, fds->status, EPOLLIN, on_report);
	if (r < 0)
		fd_close(&fds->status);
	return r;
}

int
worker_spawn(struct worker *w, mono_t now)
{
	struct pool *p = w->pool;
	struct spawn_fds fds = {-1, -1, -1, -1};
	struct spawn how = {
		.loader = p->pools->loader,
		.command = p->conf->command,
		.channel = p->conf->channel,
		.run_as = &p->conf->run_as,
		.soft_nofile = p->pools->soft_nofile,
	};
	char **environment;
	int r;

	w->conf = p->conf;
	worker_make_ring(w);
	w->generation = ++p->generation;
	environment = environment_of(w);
	how.environment = environment;
	r = proc_spawn(&w->proc, p->pools->loop, &how, on_exit_, &fds);
	environment_free(environment);
	if (r < 0)
		return r;
	p->stats.spawned++;
	codec_init(&w->codec, (enum codec_level)p->conf->protocol, p->conf->job.max_result);
	w->spawned = now;
	w->answers = 0;
	w->capacity = p->conf->pipeline;
	w->ready = w->execed = w->ended = w->heard_eof = false;
	w->ended_early = w->cancelled = w->blame = false;
	worker_event(w, SLOT_SPAWN);
	worker_deadline(w, mono_add(now, p->conf->start.timeout_us));
	r = worker_attach(w, &fds);
	if (r < 0) { /* it runs, but cannot be talked to: its exit brings us back */
		worker_break(w, mem_printf("cannot be watched: %s", strerror(-r)));
		worker_kill(w, now);
	}
	return 0;
}

/* ---- jobs ---- */

bool
worker_can_take(const struct worker *w)
{
	return worker_is_up(w) && w->count < w->capacity && !w->broken && !w->ended &&
	       !w->chan.error && (w->count == 0 || worker_keeps_up(w));
}

void
worker_shelve(struct worker *w)
{
	worker_shelve_for(w, worker_can_take(w) ? w->capacity - w->count : 0);
	if (w->state == SLOT_DOWN && w->index < w->pool->wanted)
		list_append(&w->pool->down, &w->load);
}

const char *
worker_state_name(const struct worker *w)
{
	return w->retiring ? "stopping" : slot_state_name(w->state, w->count > 0);
}

/* ---- endings ---- */

void
worker_retire(struct worker *w, bool retire)
{
	assert(w->state != SLOT_DOWN);
	w->pool->up -= worker_is_up(w);
	w->retiring = retire;
	w->pool->up += worker_is_up(w);
	worker_shelve(w);
	worker_note(w);
}

void
worker_close(struct worker *w, mono_t now)
{
	worker_event(w, SLOT_CLOSE);
	stream_shutdown(&w->chan);
	worker_deadline(w, mono_add(now, w->pool->conf->job.grace_us));
}

void
worker_term(struct worker *w, mono_t now)
{
	worker_event(w, SLOT_END);
	if (w->state != SLOT_TERM)
		return;
	proc_signal(&w->proc, SIGTERM);
	worker_deadline(w, mono_add(now, w->pool->conf->job.grace_us));
}

void
worker_kill(struct worker *w, mono_t now)
{
	(void)now;
	worker_event(w, SLOT_DESTROY);
	proc_signal(&w->proc, SIGKILL);
	worker_deadline(w, MONO_NEVER);
}

void
worker_linger(struct worker *w, mono_t now)
{
	worker_deadline(w, mono_add(now, LINGER_US));
	worker_shelve(w);
}

void
worker_execed(struct worker *w)
{
	w->execed = false;
	worker_event(w, SLOT_EXECED);
	if (!w->pool->conf->start.ready || w->ready)
		worker_ready(w);
}

void
worker_ready(struct worker *w)
{
	if (w->state == SLOT_STARTING)
		worker_deadline(w, MONO_NEVER);
	worker_event(w, SLOT_READY);
}

void
worker_bury(struct worker *w)
{
	assert(w->count == 0);
	w->pool->stats.exited++;
	worker_release(w);
	worker_event(w, SLOT_EXIT);
	w->retiring = false;
	if (w->conf != w->pool->conf)
		w->pool->pools->outdated = true;
	w->conf = w->pool->conf;
}
