/* SPDX-License-Identifier: MIT */
#include "ctl/map.h"
#include "base/fd.h"
#include "ctl/args.h"
#include "ctl/errors.h"
#include "ctl/reply.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PRIVATE_POOL "map"
#define OUT_CHUNK (64U << 10)

/* CPUs that this process may use. */
static long
count_cpus(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		return CPU_COUNT(&set);
	long n = sysconf(_SC_NPROCESSORS_ONLN);
	return n > 0 ? n : 1;
}

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
ask_pool(struct ctl *ctl, struct map_pool *pool)
{
	const char *words[] = {"POOL", pool->name};
	redisReply *r = NULL;
	int status = ctl_call_words(ctl, words, 2, &r);

	if (status)
		return status;
	pool->slots = reply_int(r, "workers", 1) * reply_int(r, "pipeline", 1);
	pool->queue_limit = reply_int(r, "queue_limit", 128);
	freeReplyObject(r);
	return STATUS_OK;
}

static void
report_end(const struct map *m, int status)
{
	if (m->hung_up && status == STATUS_NO_DAEMON && !m->pool.own)
		ctl_warn("the daemon went away at line %llu", (unsigned long long)m->head + 1);
	else if (m->failed > 1 && status == STATUS_FAILED)
		ctl_warn("%llu of %llu lines failed", (unsigned long long)m->failed,
			 (unsigned long long)m->head);
}

/* Map over the connection that ctl has; which is closed at the end. */
static int
map_connected(struct ctl *ctl, struct map_pool *pool, bool *ret_hung_up)
{
	struct map m = {
		.in = STDIN_FILENO,
		.out_at_once = ctl->terminal,
	};
	int status = ask_pool(ctl, pool);

	if (status)
		return status;
	m.sock = redisFreeKeepFd(ctl->redis);
	ctl->redis = NULL;
	open_output(&m);
	map_init(&m, pool);
	status = map_loop(&m);
	report_end(&m, status);
	if (pool->own && map_finished(&m))
		private_stop(m.sock);
	*ret_hung_up = m.hung_up && !map_finished(&m);
	fd_close(&m.sock);
	if (m.out != STDOUT_FILENO)
		fd_close(&m.out);
	map_release(&m);
	return status;
}

static int
map_over_pool(struct ctl *ctl, const struct args *args)
{
	struct map_pool pool = {.name = args->words[0], .timeout = args->values[OPT_TIMEOUT]};
	bool hung_up = false;

	return map_connected(ctl, &pool, &hung_up);
}

static int
map_over_command(struct ctl *ctl, const struct args *args)
{
	struct map_pool pool = {
		.name = PRIVATE_POOL,
		.timeout = args->values[OPT_TIMEOUT],
		.own = true,
	};
	struct private_daemon daemon = {.fd = -1};
	const char *workers = args->values[OPT_WORKERS];
	const char *protocol = args->values[OPT_FILTER] ? "filter" :
			       args->values[OPT_FRAME]	? "frame" :
							  "line";
	bool hung_up = false;
	int status = private_start(&daemon, workers ? strtol(workers, NULL, 10) : count_cpus(),
				   protocol, args->words);

	if (status)
		return status;
	ctl->own_daemon = true;
	ctl->redis = redisConnectFd(daemon.fd);
	status = map_connected(ctl, &pool, &hung_up);
	bool broken = ctl->redis && ctl->redis->err;
	if (ctl->redis)
		redisFree(ctl->redis);
	ctl->redis = NULL;
	/* what the daemon died of says more than that it is gone */
	int ended = private_wait(&daemon, hung_up || broken);
	return ended ? ended : status;
}

int
verb_map(struct ctl *ctl, const struct args *args)
{
	const struct verb *v = verb_find("map");
	const char *const *values = args->values;

	if (values[OPT_FILTER] && values[OPT_FRAME])
		return args_usage(v, "--filter or --frame, not both");
	if (args->command == 0 && args->count > 0) {
		/* the words go to execve as they are */
		args->words[args->count] = NULL;
		return map_over_command(ctl, args);
	}
	if (args->count == 0)
		return args_usage(v, "map wants a pool, or a command behind --");
	if (args->count > 1)
		return args_usage(v, "one pool, or a command behind --: preforkctl map -- %s ...",
				  args->words[0]);
	if (values[OPT_WORKERS] || values[OPT_FILTER] || values[OPT_FRAME])
		return args_usage(v,
				  "-j, --filter and --frame are for a command behind --; the "
				  "pool \"%s\" has its own settings",
				  args->words[0]);
	return map_over_pool(ctl, args);
}
