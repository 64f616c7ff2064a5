/* SPDX-License-Identifier: MIT */
/*
 * floor - the least relay that does a RUN's work: what physics leaves to win.
 *
 *   floor SOCKET WORKERS COMMAND [ARG]...
 *
 * One client at a time on an AF_UNIX connection sends lines; each goes to an idle
 * worker (a process on a socketpair, one line at a time), and its answer, as it is,
 * back to the client, in any order. No parsing beyond the newline, no limits, no
 * checks, no deadlines, no order: one epoll, one write a batch to the client. It
 * ends with SIGTERM, and its workers with it.
 */
#include <err.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BUFFER (1024 * 1024)
#define WORKERS_MAX 256
#define EVENTS_MAX 64

struct bytes {
	size_t len;
	size_t head; /* of these, done with */
	char data[BUFFER];
};

struct worker {
	int fd;
	size_t len; /* of an answer that is not whole yet */
	char answer[BUFFER / 16];
};

static int epoll_fd;
static int client = -1;
static struct bytes in, out;
static struct worker workers[WORKERS_MAX];
static struct worker *idle[WORKERS_MAX];
static unsigned idle_count;

static void
watch(int fd, void *what)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = what};

	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
		err(1, "epoll_ctl");
}

static void
worker_start(struct worker *w, char **argv)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		err(1, "socketpair");
	switch (fork()) {
	case -1:
		err(1, "fork");
	case 0:
		dup2(pair[1], STDIN_FILENO);
		dup2(pair[1], STDOUT_FILENO);
		execv(argv[0], argv);
		err(1, "%s", argv[0]);
	default:
		close(pair[1]);
		w->fd = pair[0];
		watch(w->fd, w);
		idle[idle_count++] = w;
	}
}

static void
write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0)
			err(1, "write");
		data += n;
		len -= (size_t)n;
	}
}

static void
worker_read(struct worker *w)
{
	ssize_t n = read(w->fd, w->answer + w->len, sizeof(w->answer) - w->len);

	if (n <= 0)
		errx(1, "a worker has ended, or its answer is too long");
	w->len += (size_t)n;
	if (w->answer[w->len - 1] != '\n')
		return;
	if (out.len + w->len > sizeof(out.data))
		errx(1, "too much for this: lower the window");
	memcpy(out.data + out.len, w->answer, w->len);
	out.len += w->len;
	w->len = 0;
	idle[idle_count++] = w;
}

static void
client_read(void)
{
	ssize_t n;

	memmove(in.data, in.data + in.head, in.len - in.head);
	in.len -= in.head;
	in.head = 0;
	if (in.len == sizeof(in.data))
		errx(1, "too much for this: lower the window");
	n = read(client, in.data + in.len, sizeof(in.data) - in.len);
	if (n <= 0) {
		close(client);
		client = -1;
		in.len = 0;
		return;
	}
	in.len += (size_t)n;
}

static void
move_work(void)
{
	char *line, *end;

	while (idle_count && in.head < in.len) {
		line = in.data + in.head;
		end = memchr(line, '\n', in.len - in.head);
		if (!end)
			break;
		in.head += (size_t)(end + 1 - line);
		write_all(idle[--idle_count]->fd, line, (size_t)(end + 1 - line));
	}
	if (out.len && client >= 0)
		write_all(client, out.data, out.len);
	out.len = 0;
}

static int
listen_at(const char *path)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(at.sun_path))
		errx(1, "%s: too long", path);
	strcpy(at.sun_path, path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 16) < 0)
		err(1, "%s", path);
	return fd;
}

static void
serve(int listener)
{
	struct epoll_event events[EVENTS_MAX];
	int n = epoll_wait(epoll_fd, events, EVENTS_MAX, -1);

	for (int i = 0; i < n; i++) {
		void *what = events[i].data.ptr;

		if (what == &client) {
			client_read();
		} else if (what) {
			worker_read(what);
		} else if (client < 0) {
			client = accept(listener, NULL, NULL);
			if (client < 0)
				err(1, "accept");
			watch(client, &client);
		}
	}
	move_work();
}

int
main(int argc, char **argv)
{
	int count = argc > 3 ? atoi(argv[2]) : 0;
	int listener;

	if (count < 1 || count > WORKERS_MAX)
		errx(64, "usage: floor SOCKET WORKERS COMMAND [ARG]...");
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0)
		err(1, "epoll_create1");
	for (int i = 0; i < count; i++)
		worker_start(&workers[i], argv + 3);
	listener = listen_at(argv[1]);
	watch(listener, NULL);
	for (;;)
		serve(listener);
}
