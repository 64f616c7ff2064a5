/* SPDX-License-Identifier: MIT */
/*
 * spawn - the bare loop that starts workers: what a start costs at least.
 *
 *   spawn COUNT COMMAND [ARG]...
 *
 * Starts COUNT processes, each on a socketpair, with no step between fork and exec but
 * two dup2, and ends when each of them has written something.
 */
#include <err.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define COUNT_MAX 4096

extern char **environ;

static int channels[COUNT_MAX];

static int
spawn(char **argv)
{
	posix_spawn_file_actions_t actions;
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		err(1, "socketpair");
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, pair[1], STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&actions, pair[1], STDOUT_FILENO);
	if (posix_spawn(&pid, argv[0], &actions, NULL, argv, environ) != 0)
		errx(1, "%s: cannot be started", argv[0]);
	posix_spawn_file_actions_destroy(&actions);
	close(pair[1]);
	return pair[0];
}

int
main(int argc, char **argv)
{
	int count = argc > 2 ? atoi(argv[1]) : 0;
	char first;

	if (count < 1 || count > COUNT_MAX)
		errx(64, "usage: spawn COUNT COMMAND [ARG]...");
	for (int i = 0; i < count; i++)
		channels[i] = spawn(argv + 2);
	for (int i = 0; i < count; i++) {
		if (read(channels[i], &first, 1) != 1)
			errx(1, "a process has ended");
	}
	return 0;
}
