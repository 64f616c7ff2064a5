/* SPDX-License-Identifier: MIT */
#include "base/fd.h"
#include "ctl/ctl.h"
#include "ctl/map.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#define DAEMON "preforkd"
#define EACH "preforkd-each"
#define CHILD_FD 3

/* A program of ours beside this one (a build directory), or where it is installed. */
static void
find_program(char path[PATH_MAX], const char *name, const char *installed)
{
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - NAME_MAX);

	if (n > 0) {
		path[n] = '\0';
		char *slash = strrchr(path, '/');
		if (slash) {
			strcpy(slash + 1, name);
			if (access(path, X_OK) == 0)
				return;
		}
	}
	snprintf(path, PATH_MAX, "%s/%s", installed, name);
}

static char **
make_argv(const struct private_setup *setup, const char *workers, const char *fds, const char *each)
{
	const char *fixed[] = {
		DAEMON,	 "--pool",	"map",		 "--workers",
		workers, "--protocol",	setup->protocol, "--connected",
		fds,	 "--log-level", "notice",	 "--",
		each,	 "--",
	};
	/* without the program that runs a command for each job, and its own "--" */
	size_t n = sizeof(fixed) / sizeof(fixed[0]) - (setup->each ? 0 : 2), k = 0;

	while (setup->command[k])
		k++;
	char **argv = ctl_realloc(NULL, (n + k + 1) * sizeof(*argv));
	memcpy(argv, fixed, n * sizeof(*fixed));
	memcpy(argv + n, setup->command, (k + 1) * sizeof(*argv));
	return argv;
}

/* Its standard input is not ours, its output goes where its messages go. It has a
 * process group of its own: what a terminal sends to ours ends us, and we end it. */
static int
spawn(struct private_daemon *d, const char *path, const int *theirs, int messages, char **argv)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t defaults;

	sigemptyset(&defaults);
	sigaddset(&defaults, SIGPIPE);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
	posix_spawnattr_setsigdefault(&attr, &defaults);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (messages >= 0)
		posix_spawn_file_actions_adddup2(&actions, messages, STDERR_FILENO);
	posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
	for (size_t i = 0; i < d->n; i++)
		posix_spawn_file_actions_adddup2(&actions, theirs[i], CHILD_FD + (int)i);
	int error = posix_spawn(&d->pid, path, &actions, &attr, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	return error;
}

/* Connections, the daemon's ends of them away from the numbers that they get
 * there. An errno. */
static int
make_pairs(struct private_daemon *d, size_t n, int *theirs)
{
	int pair[2];

	for (d->n = 0; d->n < n; d->n++) {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
			return errno;
		d->fds[d->n] = pair[0];
		theirs[d->n] = fcntl(pair[1], F_DUPFD_CLOEXEC, CHILD_FD + (int)n);
		int error = theirs[d->n] < 0 ? errno : 0;
		fd_close(&pair[1]);
		if (error) {
			fd_close(&d->fds[d->n]);
			return error;
		}
	}
	return 0;
}

static void
close_all(int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		fd_close(&fds[i]);
}

/* Where its messages come out, and where they go in, if they are to pass by us. */
static int
make_pipe(struct private_daemon *d, bool relay, int *ret_in)
{
	int pair[2] = {-1, -1};

	if (relay && pipe2(pair, O_CLOEXEC | O_NONBLOCK) != 0)
		return errno;
	d->messages = pair[0];
	*ret_in = pair[1];
	return 0;
}

int
private_start(struct private_daemon *d, const struct private_setup *setup)
{
	int theirs[MAP_CONNS_MAX + 1], messages = -1;
	char path[PATH_MAX], each[PATH_MAX], workers[32], fds[32];

	int error = make_pairs(d, setup->conns, theirs);
	if (!error)
		error = make_pipe(d, setup->relay, &messages);
	if (error) {
		ctl_warn("cannot make a socket: %s", strerror(error));
		close_all(theirs, d->n);
		private_close(d);
		return STATUS_OS;
	}
	snprintf(workers, sizeof(workers), "%ld", setup->workers);
	snprintf(fds, sizeof(fds), "%d-%d", CHILD_FD, CHILD_FD + (int)d->n - 1);
	find_program(path, DAEMON, SBINDIR);
	find_program(each, EACH, BINDIR);
	char **argv = make_argv(setup, workers, fds, each);
	/* an ignored one would take the child's status away; and in a process group of
	 * its own the child may write to a terminal that minds only if this is ignored */
	signal(SIGCHLD, SIG_DFL);
	signal(SIGTTOU, SIG_IGN);
	error = spawn(d, path, theirs, messages, argv);
	free(argv);
	close_all(theirs, d->n);
	fd_close(&messages);
	if (!error)
		return STATUS_OK;
	ctl_warn("cannot start %s: %s", path, strerror(error));
	private_close(d);
	return STATUS_CRASHED;
}

void
private_close(struct private_daemon *d)
{
	close_all(d->fds, d->n);
	fd_close(&d->messages);
}

void
private_stop(int fd)
{
	static const char command[] = "*1\r\n$8\r\nSHUTDOWN\r\n";
	char rest[256];
	ssize_t n = send(fd, command, sizeof(command) - 1, MSG_NOSIGNAL);

	while (n > 0 || (n < 0 && errno == EINTR))
		n = recv(fd, rest, sizeof(rest), 0);
}

/* What it has said last. */
static void
pass_messages(struct private_daemon *d)
{
	char data[4096];
	ssize_t n;

	while (d->messages >= 0 && (n = read(d->messages, data, sizeof(data))) > 0)
		if (write(STDERR_FILENO, data, (size_t)n) != n)
			break;
	fd_close(&d->messages);
}

int
private_wait(struct private_daemon *d, bool early)
{
	int how;
	pid_t pid;

	close_all(d->fds, d->n);
	do
		pid = waitpid(d->pid, &how, 0);
	while (pid < 0 && errno == EINTR);
	pass_messages(d);
	if (pid < 0 || (!early && WIFEXITED(how) && WEXITSTATUS(how) == 0))
		return early ? STATUS_CRASHED : STATUS_OK;
	if (!early && WIFEXITED(how) && WEXITSTATUS(how) == EX_PROTOCOL) {
		ctl_warn("a worker wrote what was not one answer for each line (see above)");
		return STATUS_FAILED;
	}
	if (WIFSIGNALED(how))
		ctl_warn("its own preforkd was ended by signal %d (SIG%s)", WTERMSIG(how),
			 sigabbrev_np(WTERMSIG(how)) ? sigabbrev_np(WTERMSIG(how)) : "?");
	else
		ctl_warn("its own preforkd ended with exit status %d", WEXITSTATUS(how));
	return STATUS_CRASHED;
}
