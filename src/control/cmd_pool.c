/* SPDX-License-Identifier: MIT */
/* Commands about pools and their workers: POOLS, POOL, WORKERS, PAUSE, RESUME, CLEAR. */
#include "control/command.h"
#include "io/procfs.h"
#include "pool/worker.h"

#include <stdlib.h>
#include <string.h>

/* ---- POOLS, POOL ---- */

static const char *
command_text(const struct conf_pool *conf, struct buf *b)
{
	for (char **w = conf->command; *w; w++)
		buf_putf(b, "%s%s", w == conf->command ? "" : " ", *w);
	buf_putc(b, 0);
	return buf_failed(b) ? "" : buf_head(b);
}

static void
put_pool_identity(struct fields *f, const struct pool *p)
{
	struct buf text = {0};

	field_str(f, "name", p->conf->name);
	field_str(f, "state", pool_state_name(pool_state(p)));
	field_str(f, "protocol", codec_level_name((enum codec_level)p->conf->protocol));
	field_str(f, "command", command_text(p->conf, &text));
	field_int(f, "generation", (int64_t)p->generation);
	buf_free(&text);
}

static void
put_pool_workers(struct fields *f, const struct pool *p)
{
	struct pool_census c = pool_count_workers(p);

	field_int(f, "workers", p->wanted);
	field_int(f, "workers_configured", p->conf->workers);
	field_int(f, "up", p->up);
	field_int(f, "idle", c.idle);
	field_int(f, "busy", c.busy);
	field_int(f, "starting", c.starting);
	field_int(f, "stopping", c.stopping);
	field_int(f, "restarting", pool_restarting(p));
	field_int(f, "spawned", (int64_t)p->stats.spawned);
	field_int(f, "exited", (int64_t)p->stats.exited);
	field_int(f, "broken", (int64_t)p->stats.broken);
	field_int(f, "pipeline", p->conf->pipeline);
}

static void
put_pool_jobs(struct fields *f, struct pool *p, mono_t now)
{
	const struct job *oldest = queue_oldest(&p->queue);

	field_int(f, "queued", (int64_t)p->queue.count);
	field_int(f, "running", (int64_t)p->running);
	field_opt(f, "oldest_queued_ms",
		  oldest ? mono_since(now, oldest->queued) / USEC_PER_MSEC : -1);
	field_int(f, "done", (int64_t)p->stats.done);
	field_int(f, "failed", (int64_t)p->stats.failed);
	field_int(f, "crashed", (int64_t)p->stats.crashed);
	field_int(f, "timeout", (int64_t)p->stats.timeout);
	field_int(f, "cancelled", (int64_t)p->stats.cancelled);
	field_int(f, "rejected", (int64_t)p->stats.rejected);
	field_int(f, "done_5m", (int64_t)window_sum(&p->stats.done_lately, now));
	field_int(f, "failed_5m", (int64_t)window_sum(&p->stats.failed_lately, now));
	field_int(f, "queue_limit", (int64_t)p->conf->queue.limit);
	field_int(f, "kept", (int64_t)p->finished_count);
	field_int(f, "memory_bytes", (int64_t)pool_bytes(p));
}

static void
put_pool_times(struct fields *f, struct pool *p, mono_t now)
{
	field_double(f, "done_per_s", (double)rate_per_10s(&p->stats.done_rate, now) / 10);
	field_opt(f, "wait_p50_us", histogram_quantile(&p->stats.wait.recent, 500, now));
	field_opt(f, "wait_p99_us", histogram_quantile(&p->stats.wait.recent, 990, now));
	field_opt(f, "run_p50_us", histogram_quantile(&p->stats.run.recent, 500, now));
	field_opt(f, "run_p99_us", histogram_quantile(&p->stats.run.recent, 990, now));
}

static void
put_pool_trouble(struct fields *f, const struct pool *p, mono_t now)
{
	int64_t retry = pool_retry_us(p, now);

	field_int(f, "fails", p->throttle.fails);
	field_opt(f, "retry_ms", retry < 0 ? -1 : retry / USEC_PER_MSEC);
	field_str(f, "last_error", p->last_error);
	field_str(f, "last_stderr", p->last_stderr);
}

static void
put_pool(struct request *r, struct pool *p)
{
	struct fields f;

	fields_begin(&f, r->client->proto);
	put_pool_identity(&f, p);
	put_pool_workers(&f, p);
	put_pool_jobs(&f, p, r->now);
	put_pool_times(&f, p, r->now);
	put_pool_trouble(&f, p, r->now);
	fields_end(&f, r->out);
}

static void
cmd_pools(struct request *r)
{
	struct pools *ps = r->server->pools;
	size_t n = 0;

	for (size_t i = 0; i < ps->count; i++)
		n += access_allows_pool(r->client, CLASS_READ, ps->v[i]);
	resp_put_array(r->out, n);
	for (size_t i = 0; i < ps->count; i++)
		if (access_allows_pool(r->client, CLASS_READ, ps->v[i]))
			put_pool(r, ps->v[i]);
}

static void
cmd_pool(struct request *r)
{
	struct pool *p = request_pool(r);

	if (p)
		put_pool(r, p);
}

/* ---- WORKERS ---- */

static void
put_worker_job(struct fields *f, const struct worker *w, mono_t now)
{
	const struct job *j = w->count ? worker_job(w, 0) : NULL;

	field_id(f, "job", j);
	field_opt(f, "job_ms",
		  j && !mono_is_never(j->run->started) ?
			  mono_since(now, j->run->started) / USEC_PER_MSEC :
			  -1);
}

static void
put_worker(struct request *r, const struct worker *w)
{
	bool alive = w->state != SLOT_DOWN;
	struct procfs_usage u = {.rss_bytes = -1, .cpu_ms = -1};
	struct fields f;

	if (alive)
		procfs_usage(w->proc.pid, &u);
	fields_begin(&f, r->client->proto);
	field_str(&f, "pool", w->pool->conf->name);
	field_int(&f, "worker", w->index);
	field_opt(&f, "pid", alive ? w->proc.pid : -1);
	field_str(&f, "state", worker_state_name(w));
	field_int(&f, "generation", (int64_t)w->generation);
	put_worker_job(&f, w, r->now);
	field_int(&f, "jobs", alive ? (int64_t)w->answers : 0);
	field_opt(&f, "age_ms", alive ? mono_since(r->now, w->spawned) / USEC_PER_MSEC : -1);
	field_opt(&f, "rss_bytes", u.rss_bytes);
	field_opt(&f, "cpu_ms", u.cpu_ms);
	fields_end(&f, r->out);
}

static void
put_workers(struct request *r, const struct pool *p)
{
	for (unsigned i = 0; i < p->slots; i++)
		if (worker_is_there(p->workers[i]))
			put_worker(r, p->workers[i]);
}

/* only: NULL for all that r may see. */
static bool
is_wanted(const struct request *r, const struct pool *p, const struct pool *only)
{
	return only ? p == only : access_allows_pool(r->client, CLASS_READ, p);
}

static void
cmd_workers(struct request *r)
{
	struct pools *ps = r->server->pools;
	const struct pool *only = NULL;
	size_t n = 0;

	if (r->argc > 2) {
		resp_put_errorf(r->out, "ERR", "WORKERS takes one pool, or none for all");
		return;
	}
	if (r->argc == 2 && !(only = request_pool(r)))
		return;
	for (size_t i = 0; i < ps->count; i++)
		if (is_wanted(r, ps->v[i], only))
			n += ps->v[i]->wanted + pool_leaving(ps->v[i], ps->v[i]->wanted);
	resp_put_array(r->out, n);
	for (size_t i = 0; i < ps->count; i++)
		if (is_wanted(r, ps->v[i], only))
			put_workers(r, ps->v[i]);
}

/* ---- PAUSE, RESUME, CLEAR ---- */

static void
set_pause(struct request *r, bool pause)
{
	struct pool *p = request_pool(r);

	if (!p)
		return;
	pool_pause(p, pause);
	resp_put_simple(r->out, "OK");
}

static void
cmd_pause(struct request *r)
{
	set_pause(r, true);
}

static void
cmd_resume(struct request *r)
{
	set_pause(r, false);
}

static void
cmd_clear(struct request *r)
{
	struct pool *p = request_pool(r);

	if (!p)
		return;
	pool_clear(p);
	resp_put_simple(r->out, "OK");
}

const struct command pool_commands[] = {
	{.name = "POOLS",
	 .arity = 1,
	 .class = CLASS_READ,
	 .summary = "Every pool: its state, counts, rates and times",
	 .handle = cmd_pools},
	{.name = "POOL",
	 .arity = 2,
	 .class = CLASS_READ,
	 .summary = "One pool: its state, counts, rates and times",
	 .handle = cmd_pool,
	 .args = {{.name = "pool", .is_pool = true}}},
	{.name = "WORKERS",
	 .arity = -1,
	 .class = CLASS_READ,
	 .summary = "The workers of one pool, or of all",
	 .handle = cmd_workers,
	 .args = {{.name = "pool", .optional = true, .is_pool = true}}},
	{.name = "PAUSE",
	 .arity = 2,
	 .class = CLASS_ADMIN,
	 .summary = "Give the pool's workers no more jobs; new ones are queued",
	 .handle = cmd_pause,
	 .args = {{.name = "pool", .is_pool = true}}},
	{.name = "RESUME",
	 .arity = 2,
	 .class = CLASS_ADMIN,
	 .summary = "End a PAUSE",
	 .handle = cmd_resume,
	 .args = {{.name = "pool", .is_pool = true}}},
	{.name = "CLEAR",
	 .arity = 2,
	 .class = CLASS_ADMIN,
	 .summary = "Cancel the pool's queued jobs",
	 .handle = cmd_clear,
	 .args = {{.name = "pool", .is_pool = true}}},
	{.name = NULL},
};
