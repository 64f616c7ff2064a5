/* SPDX-License-Identifier: MIT */
#include "base/mem.h"
#include "pool/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

/* Ids are never used again, across restarts too: they begin at the start's time
 * in units of 100 ns, which ten million jobs a second would not overtake, and all
 * stay below 2^53, which is what clients that hold numbers as doubles can take. */
#define ID_EPOCH 1735689600 /* 2025-01-01 */
#define IDS_A_SECOND UINT64_C(10000000)

static uint64_t
first_id(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	if (ts.tv_sec < ID_EPOCH)
		return 1;
	return (uint64_t)(ts.tv_sec - ID_EPOCH) * IDS_A_SECOND + (uint64_t)ts.tv_nsec / 100 + 1;
}

struct pools *
pools_new(struct loop *l, const struct conf *conf, const char *loader, uint64_t soft_nofile,
	  char **environ_)
{
	struct pools *ps = mem_new(sizeof(*ps));
	bool whole = conf->n_pools && conf->pools[0].run_as.whole_environment;

	ps->loop = l;
	ps->loader = loader;
	ps->soft_nofile = soft_nofile;
	ps->base_environment = environment_base(environ_, whole);
	ps->count = conf->n_pools;
	ps->v = mem_array(ps->count, sizeof(*ps->v));
	ps->next_id = first_id();
	list_init(&ps->woken);
	list_init(&ps->flush);
	ids_init(&ps->jobs);
	for (size_t i = 0; i < ps->count; i++)
		ps->v[i] = pool_new(ps, ps->places++, &conf->pools[i]);
	return ps;
}

/* What is still there is killed and reaped; a stop leaves nothing for this. */
static void
pools_reap(struct pools *ps)
{
	for (size_t i = 0; i < ps->count; i++)
		for (unsigned n = 0; n < ps->v[i]->slots; n++) {
			struct proc *p = &ps->v[i]->workers[n]->proc;

			if (!p->pid || p->exited)
				continue;
			proc_signal(p, SIGKILL);
			while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR)
				;
			p->exited = true;
		}
}

void
pools_free(struct pools *ps)
{
	struct job *j;

	if (!ps)
		return;
	pools_reap(ps);
	while ((j = ids_next(&ps->jobs, 0)))
		pool_forget(j);
	for (size_t i = 0; i < ps->count; i++)
		pool_free(ps->v[i]);
	ids_free(&ps->jobs);
	map_free(&ps->keys);
	environment_free(ps->base_environment);
	free(ps->v);
	free(ps);
}

static void
pools_flush(struct pools *ps)
{
	list_foreach(it, next, &ps->flush) {
		struct worker *w = container_of(it, struct worker, flush);

		list_remove(it);
		worker_flush(w);
	}
}

void
pools_listen(struct pools *ps, const struct pools_ops *ops, void *ctx)
{
	ps->ops = ops;
	ps->ops_ctx = ctx;
}

void
pools_turn(struct pools *ps, mono_t now)
{
	struct list *l;

	while (!list_empty(&ps->woken)) {
		while ((l = list_first(&ps->woken))) {
			list_remove(l);
			pool_pump(container_of(l, struct pool, woken), now);
		}
		pools_flush(ps); /* a worker that cannot be written to is news */
	}
}

/* Where as much is queued as they can take, or more, what else comes does not matter to
 * them: else they might get in two writes, and wake up twice for, what would be one. */
void
pools_feed(struct pools *ps, mono_t now)
{
	list_foreach(it, next, &ps->woken) {
		struct pool *p = container_of(it, struct pool, woken);

		if (!p->room || p->queue.count - p->queue.passed < p->room)
			continue;
		list_remove(it);
		pool_pump(p, now);
	}
	pools_flush(ps);
}

static bool
is_named(const struct pool *p, const char *name, size_t len)
{
	return p->name_len == len && !memcmp(p->conf->name, name, len);
}

/* Most often it is the one that it was before. */
struct pool *
pools_find(struct pools *ps, const char *name, size_t len)
{
	if (ps->found && is_named(ps->found, name, len))
		return ps->found;
	for (size_t i = 0; i < ps->count; i++)
		if (is_named(ps->v[i], name, len))
			return ps->found = ps->v[i];
	return NULL;
}

struct job *
pools_job(struct pools *ps, uint64_t id)
{
	return ids_find(&ps->jobs, id);
}

static void
pools_wake(struct pools *ps)
{
	for (size_t i = 0; i < ps->count; i++)
		pool_wake(ps->v[i]);
}

void
pools_drain(struct pools *ps)
{
	if (ps->mode != POOLS_OPEN)
		return;
	ps->mode = POOLS_DRAINING;
	pools_wake(ps);
}

void
pools_stop(struct pools *ps, bool fast)
{
	ps->mode = POOLS_STOPPING;
	ps->fast |= fast;
	pools_wake(ps);
}

bool
pools_settled(const struct pools *ps)
{
	for (size_t i = 0; i < ps->count; i++)
		if (!pool_is_settled(ps->v[i]))
			return false;
	return true;
}

bool
pools_finished(const struct pools *ps)
{
	for (size_t i = 0; i < ps->count; i++)
		if (!pool_is_finished(ps->v[i]))
			return false;
	return true;
}

unsigned
pools_processes(const struct pools *ps)
{
	unsigned found = 0;

	for (size_t i = 0; i < ps->count; i++)
		for (unsigned n = 0; n < ps->v[i]->slots; n++)
			found += ps->v[i]->workers[n]->state != SLOT_DOWN;
	return found;
}

struct pools_totals
pools_total(const struct pools *ps)
{
	struct pools_totals t = {0};

	for (size_t i = 0; i < ps->count; i++) {
		const struct pool *p = ps->v[i];

		t.up += p->up;
		t.wanted += p->wanted;
		t.busy += pool_count_workers(p).busy;
		t.queued += p->queue.count;
		t.running += p->running;
		t.bytes += pool_bytes(p);
		t.done += p->stats.done;
		t.failed += p->stats.failed;
		t.broken += p->stats.broken;
	}
	return t;
}
