/* SPDX-License-Identifier: MIT */
/* METRICS, as it is or as the answer to an HTTP request. The daemon speaks no HTTP:
 * this is started for one connection, by a service manager, and ends with it. */
#include "base/buf.h"
#include "base/mono.h"
#include "ctl/args.h"
#include "ctl/http.h"
#include "ctl/reply.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* How long the daemon may take is less than the 10 s of Prometheus' scrape_timeout,
 * so that who scrapes is told the reason. */
#define DAEMON_MS 5000
#define HEAD_US (10 * USEC_PER_SEC)  /* for all of a request's head */
#define TAKE_US (10 * USEC_PER_SEC)  /* without taking anything of the answer */
#define LINGER_US (1 * USEC_PER_SEC) /* until the other side has closed, too */

/* ---- the texts ---- */

static const char type_openmetrics[] = "application/openmetrics-text; version=1.0.0; charset=utf-8";
static const char type_metrics[] = "text/plain; version=0.0.4; charset=utf-8";
static const char type_text[] = "text/plain; charset=utf-8";
static const char type_html[] = "text/html; charset=utf-8";

static const char index_html[] = "<!DOCTYPE html>\n"
				 "<title>preforkd</title>\n"
				 "<h1>preforkd</h1>\n"
				 "<p><a href=\"/metrics\">Metrics</a></p>\n";

static const struct {
	int status;
	const char *words;
} statuses[] = {
	{200, "OK"},
	{400, "Bad Request"},
	{404, "Not Found"},
	{405, "Method Not Allowed"},
	{408, "Request Timeout"},
	{414, "URI Too Long"},
	{431, "Request Header Fields Too Large"},
	{500, "Internal Server Error"},
	{503, "Service Unavailable"},
	{505, "HTTP Version Not Supported"},
};

static const char *
status_words(int status)
{
	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
		if (statuses[i].status == status)
			return statuses[i].words;
	return "";
}

/* ---- what is answered ---- */

struct answer {
	int status;
	const char *type;
	const char *more; /* further lines of the head, or NULL */
	struct buf body;
};

static void
answer_text(struct answer *a, int status, const char *text)
{
	a->status = status;
	a->type = type_text;
	buf_putf(&a->body, "%d %s\n%s%s", status, status_words(status), text,
		 strchr(text, '\n') ? "" : "\n");
}

struct line {
	const char *p;
	size_t len; /* with its LF */
};

static bool
line_starts(struct line l, const char *with)
{
	return l.len > strlen(with) && memcmp(l.p, with, strlen(with)) == 0;
}

static bool
line_ends(struct line l, const char *with)
{
	return l.len >= strlen(with) && memcmp(l.p + l.len - strlen(with), with, strlen(with)) == 0;
}

/* Prometheus' text format before OpenMetrics. There a counter's family has the name
 * of its sample, and there are no units and no end; all else is the same. */
static void
put_old_format(struct buf *b, const char *text, size_t len)
{
	static const char type[] = "# TYPE ", counter[] = " counter\n";
	char head[256] = ""; /* "# HELP name " of a counter */

	for (struct line l = {text, 0}; len; l.p += l.len, len -= l.len) {
		const char *lf = memchr(l.p, '\n', len);
		size_t name;

		l.len = lf ? (size_t)(lf - l.p) + 1 : len;
		if (line_starts(l, "# UNIT ") || line_ends(l, "# EOF\n"))
			continue;
		if (line_starts(l, type) && line_ends(l, counter)) {
			/* a family begins with its type */
			name = l.len - strlen(type) - strlen(counter);
			snprintf(head, sizeof(head), "# HELP %.*s ", (int)name, l.p + strlen(type));
			buf_putf(b, "%s%.*s_total%s", type, (int)name, l.p + strlen(type), counter);
		} else if (*head && line_starts(l, head)) {
			name = strlen(head) - 1;
			buf_putf(b, "%.*s_total", (int)name, head);
			buf_put(b, l.p + name, l.len - name);
		} else {
			buf_put(b, l.p, l.len);
		}
	}
}

static int
fetch(struct ctl *ctl, redisReply **ret_reply)
{
	const char *words[] = {"METRICS"};
	int status = ctl_call_words(ctl, words, 1, ret_reply);

	if (!status && !reply_is_text(*ret_reply)) {
		ctl_warn("what answers is not preforkd: METRICS gave no text");
		status = STATUS_FAILED;
	}
	return status;
}

static void
answer_metrics(struct ctl *ctl, const struct http_request *req, struct answer *a)
{
	struct buf why = {0};
	redisReply *r = NULL;

	ctl->patience_ms = DAEMON_MS;
	ctl_messages_to(&why);
	int status = fetch(ctl, &r);
	ctl_messages_to(NULL);
	if (status) {
		buf_putc(&why, 0);
		answer_text(a, status == STATUS_PERMISSION ? 500 : 503,
			    buf_failed(&why) ? "out of memory" : buf_head(&why));
	} else if (req->openmetrics) {
		a->type = type_openmetrics;
		buf_put(&a->body, r->str, r->len);
	} else {
		a->type = type_metrics;
		put_old_format(&a->body, r->str, r->len);
	}
	freeReplyObject(r);
	buf_free(&why);
}

static void
answer_index(struct ctl *ctl, const struct http_request *req, struct answer *a)
{
	(void)ctl, (void)req;
	a->type = type_html;
	buf_puts(&a->body, index_html);
}

static const struct {
	const char *path;
	void (*answer)(struct ctl *ctl, const struct http_request *req, struct answer *a);
} routes[] = {
	{"/metrics", answer_metrics},
	{"/", answer_index},
};

static void
answer_request(struct ctl *ctl, const struct http_request *req, struct answer *a)
{
	if (req->status != 200) {
		answer_text(a, req->status, req->why);
		return;
	}
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		if (strlen(routes[i].path) != req->path_len ||
		    memcmp(routes[i].path, req->path, req->path_len) != 0)
			continue;
		if (req->get || req->head) {
			routes[i].answer(ctl, req, a);
			return;
		}
		answer_text(a, 405, "this is only to be read: GET or HEAD");
		a->more = "Allow: GET, HEAD\r\n";
		return;
	}
	answer_text(a, 404, "there is /metrics, and nothing else");
}

static void
put_answer(struct buf *b, const struct answer *a, bool with_body)
{
	time_t now = time(NULL);
	struct tm tm;
	char date[64] = "";

	if (gmtime_r(&now, &tm))
		strftime(date, sizeof(date), "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
	buf_putf(b,
		 "HTTP/1.1 %d %s\r\n%sContent-Type: %s\r\nContent-Length: %zu\r\n"
		 "Cache-Control: no-store\r\nConnection: close\r\n%s\r\n",
		 a->status, status_words(a->status), date, a->type, buf_len(&a->body),
		 a->more ? a->more : "");
	if (with_body)
		buf_put(b, buf_head(&a->body), buf_len(&a->body));
	b->failed = b->failed || buf_failed(&a->body);
}

/* ---- the connection ---- */

/* Wait until fd is ready; false when the time is over first. */
static bool
wait_ready(int fd, short events, mono_t until)
{
	struct pollfd p = {.fd = fd, .events = events};
	int64_t left;

	do {
		left = mono_since(until, mono_now());
		if (left <= 0)
			return false;
	} while (poll(&p, 1, (int)((left + 999) / 1000)) <= 0);
	return true;
}

/* What has come by the time it is over; 0: the other side has closed, or reset. */
static size_t
read_some(char *data, size_t room, mono_t until, bool *ret_late)
{
	ssize_t n;

	do {
		*ret_late = !wait_ready(STDIN_FILENO, POLLIN, until);
		if (*ret_late)
			return 0;
		n = read(STDIN_FILENO, data, room);
	} while (n < 0 && (errno == EINTR || errno == EAGAIN));
	return n > 0 ? (size_t)n : 0;
}

/* False: the other side went, or never said anything. */
static bool
read_request(char data[HTTP_HEAD_MAX], struct http_request *ret)
{
	mono_t until = mono_add(mono_now(), HEAD_US);
	size_t len = 0;

	do {
		bool late;
		size_t n = read_some(data + len, HTTP_HEAD_MAX - len, until, &late);

		if (n == 0 && len == 0)
			return false;
		if (n == 0) {
			*ret = (struct http_request){
				.status = late ? 408 : 400,
				.why = late ? "the head of the request did not come within 10 s" :
					      "the request ends before its empty line"};
			return true;
		}
		len += n;
	} while (!http_parse(data, len, ret));
	return true;
}

/* A terminal or a pipe takes as much as poll() promises; a socket may say how much. */
static ssize_t
send_some(const char *data, size_t len)
{
	ssize_t n = send(STDOUT_FILENO, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0 && errno == ENOTSOCK)
		n = write(STDOUT_FILENO, data, len < PIPE_BUF ? len : PIPE_BUF);
	return n;
}

/* Whoever does not take the answer, or is gone, has not asked for the rest of it. */
static void
send_all(struct buf *b)
{
	while (buf_len(b)) {
		if (!wait_ready(STDOUT_FILENO, POLLOUT, mono_add(mono_now(), TAKE_US)))
			return;
		ssize_t n = send_some(buf_head(b), buf_len(b));
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return;
		buf_consume(b, n < 0 ? 0 : (size_t)n);
	}
}

/* What was sent and not read here, such as a body, would reset the connection at our
 * end of it, and the answer with it. */
static void
linger(void)
{
	mono_t until = mono_add(mono_now(), LINGER_US);
	char rest[4096];
	bool late;

	if (shutdown(STDOUT_FILENO, SHUT_WR) == 0)
		while (read_some(rest, sizeof(rest), until, &late))
			;
}

/* All that can go wrong here is told to the other side. */
static int
serve_http(struct ctl *ctl)
{
	char data[HTTP_HEAD_MAX];
	struct http_request req;
	struct answer a = {.status = 200};
	struct buf out = {0};

	if (!read_request(data, &req))
		return STATUS_OK;
	answer_request(ctl, &req, &a);
	put_answer(&out, &a, !req.head);
	if (!buf_failed(&out)) {
		send_all(&out);
		linger();
	}
	buf_free(&a.body);
	buf_free(&out);
	return STATUS_OK;
}

int
verb_metrics(struct ctl *ctl, const struct args *args)
{
	redisReply *r = NULL;

	if (args->values[OPT_HTTP])
		return serve_http(ctl);
	int status = fetch(ctl, &r);
	if (!status)
		fwrite(r->str, 1, r->len, stdout);
	freeReplyObject(r);
	return status;
}
