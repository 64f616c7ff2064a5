/* SPDX-License-Identifier: MIT */
/*
 * load - keeps a number of jobs outstanding, and times them.
 *
 *   load -s SOCKET [-p POOL [-S]] [-c CONNECTIONS] [-w WINDOW] [-b BYTES] [-t SECONDS | -n JOBS]
 *
 * With -p it sends RUNs in RESP to that pool, with -S SUBMITs; without it plain lines,
 * for the floor. -w is how many are outstanding on each connection. The reply to a RUN
 * or a line has to be the payload, which names its request, so that replies may come in
 * any order (of a long one the first 4096 bytes are looked at, and its end); that to a
 * SUBMIT is an id. Prints one line: jobs, seconds, jobs a second, the median and the
 * 99th percentile of the time from a request's write to the read that has its reply, in
 * microseconds, and megabytes of payload a second.
 *
 * It has to be cheap: it shares processors with what it measures. So all requests
 * that can be outstanding are made at the start, and only their names are written.
 */
#include "latency.h"

#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#define DIGITS 8  /* of a payload, octal, that name its request */
#define LOOK 4096 /* bytes of a reply that are compared */
#define EVENTS_MAX 64

struct options {
	const char *socket;
	const char *pool;
	bool submit;
	uint64_t connections;
	uint64_t window;
	uint64_t bytes;
	uint64_t seconds;
	uint64_t jobs;
};

/* What stands around a payload. */
struct frame {
	char head[256];
	size_t head_len;
	char tail[4];
	size_t tail_len;
	size_t len; /* with the payload */
};

struct connection {
	int fd;
	bool blocked;
	unsigned *names; /* a ring: of those outstanding, and, behind them, the free ones */
	unsigned first;	 /* of the free ones */
	unsigned last;	 /* where the next one that gets free is put */
	unsigned count;	 /* outstanding */
	int64_t *sent;	 /* by name: when; 0: it is free */
	char *out;	 /* requests, a ring of as many as can be outstanding */
	size_t made;	 /* of out: up to here are to be sent */
	size_t left;	 /* so many bytes of it */
	char *in;
	size_t in_len;
	size_t in_size;
};

static struct options options = {
	.connections = 1,
	.window = 32,
	.bytes = 16,
	.seconds = 2,
};
static struct frame request, reply;
static char *payload;
static int epoll_fd;
static int64_t deadline;
static uint64_t begun;
static struct latency done;

static void *
need(size_t count, size_t size)
{
	void *p = calloc(count, size);

	if (!p)
		err(1, "calloc");
	return p;
}

/* ---- requests and replies ---- */

static void
frame_end(struct frame *f, int head_len, const char *tail)
{
	if (head_len < 0 || (size_t)head_len >= sizeof(f->head))
		errx(64, "the pool's name is too long");
	f->head_len = (size_t)head_len;
	f->tail_len = strlen(tail);
	memcpy(f->tail, tail, f->tail_len);
	f->len = f->head_len + options.bytes + f->tail_len;
}

static void
frames_make(void)
{
	struct options *o = &options;

	if (o->pool) {
		frame_end(&request,
			  snprintf(request.head, sizeof(request.head),
				   "*3\r\n%s\r\n$%zu\r\n%s\r\n$%" PRIu64 "\r\n",
				   o->submit ? "$6\r\nSUBMIT" : "$3\r\nRUN", strlen(o->pool),
				   o->pool, o->bytes),
			  "\r\n");
		frame_end(&reply,
			  snprintf(reply.head, sizeof(reply.head), "$%" PRIu64 "\r\n", o->bytes),
			  "\r\n");
	} else {
		frame_end(&request, 0, "\n");
		frame_end(&reply, snprintf(reply.head, sizeof(reply.head), "OK "), "\n");
	}
	payload = need(o->bytes + 1, 1);
	memset(payload, 'x', o->bytes);
}

static unsigned
next_of(unsigned place)
{
	return place + 1 == options.window ? 0 : place + 1;
}

static void
put_request(struct connection *c, int64_t now)
{
	unsigned name = c->names[c->first];
	char *digits = c->out + c->made + request.head_len;

	for (unsigned i = DIGITS, rest = name; i-- > 0; rest >>= 3)
		digits[i] = (char)('0' + (rest & 7));
	c->made = c->made + request.len == options.window * request.len ? 0 : c->made + request.len;
	c->left += request.len;
	c->first = next_of(c->first);
	c->count++;
	c->sent[name] = now;
	begun++;
}

static void
bad_reply(const char *data)
{
	errx(1, "not the reply that was expected: '%.*s'", (int)strcspn(data, "\r\n"), data);
}

/* The name of the request that a reply is to. */
static unsigned
read_payload(const char *at)
{
	const char *body = at + reply.head_len;
	size_t look = options.bytes < LOOK ? options.bytes : LOOK;
	unsigned name = 0;

	for (unsigned i = 0; i < DIGITS; i++)
		name = name << 3 | ((unsigned char)body[i] ^ '0');
	if (memcmp(at, reply.head, reply.head_len) != 0 || name >= options.window ||
	    memcmp(body + DIGITS, payload + DIGITS, look - DIGITS) != 0 ||
	    memcmp(body + options.bytes, reply.tail, reply.tail_len) != 0)
		bad_reply(at);
	return name;
}

/* The length of the id that a SUBMIT is replied with; 0: it is not whole. */
static size_t
read_id(const char *at, size_t len)
{
	const char *end = memchr(at, '\n', len);

	if (*at != '$')
		bad_reply(at);
	if (!end)
		return 0;
	end = memchr(end + 1, '\n', len - (size_t)(end + 1 - at));
	return end ? (size_t)(end + 1 - at) : 0;
}

/* The length of the first reply; 0: it is not whole. */
static size_t
take_reply(struct connection *c, const char *at, size_t len, int64_t now)
{
	size_t taken = options.submit ? read_id(at, len) : len < reply.len ? 0 : reply.len;
	unsigned name;

	if (!taken)
		return 0;
	name = options.submit ? c->names[c->last] : read_payload(at);
	if (!c->sent[name])
		bad_reply(at);
	latency_count(&done, now - c->sent[name]);
	c->sent[name] = 0;
	c->names[c->last] = name;
	c->last = next_of(c->last);
	c->count--;
	return taken;
}

/* ---- connections ---- */

static void
connection_open(struct connection *c)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};

	if (strlen(options.socket) >= sizeof(to.sun_path))
		errx(64, "%s: too long", options.socket);
	strcpy(to.sun_path, options.socket);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		err(1, "%s", options.socket);
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &ev) < 0)
		err(1, "epoll_ctl");
	c->sent = need(options.window, sizeof(*c->sent));
	c->names = need(options.window, sizeof(*c->names));
	c->out = need(options.window, request.len);
	for (unsigned i = 0; i < options.window; i++) {
		char *at = c->out + i * request.len;

		c->names[i] = i;
		memcpy(at, request.head, request.head_len);
		memcpy(at + request.head_len, payload, options.bytes);
		memcpy(at + request.head_len + options.bytes, request.tail, request.tail_len);
	}
	c->in_size = options.window * (options.submit ? 32 : reply.len);
	c->in_size += 1024; /* an error may be longer */
	c->in = need(c->in_size + 1, 1);
}

static ssize_t
send_ring(struct connection *c)
{
	size_t from = c->made >= c->left ? c->made - c->left :
					   c->made + options.window * request.len - c->left;
	size_t to_end = options.window * request.len - from;
	size_t first = c->left < to_end ? c->left : to_end;
	struct iovec parts[] = {{c->out + from, first}, {c->out, c->left - first}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = first < c->left ? 2 : 1};

	return sendmsg(c->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* All that may be sent, in one write where the socket takes it. */
static void
connection_send(struct connection *c, int64_t now)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
	bool blocked;
	ssize_t n;

	while (c->count < options.window && begun < options.jobs && now < deadline)
		put_request(c, now);
	if (!c->left)
		return;
	n = send_ring(c);
	if (n < 0 && errno != EAGAIN)
		err(1, "send");
	if (n > 0)
		c->left -= (size_t)n;
	blocked = c->left > 0;
	if (blocked == c->blocked)
		return;
	c->blocked = blocked;
	ev.events |= blocked ? EPOLLOUT : 0;
	if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &ev) < 0)
		err(1, "epoll_ctl");
}

static void
connection_receive(struct connection *c)
{
	ssize_t n = recv(c->fd, c->in + c->in_len, c->in_size - c->in_len, MSG_DONTWAIT);
	int64_t now = now_ns();
	size_t used = 0, taken;

	if (n == 0)
		errx(1, "the connection was closed");
	if (n < 0 && errno != EAGAIN)
		err(1, "recv");
	if (n > 0)
		c->in_len += (size_t)n;
	while (used < c->in_len && (taken = take_reply(c, c->in + used, c->in_len - used, now)) > 0)
		used += taken;
	c->in_len -= used;
	if (used)
		memmove(c->in, c->in + used, c->in_len);
	c->in[c->in_len] = '\0';
	if (c->in_len && c->in[0] != reply.head[0])
		bad_reply(c->in);
	connection_send(c, now);
}

/* ---- the program ---- */

static uint64_t
number(const char *text, uint64_t min, uint64_t max)
{
	char *end;
	uint64_t n = strtoull(text, &end, 10);

	if (end == text || *end || n < min || n > max)
		errx(64, "not a number from %" PRIu64 " to %" PRIu64 ": %s", min, max, text);
	return n;
}

static void
options_read(int argc, char **argv)
{
	struct options *o = &options;
	int c;

	while ((c = getopt(argc, argv, "s:p:Sc:w:b:t:n:")) != -1) {
		switch (c) {
		case 's':
			o->socket = optarg;
			break;
		case 'p':
			o->pool = optarg;
			break;
		case 'S':
			o->submit = true;
			break;
		case 'c':
			o->connections = number(optarg, 1, 10000);
			break;
		case 'w':
			o->window = number(optarg, 1, 1000000);
			break;
		case 'b':
			o->bytes = number(optarg, DIGITS, 1 << 26);
			break;
		case 't':
			o->seconds = number(optarg, 1, 3600);
			break;
		case 'n':
			o->jobs = number(optarg, 1, UINT64_MAX);
			break;
		default:
			exit(64);
		}
	}
	if (!o->socket || (o->submit && !o->pool) || optind < argc)
		errx(64, "usage: load -s SOCKET [-p POOL [-S]] [-c CONNECTIONS] [-w WINDOW] "
			 "[-b BYTES] [-t SECONDS | -n JOBS]");
}

static void
run(void)
{
	struct epoll_event events[EVENTS_MAX];

	while (done.count < begun) {
		int n = epoll_wait(epoll_fd, events, EVENTS_MAX, -1);

		for (int i = 0; i < n; i++)
			connection_receive(events[i].data.ptr);
	}
}

int
main(int argc, char **argv)
{
	struct rlimit files;
	struct connection *all;
	int64_t start;
	double took;

	options_read(argc, argv);
	frames_make();
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0)
		err(1, "epoll_create1");
	all = need(options.connections, sizeof(*all));
	for (uint64_t i = 0; i < options.connections; i++)
		connection_open(&all[i]);
	start = now_ns();
	deadline = options.jobs ? INT64_MAX : start + (int64_t)options.seconds * 1000000000;
	options.jobs = options.jobs ? options.jobs : UINT64_MAX;
	for (uint64_t i = 0; i < options.connections; i++)
		connection_send(&all[i], now_ns());
	run();
	took = (double)(now_ns() - start) / 1e9;
	printf("jobs=%" PRIu64 " seconds=%.3f rate=%.0f p50_us=%.1f p99_us=%.1f mb_s=%.1f\n",
	       done.count, took, (double)done.count / took, latency_percentile(&done, 50),
	       latency_percentile(&done, 99),
	       (double)done.count * (double)options.bytes / took / 1e6);
	return 0;
}
