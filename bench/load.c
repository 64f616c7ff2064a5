/* SPDX-License-Identifier: MIT */
/*
 * load - keeps a number of jobs outstanding, and times them.
 *
 *   load -s SOCKET [-p POOL] [-c CONNECTIONS] [-w WINDOW] [-b BYTES] [-t SECONDS | -n JOBS]
 *
 * With -p it sends RUNs in RESP to that pool; without it plain lines, for the floor.
 * In both the reply has to be the payload, which names its request, so that replies
 * may come in any order. -w is how many are outstanding on each connection. Prints
 * one line: jobs, seconds, jobs a second, and the median and the 99th percentile of
 * the time from a request's write to the read that has its reply, in microseconds.
 */
#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define DIGITS 8 /* of a payload, that name its request */
#define EVENTS_MAX 64
#define STEPS 32 /* of the histogram to each power of two: within 3 % */
#define BUCKETS (STEPS * 40)

struct options {
	const char *socket;
	const char *pool;
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
	int64_t *sent;	/* when, of each request outstanding; 0: there is none */
	unsigned *free; /* the names that are free, a stack */
	size_t free_count;
	char *out; /* as large as all that can be outstanding */
	size_t out_len;
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
static uint64_t begun, done;
static uint64_t histogram[BUCKETS];

static int64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void *
need(size_t count, size_t size)
{
	void *p = calloc(count, size);

	if (!p)
		err(1, "calloc");
	return p;
}

/* ---- the histogram ---- */

static void
count_latency(int64_t ns)
{
	uint64_t us = (uint64_t)ns / 1000;
	unsigned shift = us < 2 * STEPS ? 0 : 58 - (unsigned)__builtin_clzll(us);
	uint64_t bucket = shift * STEPS + (us >> shift);

	histogram[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
}

static uint64_t
percentile(unsigned percent)
{
	uint64_t rest = (done * percent + 99) / 100;
	unsigned i = 0;
	unsigned shift;

	while (i < BUCKETS - 1 && histogram[i] < rest)
		rest -= histogram[i++];
	shift = i < 2 * STEPS ? 0 : i / STEPS - 1;
	return (uint64_t)(i - shift * STEPS) << shift;
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
				   "*3\r\n$3\r\nRUN\r\n$%zu\r\n%s\r\n$%" PRIu64 "\r\n",
				   strlen(o->pool), o->pool, o->bytes),
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

static void
put_request(struct connection *c, int64_t now)
{
	unsigned name = c->free[--c->free_count];
	unsigned rest = name;
	char *at = c->out + c->out_len;

	for (unsigned i = DIGITS; i-- > 0; rest /= 10)
		payload[i] = (char)('0' + rest % 10);
	memcpy(at, request.head, request.head_len);
	memcpy(at + request.head_len, payload, options.bytes);
	memcpy(at + request.head_len + options.bytes, request.tail, request.tail_len);
	c->out_len += request.len;
	c->sent[name] = now;
	begun++;
}

static void
bad_reply(const char *data)
{
	errx(1, "not the reply that was expected: '%.*s'", (int)strcspn(data, "\r\n"), data);
}

static void
take_reply(struct connection *c, const char *at, int64_t now)
{
	const char *body = at + reply.head_len;
	unsigned name = 0;

	for (unsigned i = 0; i < DIGITS; i++)
		name = name * 10 + (unsigned)(body[i] - '0');
	if (memcmp(at, reply.head, reply.head_len) != 0 || name >= options.window ||
	    !c->sent[name] ||
	    memcmp(body + DIGITS, payload + DIGITS, options.bytes - DIGITS) != 0 ||
	    memcmp(body + options.bytes, reply.tail, reply.tail_len) != 0)
		bad_reply(at);
	count_latency(now - c->sent[name]);
	c->sent[name] = 0;
	c->free[c->free_count++] = name;
	done++;
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
	c->free = need(options.window, sizeof(*c->free));
	while (c->free_count < options.window) {
		c->free[c->free_count] = (unsigned)(options.window - 1 - c->free_count);
		c->free_count++;
	}
	c->out = need(options.window, request.len);
	c->in_size = options.window * reply.len + 1024; /* an error may be longer */
	c->in = need(c->in_size + 1, 1);
}

/* All that may be sent, in one write where the socket takes it. */
static void
connection_send(struct connection *c, int64_t now)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
	bool blocked;
	ssize_t n;

	while (c->free_count && begun < options.jobs && now < deadline)
		put_request(c, now);
	if (!c->out_len)
		return;
	n = send(c->fd, c->out, c->out_len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0 && errno != EAGAIN)
		err(1, "send");
	if (n > 0) {
		c->out_len -= (size_t)n;
		memmove(c->out, c->out + n, c->out_len);
	}
	blocked = c->out_len > 0;
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
	size_t used = 0;

	if (n == 0)
		errx(1, "the connection was closed");
	if (n < 0 && errno != EAGAIN)
		err(1, "recv");
	if (n > 0)
		c->in_len += (size_t)n;
	for (; c->in_len - used >= reply.len; used += reply.len)
		take_reply(c, c->in + used, now);
	c->in_len -= used;
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

	while ((c = getopt(argc, argv, "s:p:c:w:b:t:n:")) != -1) {
		switch (c) {
		case 's':
			o->socket = optarg;
			break;
		case 'p':
			o->pool = optarg;
			break;
		case 'c':
			o->connections = number(optarg, 1, 10000);
			break;
		case 'w':
			o->window = number(optarg, 1, 1000000);
			break;
		case 'b':
			o->bytes = number(optarg, DIGITS, 1 << 20);
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
	if (!o->socket || optind < argc)
		errx(64, "usage: load -s SOCKET [-p POOL] [-c CONNECTIONS] [-w WINDOW] "
			 "[-b BYTES] [-t SECONDS | -n JOBS]");
}

static void
run(void)
{
	struct epoll_event events[EVENTS_MAX];

	while (done < begun) {
		int n = epoll_wait(epoll_fd, events, EVENTS_MAX, -1);

		for (int i = 0; i < n; i++)
			connection_receive(events[i].data.ptr);
	}
}

int
main(int argc, char **argv)
{
	struct connection *all;
	int64_t start;
	double took;

	options_read(argc, argv);
	frames_make();
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
	printf("jobs=%" PRIu64 " seconds=%.3f rate=%.0f p50_us=%" PRIu64 " p99_us=%" PRIu64 "\n",
	       done, took, (double)done / took, percentile(50), percentile(99));
	return 0;
}
