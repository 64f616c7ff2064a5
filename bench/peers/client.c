/* SPDX-License-Identifier: MIT */
/*
 * client - keeps a number of jobs outstanding at a peer, and times them.
 *
 *   client [-c CONNECTIONS] [-w WINDOW] [-b BYTES] [-t SECONDS] [-q QUEUE] WIRE SOCKET
 *
 * It does as bench/load does, and prints the same line. A reply has to be the payload,
 * which names its request. With a wire of queues each connection has a queue of its own
 * for its replies; what waits for them has a socket of its own, unless the window is 1.
 */
#include "../latency.h"
#include "wire.h"

#include <err.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define DIGITS 8 /* of a payload, that name its request */
#define EVENTS_MAX 64
#define ROOM (64 * 1024) /* to read into, at least */

struct connection;

struct side {
	int fd;
	bool blocked;
	struct ear ear;
	struct bytes out;
	struct connection *of;
};

struct connection {
	char queue[QUEUE_LEN + 1];
	struct side asking;
	struct side waiting;
	struct side *replies; /* which of them */
	unsigned takes;	      /* that are outstanding */
	unsigned jobs;
	int64_t *sent;	/* when, of each job outstanding; 0: there is none */
	unsigned *free; /* the names that are free, a stack */
	unsigned free_count;
};

static const struct wire *wire;
static const char *where;
static const char *queue = "jobs";
static unsigned connections = 1, window = 32;
static size_t payload_len = 16;
static double seconds = 2;
static char *payload;
static int epoll_fd;
static int64_t deadline;
static uint64_t begun;
static struct latency done;

static void *
need(size_t count, size_t size)
{
	void *p = reallocarray(NULL, count, size);

	if (!p)
		err(1, "no memory");
	return p;
}

/* ---- jobs ---- */

/* As many as there is room for, and what waits for their results. */
static void
ask(struct connection *c, int64_t now)
{
	const char *front = wire->take ? c->queue : "";

	while (c->free_count && now < deadline) {
		unsigned name = c->free[--c->free_count];
		unsigned rest = name;

		for (unsigned i = DIGITS; i-- > 0; rest /= 10)
			payload[i] = (char)('0' + rest % 10);
		wire->put(&c->asking.out, queue, front, payload, payload_len);
		c->sent[name] = now;
		c->jobs++;
		begun++;
	}
	while (wire->take && c->takes < (wire->batches ? c->jobs > 0 : c->jobs)) {
		wire->take(&c->replies->out, c->queue, window);
		c->takes++;
	}
}

static void
on_result(struct connection *c, const struct item *item, int64_t now)
{
	unsigned name = 0;

	for (unsigned i = 0; i < DIGITS && i < item->len; i++)
		name = name * 10 + (unsigned)(item->data[i] - '0');
	if (item->len != payload_len || name >= window || !c->sent[name] ||
	    memcmp(item->data + DIGITS, payload + DIGITS, payload_len - DIGITS) != 0)
		errx(1, "not a payload: '%.*s'", (int)item->len, item->data);
	if (wire->settle)
		wire->settle(&c->replies->out, item);
	c->takes -= wire->take && item->last;
	latency_count(&done, now - c->sent[name]);
	c->sent[name] = 0;
	c->free[c->free_count++] = name;
	c->jobs--;
}

/* ---- connections ---- */

static void
side_open(struct side *s, struct connection *c)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = s};

	s->of = c;
	s->fd = wire_connect(where);
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, s->fd, &ev) < 0)
		err(1, "epoll_ctl");
}

static void
connection_open(struct connection *c, unsigned number)
{
	snprintf(c->queue, sizeof(c->queue), "%08x", (uint32_t)getpid() << 12 | number);
	c->sent = need(window, sizeof(*c->sent));
	memset(c->sent, 0, window * sizeof(*c->sent));
	c->free = need(window, sizeof(*c->free));
	for (unsigned i = 0; i < window; i++)
		c->free[c->free_count++] = window - 1 - i;
	side_open(&c->asking, c);
	if (!wire->take || window == 1) {
		c->replies = &c->asking;
		wire->hello(&c->asking.out, queue, c->queue);
	} else {
		c->replies = &c->waiting;
		side_open(&c->waiting, c);
		wire->hello(&c->asking.out, queue, NULL);
		wire->hello(&c->waiting.out, NULL, c->queue);
	}
}

static void
side_send(struct side *s)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = s};
	struct bytes *out = &s->out;
	bool blocked;
	ssize_t n;

	if (out->head == out->len)
		return;
	n = send(s->fd, out->data + out->head, out->len - out->head, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0 && errno != EAGAIN)
		err(1, "send");
	if (n > 0)
		out->head += (size_t)n;
	blocked = out->head < out->len;
	if (blocked == s->blocked)
		return;
	s->blocked = blocked;
	ev.events |= blocked ? EPOLLOUT : 0;
	if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, s->fd, &ev) < 0)
		err(1, "epoll_ctl");
}

static void
connection_go_on(struct connection *c, int64_t now)
{
	ask(c, now);
	side_send(&c->asking);
	if (c->replies == &c->waiting)
		side_send(&c->waiting);
}

static void
side_receive(struct side *s)
{
	struct bytes *in = &s->ear.in;
	struct item item;
	enum heard heard;
	int64_t now;
	ssize_t n;

	bytes_need(in, ROOM);
	n = recv(s->fd, in->data + in->len, in->size - in->len, MSG_DONTWAIT);
	if (n == 0 || (n < 0 && errno != EAGAIN))
		err(1, "the connection was closed");
	if (n > 0)
		in->len += (size_t)n;
	now = now_ns();
	while ((heard = wire->next(&s->ear, &item)) != HEARD_PART) {
		if (heard == HEARD_NONSENSE)
			errx(1, "was told nonsense: '%.*s'", (int)(in->len - in->head),
			     in->data + in->head);
		if (heard == HEARD_PAYLOAD)
			on_result(s->of, &item, now);
	}
	connection_go_on(s->of, now);
}

/* ---- the program ---- */

static void
options_read(int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "c:w:b:t:q:")) != -1) {
		if (c == 'c')
			connections = (unsigned)number_at(optarg);
		else if (c == 'w')
			window = (unsigned)number_at(optarg);
		else if (c == 'b')
			payload_len = number_at(optarg);
		else if (c == 't')
			seconds = strtod(optarg, NULL);
		else if (c == 'q')
			queue = optarg;
		else
			exit(64);
	}
	if (argc - optind != 2 || !connections || connections > 4096 || !window ||
	    payload_len < DIGITS)
		errx(64, "usage: client [-c CONNECTIONS] [-w WINDOW] [-b BYTES] [-t SECONDS] "
			 "WIRE SOCKET");
	wire = wire_find(argv[optind]);
	where = argv[optind + 1];
	payload = need(payload_len, 1);
	memset(payload, 'x', payload_len);
}

static void
run(struct connection *all)
{
	struct epoll_event events[EVENTS_MAX];

	for (unsigned i = 0; i < connections; i++)
		connection_go_on(&all[i], now_ns());
	while (done.count < begun) {
		int n = epoll_wait(epoll_fd, events, EVENTS_MAX, -1);

		for (int i = 0; i < n; i++)
			side_receive(events[i].data.ptr);
	}
}

int
main(int argc, char **argv)
{
	struct connection *all;
	int64_t start;
	double took;

	options_read(argc, argv);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0)
		err(1, "epoll_create1");
	all = need(connections, sizeof(*all));
	memset(all, 0, connections * sizeof(*all));
	for (unsigned i = 0; i < connections; i++)
		connection_open(&all[i], i);
	start = now_ns();
	deadline = start + (int64_t)(seconds * 1e9);
	run(all);
	took = (double)(now_ns() - start) / 1e9;
	printf("jobs=%zu seconds=%.3f rate=%.0f p50_us=%.1f p99_us=%.1f\n", (size_t)done.count,
	       took, (double)done.count / took, latency_percentile(&done, 50),
	       latency_percentile(&done, 99));
	return 0;
}
