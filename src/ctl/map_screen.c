/* SPDX-License-Identifier: MIT */
#include "ctl/map_screen.h"

#include "ctl/ctl.h"
#include "ctl/human.h"
#include "ctl/reply.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define DRAW_US (USEC_PER_SEC / 5)
#define LINE_US (10 * USEC_PER_SEC) /* where it is not rewritten */
#define RATE_US (10 * USEC_PER_SEC)
#define MESSAGE_MAX (64U << 10) /* bytes without a line feed */

static struct screen *shown; /* the one that is cleared before messages */

static void
write_all(const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(STDERR_FILENO, data, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return; /* nobody looks, then */
		data += n;
		len -= (size_t)n;
	}
}

/* --- the line --- */

static void add(char *dst, size_t cap, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void
add(char *dst, size_t cap, const char *fmt, ...)
{
	size_t len = strlen(dst);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(dst + len, cap - len, fmt, ap);
	va_end(ap);
}

static void
add_left(char *dst, size_t cap, const struct progress *p)
{
	char left[HUMAN_MAX];
	double seconds;

	if (p->total <= p->lines || p->rate <= 0)
		return;
	seconds = (double)(p->total - p->lines) / p->rate;
	if (seconds < 1e9)
		add(dst, cap, ", %s left", human_long(left, (int64_t)(seconds * 1000) + 999));
}

void
screen_format(char *dst, size_t cap, int columns, const struct progress *p)
{
	char rate[HUMAN_MAX];

	*dst = '\0';
	add(dst, cap, "%llu", (unsigned long long)p->lines);
	if (p->total)
		add(dst, cap, " of %s%llu", p->is_guess ? "~" : "", (unsigned long long)p->total);
	add(dst, cap, p->lines == 1 && !p->total ? " line" : " lines");
	add(dst, cap, ", %s/s", human_rate(rate, p->rate));
	add_left(dst, cap, p);
	if (p->workers > 0)
		add(dst, cap, ", %lld/%lld workers busy", (long long)p->busy,
		    (long long)p->workers);
	if (p->failed)
		add(dst, cap, ", %llu failed", (unsigned long long)p->failed);
	/* in the last column some terminals would wrap */
	if (columns > 0 && strlen(dst) > (size_t)columns - 1)
		dst[columns - 1] = '\0';
}

static void
on_message(void)
{
	if (shown)
		screen_clear(shown);
}

void
screen_open(struct screen *s, bool on, int ask, int messages)
{
	mono_t now = mono_now();

	*s = (struct screen){.on = on, .ask = on ? ask : -1, .messages = messages};
	s->rewrites = isatty(STDERR_FILENO);
	s->mark[0].at = s->mark[1].at = now;
	s->next = mono_add(now, s->rewrites ? DRAW_US : LINE_US);
	if (s->ask >= 0)
		s->reader = redisReaderCreate();
	if (!s->reader)
		s->ask = -1;
	shown = s;
	ctl_before_message(on_message);
}

void
screen_close(struct screen *s)
{
	screen_clear(s);
	write_all(buf_head(&s->pending), buf_len(&s->pending));
	buf_free(&s->pending);
	if (s->reader)
		redisReaderFree(s->reader);
	shown = NULL;
}

void
screen_clear(struct screen *s)
{
	static const char clear[] = "\r\033[K";

	if (s->drawn)
		write_all(clear, sizeof(clear) - 1);
	s->drawn = false;
}

bool
screen_is_due(const struct screen *s, mono_t now)
{
	return s->on && !mono_before(now, s->next);
}

/* Windows change their size. */
static void
look_at_columns(struct screen *s)
{
	struct winsize size;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0)
		s->columns = size.ws_col;
}

/* Over the last RATE_US to twice that. */
static double
take_rate(struct screen *s, uint64_t lines, mono_t now)
{
	if (mono_since(now, s->mark[1].at) >= RATE_US) {
		s->mark[0] = s->mark[1];
		s->mark[1].at = now;
		s->mark[1].lines = lines;
	}
	int64_t us = mono_since(now, s->mark[0].at);
	return us > 0 ? (double)(lines - s->mark[0].lines) * 1e6 / (double)us : 0;
}

void
screen_draw(struct screen *s, struct progress *p, mono_t now)
{
	char line[256];

	p->rate = take_rate(s, p->lines, now);
	look_at_columns(s);
	p->busy = s->busy;
	p->workers = s->workers;
	s->next = mono_add(now, s->rewrites ? DRAW_US : LINE_US);
	screen_format(line, sizeof(line) - 1, s->rewrites ? s->columns : 0, p);
	screen_clear(s);
	if (!s->rewrites)
		strcat(line, "\n");
	write_all(line, strlen(line));
	s->drawn = s->rewrites;
}

/* --- the pool's state --- */

static void
give_up_asking(struct screen *s)
{
	s->ask = -1;
	s->workers = 0;
}

void
screen_ask(struct screen *s, const char *pool)
{
	char command[256];

	if (s->ask < 0 || s->asked)
		return;
	int n = snprintf(command, sizeof(command), "*2\r\n$4\r\nPOOL\r\n$%zu\r\n%s\r\n",
			 strlen(pool), pool);
	/* so little goes at once, or something is wrong */
	if (n >= (int)sizeof(command) ||
	    send(s->ask, command, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) != n)
		give_up_asking(s);
	else
		s->asked = true;
}

void
screen_read_answer(struct screen *s)
{
	char data[4096];
	void *reply = NULL;
	ssize_t n = recv(s->ask, data, sizeof(data), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		redisReaderFeed(s->reader, data, (size_t)n);
	if (n <= 0 || redisReaderGetReply(s->reader, &reply) != REDIS_OK) {
		give_up_asking(s);
		return;
	}
	if (!reply)
		return;
	s->asked = false;
	s->busy = reply_int(reply, "busy", 0);
	s->workers = reply_int(reply, "workers", 0);
	freeReplyObject(reply);
}

/* --- messages --- */

void
screen_read_messages(struct screen *s)
{
	if (!buf_reserve(&s->pending, 4096))
		return;
	ssize_t n = read(s->messages, buf_tail(&s->pending), 4096);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		s->messages = -1;
		return;
	}
	buf_commit(&s->pending, (size_t)n);
	const char *head = buf_head(&s->pending);
	const char *lf = memrchr(head, '\n', buf_len(&s->pending));
	size_t whole = lf				  ? (size_t)(lf + 1 - head) :
		       buf_len(&s->pending) > MESSAGE_MAX ? buf_len(&s->pending) :
							    0;
	if (!whole)
		return;
	screen_clear(s);
	write_all(head, whole);
	buf_consume(&s->pending, whole);
}
