/* SPDX-License-Identifier: MIT */
/* A worker's standard error, made log lines: bounded a turn, bounded a second. */
#include "base/fd.h"
#include "base/text.h"
#include "pool/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READ_MAX 4096	/* bytes read a turn */
#define DRAIN_MAX 65536 /* bytes read when the process is gone */
#define LINE_MAX_ 2048	/* a longer line is cut into several */

static struct log_about
errlog_about(struct errlog *e)
{
	return worker_about(container_of(e, struct worker, err));
}

/* Whichever process wrote them, and at whichever job. */
void
errlog_tell_dropped(struct errlog *e)
{
	const struct worker *w = container_of(e, struct worker, err);
	struct log_about about = {.pool = w->pool->conf->name,
				  .worker = (int)w->index + 1,
				  .event = LOG_EVENT_LINES_DROPPED};
	uint64_t dropped = bucket_take_refused(&e->lines);

	if (dropped)
		log_about(&about, LOG_WARNING, "%llu lines of the worker's dropped",
			  (unsigned long long)dropped);
}

/* Lines may begin with sd-daemon's level, "<3>". */
static int
errlog_level(const char **line, size_t *len)
{
	const char *s = *line;

	if (*len < 3 || s[0] != '<' || s[1] < '0' || s[1] > '7' || s[2] != '>')
		return LOG_NOTICE;
	*line += 3;
	*len -= 3;
	return s[1] - '0';
}

bool
errlog_admit(struct errlog *e)
{
	if (!mishap_admit(container_of(e, struct worker, err)->pool, &e->lines))
		return false;
	errlog_tell_dropped(e);
	return true;
}

static void
errlog_line(struct errlog *e, const char *line, size_t len)
{
	struct log_about about = errlog_about(e);
	char text[LINE_MAX_ * 2];

	if (!e->inside)
		e->level = errlog_level(&line, &len);
	if (len && line[len - 1] == '\r')
		len--;
	if (!len)
		return;
	text_escape(text, sizeof(text), line, len);
	free(e->last);
	e->last = strdup(text);
	about.quoted = true;
	if (errlog_admit(e))
		log_about(&about, e->level, "%s", text);
}

static void
errlog_lines(struct errlog *e, bool all)
{
	while (buf_len(&e->line)) {
		size_t have = buf_len(&e->line), len;
		char *end = memchr(buf_head(&e->line), '\n', have);

		if (!end && have < LINE_MAX_ && !all)
			return;
		len = end ? (size_t)(end - buf_head(&e->line)) : have;
		if (len > LINE_MAX_) {
			len = text_whole(buf_head(&e->line), LINE_MAX_);
			end = NULL;
		}
		errlog_line(e, buf_head(&e->line), len);
		e->inside = !end;
		buf_consume(&e->line, len + (end != NULL));
	}
}

/* False at the end, or when nothing is there. */
static bool
errlog_read(struct errlog *e)
{
	ssize_t n;

	if (!buf_reserve(&e->line, READ_MAX))
		return false;
	do {
		n = read(e->fd, buf_tail(&e->line), READ_MAX);
	} while (n < 0 && errno == EINTR);
	if (n > 0) {
		e->talks = true;
		buf_commit(&e->line, (size_t)n);
		errlog_lines(e, false);
		return true;
	}
	if (n == 0 || errno != EAGAIN)
		watch_remove(e->loop, &e->watch);
	return false;
}

static void
on_stderr(struct watch *watch, uint32_t events)
{
	struct errlog *e = container_of(watch, struct errlog, watch);

	(void)events;
	errlog_read(e);
	buf_trim(&e->line, 0);
}

int
errlog_open(struct errlog *e, struct loop *l, int take_fd)
{
	int r;

	*e = (struct errlog){
		.loop = l,
		.fd = take_fd,
		.watch.fd = -1,
		.lines = e->lines,
	};
	r = watch_add(l, &e->watch, take_fd, EPOLLIN, on_stderr);
	e->watch.order = WATCH_FIRST; /* an answer that was written after it ends the line's job */
	if (r < 0)
		fd_close(&e->fd);
	return r;
}

/* The order in which descriptors are ready is not quite that in which they were written
 * to, so it is looked at once more; but nobody pays for it who never writes there. */
void
errlog_catch_up(struct errlog *e)
{
	if (e->talks && e->watch.fd >= 0)
		errlog_read(e);
}

void
errlog_drain(struct errlog *e)
{
	size_t left = DRAIN_MAX / READ_MAX;

	if (e->fd < 0)
		return;
	while (left-- && errlog_read(e))
		;
	errlog_lines(e, true);
}

void
errlog_close(struct errlog *e)
{
	if (!e->loop)
		return;
	watch_remove(e->loop, &e->watch);
	fd_close(&e->fd);
	buf_free(&e->line);
	free(e->last);
	*e = (struct errlog){.fd = -1, .watch.fd = -1, .lines = e->lines};
}
