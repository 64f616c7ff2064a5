/* SPDX-License-Identifier: MIT */
/* Commands about jobs: RUN, SUBMIT, RESULT, AWAIT, CANCEL, FORGET, JOB, JOBS. */
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "control/command.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PAYLOAD_HEAD 80 /* bytes of a payload that JOB shows */

/* ---- looking things up ---- */

static struct job *
lookup(struct request *r, const struct resp_slice *word)
{
	uint64_t id;

	if (parse_u64(word->data, word->len, UINT64_MAX, &id) < 0)
		return NULL;
	return pools_job(r->server->pools, id);
}

static void
put_no_job(struct request *r, const struct resp_slice *word)
{
	char shown[128];

	text_escape(shown, sizeof(shown), word->data, word->len);
	resp_put_errorf(r->out, "NOJOB", "no job '%s': it never was, or is no longer kept", shown);
}

/* -NOPERM: because of the pool where it is one's own, or because it is not. */
static void
put_not_yours(struct request *r, const struct job *j)
{
	if (access_owns(r->client, j))
		request_refuse(r, job_pool(j));
	else
		resp_put_errorf(r->out, "NOPERM", "job %llu belongs to uid %u",
				(unsigned long long)j->id, j->uid);
}

/* A job that r may have the result of, or dispose of. */
static struct job *
own_job(struct request *r, const struct resp_slice *word)
{
	struct job *j = lookup(r, word);

	if (!j) {
		put_no_job(r, word);
		return NULL;
	}
	if (!access_allows_job(r->client, r->row->class, j)) {
		put_not_yours(r, j);
		return NULL;
	}
	return j;
}

/* ---- RUN and SUBMIT ---- */

/* Who goes on against a full queue gets as many of these as it sends jobs. */
static void
put_full(struct buf *out, const struct pool *p)
{
	resp_begin_error(out, "BUSY");
	buf_puts(out, "the queue of pool '");
	buf_puts(out, p->conf->name);
	buf_puts(out, "' is full (");
	buf_put_u64(out, p->queue.count);
	buf_puts(out, " jobs, ");
	buf_put_u64(out, p->queue.bytes);
	buf_puts(out, " bytes)");
	resp_end_error(out);
}

static void
put_submit_error(struct request *r, const struct pool *p, int error, const char *why)
{
	struct buf *out = r->out;
	char *text;

	switch ((enum pool_error)error) {
	case POOL_E_PAYLOAD:
		resp_put_error(out, "BADPAYLOAD", why, strlen(why));
		return;
	case POOL_E_TOOBIG:
		resp_put_errorf(out, "TOOBIG",
				"%zu bytes, and at most %llu are taken (job.max_payload)",
				r->argv[r->argc - 1].len,
				(unsigned long long)p->conf->job.max_payload);
		return;
	case POOL_E_FULL:
		put_full(out, p);
		return;
	case POOL_E_DOWN:
		text = pool_trouble(p);
		resp_put_error(out, "DOWN", text, strlen(text));
		free(text);
		return;
	case POOL_E_DRAINING:
		resp_put_errorf(out, "DRAINING",
				"preforkd finishes what it has and takes no new jobs");
		return;
	case POOL_E_REMOVED:
		resp_put_errorf(out, "NOPOOL",
				"the pool '%s' was taken out of the configuration: it finishes "
				"what it has",
				p->conf->name);
		return;
	case POOL_E_KEY:
		resp_put_errorf(out, "KEYMISMATCH", "this KEY names a job with another payload");
		return;
	case POOL_E_MEMORY:
		resp_put_errorf(out, "BUSY", "out of memory");
		return;
	}
}

/* The job's options, where it was given any. False: no memory. */
static bool
make_opts(const struct options *o, struct job_opts **ret)
{
	*ret = NULL;
	if (!(o->given & (OPTION_KEY | OPTION_TIMEOUT | OPTION_KEEP)))
		return true;
	*ret = job_opts_new(o->key.data, o->key.len);
	if (!*ret)
		return false;
	(*ret)->timeout_us = o->timeout_us;
	(*ret)->keep_us = o->keep_us;
	return true;
}

/* The options of a RUN or a SUBMIT. NULL: the error is in r->out, of its pool's, too. */
static const struct options *
submit_options(struct request *r, struct options *room)
{
	return request_pool(r) ? options_read(r, 2, r->argc - 1, room) : NULL;
}

/* NULL: the error is in r->out. */
static struct job *
submit(struct request *r, const struct options *o, bool run, bool *ret_new)
{
	const struct resp_slice *payload = &r->argv[r->argc - 1];
	struct submission s = {
		.uid = r->client->uid,
		.payload = payload->data,
		.len = payload->len,
		.run = run,
		.attached = run && !(o->given & OPTION_KEY),
	};
	const char *why = NULL;
	struct job *j;
	int error;

	error = make_opts(o, &s.opts) ? pool_submit(r->pool, &s, r->now, &j, ret_new, &why) :
					POOL_E_MEMORY;
	if (error) {
		put_submit_error(r, r->pool, error, why);
		return NULL;
	}
	return j;
}

static void
wait_or_put(struct request *r, struct job *j, bool run, const struct options *o)
{
	if (job_is_over(j))
		job_put_outcome(r->out, j);
	else if (!run && !(o->given & OPTION_WAIT))
		resp_put_null(r->out, r->client->proto);
	else
		client_await(r->client, j, run,
			     o->given & OPTION_WAIT ? o->wait_us : USEC_INFINITY);
}

static void
cmd_run(struct request *r)
{
	struct options room;
	const struct options *o = submit_options(r, &room);
	bool fresh;
	struct job *j = o ? submit(r, o, true, &fresh) : NULL;

	if (j)
		wait_or_put(r, j, true, o);
}

static struct job *
submit_accept(struct request *r, bool *ret_new)
{
	struct options room;
	const struct options *o = submit_options(r, &room);

	return o ? submit(r, o, false, ret_new) : NULL;
}

static void
cmd_submit(struct request *r)
{
	bool fresh;
	struct job *j = submit_accept(r, &fresh);

	if (j)
		put_id(r->out, j->id);
}

/* ---- RESULT, AWAIT, CANCEL ---- */

static void
cmd_result(struct request *r)
{
	struct options room;
	const struct options *o = options_read(r, 2, r->argc, &room);
	struct job *j = o ? own_job(r, &r->argv[1]) : NULL;

	if (j)
		wait_or_put(r, j, false, o);
}

static void
put_not_such(struct request *r, const struct resp_slice *word, const char *expected)
{
	char shown[128];

	text_escape(shown, sizeof(shown), word->data, word->len);
	resp_put_errorf(r->out, "BADOPTION", "'%s': must be %s", shown, expected);
}

static void
cmd_await(struct request *r)
{
	struct job *jobs[AWAIT_JOBS_MAX];
	bool any = slice_is(&r->argv[1], "ANY");
	size_t n = r->argc - 3;
	int64_t wait_us;

	if (!any && !slice_is(&r->argv[1], "ALL")) {
		put_not_such(r, &r->argv[1], "ANY or ALL");
		return;
	}
	if (parse_duration(r->argv[2].data, r->argv[2].len, &wait_us) < 0) {
		put_not_such(r, &r->argv[2], "a duration such as 500ms, 30s, 2h or infinity");
		return;
	}
	if (n > AWAIT_JOBS_MAX) {
		resp_put_errorf(r->out, "ERR", "AWAIT takes at most %d ids", AWAIT_JOBS_MAX);
		return;
	}
	for (size_t i = 0; i < n; i++)
		if (!(jobs[i] = own_job(r, &r->argv[3 + i])))
			return;
	if (!client_await_some(r->client, jobs, n, any, wait_us))
		resp_put_errorf(r->out, "BUSY", "out of memory");
}

/* Do that to all jobs that are named, and reply with how many it was done to. All or
 * none: a job that is somebody else's spoils the command. */
static void
dispose(struct request *r, bool (*of)(struct job *))
{
	int64_t n = 0;

	for (size_t i = 1; i < r->argc; i++) {
		struct job *j = lookup(r, &r->argv[i]);

		if (j && !own_job(r, &r->argv[i]))
			return;
		if (!j && r->argc == 2) {
			put_no_job(r, &r->argv[i]);
			return;
		}
	}
	for (size_t i = 1; i < r->argc; i++) {
		struct job *j = lookup(r, &r->argv[i]);

		n += j && of(j);
	}
	resp_put_int(r->out, n);
}

static void
cmd_cancel(struct request *r)
{
	dispose(r, pool_cancel);
}

static void
cmd_forget(struct request *r)
{
	dispose(r, pool_drop);
}

/* ---- JOB, JOBS ---- */

static int64_t
ms_between(mono_t from, mono_t to)
{
	return mono_is_never(from) ? -1 : mono_since(to, from) / USEC_PER_MSEC;
}

static int64_t
unix_ms(mono_t t, mono_t now)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000 -
	       mono_since(now, t) / USEC_PER_MSEC;
}

/* What only a job that a worker has, or had, can tell. */
static void
put_run_fields(struct fields *f, const struct job *j, mono_t now)
{
	const struct job_run *run = j->run;
	bool begun = run && !mono_is_never(run->started);
	mono_t end = run && job_is_over(j) ? run->ended : now;
	bool had_worker = run && run->pid;

	field_int(f, "queue_ms", ms_between(j->queued, begun ? run->started : end));
	field_opt(f, "run_ms", begun ? ms_between(run->started, end) : -1);
	field_opt(f, "worker", had_worker ? (int64_t)run->worker : -1);
	field_opt(f, "pid", had_worker ? run->pid : -1);
	field_opt(f, "result_bytes", run && j->state == JOB_DONE ? (int64_t)run->text_len : -1);
}

static void
put_private_fields(struct fields *f, const struct job *j, bool owned)
{
	const struct job_run *run = j->run;
	bool has_error = owned && (j->state == JOB_FAILED || j->state == JOB_CANCELLED);

	if (owned)
		field_bytes(f, "payload_head", j->payload,
			    j->payload_len < PAYLOAD_HEAD ? j->payload_len : PAYLOAD_HEAD);
	else
		field_str(f, "payload_head", NULL);
	field_str(f, "last_stderr", owned && run ? run->last_stderr : NULL);
	if (has_error && run->text_len)
		field_bytes(f, "error", run->text, run->text_len);
	else
		field_str(f, "error", NULL);
}

static void
put_job(struct request *r, const struct job *j)
{
	const struct pool *p = j->owner;
	bool owned = access_owns(r->client, j);
	struct fields f;

	fields_begin(&f, r->client->proto);
	field_id(&f, "id", j);
	field_str(&f, "pool", p->conf->name);
	field_str(&f, "state", job_state_name((enum job_state)j->state));
	field_str(&f, "reason",
		  job_is_over(j) ? job_reason_name((enum job_reason)j->reason) : NULL);
	field_int(&f, "uid", j->uid);
	if (owned && j->opts && j->opts->key_len)
		field_bytes(&f, "key", j->opts->key, j->opts->key_len);
	else
		field_str(&f, "key", NULL);
	field_int(&f, "attempt", j->attempt);
	field_int(&f, "attempts", 1);
	field_int(&f, "submitted_unix_ms", unix_ms(j->queued, r->now));
	put_run_fields(&f, j, r->now);
	put_private_fields(&f, j, owned);
	fields_end(&f, r->out);
}

static void
cmd_job(struct request *r)
{
	struct job *j = lookup(r, &r->argv[1]);

	if (!j)
		put_no_job(r, &r->argv[1]);
	else if (!access_allows_pool(r->client, CLASS_READ, job_pool(j)))
		request_refuse(r, job_pool(j));
	else
		put_job(r, j);
}

static bool
job_matches(const struct client *c, const struct job *j, const struct options *o,
	    const struct pool *p)
{
	return (!p || j->owner == p) && access_allows_pool(c, CLASS_READ, job_pool(j)) &&
	       (!(o->given & OPTION_STATE) || j->state == o->state) &&
	       (!(o->given & OPTION_REASON) || (job_is_over(j) && j->reason == o->reason));
}

/* The pool of that name, where r may look at it; NULL, and the error is in r->out. */
static const struct pool *
readable_pool(struct request *r, const struct resp_slice *name)
{
	const struct pool *p = pools_find(r->server->pools, name->data, name->len);

	if (!p)
		request_put_no_pool(r, name);
	else if (!access_allows_pool(r->client, CLASS_READ, p))
		request_refuse(r, p);
	else
		return p;
	return NULL;
}

static void
cmd_jobs(struct request *r)
{
	struct ids *jobs = &r->server->pools->jobs;
	struct options room;
	const struct options *o = options_read(r, 1, r->argc, &room);
	const struct pool *p = NULL;
	const struct job **found, *j;
	size_t n = 0;

	if (!o)
		return;
	if (o->given & OPTION_POOL && !(p = readable_pool(r, &o->pool)))
		return;
	found = mem_array(o->count, sizeof(*found));
	for (j = ids_next(jobs, o->after); j && n < o->count; j = ids_next(jobs, j->id))
		if (job_matches(r->client, j, o, p))
			found[n++] = j;
	resp_put_array(r->out, n);
	for (size_t i = 0; i < n; i++)
		put_job(r, found[i]);
	free(found);
}

#define OPTIONAL(name, token)                                                                      \
	{                                                                                          \
		name, token, true, false, false                                                    \
	}

const struct command job_commands[] = {
	{.name = "RUN",
	 .arity = -3,
	 .class = CLASS_SUBMIT,
	 .summary = "Give a job to a pool and wait for its result",
	 .handle = cmd_run,
	 .defers = true,
	 .brief = true,
	 .args = {{.name = "pool", .is_pool = true},
		  OPTIONAL("key", "KEY"),
		  OPTIONAL("timeout", "TIMEOUT"),
		  OPTIONAL("keep", "KEEP"),
		  OPTIONAL("wait", "WAIT"),
		  {.name = "payload"}}},
	{.name = "SUBMIT",
	 .arity = -3,
	 .class = CLASS_SUBMIT,
	 .summary = "Give a job to a pool and get its id",
	 .handle = cmd_submit,
	 .accept = submit_accept,
	 .defers = true,
	 .brief = true,
	 .args = {{.name = "pool", .is_pool = true},
		  OPTIONAL("key", "KEY"),
		  OPTIONAL("timeout", "TIMEOUT"),
		  OPTIONAL("keep", "KEEP"),
		  {.name = "payload"}}},
	{.name = "RESULT",
	 .arity = -2,
	 .class = CLASS_SUBMIT,
	 .summary = "Get a job's result, or null while it is not finished",
	 .handle = cmd_result,
	 .args = {{.name = "id"}, OPTIONAL("wait", "WAIT")}},
	{.name = "AWAIT",
	 .arity = -4,
	 .class = CLASS_SUBMIT,
	 .summary = "Wait for one of some jobs, or for all; those that are finished",
	 .handle = cmd_await,
	 .args = {{.name = "ANY|ALL"}, {.name = "duration"}, {.name = "id", .multiple = true}}},
	{.name = "CANCEL",
	 .arity = -2,
	 .class = CLASS_SUBMIT,
	 .summary = "Cancel jobs that are queued or running; how many were",
	 .handle = cmd_cancel,
	 .args = {{.name = "id", .multiple = true}}},
	{.name = "FORGET",
	 .arity = -2,
	 .class = CLASS_SUBMIT,
	 .summary = "Keep jobs that are over no longer; how many there were",
	 .handle = cmd_forget,
	 .args = {{.name = "id", .multiple = true}}},
	{.name = "JOB",
	 .arity = 2,
	 .class = CLASS_READ,
	 .summary = "Everything that is known of a job",
	 .handle = cmd_job,
	 .args = {{.name = "id"}}},
	{.name = "JOBS",
	 .arity = -1,
	 .class = CLASS_READ,
	 .summary = "Jobs in the order of their ids, a page at a time",
	 .handle = cmd_jobs,
	 .args = {OPTIONAL("pool", "POOL"), OPTIONAL("state", "STATE"),
		  OPTIONAL("reason", "REASON"), OPTIONAL("count", "COUNT"),
		  OPTIONAL("after", "AFTER")}},
	{.name = NULL},
};
