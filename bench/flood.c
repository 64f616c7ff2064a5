/* SPDX-License-Identifier: MIT */
/*
 * flood - connections that send as much as they can, until it is killed.
 *
 *   flood -s SOCKET [-c CONNECTIONS] [-p POOL]
 *
 * Each pipelines PINGs, or, with -p, RUNs of that pool, without ever waiting for a
 * reply; what comes is read and thrown away.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BLOCK (64 * 1024) /* bytes of commands, sent over and over */

struct connection {
	int fd;
	size_t at; /* of the block */
};

static char block[BLOCK + 512];
static size_t block_len;
static char sink[256 * 1024];

static void
make_block(const char *pool)
{
	char command[256];
	int len;

	if (pool)
		len = snprintf(command, sizeof(command),
			       "*3\r\n$3\r\nRUN\r\n$%zu\r\n%s\r\n$1\r\nx\r\n", strlen(pool), pool);
	else
		len = snprintf(command, sizeof(command), "*1\r\n$4\r\nPING\r\n");
	if (len < 0 || (size_t)len >= sizeof(command))
		errx(64, "the pool's name is too long");
	for (; block_len < BLOCK; block_len += (size_t)len)
		memcpy(block + block_len, command, (size_t)len);
}

static void
connection_open(struct connection *c, const char *path, int epoll_fd)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};

	if (strlen(path) >= sizeof(to.sun_path))
		errx(64, "%s: too long", path);
	strcpy(to.sun_path, path);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		err(1, "%s", path);
	if (fcntl(c->fd, F_SETFL, O_NONBLOCK) < 0 ||
	    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &ev) < 0)
		err(1, "epoll_ctl");
}

static void
connection_go_on(struct connection *c)
{
	ssize_t n = recv(c->fd, sink, sizeof(sink), 0);

	if (n == 0 || (n < 0 && errno != EAGAIN))
		errx(1, "the connection was closed");
	n = send(c->fd, block + c->at, block_len - c->at, MSG_NOSIGNAL);
	if (n < 0 && errno != EAGAIN)
		err(1, "send");
	if (n > 0)
		c->at = (c->at + (size_t)n) % block_len;
}

int
main(int argc, char **argv)
{
	const char *path = NULL, *pool = NULL;
	struct connection *connections;
	struct epoll_event events[64];
	int count = 1, epoll_fd = epoll_create1(EPOLL_CLOEXEC), c;

	while ((c = getopt(argc, argv, "s:c:p:")) != -1) {
		if (c == 's')
			path = optarg;
		else if (c == 'c')
			count = atoi(optarg);
		else if (c == 'p')
			pool = optarg;
		else
			exit(64);
	}
	if (!path || count < 1 || optind < argc)
		errx(64, "usage: flood -s SOCKET [-c CONNECTIONS] [-p POOL]");
	make_block(pool);
	connections = calloc((size_t)count, sizeof(*connections));
	if (!connections || epoll_fd < 0)
		err(1, "no memory");
	for (int i = 0; i < count; i++)
		connection_open(&connections[i], path, epoll_fd);
	for (;;) {
		int n = epoll_wait(epoll_fd, events, 64, -1);

		for (int i = 0; i < n; i++)
			connection_go_on(events[i].data.ptr);
	}
}
