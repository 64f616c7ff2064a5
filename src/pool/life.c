/* SPDX-License-Identifier: MIT */
/*
 * life - what workers' news lead to: they are up, late, broken or dead; what
 * becomes of the jobs they had, and of the pool's trust in them. Part of the pump.
 */
#include "base/mem.h"
#include "base/parse.h"
#include "pool/pump.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define READ_WHOLE 4096 /* a job of fewer bytes is read whole, or not at all */

/* ---- workers that died ---- */

static void
replace(char **text, const char *with)
{
	free(*text);
	*text = mem_strdup(with);
}

/* The last words of a worker: answers it gave before it went count. No more is
 * read than was there: a child of it that has got away may write without end. */
static void
hear_out(struct worker *w)
{
	bool killed = slot_is_stopping(w->state) && !w->ended_early;
	size_t most = stream_unread(&w->chan), heard = 0;

	while (w->count && !w->broken && heard <= most) {
		size_t before = buf_len(&w->chan.in), more;

		stream_read(&w->chan);
		more = buf_len(&w->chan.in) - before;
		if (!more)
			break;
		heard += more;
		worker_read(w);
	}
	if (w->count && !w->broken && !killed &&
	    codec_cut_short(&w->codec, buf_head(&w->chan.in), buf_len(&w->chan.in)))
		w->broken = mem_strdup(w->codec.error);
	errlog_drain(&w->err);
}

/* How it went, in words. malloc'ed. */
static char *
death_text(const struct worker *w)
{
	char how[96];

	proc_describe(w->proc.status, how, sizeof(how));
	if (w->broken && slot_is_stopping(w->state))
		return mem_strdup(w->broken); /* that is what it was ended for */
	if (w->broken)
		return mem_printf("%s; %s", how, w->broken);
	if (w->ended_early)
		return mem_printf("closed its channel");
	if (slot_is_stopping(w->state) && worker_has_jobs(w))
		return mem_printf("%s, ended because of another of its jobs", how);
	return mem_strdup(how);
}

static void
requeue(struct pool *p, struct job *j)
{
	timer_clear(loop_timers(p->pools->loop), &j->run->timer);
	p->running--;
	p->running_bytes -= job_running_bytes(j);
	job_drop_news(j); /* it begins anew */
	j->attempt--;
	j->run->pid = 0;
	j->run->started = MONO_NEVER;
	job_move(j, JOB_QUEUED, REASON_NONE);
	queue_push_front(&p->queue, j);
	tell_job(j);
}

static void
charge(struct job *j, const struct worker *w, const char *how)
{
	const char *last = w->err.last;
	char *text = mem_printf("worker %s%s%s", how, last ? ": " : "", last ? last : "");

	pool_decide(j, JOB_FAILED, REASON_CRASHED, text);
	free(text);
	replace(&j->run->last_stderr, last);
	mishap_job(w, j, LOG_EVENT_JOB_CRASHED, "");
}

/* May a job that the process had when it died be given to another? One that was
 * not begun, yes. But a socket says only that something was left: of a long job a
 * part may have been read, of a frame all but its last byte, and may have been
 * the end of the worker. Such a job must not go round for ever. */
static bool
is_excused(const struct worker *w, unsigned i, struct job *j)
{
	const struct conf_pool *conf = w->conf;

	if (conf->in_order && i > 0)
		return true;
	if (!worker_never_read(w, i))
		return false;
	if (conf->channel == CHANNEL_PIPE)
		return true;
	if (conf->protocol != PROTOCOL_FRAME && j->payload_len < READ_WHOLE)
		return true;
	if (throttle_holds(&w->pool->throttle))
		return true; /* here all die anyway */
	if (j->excused)
		return false;
	j->excused = true;
	return true;
}

/* What becomes of the jobs that it had: those it cannot have begun go back to the
 * queue's head, newest first so that the oldest is in front. True when one was
 * charged. */
static bool
settle_flights(struct worker *w, const char *how)
{
	struct pool *p = w->pool;
	bool charged = false;

	for (unsigned i = w->count; i-- > 0;) {
		struct job *j = worker_job(w, i);

		if (!j || j->decided)
			continue;
		if (is_excused(w, i, j)) {
			requeue(p, j);
		} else {
			charge(j, w, how);
			charged = true;
		}
	}
	worker_disown_all(w);
	return charged;
}

/* The loader's report, "ERRNO TEXT\n", but for the text: how long that is. */
static size_t
report_number(const struct worker *w, uint64_t *ret)
{
	const char *text = buf_head(&w->report_text);
	const char *end = memchr(text, ' ', buf_len(&w->report_text));
	uint64_t number;

	if (!end || parse_u64(text, (size_t)(end - text), INT_MAX, &number) < 0)
		return 0;
	if (ret)
		*ret = number;
	return (size_t)(end - text) + 1;
}

/* What start_error() says as the number that comes nearest. */
static int
start_errno(const struct worker *w)
{
	uint64_t number = EIO;

	if (buf_len(&w->report_text))
		report_number(w, &number);
	else if (w->blame)
		number = ETIMEDOUT;
	else
		number = w->broken ? EPROTO : ECHILD;
	return (int)number;
}

/* Why the pool's workers cannot start, as the pool says it. malloc'ed. */
static char *
start_error(const struct worker *w, const char *how)
{
	char limit[FORMAT_MAX];

	if (buf_len(&w->report_text)) {
		const char *text = buf_head(&w->report_text);
		size_t len = buf_len(&w->report_text), number = report_number(w, NULL);

		len -= text[len - 1] == '\n';
		return mem_printf("%.*s", (int)(len - number), text + number);
	}
	if (w->blame) {
		format_duration(limit, w->pool->conf->start.timeout_us);
		return mem_printf("is not ready within %s", limit);
	}
	if (w->broken)
		return mem_printf("breaks the protocol at start: %s", w->broken);
	if (WIFEXITED(w->proc.status))
		return mem_printf("exits at start (status %d)", WEXITSTATUS(w->proc.status));
	return mem_printf("dies at start (%s)", how);
}

void
life_failed_start(struct pool *p, struct worker *w, int error, char *take_error, mono_t now)
{
	struct log_about about = {.pool = p->conf->name, .event = LOG_EVENT_POOL_DEGRADED};
	bool held = throttle_holds(&p->throttle);

	w->failed = true;
	throttle_failed(&p->throttle, w->spawned, now, p->conf->start.backoff_min_us,
			p->conf->start.backoff_max_us);
	free(p->last_error);
	p->last_error = take_error;
	p->last_errno = error;
	replace(&p->last_stderr, w->err.last);
	mishap_worker(w, LOG_EVENT_WORKER_DIED, LOG_WARNING, "%s", p->last_error);
	if (!held && throttle_holds(&p->throttle))
		log_about(&about, LOG_ERR, "degraded: %s", p->last_error);
}

void
life_recovered(struct pool *p)
{
	struct log_about about = {.pool = p->conf->name, .event = LOG_EVENT_POOL_RECOVERED};

	if (p->last_error)
		log_about(&about, LOG_NOTICE, "workers start again");
	life_forgive(p);
}

void
life_forgive(struct pool *p)
{
	throttle_reset(&p->throttle);
	free(p->last_error);
	free(p->last_stderr);
	p->last_error = p->last_stderr = NULL;
	for (unsigned i = 0; i < p->slots; i++)
		p->workers[i]->failed = false;
}

static void
log_death(const struct worker *w, const char *how, bool expected)
{
	mishap_worker(w, expected ? LOG_EVENT_NONE : LOG_EVENT_WORKER_DIED,
		      expected ? LOG_INFO : LOG_WARNING, "%s after %llu job%s", how,
		      (unsigned long long)w->answers, w->answers == 1 ? "" : "s");
}

/* In words that anybody may hear: not what the worker wrote, which is for the log
 * and the job's owner. */
static void
tell_death(const struct worker *w)
{
	char how[128];
	size_t n;

	proc_describe(w->proc.status, how, sizeof(how) / 2);
	n = strlen(how);
	if (w->broken)
		snprintf(how + n, sizeof(how) - n, "; broke the protocol");
	else if (w->blame)
		snprintf(how + n, sizeof(how) - n, "; was not ready in time");
	else if (w->ended_early)
		snprintf(how + n, sizeof(how) - n, "; closed its channel");
	tell_worker(w, PHASE_DOWN, how);
}

static void
life_dead(struct worker *w, mono_t now)
{
	struct pool *p = w->pool;
	bool ours; /* it was ended for a reason that is not its start */
	bool charged, last_words;
	bool early = w->blame || mono_since(now, w->spawned) < p->conf->start.timeout_us;
	char *how;

	hear_out(w);
	last_words = w->broken && w->state != SLOT_KILL;
	if (last_words)
		p->stats.broken++; /* it is not there any more to be killed */
	how = death_text(w);
	charged = settle_flights(w, how);
	ours = (w->retiring || slot_is_stopping(w->state)) && !w->blame && !w->broken &&
	       !w->ended_early;
	w->failed = false;
	if (w->answers || charged || ours || !early || w->index >= p->wanted)
		log_death(w, how,
			  ours || (w->broken ? !last_words :
					       !charged && WIFEXITED(w->proc.status)));
	else
		life_failed_start(p, w, start_errno(w), start_error(w, how), now);
	free(how);
	tell_death(w);
	worker_bury(w);
}

/* ---- workers with other news ---- */

static void
life_deadline(struct worker *w, mono_t now)
{
	if (worker_is_done(w) && !slot_is_stopping(w->state)) {
		w->ended_early = true;
		worker_kill(w, now);
		return;
	}
	switch (w->state) {
	case SLOT_SPAWNED:
	case SLOT_STARTING:
		w->blame = true;
		worker_term(w, now);
		return;
	case SLOT_UP:
		if (!mono_before(now, worker_patience(w))) {
			worker_term(w, now);
		} else {
			worker_deadline(w, worker_patience(w));
		}
		return;
	case SLOT_CLOSING:
		worker_term(w, now);
		return;
	case SLOT_TERM:
		mishap_worker(w, LOG_EVENT_WORKER_KILLED, LOG_WARNING,
			      "still there after SIGTERM and its grace: SIGKILL");
		worker_kill(w, now);
		return;
	case SLOT_KILL:
	case SLOT_DOWN:
		return;
	}
}

static void
life_broken(struct worker *w, mono_t now)
{
	mishap_worker(w, LOG_EVENT_WORKER_KILLED, LOG_ERR, "%s: killed", w->broken);
	w->pool->stats.broken++;
	worker_kill(w, now);
}

static void
life_worker(struct worker *w, mono_t now)
{
	if (w->execed)
		worker_execed(w);
	if (w->state == SLOT_STARTING && (w->ready || !w->pool->conf->start.ready))
		worker_ready(w);
	if (w->due && !w->proc.exited) /* after the news that it may have waited for */
		life_deadline(w, now);
	w->due = false;
	if (w->answers && throttle_proved(&w->pool->throttle, w->spawned))
		life_recovered(w->pool);
	if (w->broken && w->state != SLOT_KILL && !w->proc.exited)
		life_broken(w, now);
	if (w->proc.exited)
		life_dead(w, now);
	else if (worker_is_done(w) && !slot_is_stopping(w->state))
		worker_linger(w, now);
	else if (w->retiring && !w->count && !slot_is_stopping(w->state))
		worker_close(w, now);
}

void
life_news(struct pool *p, mono_t now)
{
	struct list *l;

	while ((l = list_first(&p->changed))) {
		list_remove(l);
		life_worker(container_of(l, struct worker, changed), now);
	}
}
