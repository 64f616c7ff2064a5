/* SPDX-License-Identifier: MIT */
#include "io/passed.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/listen.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

/* ---- what a descriptor is, in words ---- */

struct word {
	int value;
	const char *word;
};

static const struct word families[] = {
	{AF_UNIX, "AF_UNIX"}, {AF_INET, "IPv4"}, {AF_INET6, "IPv6"}, {0, "other"}};
static const struct word types[] = {{SOCK_STREAM, "stream"},
				    {SOCK_DGRAM, "datagram"},
				    {SOCK_SEQPACKET, "seqpacket"},
				    {0, "raw"}};

static const char *
word_for(const struct word *w, int value)
{
	while (w->value && w->value != value)
		w++;
	return w->word;
}

static int
option(int fd, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, name, &value, &len) < 0 ? -1 : value;
}

static bool
is_socket(int fd)
{
	return option(fd, SO_TYPE) >= 0;
}

static bool
is_connected(int fd)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);

	return getpeername(fd, (struct sockaddr *)&sa, &len) == 0;
}

/* "descriptor 3 ("name"): a listening IPv4 stream socket" */
static char *
describe(const struct passed_socket *s)
{
	char link[64], target[PATH_MAX];
	ssize_t n;

	if (is_socket(s->fd))
		return mem_printf("descriptor %d (\"%s\"): a %s%s %s socket", s->fd, s->name,
				  option(s->fd, SO_ACCEPTCONN) > 0 ? "listening " :
				  is_connected(s->fd)		   ? "connected " :
								     "",
				  word_for(families, option(s->fd, SO_DOMAIN)),
				  word_for(types, option(s->fd, SO_TYPE)));
	snprintf(link, sizeof(link), "/proc/self/fd/%d", s->fd);
	n = readlink(link, target, sizeof(target));
	return mem_printf("descriptor %d (\"%s\"): %.*s", s->fd, s->name, n > 0 ? (int)n : 0,
			  target);
}

/* ---- sorting ---- */

static bool
ends_with(const char *s, const char *end)
{
	size_t len = strlen(s), n = strlen(end);

	return len >= n && !strcmp(s + len - n, end);
}

/* "connection" is what an Accept=yes makes of it: then that is what is said. */
static bool
is_control_name(const char *name)
{
	return !name[0] || !strcmp(name, "control") || !strcmp(name, "unknown") ||
	       !strcmp(name, "connection") || ends_with(name, ".socket");
}

static bool
is_listening(int fd)
{
	return sd_is_socket_unix(fd, SOCK_STREAM, 1, NULL, 0) > 0;
}

static void
refuse(struct passed_socket *s)
{
	char *is = describe(s);

	log_msg(LOG_WARNING, "socket activation: %s: not for this daemon: closed", is);
	free(is);
	fd_close(&s->fd);
}

static int
take_control(struct passed *p, struct passed_socket *s, struct buf *why)
{
	char *is;

	if (is_listening(s->fd) && p->control.fd < 0) {
		p->control = *s;
		*s = (struct passed_socket){.fd = -1};
		return 0;
	}
	is = describe(s);
	if (is_listening(s->fd))
		buf_putf(why,
			 "socket activation: %s: the second one, after descriptor %d (\"%s\"); one "
			 "is served: have one ListenStream= in the socket unit\n",
			 is, p->control.fd, p->control.name);
	else
		buf_putf(why,
			 "socket activation: %s: the control socket has to be a listening AF_UNIX "
			 "stream socket (in the socket unit: one ListenStream=/PATH, Accept=no)\n",
			 is);
	free(is);
	return -EINVAL;
}

static void
take_kept(struct passed *p, struct passed_socket *s)
{
	p->kept[p->kept_count++] = *s;
	*s = (struct passed_socket){.fd = -1};
}

static int
sort(struct passed *p, struct passed_socket *s, size_t n, struct buf *why)
{
	size_t foreign = 0;
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++) {
		if (is_control_name(s[i].name)) {
			r = take_control(p, &s[i], why);
		} else if (!strncmp(s[i].name, LISTENER_KEPT, strlen(LISTENER_KEPT))) {
			take_kept(p, &s[i]);
		} else {
			foreign += is_socket(s[i].fd);
			refuse(&s[i]);
		}
	}
	/* Whoever has set up a socket would wait at it for ever. */
	if (r == 0 && p->control.fd < 0 && foreign) {
		buf_puts(why, "socket activation: no control socket was passed (in the socket "
			      "unit: FileDescriptorName=control)\n");
		r = -EINVAL;
	}
	return r;
}

int
passed_take(struct passed *ret, struct buf *why)
{
	struct passed_socket *s;
	char **names = NULL;
	int r, n;

	*ret = (struct passed){.control.fd = -1};
	n = sd_listen_fds_with_names(1, &names);
	if (n < 0)
		buf_putf(why,
			 "socket activation: LISTEN_FDS and LISTEN_FDNAMES do not say what was "
			 "passed: %s\n",
			 strerror(-n));
	if (n <= 0)
		return n;
	s = mem_array((size_t)n, sizeof(*s));
	ret->kept = mem_array((size_t)n, sizeof(*ret->kept)); /* each may be one */
	for (int i = 0; i < n; i++)
		s[i] = (struct passed_socket){.fd = SD_LISTEN_FDS_START + i, .name = names[i]};
	free(names);
	r = sort(ret, s, (size_t)n, why);
	for (int i = 0; i < n; i++) {
		if (s[i].fd >= 0)
			fd_close(&s[i].fd);
		free(s[i].name);
	}
	free(s);
	if (r < 0)
		passed_free(ret);
	return r;
}

void
passed_free(struct passed *p)
{
	fd_close(&p->control.fd);
	free(p->control.name);
	for (size_t i = 0; i < p->kept_count; i++) {
		fd_close(&p->kept[i].fd);
		free(p->kept[i].name);
	}
	free(p->kept);
	*p = (struct passed){.control.fd = -1};
}
