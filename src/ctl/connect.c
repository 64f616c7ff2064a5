/* SPDX-License-Identifier: MIT */
#include "base/fd.h"
#include "base/text.h"
#include "ctl/ctl.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define PATH_SIZE sizeof(((struct sockaddr_un *)0)->sun_path)

/* The socket of the service, or of an instance of it, below a runtime directory.
 * Too long a path stays too long for an address. */
static const char *
service_socket(char path[PATH_SIZE + 1], const char *dir, const char *instance)
{
	snprintf(path, PATH_SIZE + 1, "%s/preforkd%s%s/control.sock", dir, instance ? "-" : "",
		 instance ? instance : "");
	return path;
}

const char *
ctl_socket_path(const struct ctl *ctl)
{
	static char path[PATH_SIZE + 1];
	const char *env = getenv("PREFORKD_SOCKET");
	const char *dir = getenv("XDG_RUNTIME_DIR");

	if (ctl->socket)
		return ctl->socket;
	if (!ctl->instance && env && *env)
		return env;
	if (dir && *dir && access(service_socket(path, dir, ctl->instance), F_OK) == 0)
		return path;
	return service_socket(path, "/run", ctl->instance);
}

static void
hint_group(const char *path)
{
	struct stat st;
	struct group *group = stat(path, &st) == 0 ? getgrgid(st.st_gid) : NULL;

	if (group && st.st_gid != 0 && (st.st_mode & S_IWGRP))
		ctl_hint("be root or a member of the group %s: usermod -aG %s USER", group->gr_name,
			 group->gr_name);
	else
		ctl_hint("be root, or the user that runs the daemon");
}

/* Says why the socket could not be connected; returns the exit status. */
static int
report_connect(const struct ctl *ctl, int error)
{
	const char *path = ctl->path;
	char shown[256];

	text_escape_str(shown, sizeof(shown), path);
	if (error == EACCES || error == EPERM) {
		ctl_warn("no permission to use %s", shown);
		hint_group(path);
		return STATUS_PERMISSION;
	}
	if (error == ENOENT || error == ENOTDIR)
		ctl_warn("no daemon: there is no socket %s", shown);
	else if (error == ECONNREFUSED)
		ctl_warn("no daemon: nobody listens at %s", shown);
	else if (error == EAGAIN) /* with patience alone: the backlog is full */
		ctl_warn("the daemon takes no connections at %s", shown);
	else
		ctl_warn("cannot connect to %s: %s", shown, strerror(error));
	ctl_hint("start it with: systemctl start preforkd%s%s; another socket: -s PATH or "
		 "$PREFORKD_SOCKET",
		 ctl->instance ? "@" : "", ctl->instance ? ctl->instance : "");
	return STATUS_NO_DAEMON;
}

static void
set_patience(int fd, int ms)
{
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000L};

	/* the one for sending holds for connect() too */
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
}

int
ctl_open(struct ctl *ctl, int *ret_fd)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};

	ctl->path = ctl_socket_path(ctl);
	size_t len = strlen(ctl->path);
	if (len >= sizeof(sa.sun_path)) {
		ctl_warn("the path of the socket is too long (%zu bytes, at most %zu)", len,
			 sizeof(sa.sun_path) - 1);
		return STATUS_USAGE;
	}
	memcpy(sa.sun_path, ctl->path, len);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		ctl_warn("cannot make a socket: %s", strerror(errno));
		return STATUS_OS;
	}
	if (ctl->patience_ms)
		set_patience(fd, ctl->patience_ms);
	if (connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) != 0) {
		int error = errno;
		fd_close(&fd);
		return report_connect(ctl, error);
	}
	*ret_fd = fd;
	return STATUS_OK;
}
