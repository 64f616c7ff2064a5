/* SPDX-License-Identifier: MIT */
#include "io/orphans.h"

#include "base/fd.h"
#include "base/list.h"
#include "base/log.h"
#include "io/proc.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define TURN_US 2000 /* none is reaped later in a turn */

/* Look at one that has ended, and leave it. Its pid; 0: none has, -errno: there
 * are no children. Of whatever kind (__WALL) they are. */
static pid_t
peek(void)
{
	siginfo_t si = {.si_pid = 0};

	if (waitid(P_ALL, 0, &si, WEXITED | WNOHANG | WNOWAIT | __WALL) < 0)
		return -errno;
	return si.si_pid;
}

/* A worker that has ended is told of here as well as by its pidfd, and would stay
 * in front of all others: it is reaped the way that its pidfd would have it. */
static bool
reap_one(unsigned *orphans)
{
	pid_t pid = peek();
	struct proc *worker;

	if (pid <= 0)
		return false;
	worker = proc_find(pid);
	if (worker)
		return proc_reap(worker);
	if (waitpid(pid, NULL, WNOHANG | __WALL) != pid)
		return false;
	++*orphans;
	return true;
}

/* All that have ended, or a turn's share of them. How long one takes depends on how
 * many children the kernel has to pass over, so the share is one of time. */
static void
on_due(struct timer *t, mono_t now)
{
	struct orphans *o = container_of(t, struct orphans, due);
	mono_t end = mono_add(mono_now(), TURN_US);
	unsigned orphans = 0;
	bool more;

	do
		more = reap_one(&orphans);
	while (more && mono_before(mono_now(), end));
	if (more)
		timer_set(loop_timers(o->loop), t, now); /* in the next turn */
	if (orphans)
		log_msg(LOG_DEBUG, "reaped %u process%s that no pool has started", orphans,
			orphans == 1 ? "" : "es");
}

/* One signal may stand for any number of them, so all are looked for. It is taken
 * before that: one that ends meanwhile raises it again. */
static void
on_sigchld(struct watch *w, uint32_t events)
{
	struct orphans *o = container_of(w, struct orphans, watch);
	struct signalfd_siginfo si;

	(void)events;
	if (read(w->fd, &si, sizeof(si)) > 0)
		timer_set(loop_timers(o->loop), &o->due, loop_now(o->loop));
}

int
orphans_start(struct orphans *o, struct loop *l)
{
	sigset_t set;
	int fd, r;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	fd = fd < 0 ? -errno : fd_raise(fd);
	if (fd < 0)
		return fd;
	r = watch_add(l, &o->watch, fd, EPOLLIN, on_sigchld);
	if (r < 0) {
		fd_close(&fd);
		return r;
	}
	o->loop = l;
	o->due.on_due = on_due;
	timer_set(loop_timers(l), &o->due, loop_now(l)); /* those that have ended already */
	return 0;
}

void
orphans_stop(struct orphans *o)
{
	int fd = o->watch.fd;

	if (!o->loop)
		return;
	timer_clear(loop_timers(o->loop), &o->due);
	watch_remove(o->loop, &o->watch);
	fd_close(&fd);
	o->loop = NULL;
}

bool
orphans_live(void)
{
	pid_t pid;

	while ((pid = peek()) > 0 && waitpid(pid, NULL, WNOHANG | __WALL) == pid)
		;
	return pid == 0;
}
