/* SPDX-License-Identifier: MIT */
/*
 * Workers of preforkd(8) in C (C11 or C++11, and POSIX): jobs in, answers out, at every level
 * and channel.
 *
 *	#include <preforkd.h>
 *
 *	int
 *	main(void)
 *	{
 *		struct preforkd p;
 *		struct preforkd_job job;
 *
 *		preforkd_open(&p);
 *		while (preforkd_next(&p, &job))
 *			preforkd_ok(&p, &job, job.payload, job.len);
 *		return 0;
 *	}
 *
 * No library is linked: all of it is here. One job at a time, one thread. What
 * cannot be repaired (the channel is broken, no memory) ends the process, and the
 * daemon starts another. preforkd-worker(7) says more.
 */
#ifndef PREFORKD_H
#define PREFORKD_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum preforkd_level { PREFORKD_LINE, PREFORKD_FILTER, PREFORKD_FRAME };

struct preforkd {
	enum preforkd_level level;
	size_t max_result; /* bytes */
	/* the rest is not for others */
	int in, out;
	char *buf;
	size_t start, end, cap; /* of what was read and not taken, in buf */
	char *payload;
	bool said_ready;
};

struct preforkd_job {
	char *payload; /* until the next preforkd_next(); a NUL is behind it */
	size_t len;
	unsigned long long id; /* frame; else 0, as attempt */
	unsigned attempt;
};

static inline void
preforkd_die_(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(71); /* EX_OSERR */
}

/* Take the channel. From here on standard input is empty, and what is printed
 * goes to the log. Before the first print and the first child. */
static inline void
preforkd_open(struct preforkd *p)
{
	const char *level = getenv("PREFORKD_PROTOCOL"), *max = getenv("PREFORKD_MAX_RESULT");
	const char *where = getenv("PREFORKD_CHANNEL");
	bool fd3 = where && strcmp(where, "fd3") == 0;
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	memset(p, 0, sizeof(*p));
	if (level && strcmp(level, "filter") == 0)
		p->level = PREFORKD_FILTER;
	else if (level && strcmp(level, "frame") == 0)
		p->level = PREFORKD_FRAME;
	p->max_result = max ? (size_t)strtoull(max, NULL, 10) : (size_t)-1 / 2;
	p->in = fcntl(fd3 ? 3 : 0, F_DUPFD_CLOEXEC, 10);
	p->out = fcntl(fd3 ? 3 : 1, F_DUPFD_CLOEXEC, 10);
	if (p->in < 0 || p->out < 0 || null < 0 || dup2(null, 0) < 0 || dup2(2, 1) < 0)
		preforkd_die_("the channel");
	if (null > 2)
		close(null);
	if (fd3)
		close(3);
	unsetenv("PREFORKD_PROTOCOL"); /* our children are no workers */
	unsetenv("PREFORKD_MAX_RESULT");
	unsetenv("PREFORKD_CHANNEL");
}

/* ---- answers ---- */

static inline void
preforkd_write_(int fd, const void *data, size_t len)
{
	const char *at = (const char *)data;

	while (len) {
		ssize_t n = write(fd, at, len);

		if (n < 0 && errno != EINTR)
			preforkd_die_("cannot answer");
		if (n > 0) {
			at += n;
			len -= (size_t)n;
		}
	}
}

static inline void
preforkd_put_(struct preforkd *p, const char *head, const void *text, size_t len)
{
	size_t n = strlen(head);
	char small[1024];

	if (n + len < sizeof(small)) { /* one write, as a rule */
		memcpy(small, head, n);
		if (len)
			memcpy(small + n, text, len);
		small[n + len] = '\n';
		preforkd_write_(p->out, small, n + len + 1);
		return;
	}
	preforkd_write_(p->out, head, n);
	preforkd_write_(p->out, text, len);
	preforkd_write_(p->out, "\n", 1);
}

static inline void
preforkd_verb_(struct preforkd *p, const struct preforkd_job *job, const char *verb,
	       const void *text, size_t len)
{
	char head[64];

	if (p->level == PREFORKD_FRAME)
		snprintf(head, sizeof(head), "%s %llu %zu\n", verb, job->id, len);
	else
		snprintf(head, sizeof(head), "%s ", verb);
	preforkd_put_(p, head, text, len);
}

#if defined(__GNUC__)
#define PREFORKD_PRINTF_(format_at, first) __attribute__((__format__(__printf__, format_at, first)))
#else
#define PREFORKD_PRINTF_(format_at, first)
#endif

/* ERR and RETRY: a message on one line. A filter has no other word for it than
 * its end. */
PREFORKD_PRINTF_(4, 0)
static inline void
preforkd_fail_(struct preforkd *p, const struct preforkd_job *job, const char *verb,
	       const char *format, va_list ap)
{
	char text[1024];

	vsnprintf(text, sizeof(text), format, ap);
	for (char *c = text; *c; c++)
		if (*c == '\n' || *c == '\r')
			*c = ' ';
	if (p->level == PREFORKD_FILTER) {
		fprintf(stderr, "%s\n", text);
		exit(1);
	}
	preforkd_verb_(p, job, verb, text, strlen(text));
}

/* The job failed. The message is cut at 1023 bytes. */
PREFORKD_PRINTF_(3, 4)
static inline void
preforkd_err(struct preforkd *p, const struct preforkd_job *job, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	preforkd_fail_(p, job, "ERR", format, ap);
	va_end(ap);
}

/* The job failed for now. */
PREFORKD_PRINTF_(3, 4)
static inline void
preforkd_retry(struct preforkd *p, const struct preforkd_job *job, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	preforkd_fail_(p, job, "RETRY", format, ap);
	va_end(ap);
}

/* Why these bytes cannot be a result here, or NULL. */
static inline const char *
preforkd_unfit_(const struct preforkd *p, const char *data, size_t len)
{
	if (len > p->max_result)
		return "the result is longer than the pool's job.max_result";
	if (!len || p->level == PREFORKD_FRAME)
		return NULL;
	if (memchr(data, '\n', len) || (p->level == PREFORKD_LINE && data[len - 1] == '\r'))
		return "the result is not one line: the pool needs protocol = \"frame\"";
	return NULL;
}

/* The job is done. A result that does not fit makes it fail, and this false. */
static inline bool
preforkd_ok(struct preforkd *p, const struct preforkd_job *job, const void *data, size_t len)
{
	const char *why = preforkd_unfit_(p, (const char *)data, len);

	if (why)
		preforkd_err(p, job, "%s", why);
	else if (p->level == PREFORKD_FILTER)
		preforkd_put_(p, "", data, len);
	else
		preforkd_verb_(p, job, "OK", data, len);
	return !why;
}

/* Partial output. False: it is not sent, since it does not fit. */
static inline bool
preforkd_out(struct preforkd *p, const struct preforkd_job *job, const void *data, size_t len)
{
	if (preforkd_unfit_(p, (const char *)data, len))
		return false;
	if (p->level != PREFORKD_FILTER)
		preforkd_verb_(p, job, "OUT", data, len);
	return true;
}

/* text may be NULL; frame has none. */
static inline void
preforkd_progress(struct preforkd *p, const struct preforkd_job *job, unsigned long long done,
		  unsigned long long total, const char *text)
{
	char head[128];

	if (p->level == PREFORKD_FRAME)
		snprintf(head, sizeof(head), "PROGRESS %llu %llu %llu", job->id, done, total);
	else
		snprintf(head, sizeof(head), "PROGRESS %llu %llu ", done, total);
	if (p->level == PREFORKD_FRAME || !text)
		text = "";
	if (p->level != PREFORKD_FILTER)
		preforkd_put_(p, head, text, strcspn(text, "\r\n"));
}

/* One line to the log; level: 0 to 7, as LOG_ERR and the like of <syslog.h>. */
PREFORKD_PRINTF_(3, 4)
static inline void
preforkd_log(struct preforkd *p, int level, const char *format, ...)
{
	char text[1024], head[64];
	size_t len;
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	len = strcspn(text, "\r\n");
	if (p->level == PREFORKD_FRAME)
		snprintf(head, sizeof(head), "LOG %d %zu\n", level & 7, len);
	else
		snprintf(head, sizeof(head), "LOG <%d>", level & 7);
	if (p->level == PREFORKD_FILTER)
		fprintf(stderr, "<%d>%.*s\n", level & 7, (int)len, text);
	else
		preforkd_put_(p, head, text, len);
}

/* ---- jobs ---- */

/* Read once. False: the end. */
static inline bool
preforkd_read_(struct preforkd *p)
{
	ssize_t n;

	if (p->start) {
		memmove(p->buf, p->buf + p->start, p->end - p->start);
		p->end -= p->start;
		p->start = 0;
	}
	if (p->cap - p->end < 65536) {
		p->cap = p->cap * 2 + 131072;
		p->buf = (char *)realloc(p->buf, p->cap);
		if (!p->buf)
			preforkd_die_("jobs");
	}
	do
		n = read(p->in, p->buf + p->end, p->cap - p->end);
	while (n < 0 && errno == EINTR);
	p->end += n > 0 ? (size_t)n : 0;
	return n > 0;
}

struct preforkd_message_ {
	bool cancel;
	unsigned long long id;
	unsigned attempt;
	size_t body, len, next; /* where in buf, and where the next message is */
};

/* The message at buf + at. False: it is not all there. */
static inline bool
preforkd_parse_(const struct preforkd *p, size_t at, struct preforkd_message_ *m)
{
	const char *s = p->buf + at;
	const char *lf = p->end > at ? (const char *)memchr(s, '\n', p->end - at) : NULL;
	char *rest;

	memset(m, 0, sizeof(*m));
	if (!lf)
		return false;
	m->body = at;
	m->len = (size_t)(lf - s);
	m->next = at + m->len + 1;
	if (p->level != PREFORKD_FRAME)
		return true;
	m->cancel = *s == 'C'; /* CANCEL id, or JOB id attempt len */
	m->id = strtoull(s + (m->cancel ? 6 : 3), &rest, 10);
	if (m->cancel)
		return true;
	m->attempt = (unsigned)strtoul(rest, &rest, 10);
	m->len = (size_t)strtoull(rest, &rest, 10);
	m->body = m->next;
	m->next = m->body + m->len + 1;
	return m->next <= p->end;
}

/* Wait for the next job. False: there are no more. */
static inline bool
preforkd_next(struct preforkd *p, struct preforkd_job *job)
{
	struct preforkd_message_ m;

	if (!p->said_ready && p->level != PREFORKD_FILTER)
		preforkd_put_(p, p->level == PREFORKD_FRAME ? "READY 1" : "READY", NULL, 0);
	p->said_ready = true;
	for (;;) {
		while (!preforkd_parse_(p, p->start, &m))
			if (!preforkd_read_(p))
				return false;
		p->start = m.next;
		if (!m.cancel) /* else it is of a job that has its answer */
			break;
	}
	p->payload = (char *)realloc(p->payload, m.len + 1);
	if (!p->payload)
		preforkd_die_("a job");
	memcpy(p->payload, p->buf + m.body, m.len);
	p->payload[m.len] = '\0';
	job->payload = p->payload;
	job->len = m.len;
	job->id = m.id;
	job->attempt = m.attempt;
	return true;
}

/* Has the job been given up? It is to be answered all the same. (Only frame can
 * say so.) A system call: not for the innermost loop. */
static inline bool
preforkd_cancelled(struct preforkd *p, const struct preforkd_job *job)
{
	struct pollfd fd;
	struct preforkd_message_ m;

	if (p->level != PREFORKD_FRAME)
		return false;
	fd.fd = p->in;
	fd.events = POLLIN;
	while (poll(&fd, 1, 0) > 0 && preforkd_read_(p))
		continue;
	for (size_t at = p->start; preforkd_parse_(p, at, &m); at = m.next)
		if (m.cancel && m.id == job->id)
			return true;
	return false;
}

#endif
