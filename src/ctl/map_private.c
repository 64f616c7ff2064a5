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
#define CHILD_FD 3

/* preforkd beside this program (a build directory), or where it is installed. */
static void
find_daemon(char path[PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - sizeof(DAEMON) - 1);

	if (n > 0) {
		path[n] = '\0';
		char *slash = strrchr(path, '/');
		if (slash) {
			strcpy(slash + 1, DAEMON);
			if (access(path, X_OK) == 0)
				return;
		}
	}
	snprintf(path, PATH_MAX, "%s/%s", SBINDIR, DAEMON);
}

static char **
make_argv(const char *workers, const char *protocol, char **command)
{
	const char *fixed[] = {DAEMON,	"--pool",      "map",	 "--workers",
			       workers, "--protocol",  protocol, "--connected",
			       "3",	"--log-level", "notice", "--"};
	size_t n = sizeof(fixed) / sizeof(fixed[0]), k = 0;

	while (command[k])
		k++;
	char **argv = ctl_realloc(NULL, (n + k + 1) * sizeof(*argv));
	memcpy(argv, fixed, sizeof(fixed));
	memcpy(argv + n, command, (k + 1) * sizeof(*argv));
	return argv;
}

/* Its standard input is not ours, its output goes where its messages go. */
static int
spawn(pid_t *ret_pid, const char *path, int fd, char **argv)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t defaults;

	sigemptyset(&defaults);
	sigaddset(&defaults, SIGPIPE);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigdefault(&attr, &defaults);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, fd, CHILD_FD);
	int error = posix_spawn(ret_pid, path, &actions, &attr, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	return error;
}

int
private_start(struct private_daemon *d, long n, const char *protocol, char **command)
{
	int pair[2];
	char path[PATH_MAX], workers[32];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
		ctl_warn("cannot make a socket: %s", strerror(errno));
		return STATUS_OS;
	}
	/* away from the numbers that the child gets */
	int fd = fd_raise(pair[1]);
	d->fd = pair[0];
	snprintf(workers, sizeof(workers), "%ld", n);
	find_daemon(path);
	char **argv = make_argv(workers, protocol, command);
	/* an ignored one would take the child's status away */
	signal(SIGCHLD, SIG_DFL);
	int error = fd < 0 ? -fd : spawn(&d->pid, path, fd, argv);
	free(argv);
	fd_close(&fd);
	if (!error)
		return STATUS_OK;
	ctl_warn("cannot start %s: %s", path, strerror(error));
	fd_close(&d->fd);
	return STATUS_CRASHED;
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

int
private_wait(struct private_daemon *d, bool early)
{
	int how;
	pid_t pid;

	do
		pid = waitpid(d->pid, &how, 0);
	while (pid < 0 && errno == EINTR);
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
