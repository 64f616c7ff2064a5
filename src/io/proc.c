/* SPDX-License-Identifier: MIT */
#include "io/proc.h"

#include "base/buf.h"
#include "base/fd.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- descriptors ---- */

struct fds {
	struct spawn_fds ours;
	int in, out, err, status; /* the child's */
};

static void
fds_close(struct fds *f)
{
	if (f->ours.out != f->ours.in)
		fd_close(&f->ours.out);
	fd_close(&f->ours.in);
	fd_close(&f->ours.err);
	fd_close(&f->ours.status);
	if (f->out != f->in)
		fd_close(&f->out);
	fd_close(&f->in);
	fd_close(&f->err);
	fd_close(&f->status);
}

/* The child's ends are raised above the numbers that they are copied to. Only
 * ours is nonblocking: SOCK_NONBLOCK or O_NONBLOCK at birth would mark both. */
static int
fds_pair(int pair[2], int *ret_ours, int *ret_theirs)
{
	int r;

	*ret_ours = pair[0];
	*ret_theirs = -1;
	r = fd_raise(pair[1]);
	if (r < 0)
		return r;
	*ret_theirs = r;
	return fd_set_nonblock(pair[0]);
}

static int
fds_socketpair(int *ret_ours, int *ret_theirs)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	return fds_pair(pair, ret_ours, ret_theirs);
}

static int
fds_pipe(bool we_write, int *ret_ours, int *ret_theirs)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return -errno;
	return fds_pair((int[2]){p[we_write], p[!we_write]}, ret_ours, ret_theirs);
}

static int
fds_open(struct fds *f, enum conf_channel channel)
{
	int r;

	*f = (struct fds){.ours = {-1, -1, -1, -1}, .in = -1, .out = -1, .err = -1, .status = -1};
	if (channel == CHANNEL_PIPE) {
		r = fds_pipe(true, &f->ours.out, &f->in);
		if (r >= 0)
			r = fds_pipe(false, &f->ours.in, &f->out);
	} else {
		r = fds_socketpair(&f->ours.in, &f->in);
		f->ours.out = f->ours.in;
		f->out = f->in;
	}
	if (r >= 0)
		r = fds_pipe(false, &f->ours.err, &f->err);
	if (r >= 0)
		r = fds_pipe(false, &f->ours.status, &f->status);
	if (r < 0)
		fds_close(f);
	return r;
}

/* ---- the loader's arguments ---- */

/* Words packed one behind the other, each NUL-terminated. */
struct words {
	struct buf text;
	size_t count;
};

__attribute__((format(printf, 2, 3))) static void
word(struct words *w, const char *fmt, ...)
{
	char *s = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		mem_out();
	va_end(ap);
	buf_put(&w->text, s, strlen(s) + 1);
	w->count++;
	free(s);
}

static const struct {
	int resource;
	const char *name;
} limit_names[] = {
	{RLIMIT_AS, "as"},	   {RLIMIT_CORE, "core"},   {RLIMIT_CPU, "cpu"},
	{RLIMIT_DATA, "data"},	   {RLIMIT_FSIZE, "fsize"}, {RLIMIT_MEMLOCK, "memlock"},
	{RLIMIT_NOFILE, "nofile"}, {RLIMIT_NPROC, "nproc"}, {RLIMIT_STACK, "stack"},
};

static void
words_limits(struct words *w, const struct conf_run_as *ra)
{
	for (size_t i = 0; i < sizeof(limit_names) / sizeof(limit_names[0]); i++) {
		uint64_t v = ra->limits[limit_names[i].resource];

		if (v == CONF_RLIMIT_UNSET)
			continue;
		if (v == RLIM_INFINITY)
			word(w, "--rlimit=%s:infinity", limit_names[i].name);
		else
			word(w, "--rlimit=%s:%llu", limit_names[i].name, (unsigned long long)v);
	}
}

static void
words_identity(struct words *w, const struct conf_run_as *ra)
{
	struct buf groups = {0};

	if (ra->gid != (gid_t)-1)
		word(w, "--gid=%u", ra->gid);
	if (ra->uid == (uid_t)-1)
		return;
	for (size_t i = 0; i < ra->n_groups; i++)
		buf_putf(&groups, i ? ",%u" : "%u", ra->groups[i]);
	word(w, "--groups=%.*s", (int)buf_len(&groups), groups.data ? buf_head(&groups) : "");
	word(w, "--uid=%u", ra->uid);
	buf_free(&groups);
}

/* An argv for the loader: one malloc'ed array whose strings are in words and in
 * the command. */
static char **
loader_argv(struct words *w, const struct spawn *how, int close_from)
{
	size_t n_command = 0, n = 0;
	char **argv, *at;

	word(w, "%s", how->loader);
	word(w, "--status=%d", close_from);
	word(w, "--close-from=%d", close_from);
	word(w, "--chdir=%s", how->run_as->directory);
	word(w, "--umask=%04o", (unsigned)how->run_as->umask);
	if (how->run_as->nice)
		word(w, "--nice=%d", (int)how->run_as->nice);
	words_limits(w, how->run_as);
	word(w, "--soft-nofile=%llu", (unsigned long long)how->soft_nofile);
	words_identity(w, how->run_as);
	if (how->run_as->no_new_privs)
		word(w, "--no-new-privs");
	word(w, "--");
	if (buf_failed(&w->text))
		mem_out();
	while (how->command[n_command])
		n_command++;
	argv = mem_array(w->count + n_command + 1, sizeof(*argv));
	for (at = buf_head(&w->text); n < w->count; at += strlen(at) + 1)
		argv[n++] = at;
	memcpy(argv + n, how->command, n_command * sizeof(*argv));
	return argv;
}

/* ---- the spawn itself ---- */

static int
add_descriptors(posix_spawn_file_actions_t *fa, const struct fds *f, enum conf_channel channel)
{
	int r;

	if (channel == CHANNEL_FD3) {
		r = posix_spawn_file_actions_addopen(fa, 0, "/dev/null", O_RDONLY, 0);
		r = r ? r : posix_spawn_file_actions_adddup2(fa, f->err, 1);
		r = r ? r : posix_spawn_file_actions_adddup2(fa, f->in, 3);
	} else {
		r = posix_spawn_file_actions_adddup2(fa, f->in, 0);
		r = r ? r : posix_spawn_file_actions_adddup2(fa, f->out, 1);
	}
	r = r ? r : posix_spawn_file_actions_adddup2(fa, f->err, 2);
	return r ? r :
		   posix_spawn_file_actions_adddup2(fa, f->status, channel == CHANNEL_FD3 ? 4 : 3);
}

static int
spawn_now(const struct spawn *how, const struct fds *f, char *const *argv, pid_t *ret_pid)
{
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	sigset_t all, none;
	int r;

	sigfillset(&all);
	sigemptyset(&none);
	posix_spawn_file_actions_init(&fa);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF |
						POSIX_SPAWN_SETSIGMASK);
	posix_spawnattr_setpgroup(&attr, 0);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setsigmask(&attr, &none);
	r = add_descriptors(&fa, f, how->channel);
	if (!r)
		r = posix_spawn(ret_pid, how->loader, &fa, &attr, argv, how->environment);
	posix_spawn_file_actions_destroy(&fa);
	posix_spawnattr_destroy(&attr);
	return -r;
}

/* ---- the end ---- */

/* Those that are watched, by pid. The kernel knows children of a process, not of
 * a loop, and so does this. */
static struct map watched;

struct proc *
proc_find(pid_t pid)
{
	struct map_node *n = map_find(&watched, map_hash_u64((uint64_t)pid));

	for (; n; n = map_find_next(n)) {
		struct proc *p = container_of(n, struct proc, by_pid);

		if (p->pid == pid)
			return p;
	}
	return NULL;
}

bool
proc_reap(struct proc *p)
{
	siginfo_t si = {.si_pid = 0};

	if (waitid(P_PIDFD, (id_t)p->pidfd, &si, WEXITED | WNOHANG | WNOWAIT) < 0 || !si.si_pid)
		return false;
	/* It is a zombie still, so its group's number cannot be anybody else's: what
	 * it left behind in there goes with it. */
	kill(-p->pid, SIGKILL);
	waitpid(p->pid, &p->status, 0);
	p->exited = true;
	proc_forget(p);
	p->on_exit(p);
	return true;
}

static void
on_pidfd(struct watch *w, uint32_t events)
{
	(void)events;
	proc_reap(container_of(w, struct proc, watch));
}

static int
proc_watch(struct proc *p)
{
	if (map_add(&watched, &p->by_pid, map_hash_u64((uint64_t)p->pid)) < 0)
		return -ENOMEM;
	p->known = true;
	p->pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
	if (p->pidfd < 0)
		return -errno;
	return watch_add(p->loop, &p->watch, p->pidfd, EPOLLIN, on_pidfd);
}

int
proc_spawn(struct proc *p, struct loop *l, const struct spawn *how, void (*on_exit)(struct proc *),
	   struct spawn_fds *ret)
{
	struct words words = {.count = 0};
	struct fds f;
	char **argv;
	int r;

	*p = (struct proc){.loop = l, .pidfd = -1, .watch.fd = -1, .on_exit = on_exit};
	r = fds_open(&f, how->channel);
	if (r < 0)
		return r;
	argv = loader_argv(&words, how, how->channel == CHANNEL_FD3 ? 4 : 3);
	r = spawn_now(how, &f, argv, &p->pid);
	free(argv);
	buf_free(&words.text);
	if (r >= 0) {
		r = proc_watch(p);
		if (r < 0) { /* cannot be watched: it must not run */
			kill(-p->pid, SIGKILL);
			waitpid(p->pid, NULL, 0);
			proc_forget(p);
		}
	}
	if (r < 0) {
		fds_close(&f);
		p->pid = 0;
		return r;
	}
	*ret = f.ours;
	f.ours = (struct spawn_fds){-1, -1, -1, -1};
	fds_close(&f);
	return 0;
}

void
proc_signal(struct proc *p, int signo)
{
	if (!p->pid || p->exited)
		return;
	kill(-p->pid, signo);
	if (getpgid(p->pid) != p->pid)
		syscall(SYS_pidfd_send_signal, p->pidfd, signo, NULL, 0);
}

void
proc_forget(struct proc *p)
{
	if (!p->loop)
		return;
	if (p->known)
		map_remove(&watched, &p->by_pid);
	p->known = false;
	if (!watched.count)
		map_free(&watched);
	watch_remove(p->loop, &p->watch);
	fd_close(&p->pidfd);
}

void
proc_describe(int status, char *dst, size_t cap)
{
	if (WIFSIGNALED(status)) {
		const char *name = sigabbrev_np(WTERMSIG(status));

		snprintf(dst, cap, "killed by signal %d (%s%s)%s", WTERMSIG(status),
			 name ? "SIG" : "", name ? name : "?",
			 WCOREDUMP(status) ? ", core dumped" : "");
	} else {
		snprintf(dst, cap, "exited with status %d", WEXITSTATUS(status));
	}
}
