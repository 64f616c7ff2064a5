/* SPDX-License-Identifier: MIT */
#include "ctl/map.h"
#include "base/fd.h"
#include "ctl/args.h"
#include "ctl/map_options.h"
#include "ctl/reply.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OUT_CHUNK (64U << 10)

/* Where results are written to without ever blocking. O_NONBLOCK on a pipe that
 * others hold too would be theirs as well, so it is opened once more; where that
 * cannot be done, what poll has announced is little enough to be safe. */
static void
open_output(struct map *m)
{
	struct stat st;

	m->out = STDOUT_FILENO;
	m->out_chunk = OUT_CHUNK;
	if (fstat(m->out, &st) != 0 || !S_ISFIFO(st.st_mode))
		return;
	int fd = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0)
		m->out = fd;
	else
		m->out_chunk = PIPE_BUF;
}

/* What POOL says about the pool; an exit status. */
static int
ask_pool(struct ctl *ctl, struct map_setup *setup)
{
	const char *words[] = {"POOL", setup->pool};
	redisReply *r = NULL;
	int status = ctl_call_words(ctl, words, 2, &r);

	if (status)
		return status;
	setup->slots = reply_int(r, "workers", 1) * reply_int(r, "pipeline", 1);
	setup->queue_limit = reply_int(r, "queue_limit", 128);
	freeReplyObject(r);
	return STATUS_OK;
}

/* Bytes of the input from here on, where it is a file. */
static uint64_t
input_size(void)
{
	struct stat st;
	off_t at = lseek(STDIN_FILENO, 0, SEEK_CUR);

	if (at < 0 || fstat(STDIN_FILENO, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size <= at)
		return 0;
	return (uint64_t)(st.st_size - at);
}

/* Its connections: those for jobs, and then one for questions if that is wanted. */
struct conns {
	int fds[MAP_CONNS_MAX + 1];
	size_t n;
	int ask;      /* -1: none */
	int messages; /* of a private daemon; -1: none */
};

/* Map over connections that are there, which stay; a private daemon whose work is
 * done is told that this is the end. */
static int
map_over(struct ctl *ctl, const struct map_plan *plan, const struct conns *c, bool *ret_hung_up)
{
	struct screen screen;
	struct map m = {.in = STDIN_FILENO, .out_at_once = ctl->terminal, .log = plan->log};

	screen_open(&screen, plan->progress, c->ask, c->messages);
	m.screen = &screen;
	map_init(&m, &plan->setup, c->fds, c->n);
	open_output(&m);
	m.signals = map_signals_hold();
	int status = map_loop(&m);
	map_report(&m, ctl, status, plan->summary);
	map_signals_release(m.signals);
	if (plan->setup.own && map_finished(&m))
		private_stop(c->fds[0]);
	*ret_hung_up = m.hung_up && !map_finished(&m);
	if (m.out != STDOUT_FILENO)
		fd_close(&m.out);
	map_release(&m);
	screen_close(&screen);
	return status;
}

/* --- a pool of the daemon --- */

static int
connect_all(struct ctl *ctl, const struct map_plan *plan, struct conns *c)
{
	size_t wanted = map_conns_wanted(&plan->setup) + plan->progress;

	c->fds[c->n++] = redisFreeKeepFd(ctl->redis);
	ctl->redis = NULL;
	while (c->n < wanted) {
		int status = ctl_open(ctl, &c->fds[c->n]);
		if (status)
			return status;
		c->n++;
	}
	if (plan->progress)
		c->ask = c->fds[--c->n];
	return STATUS_OK;
}

static void
close_conns(struct conns *c)
{
	for (size_t i = 0; i < c->n; i++)
		fd_close(&c->fds[i]);
	fd_close(&c->ask);
}

static int
map_over_pool(struct ctl *ctl, struct map_plan *plan)
{
	struct conns c = {.ask = -1, .messages = -1};
	bool hung_up = false;
	int status = ask_pool(ctl, &plan->setup);

	if (status)
		return status;
	status = connect_all(ctl, plan, &c);
	if (status == STATUS_OK)
		status = map_over(ctl, plan, &c, &hung_up);
	close_conns(&c);
	return status;
}

/* --- a command --- */

static int
map_over_private(struct ctl *ctl, struct map_plan *plan, struct private_daemon *daemon,
		 bool *ret_early)
{
	struct conns c = {.n = daemon->n, .ask = -1, .messages = daemon->messages};
	int status;

	memcpy(c.fds, daemon->fds, sizeof(c.fds));
	ctl->redis = redisConnectFd(c.fds[0]);
	status = ask_pool(ctl, &plan->setup);
	*ret_early = ctl->redis && ctl->redis->err;
	if (ctl->redis)
		redisFreeKeepFd(ctl->redis);
	ctl->redis = NULL;
	if (plan->progress)
		c.ask = c.fds[--c.n];
	return status ? status : map_over(ctl, plan, &c, ret_early);
}

static int
map_over_command(struct ctl *ctl, struct map_plan *plan)
{
	struct private_daemon daemon = {.messages = -1};
	bool early = false;

	/* what POOL will say, which its connections are made before */
	plan->setup.slots = plan->own.workers;
	plan->own.conns = map_conns_wanted(&plan->setup) + plan->progress;
	plan->own.relay = plan->progress;
	int status = private_start(&daemon, &plan->own);
	if (status)
		return status;
	ctl->own_daemon = true;
	status = map_over_private(ctl, plan, &daemon, &early);
	/* what the daemon died of says more than that it is gone */
	int ended = private_wait(&daemon, early);
	return ended ? ended : status;
}

/* --- the verb --- */

int
verb_map(struct ctl *ctl, const struct args *args)
{
	struct map_plan plan;
	struct map_log log;
	int status = map_plan(&plan, args);

	if (status)
		return status;
	status = map_log_open(&log, plan.log_path, plan.log_use);
	plan.log = &log;
	plan.setup.in_size = input_size();
	if (!status)
		status = plan.setup.own ? map_over_command(ctl, &plan) : map_over_pool(ctl, &plan);
	map_log_close(&log);
	/* ended by a signal: whoever waits for us is told so in the usual way */
	if (status > 128) {
		signal(status - 128, SIG_DFL);
		raise(status - 128);
	}
	return status;
}
