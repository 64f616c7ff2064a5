/* SPDX-License-Identifier: MIT */
#include "base/fd.h"
#include "ctl/map.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

static sigset_t before;

int
map_signals_hold(void)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction action;
	sigset_t ours;

	sigemptyset(&ours);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (sigaction(signals[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
			sigaddset(&ours, signals[i]);
	/* a descriptor among those that are waited for: a signal that is let in by
	 * ppoll() would not come before there is nothing else to do */
	int fd = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd >= 0)
		sigprocmask(SIG_BLOCK, &ours, &before);
	return fd;
}

int
map_signals_read(int fd)
{
	struct signalfd_siginfo info;

	return fd >= 0 && read(fd, &info, sizeof(info)) == sizeof(info) ? (int)info.ssi_signo : 0;
}

void
map_signals_release(int fd)
{
	if (fd < 0)
		return;
	fd_close(&fd);
	sigprocmask(SIG_SETMASK, &before, NULL);
}
