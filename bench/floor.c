/* SPDX-License-Identifier: MIT */
/*
 * floor - the least relay that does a RUN's work: what physics leaves to win.
 *
 *   floor SOCKET WORKERS PIPELINE COMMAND [ARG]...
 *
 * Clients on AF_UNIX connections send lines. Each line goes to a worker (a process on a
 * socketpair, up to PIPELINE lines at a time, which it answers in their order), and the
 * answer, as it is, to the client that asked, in whatever order answers come. One
 * epoll; a read and a write a peer and batch; bytes are copied once, long lines not at
 * all. There are no checks, no limits, no deadlines, no ids, no order of a client's
 * answers. It ends with SIGTERM, and its workers with it.
 *
 * It waits for a socket only in epoll: what a peer does not take yet stays in a buffer
 * that grows, so full sockets on both sides of it are no deadlock.
 */
#include <err.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ROOM (64 * 1024)  /* to read into, at least */
#define STEAL (16 * 1024) /* a line that is longer moves with its buffer, not by a copy */
#define EVENTS_MAX 256

struct bytes {
	char *data;
	size_t size;
	size_t head; /* what is there is from here */
	size_t len;  /* to here */
	size_t seen; /* up to here no line ends */
};

/* A client, or a worker: what has come from it, and what is to go to it. */
struct peer {
	int fd;		      /* -1: a client that has gone */
	bool blocked;	      /* its socket was full */
	bool writing;	      /* it is among those that get a write at the end of the batch */
	bool waiting;	      /* a client whose lines wait for a worker */
	unsigned owes;	      /* a worker: answers; a client is owed as many */
	unsigned next;	      /* of them, in the ring */
	struct peer **askers; /* a worker: whom each answer is for, a ring; a client: none */
	struct bytes in, out;
};

/* Peers that are to be dealt with. */
struct list {
	struct peer **peers;
	size_t size, head, len;
};

static int epoll_fd;
static unsigned pipeline;
static struct list room;    /* workers that can take a line, the latest first */
static struct list waiting; /* clients with lines for which there was no worker */
static struct list writing;
static struct peer listener;

static void *
need(void *was, size_t size)
{
	void *p = realloc(was, size);

	if (!p)
		err(1, "no memory");
	return p;
}

/* ---- lists and bytes ---- */

static void
list_push(struct list *l, struct peer *p)
{
	if (l->len == l->size && l->head > l->size / 2) {
		memmove(l->peers, l->peers + l->head, (l->len - l->head) * sizeof(*l->peers));
		l->len -= l->head;
		l->head = 0;
	} else if (l->len == l->size) {
		l->size = l->size ? 2 * l->size : 64;
		l->peers = need(l->peers, l->size * sizeof(*l->peers));
	}
	l->peers[l->len++] = p;
}

/* Room for so many more bytes. */
static void
bytes_need(struct bytes *b, size_t more)
{
	if (b->head == b->len)
		b->head = b->len = b->seen = 0;
	if (b->size - b->len >= more)
		return;
	memmove(b->data, b->data + b->head, b->len - b->head);
	b->len -= b->head;
	b->seen -= b->seen < b->head ? b->seen : b->head;
	b->head = 0;
	if (b->size - b->len >= more)
		return;
	b->size = 2 * b->size > b->len + more ? 2 * b->size : b->len + more;
	b->data = need(b->data, b->size);
}

static void
bytes_put(struct bytes *b, const char *data, size_t len)
{
	bytes_need(b, len);
	memcpy(b->data + b->len, data, len);
	b->len += len;
}

/* The first of what is in from. */
static void
bytes_move(struct bytes *to, struct bytes *from, size_t len)
{
	struct bytes was = *to;

	if (len < STEAL || to->head < to->len) {
		bytes_put(to, from->data + from->head, len);
		from->head += len;
		return;
	}
	*to = *from;
	to->len = to->head + len;
	was.head = was.len = was.seen = 0;
	bytes_put(&was, to->data + to->len, from->len - to->len);
	*from = was;
}

/* The length of the line that begins so far behind the head; 0: it is not whole. */
static size_t
bytes_line(struct bytes *b, size_t at)
{
	size_t from = b->head + at > b->seen ? b->head + at : b->seen;
	const char *end = memchr(b->data + from, '\n', b->len - from);

	if (!end)
		b->seen = b->len;
	return end ? (size_t)(end + 1 - b->data) - b->head - at : 0;
}

/* ---- peers ---- */

static void
peer_watch(struct peer *p, int op)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = p};

	ev.events |= p->blocked ? EPOLLOUT : 0;
	if (epoll_ctl(epoll_fd, op, p->fd, &ev) < 0)
		err(1, "epoll_ctl");
}

static void
peer_say(struct peer *p, struct bytes *from, size_t len)
{
	bytes_move(&p->out, from, len);
	if (p->writing || p->blocked)
		return;
	p->writing = true;
	list_push(&writing, p);
}

static void
peer_write(struct peer *p)
{
	struct bytes *b = &p->out;
	ssize_t n = send(p->fd, b->data + b->head, b->len - b->head, MSG_DONTWAIT | MSG_NOSIGNAL);
	bool blocked;

	p->writing = false;
	if (n < 0 && errno != EAGAIN)
		n = (ssize_t)(b->len - b->head); /* it has gone, as its read will say */
	b->head += n > 0 ? (size_t)n : 0;
	blocked = b->head < b->len;
	if (blocked == p->blocked)
		return;
	p->blocked = blocked;
	peer_watch(p, EPOLL_CTL_MOD);
}

/* false: it has gone. */
static bool
peer_read(struct peer *p)
{
	ssize_t n;

	bytes_need(&p->in, ROOM);
	n = recv(p->fd, p->in.data + p->in.len, p->in.size - p->in.len, MSG_DONTWAIT);
	if (n > 0)
		p->in.len += (size_t)n;
	return n > 0 || (n < 0 && errno == EAGAIN);
}

/* ---- clients ---- */

/* What it is owed comes still: it is freed behind that. */
static void
client_free(struct peer *c)
{
	if (c->fd >= 0 || c->owes || c->waiting || c->writing)
		return;
	free(c->in.data);
	free(c->out.data);
	free(c);
}

static void
client_accept(void)
{
	struct peer *c = need(NULL, sizeof(*c));

	memset(c, 0, sizeof(*c));
	c->fd = accept4(listener.fd, NULL, NULL, SOCK_CLOEXEC);
	if (c->fd < 0)
		err(1, "accept");
	peer_watch(c, EPOLL_CTL_ADD);
}

/* Lines to workers, to the first as many as it may have; false: no worker has room. */
static bool
client_give(struct peer *c)
{
	while (room.len) {
		struct peer *w = room.peers[room.len - 1];
		size_t len = 0, line = 0;

		while (w->owes < pipeline && (line = bytes_line(&c->in, len)) > 0) {
			w->askers[(w->next + w->owes++) % pipeline] = c;
			c->owes++;
			len += line;
		}
		if (w->owes == pipeline)
			room.len--;
		if (len)
			peer_say(w, &c->in, len);
		if (!line && w->owes < pipeline)
			return true;
	}
	return false;
}

static void
client_wait(struct peer *c)
{
	c->waiting = true;
	list_push(&waiting, c);
}

static void
client_read(struct peer *c)
{
	if (!peer_read(c)) {
		close(c->fd);
		c->fd = -1;
		c->blocked = false;
		c->in.len = c->in.head = c->in.seen = 0;
		client_free(c);
	} else if (!c->waiting) {
		client_wait(c);
	}
}

/* ---- workers ---- */

static void
worker_start(struct peer *w, char **argv)
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
		w->askers = need(NULL, pipeline * sizeof(struct peer *));
		peer_watch(w, EPOLL_CTL_ADD);
		list_push(&room, w);
	}
}

/* Answers to whom they are for: those in a row for the same client at once. */
static void
worker_read(struct peer *w)
{
	size_t len = 0, line;
	struct peer *c = NULL;

	if (!peer_read(w))
		errx(1, "a worker has ended");
	if (w->owes == pipeline && bytes_line(&w->in, 0))
		list_push(&room, w);
	while (w->owes && (line = bytes_line(&w->in, len)) > 0) {
		struct peer *asker = w->askers[w->next];

		if (c && c != asker) {
			peer_say(c, &w->in, len);
			len = 0;
		}
		c = asker;
		len += line;
		c->owes--;
		w->owes--;
		w->next = (w->next + 1) % pipeline;
	}
	if (c)
		peer_say(c, &w->in, len);
}

/* ---- the program ---- */

static void
work_move(void)
{
	while (room.len && waiting.head < waiting.len) {
		struct peer *c = waiting.peers[waiting.head++];

		if (client_give(c)) {
			c->waiting = false;
			client_free(c);
		} else {
			list_push(&waiting, c); /* the others first */
		}
	}
	if (waiting.head == waiting.len)
		waiting.head = waiting.len = 0;
	for (; writing.head < writing.len; writing.head++) {
		struct peer *p = writing.peers[writing.head];

		if (p->fd >= 0)
			peer_write(p);
		p->writing = false;
		if (!p->askers)
			client_free(p);
	}
	writing.head = writing.len = 0;
}

static void
serve(void)
{
	static struct epoll_event events[EVENTS_MAX];
	int n = epoll_wait(epoll_fd, events, EVENTS_MAX, -1);

	for (int i = 0; i < n; i++) {
		struct peer *p = events[i].data.ptr;

		if (events[i].events & EPOLLOUT)
			peer_write(p);
		if (!(events[i].events & ~(unsigned)EPOLLOUT))
			continue;
		if (p == &listener)
			client_accept();
		else if (p->askers)
			worker_read(p);
		else
			client_read(p);
	}
	work_move();
}

static void
listen_at(const char *path)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof(at.sun_path))
		errx(1, "%s: too long", path);
	strcpy(at.sun_path, path);
	listener.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener.fd < 0 || bind(listener.fd, (struct sockaddr *)&at, sizeof(at)) < 0 ||
	    listen(listener.fd, 4096) < 0)
		err(1, "%s", path);
	peer_watch(&listener, EPOLL_CTL_ADD);
}

int
main(int argc, char **argv)
{
	int count = argc > 4 ? atoi(argv[2]) : 0;
	struct rlimit files;
	struct peer *workers;

	pipeline = argc > 4 ? (unsigned)atoi(argv[3]) : 0;
	if (count < 1 || pipeline < 1 || pipeline > 65536)
		errx(64, "usage: floor SOCKET WORKERS PIPELINE COMMAND [ARG]...");
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	workers = calloc((size_t)count, sizeof(*workers));
	if (epoll_fd < 0 || !workers)
		err(1, "epoll_create1");
	for (int i = 0; i < count; i++)
		worker_start(&workers[i], argv + 4);
	listen_at(argv[1]);
	for (;;)
		serve();
}
