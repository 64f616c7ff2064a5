/* SPDX-License-Identifier: MIT */
/* METRICS: everything that is counted, as OpenMetrics text. Of its types only those
 * that Prometheus' older format has too, so that what reads that one takes it. */
#include "config.h"

#include "control/command.h"
#include "io/procfs.h"

#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum metric_type { COUNTER, GAUGE, HISTOGRAM };

/* A field of 64 bits, for what needs no getter. */
#define FIELD(type, field)                                                                         \
	(offsetof(type, field) + 0 * sizeof(char[sizeof(((type *)0)->field) == 8 ? 1 : -1]))

/* A family has one of the fields and getters, and with a label one sample for each of
 * its values. What they give is in µs where the unit is seconds; negative: no sample. */
struct metric {
	const char *name; /* without _total; ends in the unit */
	enum metric_type type;
	const char *unit; /* NULL: none */
	const char *help;
	size_t server_field, pool_field; /* 0: none */
	int64_t (*of_daemon)(const struct request *r, unsigned i);
	int64_t (*of_pool)(const struct pool *p, mono_t now, unsigned i);
	const struct tally *(*tally)(const struct pool *p);
	const char *label;			/* NULL: none */
	const char *(*label_value)(unsigned i); /* NULL past the last */
};

/* ---- of the daemon ---- */

static int64_t
get_build_info(const struct request *r, unsigned i)
{
	(void)r, (void)i;
	return 1;
}

static int64_t
get_reload_failed(const struct request *r, unsigned i)
{
	(void)i;
	return r->server->reload_error != NULL;
}

static const char *
version_value(unsigned i)
{
	return i ? NULL : PREFORKD_VERSION;
}

static const char *const daemon_states[] = {"starting", "ready", "degraded", "draining", NULL};

static const char *
daemon_state_value(unsigned i)
{
	return daemon_states[i];
}

static int64_t
get_state(const struct request *r, unsigned i)
{
	return !strcmp(r->server->ops->state(r->server->ctx), daemon_states[i]);
}

static int64_t
get_uptime(const struct request *r, unsigned i)
{
	(void)i;
	return mono_since(r->now, r->server->started);
}

/* Not procfs_usage(): that has the workers' time in it. */
static int64_t
get_cpu(const struct request *r, unsigned i)
{
	struct rusage u;

	(void)r, (void)i;
	if (getrusage(RUSAGE_SELF, &u) < 0)
		return -1;
	return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * USEC_PER_SEC + u.ru_utime.tv_usec +
	       u.ru_stime.tv_usec;
}

static int64_t
get_resident(const struct request *r, unsigned i)
{
	struct procfs_usage u;

	(void)r, (void)i;
	procfs_usage(getpid(), &u);
	return u.rss_bytes;
}

static int64_t
get_open_fds(const struct request *r, unsigned i)
{
	(void)r, (void)i;
	return procfs_own_fds();
}

static int64_t
get_max_fds(const struct request *r, unsigned i)
{
	struct rlimit limit;

	(void)r, (void)i;
	return getrlimit(RLIMIT_NOFILE, &limit) < 0 ? -1 : (int64_t)limit.rlim_cur;
}

/* ---- of a pool ---- */

static const char *const outcomes[] = {"done", "error", "crashed", "timeout", "cancelled", NULL};

static const char *
outcome_value(unsigned i)
{
	return outcomes[i];
}

static int64_t
get_finished(const struct pool *p, mono_t now, unsigned i)
{
	const struct stats *s = &p->stats;
	const uint64_t counts[] = {s->done, s->failed - s->crashed - s->timeout, s->crashed,
				   s->timeout, s->cancelled};

	(void)now;
	return (int64_t)counts[i];
}

static int64_t
get_oldest(const struct pool *p, mono_t now, unsigned i)
{
	const struct job *oldest = queue_oldest(&p->queue);

	(void)i;
	return oldest ? mono_since(now, oldest->queued) : 0;
}

static int64_t
get_memory(const struct pool *p, mono_t now, unsigned i)
{
	(void)now, (void)i;
	return (int64_t)pool_bytes(p);
}

static const struct tally *
get_wait(const struct pool *p)
{
	return &p->stats.wait.ever;
}

static const struct tally *
get_run(const struct pool *p)
{
	return &p->stats.run.ever;
}

static const char *const worker_states[] = {"idle", "busy", "starting", "stopping", NULL};

static const char *
worker_state_value(unsigned i)
{
	return worker_states[i];
}

static int64_t
get_workers(const struct pool *p, mono_t now, unsigned i)
{
	struct pool_census c = pool_count_workers(p);
	const unsigned counts[] = {c.idle, c.busy, c.starting, c.stopping};

	(void)now;
	return counts[i];
}

static int64_t
get_wanted(const struct pool *p, mono_t now, unsigned i)
{
	(void)now, (void)i;
	return p->wanted;
}

static int64_t
get_restarting(const struct pool *p, mono_t now, unsigned i)
{
	(void)now, (void)i;
	return pool_restarting(p);
}

static const char *
pool_state_value(unsigned i)
{
	return i <= POOL_DRAINING ? pool_state_name((enum pool_state)i) : NULL;
}

static int64_t
get_pool_state(const struct pool *p, mono_t now, unsigned i)
{
	(void)now;
	return pool_state(p) == i;
}

/* Whatever its state is called: it may drain at the same time. */
static int64_t
get_degraded(const struct pool *p, mono_t now, unsigned i)
{
	(void)now, (void)i;
	return throttle_holds(&p->throttle);
}

/* ---- the families ---- */

static const struct metric metrics[] = {
	{"preforkd_build_info", GAUGE, NULL, "Always 1; which version this is.",
	 .of_daemon = get_build_info, .label = "version", .label_value = version_value},
	{"preforkd_state", GAUGE, NULL, "1 for the state that the daemon is in.",
	 .of_daemon = get_state, .label = "state", .label_value = daemon_state_value},
	{"preforkd_uptime_seconds", GAUGE, "seconds", "Time since the daemon started.",
	 .of_daemon = get_uptime},
	{"preforkd_reloads", COUNTER, NULL, "Configurations that took the place of another.",
	 .server_field = FIELD(struct server, reloads)},
	{"preforkd_reload_failed", GAUGE, NULL,
	 "1 where the last reload was refused, or has started workers that are no good.",
	 .of_daemon = get_reload_failed},
	{"preforkd_clients", GAUGE, NULL, "Connections there are.",
	 .server_field = FIELD(struct server, client_count)},
	{"preforkd_clients_max", GAUGE, NULL, "Connections that there may be.",
	 .server_field = FIELD(struct server, max_clients)},
	{"preforkd_connections", COUNTER, NULL, "Connections there were.",
	 .server_field = FIELD(struct server, connections)},
	{"preforkd_commands", COUNTER, NULL, "Commands that clients sent.",
	 .server_field = FIELD(struct server, commands)},
	{"process_start_time_seconds", GAUGE, "seconds", "When the daemon started, in Unix time.",
	 .server_field = FIELD(struct server, started_unix_us)},
	{"process_cpu_seconds", COUNTER, "seconds", "CPU time of the daemon, without its workers.",
	 .of_daemon = get_cpu},
	{"process_resident_memory_bytes", GAUGE, "bytes", "Resident memory of the daemon.",
	 .of_daemon = get_resident},
	{"process_open_fds", GAUGE, NULL, "Descriptors that the daemon has open.",
	 .of_daemon = get_open_fds},
	{"process_max_fds", GAUGE, NULL, "Descriptors that it may have open.",
	 .of_daemon = get_max_fds},

	{"preforkd_pool_state", GAUGE, NULL, "1 for the state that the pool is in.",
	 .of_pool = get_pool_state, .label = "state", .label_value = pool_state_value},
	{"preforkd_pool_degraded", GAUGE, NULL, "1 while the pool's workers cannot start.",
	 .of_pool = get_degraded},
	{"preforkd_jobs_finished", COUNTER, NULL, "Jobs that are over, by how they ended.",
	 .of_pool = get_finished, .label = "outcome", .label_value = outcome_value},
	{"preforkd_jobs_rejected", COUNTER, NULL, "Jobs that found the queue full.",
	 .pool_field = FIELD(struct pool, stats.rejected)},
	{"preforkd_jobs_queued", GAUGE, NULL, "Jobs that wait.",
	 .pool_field = FIELD(struct pool, queue.count)},
	{"preforkd_jobs_running", GAUGE, NULL, "Jobs that a worker has.",
	 .pool_field = FIELD(struct pool, running)},
	{"preforkd_jobs_kept", GAUGE, NULL, "Finished jobs that are remembered.",
	 .pool_field = FIELD(struct pool, finished_count)},
	{"preforkd_oldest_queued_seconds", GAUGE, "seconds",
	 "How long the oldest job has waited; 0 where none does.", .of_pool = get_oldest},
	{"preforkd_job_memory_bytes", GAUGE, "bytes", "Payloads and results that are held.",
	 .of_pool = get_memory},
	{"preforkd_job_wait_seconds", HISTOGRAM, "seconds",
	 "How long jobs waited until a worker got them.", .tally = get_wait},
	{"preforkd_job_run_seconds", HISTOGRAM, "seconds", "How long jobs ran.", .tally = get_run},
	{"preforkd_workers", GAUGE, NULL, "Workers, by what they are at.", .of_pool = get_workers,
	 .label = "state", .label_value = worker_state_value},
	{"preforkd_workers_wanted", GAUGE, NULL, "Workers that the pool is to have.",
	 .of_pool = get_wanted},
	{"preforkd_workers_restarting", GAUGE, NULL, "Workers that a restart has still to replace.",
	 .of_pool = get_restarting},
	{"preforkd_workers_spawned", COUNTER, NULL, "Processes that were started.",
	 .pool_field = FIELD(struct pool, stats.spawned)},
	{"preforkd_workers_exited", COUNTER, NULL, "Processes that ended.",
	 .pool_field = FIELD(struct pool, stats.exited)},
	{"preforkd_workers_broken", COUNTER, NULL, "Processes that broke the protocol.",
	 .pool_field = FIELD(struct pool, stats.broken)},
};

/* ---- the text ---- */

static const char *const types[] = {
	[COUNTER] = "counter",
	[GAUGE] = "gauge",
	[HISTOGRAM] = "histogram",
};

static void
put_head(struct buf *b, const struct metric *m)
{
	buf_putf(b, "# TYPE %s %s\n", m->name, types[m->type]);
	if (m->unit)
		buf_putf(b, "# UNIT %s %s\n", m->name, m->unit);
	buf_putf(b, "# HELP %s %s\n", m->name, m->help);
}

static void
put_label(struct buf *b, const char *name, const char *value)
{
	buf_putf(b, "%s=\"", name);
	for (; *value; value++) {
		if (*value == '\\' || *value == '"')
			buf_putc(b, '\\');
		if (*value == '\n')
			buf_puts(b, "\\n");
		else
			buf_putc(b, *value);
	}
	buf_putc(b, '"');
}

static void
put_seconds(struct buf *b, uint64_t us)
{
	buf_putf(b, "%llu.%06llu", (unsigned long long)(us / USEC_PER_SEC),
		 (unsigned long long)(us % USEC_PER_SEC));
}

/* name, what is added to it, and its labels. NULL: none. */
static void
put_name(struct buf *b, const struct metric *m, const char *suffix, const struct pool *p,
	 const char *label, const char *value)
{
	const char *next = "{";

	buf_putf(b, "%s%s", m->name, suffix);
	if (p) {
		buf_puts(b, next);
		put_label(b, "pool", p->conf->name);
		next = ",";
	}
	if (value) {
		buf_puts(b, next);
		put_label(b, label, value);
	}
	buf_puts(b, p || value ? "} " : " ");
}

static void
put_sample(struct buf *b, const struct metric *m, const struct pool *p, const char *value,
	   int64_t v)
{
	if (v < 0)
		return;
	put_name(b, m, m->type == COUNTER ? "_total" : "", p, m->label, value);
	if (m->unit && !strcmp(m->unit, "seconds"))
		put_seconds(b, (uint64_t)v);
	else
		buf_put_u64(b, (uint64_t)v);
	buf_putc(b, '\n');
}

static int64_t
read_field(const void *object, size_t at)
{
	int64_t v;

	memcpy(&v, (const char *)object + at, sizeof(v));
	return v;
}

/* p: NULL for a family of the daemon's. */
static int64_t
get_value(const struct metric *m, const struct request *r, const struct pool *p, unsigned i)
{
	if (p)
		return m->pool_field ? read_field(p, m->pool_field) : m->of_pool(p, r->now, i);
	return m->server_field ? read_field(r->server, m->server_field) : m->of_daemon(r, i);
}

static void
put_samples(struct buf *b, const struct metric *m, const struct request *r, const struct pool *p)
{
	const char *value = NULL;

	for (unsigned i = 0; m->label ? (value = m->label_value(i)) != NULL : i < 1; i++)
		put_sample(b, m, p, value, get_value(m, r, p, i));
}

static void
put_tally(struct buf *b, const struct metric *m, const struct pool *p)
{
	const struct tally *t = m->tally(p);

	for (unsigned i = 0; i <= TALLY_BOUNDS; i++) {
		put_name(b, m, "_bucket", p, "le",
			 i < TALLY_BOUNDS ? tally_bounds[i].seconds : "+Inf");
		buf_put_u64(b, tally_up_to(t, i));
		buf_putc(b, '\n');
	}
	put_name(b, m, "_sum", p, NULL, NULL);
	put_seconds(b, t->sum_us);
	buf_putc(b, '\n');
	put_name(b, m, "_count", p, NULL, NULL);
	buf_put_u64(b, tally_up_to(t, TALLY_BOUNDS));
	buf_putc(b, '\n');
}

static bool
is_of_daemon(const struct metric *m)
{
	return m->of_daemon || m->server_field;
}

/* All of a family stands together. */
static void
put_family(struct buf *b, const struct metric *m, const struct request *r)
{
	const struct pools *ps = r->server->pools;

	put_head(b, m);
	if (is_of_daemon(m))
		put_samples(b, m, r, NULL);
	for (size_t i = 0; !is_of_daemon(m) && i < ps->count; i++) {
		const struct pool *p = ps->v[i];

		if (!access_allows_pool(r->client, CLASS_READ, p))
			continue;
		if (m->tally)
			put_tally(b, m, p);
		else
			put_samples(b, m, r, p);
	}
}

static void
cmd_metrics(struct request *r)
{
	struct buf b = {0};

	for (size_t i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++)
		put_family(&b, &metrics[i], r);
	buf_puts(&b, "# EOF\n");
	if (buf_failed(&b))
		r->out->failed = true;
	else
		resp_put_bulk(r->out, buf_head(&b), buf_len(&b));
	buf_free(&b);
}

const struct command metrics_commands[] = {
	{.name = "METRICS",
	 .arity = 1,
	 .class = CLASS_READ,
	 .summary = "Everything that is counted, as OpenMetrics text",
	 .handle = cmd_metrics},
	{.name = NULL},
};

/* ---- the manual's list ---- */

/* Its labels, and the words that the second of them may be, if that is known here. */
static void
put_item(struct buf *b, const struct metric *m)
{
	const char *value;
	bool pool = !is_of_daemon(m);

	buf_putf(b, ".It Sy %s%s", m->name, m->type == COUNTER ? "_total" : "");
	if (pool || m->label)
		buf_putf(b, " Ns Brq %s%s%s", pool ? "pool" : "", pool && m->label ? " , " : "",
			 m->label ? m->label : "");
	buf_putf(b, "\n%s\n.Pq %s\n", m->help, types[m->type]);
	if (!m->label || !m->label_value(1))
		return;
	buf_putf(b, ".Sy %s :\n.Cm", m->label);
	for (unsigned i = 0; (value = m->label_value(i)); i++)
		buf_putf(b, "%s %s", i ? " ," : "", value);
	buf_puts(b, " .\n");
}

void
metrics_put_list(struct buf *b)
{
	buf_puts(b, ".Pp\n.Bl -tag -width Ds -compact\n");
	for (size_t i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++)
		put_item(b, &metrics[i]);
	buf_puts(b, ".El\n");
}
