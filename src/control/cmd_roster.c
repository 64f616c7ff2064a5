/* SPDX-License-Identifier: MIT */
/* Commands that change which workers a pool has: SCALE, RESTART. */
#include "base/parse.h"
#include "base/text.h"
#include "control/command.h"

/* False: workers are only ended now, and r->out says so. */
static bool
may_change_workers(struct request *r, const struct pool *p)
{
	if (pool_mode(p) == POOLS_OPEN)
		return true;
	resp_put_errorf(r->out, "DRAINING", "%s finishes what it has and starts nothing anew",
			p->mode == POOLS_OPEN ? "preforkd" : "the pool");
	return false;
}

static void
put_bad_number(struct request *r, const struct resp_slice *word, const char *what, uint64_t min,
	       uint64_t max)
{
	char shown[64];

	text_escape(shown, sizeof(shown), word->data, word->len);
	resp_put_errorf(r->out, "ERR", "%s: a number from %llu to %llu, not '%s'", what,
			(unsigned long long)min, (unsigned long long)max, shown);
}

/* ---- SCALE ---- */

static bool
has_room(struct request *r, const struct pool *p, unsigned n)
{
	uint64_t limit, fit = server_workers_that_fit(r->server, p, n, &limit);

	if (n <= p->wanted || n <= fit)
		return true;
	resp_put_errorf(r->out, "ERR",
			"the limit of %llu open files has room for %llu workers of pool '%s', "
			"beside the others and the clients (LimitNOFILE=)",
			(unsigned long long)limit, (unsigned long long)fit, p->conf->name);
	return false;
}

static void
cmd_scale(struct request *r)
{
	struct pool *p = request_pool(r);
	const struct resp_slice *word = &r->argv[2];
	uint64_t n;

	if (!p)
		return;
	if (parse_u64(word->data, word->len, CONF_WORKERS_MAX, &n) < 0 || n < 1) {
		put_bad_number(r, word, "workers", 1, CONF_WORKERS_MAX);
		return;
	}
	if (!may_change_workers(r, p) || !has_room(r, p, (unsigned)n))
		return;
	pool_scale(p, (unsigned)n);
	server_share(r->server);
	resp_put_simple(r->out, "OK");
}

/* ---- RESTART ---- */

static void
cmd_restart(struct request *r)
{
	struct pool *p = request_pool(r);
	const struct resp_slice *word = r->argc > 2 ? &r->argv[2] : NULL;
	uint64_t slot;

	if (!p || !may_change_workers(r, p))
		return;
	if (r->argc > 3) {
		resp_put_errorf(r->out, "ERR",
				"RESTART takes a pool, and one worker of it, or none for all");
		return;
	}
	if (word && parse_u64(word->data, word->len, p->wanted - 1, &slot) < 0) {
		put_bad_number(r, word, "worker", 0, p->wanted - 1);
		return;
	}
	if (word)
		pool_restart_slot(p, (unsigned)slot);
	else
		pool_restart(p);
	resp_put_simple(r->out, "OK");
}

const struct command roster_commands[] = {
	{.name = "SCALE",
	 .arity = 3,
	 .class = CLASS_ADMIN,
	 .summary = "Have so many workers in the pool",
	 .handle = cmd_scale,
	 .args = {{.name = "pool", .is_pool = true}, {.name = "workers"}}},
	{.name = "RESTART",
	 .arity = -2,
	 .class = CLASS_ADMIN,
	 .summary = "Replace the pool's workers one after the other, or one of them",
	 .handle = cmd_restart,
	 .args = {{.name = "pool", .is_pool = true}, {.name = "worker", .optional = true}}},
	{.name = NULL},
};
