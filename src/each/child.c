/* SPDX-License-Identifier: MIT */
#include "each/each.h"

#include "base/fd.h"
#include "base/mem.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#define READ_SIZE 65536

static const char too_long[] = "its output is longer than the pool's job.max_result";
static volatile sig_atomic_t told_to_end, pass_on;
static char **environment; /* of the children */
static char **of_the_job;  /* its place at the end of that for the two below */
static char job_id[sizeof("PREFORKD_JOB=") + 20], job_attempt[sizeof("PREFORKD_ATTEMPT=") + 20];

/* ---- setting up ---- */

/* The daemon's goes to the whole group, so the child has had it too; our own, at
 * a CANCEL, is for all but us. */
static void
on_term(int signo, siginfo_t *si, void *context)
{
	(void)signo;
	(void)context;
	if (si->si_pid == getpid())
		return;
	told_to_end = 1;
	pass_on = si->si_pid != getppid();
}

/* It only ends the waiting. */
static void
on_child(int signo)
{
	(void)signo;
}

/* A child is no worker: it does not get what only a worker can use. */
static void
make_environment(void)
{
	static const char *const ours[] = {
		"PREFORKD_PROTOCOL=", "PREFORKD_CHANNEL=", "PREFORKD_MAX_RESULT=", "PREFORKD_JOB=",
		"PREFORKD_ATTEMPT="};
	size_t n = 0, at = 0;

	while (environ[n])
		n++;
	environment = mem_array(n + 3, sizeof(*environment));
	for (char **v = environ; *v; v++) {
		bool drop = false;

		for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
			drop = drop || strncmp(*v, ours[i], strlen(ours[i])) == 0;
		if (!drop)
			environment[at++] = *v;
	}
	of_the_job = &environment[at]; /* NULL, as what follows */
}

/* Signals come while we wait, and never in between. */
void
child_setup(void)
{
	struct sigaction term = {.sa_sigaction = on_term, .sa_flags = SA_SIGINFO};
	struct sigaction child = {.sa_handler = on_child, .sa_flags = SA_NOCLDSTOP};
	sigset_t blocked;

	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigaddset(&blocked, SIGCHLD);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	sigaction(SIGTERM, &term, NULL);
	sigaction(SIGCHLD, &child, NULL);
	signal(SIGPIPE, SIG_IGN);
	make_environment();
}

bool
child_told_to_end(void)
{
	return told_to_end;
}

/* ---- start ---- */

static void
feed(struct child *c)
{
	while (c->feed_len) {
		ssize_t n = write(c->in, c->feed, c->feed_len);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0 && errno != EINTR)
			break; /* it does not want the rest */
		if (n > 0) {
			c->feed += n;
			c->feed_len -= (size_t)n;
		}
	}
	fd_close(&c->in);
}

/* Standard input: a pipe with as much as it holds of the payload, so that a small
 * one is done with already; or what is our own, which is empty. */
static int
open_input(struct child *c, const struct each_job *j, int *ret_theirs)
{
	int p[2], r;

	if (!j)
		return 0;
	if (pipe2(p, O_CLOEXEC) < 0)
		return errno;
	*ret_theirs = p[0];
	c->in = p[1];
	c->feed = j->payload;
	c->feed_len = j->len;
	r = fd_set_nonblock(c->in);
	if (r == 0)
		feed(c);
	return -r;
}

static int
open_output(int *ret_ours, int *ret_theirs)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return errno;
	*ret_ours = p[0];
	*ret_theirs = p[1];
	return 0;
}

static int
spawn(struct child *c, const char *path, char **argv, const int theirs[3])
{
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	sigset_t none, defaults;
	int r = 0;

	sigemptyset(&none);
	sigemptyset(&defaults);
	sigaddset(&defaults, SIGPIPE);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	posix_spawnattr_setsigdefault(&attr, &defaults);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawn_file_actions_init(&fa);
	for (int fd = 0; fd < 3 && !r; fd++)
		if (theirs[fd] >= 0)
			r = posix_spawn_file_actions_adddup2(&fa, theirs[fd], fd);
	if (!r)
		r = posix_spawn(&c->pid, path, &fa, &attr, argv, environment);
	posix_spawn_file_actions_destroy(&fa);
	posix_spawnattr_destroy(&attr);
	return r;
}

static void
close_all(int fds[3])
{
	for (int i = 0; i < 3; i++)
		fd_close(&fds[i]);
}

/* Where the payload is in an argument, standard input is what our own is: empty. */
int
child_start(struct child *c, const struct template *t, char **argv, const struct each_job *j)
{
	int theirs[3] = {-1, -1, -1};
	int r = t->takes_job ? 0 : open_input(c, j, &theirs[0]);

	if (!r)
		r = open_output(&c->out, &theirs[1]);
	if (!r)
		r = open_output(&c->err, &theirs[2]);
	if (j->id) {
		snprintf(job_id, sizeof(job_id), "PREFORKD_JOB=%" PRIu64, j->id);
		snprintf(job_attempt, sizeof(job_attempt), "PREFORKD_ATTEMPT=%u", j->attempt);
		of_the_job[0] = job_id;
		of_the_job[1] = job_attempt;
	}
	if (!r)
		r = spawn(c, t->path, argv, theirs);
	close_all(theirs);
	return r;
}

/* ---- while it runs ---- */

static void
take_result(struct child *c, size_t most)
{
	ssize_t n = -1;

	if (!buf_reserve(&c->result, most)) {
		child_cut(c, "out of memory for its output");
		return;
	}
	n = read(c->out, buf_tail(&c->result), most);
	if (n < 0 && errno == EINTR)
		return;
	if (n <= 0) {
		fd_close(&c->out);
		return;
	}
	buf_commit(&c->result, (size_t)n);
	if (buf_len(&c->result) > c->max_result + 1) /* perhaps with a line feed */
		child_cut(c, too_long);
}

/* To the log as it comes, and the end of it for the answer. */
static void
take_errors(struct child *c, size_t most)
{
	char data[READ_SIZE];
	ssize_t n = read(c->err, data, most < sizeof(data) ? most : sizeof(data));
	size_t len, keep;

	if (n < 0 && errno == EINTR)
		return;
	if (n <= 0) {
		fd_close(&c->err);
		return;
	}
	for (ssize_t at = 0, wrote; at < n; at += wrote) {
		wrote = write(STDERR_FILENO, data + at, (size_t)(n - at));
		if (wrote < 0)
			break; /* nobody reads the log */
	}
	len = (size_t)n < TAIL_MAX ? (size_t)n : TAIL_MAX;
	keep = c->tail_len < TAIL_MAX - len ? c->tail_len : TAIL_MAX - len;
	memmove(c->tail, c->tail + c->tail_len - keep, keep);
	memcpy(c->tail + keep, data + n - len, len);
	c->tail_len = keep + len;
}

/* What was in a pipe when its writer ended. Others that it has left behind may
 * have it open and write without end: no more than was there. */
static void
take_rest(struct child *c, int fd, void (*take)(struct child *, size_t))
{
	int there = 0;

	if (fd < 0 || ioctl(fd, FIONREAD, &there) < 0)
		return;
	if (there > 0)
		take(c, (size_t)there);
}

static void
reap(struct child *c)
{
	if (!c->pid || waitpid(c->pid, &c->status, WNOHANG) != c->pid)
		return;
	c->pid = 0;
	take_rest(c, c->out, take_result);
	take_rest(c, c->err, take_errors);
}

/* All that is in our group besides us is the job's: one runs at a time. Somebody
 * else's group is left alone. */
static void
terminate(const struct child *c)
{
	if (c->pid)
		kill(getpgrp() == getpid() ? 0 : c->pid, SIGTERM);
}

void
child_cut(struct child *c, const char *why)
{
	if (c->cut)
		return;
	c->cut = why;
	fd_close(&c->out);
	terminate(c);
}

bool
child_wait(struct child *c, int in)
{
	struct pollfd fds[] = {
		{.fd = in, .events = POLLIN},
		{.fd = c->in, .events = POLLOUT},
		{.fd = c->out, .events = POLLIN},
		{.fd = c->err, .events = POLLIN},
	};
	sigset_t none;

	sigemptyset(&none);
	if (ppoll(fds, 4, NULL, &none) < 0) {
		if (pass_on)
			terminate(c);
		pass_on = 0;
		reap(c);
		return false;
	}
	if (fds[1].revents)
		feed(c);
	if (fds[2].revents)
		take_result(c, READ_SIZE);
	if (fds[3].revents)
		take_errors(c, READ_SIZE);
	reap(c); /* however busy its pipes are */
	return fds[0].revents != 0;
}

/* ---- the end ---- */

bool
child_ended(const struct child *c)
{
	return !c->pid;
}

void
child_fini(struct child *c)
{
	fd_close(&c->in);
	fd_close(&c->out);
	fd_close(&c->err);
	buf_free(&c->result);
}

/* How it ended, in words. */
static void
describe(int status, char *dst, size_t cap)
{
	const char *name = WIFSIGNALED(status) ? sigabbrev_np(WTERMSIG(status)) : NULL;

	if (WIFSIGNALED(status))
		snprintf(dst, cap, "killed by signal %d (%s%s)", WTERMSIG(status),
			 name ? "SIG" : "", name ? name : "?");
	else
		snprintf(dst, cap, "exit status %d", WEXITSTATUS(status));
}

/* The last line of standard error that is not empty, fit to be shown. */
static void
last_line(const struct child *c, char *dst, size_t cap)
{
	size_t end = c->tail_len, start;

	while (end && strchr(" \t\r\n", c->tail[end - 1]))
		end--;
	for (start = end; start && c->tail[start - 1] != '\n'; start--)
		continue;
	text_escape(dst, cap, c->tail + start, end - start);
}

/* What is wrong with its output, or NULL. */
static const char *
judge_output(struct child *c, bool one_line)
{
	size_t len = buf_len(&c->result);

	if (one_line && len && buf_head(&c->result)[len - 1] == '\n') {
		c->result.end--;
		len--;
	}
	if (len > c->max_result)
		return too_long;
	if (one_line && len && memchr(buf_head(&c->result), '\n', len))
		return "its output is more than one line, for which the pool needs "
		       "protocol = \"frame\"";
	return NULL;
}

enum answer
child_verdict(struct child *c, bool one_line, char *text, size_t cap)
{
	int status = WIFEXITED(c->status) ? WEXITSTATUS(c->status) : -1;
	const char *why = c->cut;
	char how[64], last[TAIL_MAX];

	if (!why && status == 0)
		why = judge_output(c, one_line);
	if (!why && status == 0)
		return ANSWER_OK;
	describe(c->status, how, sizeof(how));
	last_line(c, last, sizeof(last));
	snprintf(text, cap, "%s%s%s", why ? why : how, *last ? ": " : "", last);
	return !why && status == EX_TEMPFAIL ? ANSWER_RETRY : ANSWER_ERR;
}
