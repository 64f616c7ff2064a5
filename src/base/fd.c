/* SPDX-License-Identifier: MIT */
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define FD_HIGH 10 /* the first number that no child has a use for */

void
fd_close(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
	errno = saved;
}

int
fd_set_nonblock(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

int
fd_raise(int take_fd)
{
	int fd = fcntl(take_fd, F_DUPFD_CLOEXEC, FD_HIGH);
	int err = fd < 0 ? -errno : 0;

	fd_close(&take_fd);
	return err < 0 ? err : fd;
}
