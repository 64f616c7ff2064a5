/* SPDX-License-Identifier: MIT */
/*
 * proc - spawn one worker process through the chain loader, and watch its end.
 *
 * Floor 3. The master never runs anybody else's code: posix_spawn() executes
 * preforkd-exec, which sets the process up as struct conf_run_as says, reports a
 * step that failed on the status pipe, and becomes the worker. Owned by the
 * worker that embeds it. No other descriptor of ours is open in the child.
 */
#pragma once

#include "base/map.h"
#include "core/conf.h"
#include "io/loop.h"

#include <sys/types.h>

struct proc {
	struct loop *loop;
	pid_t pid; /* 0: none */
	int pidfd;
	struct watch watch;
	struct map_node by_pid;
	bool known;  /* to proc_find() */
	bool exited; /* and reaped: pid is a number to show, no longer one to signal */
	int status;  /* as of waitpid(2) */
	void (*on_exit)(struct proc *p); /* called once, when it has been reaped */
};

struct spawn {
	const char *loader;
	char *const *command;
	char *const *environment;
	enum conf_channel channel;
	const struct conf_run_as *run_as;
	uint64_t soft_nofile; /* where run_as has no limit: ours is raised for our own sake */
};

/* Our ends, nonblocking, close-on-exec; the caller owns them. */
struct spawn_fds {
	int in, out; /* the channel: we read in and write out; one descriptor unless CHANNEL_PIPE */
	int err;     /* its standard error */
	int status;  /* the loader's report: a line of text, or end of file */
};

/* 0 or -errno; on failure nothing is left behind. */
int proc_spawn(struct proc *p, struct loop *l, const struct spawn *how,
	       void (*on_exit)(struct proc *), struct spawn_fds *ret);

/* To the whole process group, and to the process should it have left it. No-op
 * when it has been reaped. */
void proc_signal(struct proc *p, int signo);

/* The one that is watched and has this pid, or NULL. */
struct proc *proc_find(pid_t pid);

/* If it has ended: reap it, with what is left of its group, and call on_exit(). This
 * happens by itself; it is for whoever sees the end first. True when it did. */
bool proc_reap(struct proc *p);

/* Stop watching; the process is not touched. */
void proc_forget(struct proc *p);

/* "killed by signal 9 (SIGKILL)", "exited with status 3". */
void proc_describe(int status, char *dst, size_t cap);
