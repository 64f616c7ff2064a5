/* SPDX-License-Identifier: MIT */
#include "io/notify.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

bool
notify_wanted(void)
{
	return getenv("NOTIFY_SOCKET") != NULL;
}

/* A socket of our own, connected to the receiver's, is writable while the
 * receiver's queue has room. What cannot be found out counts as room: then
 * sd_notify() fails by itself, without waiting. */
static bool
has_room(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	size_t len = strlen(path);
	bool room = true;
	int fd;

	if (!len || len >= sizeof(sa.sun_path))
		return true;
	memcpy(sa.sun_path, path, len);
	if (path[0] == '@')
		sa.sun_path[0] = 0;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return true;
	if (connect(fd, (const struct sockaddr *)&sa,
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) == 0) {
		struct pollfd p = {.fd = fd, .events = POLLOUT};

		room = poll(&p, 1, 0) == 1 && p.revents & POLLOUT;
	}
	close(fd);
	return room;
}

bool
notify_send(const char *state)
{
	if (!notify_wanted())
		return true;
	if (!has_room())
		return false;
	sd_notify(0, state);
	return true;
}
