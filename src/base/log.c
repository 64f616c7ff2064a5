/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include "base/fd.h"
#include "base/parse.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#ifndef JOURNAL_SOCKET /* tests have one of their own */
#define JOURNAL_SOCKET "/run/systemd/journal/socket"
#endif

#define LINE_MAX_BYTES 4096 /* PIPE_BUF: written whole or not at all */
#define WORD_MAX 128	    /* the program's and a pool's name, escaped */
#define NUMBER_MAX 24
#define WAIT_SECONDS 2

struct line {
	char data[LINE_MAX_BYTES];
	size_t len;
};

/* One message, fit to be shown in any format. Unset fields are "". */
struct message {
	int level;
	const char *text; /* as it came */
	char pool[WORD_MAX];
	char worker[NUMBER_MAX], pid[NUMBER_MAX], job[NUMBER_MAX];
	enum log_event event;
	bool quoted;
};

static struct {
	const char *program;
	int level;
	enum log_format format;
	bool opened;
	int journal_fd; /* -1: standard error is not the journal */
	bool waits;	/* log_wait() has been called */
	bool patient;	/* and it is waited for */
	int own_fd;	/* standard error with O_NONBLOCK of its own, or -1 */
	uint64_t dropped;
} logger = {.program = "preforkd", .level = LOG_INFO, .journal_fd = -1, .own_fd = -1};

static const char *const level_names[] = {
	[LOG_EMERG] = "emergency", [LOG_ALERT] = "alert",     [LOG_CRIT] = "critical",
	[LOG_ERR] = "error",	   [LOG_WARNING] = "warning", [LOG_NOTICE] = "notice",
	[LOG_INFO] = "info",	   [LOG_DEBUG] = "debug",
};

static const struct {
	const char *word, *id;
} events[LOG_EVENT_COUNT] = {[LOG_EVENT_NONE] = {"", ""},
#define EVENT_ROW(name, word, id) [LOG_EVENT_##name] = {word, id},
			     LOG_EVENTS(EVENT_ROW)
#undef EVENT_ROW
};

void
log_setup(const char *program, int level, enum log_format format)
{
	logger.program = program;
	logger.level = level;
	logger.format = format;
}

bool
log_wants(int level)
{
	return level <= logger.level;
}

/* ---- where lines go ---- */

/* $JOURNAL_STREAM is DEV:INODE of the journal's stream, inherited by everybody
 * below: only where standard error still is that stream does it mean us. */
static bool
stderr_is_journal(const struct stat *st)
{
	const char *s = getenv("JOURNAL_STREAM");
	const char *colon = s ? strchr(s, ':') : NULL;
	uint64_t dev, ino;

	return colon && parse_u64(s, (size_t)(colon - s), UINT64_MAX, &dev) == 0 &&
	       parse_u64(colon + 1, strlen(colon + 1), UINT64_MAX, &ino) == 0 &&
	       dev == (uint64_t)st->st_dev && ino == (uint64_t)st->st_ino;
}

static int
open_high(int fd)
{
	fd = fd < 0 ? -1 : fd_raise(fd);
	return fd < 0 ? -1 : fd;
}

/* A pipe or terminal can be opened a second time: that one may be nonblocking,
 * while the description that others have of it stays as it is. */
static void
log_open(void)
{
	struct stat st;

	logger.opened = true;
	if (fstat(STDERR_FILENO, &st) < 0)
		return;
	if (stderr_is_journal(&st))
		logger.journal_fd =
			open_high(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
	if (S_ISFIFO(st.st_mode) || isatty(STDERR_FILENO))
		logger.own_fd = open_high(
			open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
}

bool
log_to_journal(void)
{
	if (!logger.opened)
		log_open();
	return logger.journal_fd >= 0;
}

const char *
log_where(char *dst, size_t cap)
{
	ssize_t n;

	if (log_to_journal())
		return strcpy(dst, "journal");
	n = readlink("/proc/self/fd/2", dst, cap - 1);
	dst[n > 0 ? n : 0] = '\0';
	return dst;
}

void
log_wait(void)
{
	const struct timeval limit = {.tv_sec = WAIT_SECONDS};
	int flags = log_to_journal() ? fcntl(logger.journal_fd, F_GETFL) : -1;

	if (logger.waits || flags < 0 ||
	    setsockopt(logger.journal_fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) < 0)
		return;
	logger.waits = logger.patient = fcntl(logger.journal_fd, F_SETFL, flags & ~O_NONBLOCK) == 0;
}

/* 0 or -errno; -EAGAIN: the journal does not keep up. By its name each time, as it
 * may be another one by now. */
static int
write_journal(const struct line *l)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = JOURNAL_SOCKET};
	ssize_t n = sendto(logger.journal_fd, l->data, l->len, MSG_NOSIGNAL, (struct sockaddr *)&to,
			   sizeof to);
	int r = n < 0 ? -errno : 0;

	if (r == -EAGAIN && logger.patient)
		logger.patient = fd_set_nonblock(logger.journal_fd) < 0;
	return r;
}

/* When an empty message, which the journal passes over, has been read, those before it
 * are done with. */
void
log_finish(void)
{
	struct line nothing = {.len = 0};
	int unread = 1;

	log_wait();
	if (!logger.patient || write_journal(&nothing) < 0)
		return;
	for (int ms = 0; ms < WAIT_SECONDS * 1000 && unread > 0; ms++) {
		if (ioctl(logger.journal_fd, SIOCOUTQ, &unread) < 0)
			return;
		if (unread > 0)
			(void)poll(NULL, 0, 1);
	}
}

static bool
write_stderr(const struct line *l)
{
	int fd = logger.own_fd >= 0 ? logger.own_fd : STDERR_FILENO;
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	ssize_t n;

	/* An error here is a reader that is gone: writing would raise SIGPIPE. */
	if (poll(&p, 1, 0) != 1 || p.revents != POLLOUT)
		return false;
	n = send(fd, l->data, l->len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0 && errno == ENOTSOCK)
		n = write(fd, l->data, l->len);
	return n > 0;
}

/* ---- the formats ---- */

static void
line_puts(struct line *l, const char *s)
{
	size_t n = strlen(s);

	if (n > sizeof l->data - l->len)
		n = sizeof l->data - l->len;
	memcpy(l->data + l->len, s, n);
	l->len += n;
}

/* before + value + after, or nothing where value is "". */
static void
line_field(struct line *l, const char *before, const char *value, const char *after)
{
	if (!*value)
		return;
	line_puts(l, before);
	line_puts(l, value);
	line_puts(l, after);
}

/* text, escaped, in what is left but for tail bytes. */
static void
line_text(struct line *l, const char *text, size_t tail)
{
	char *at = l->data + l->len;

	(void)text_escape_str(at, sizeof l->data - l->len - tail, text);
	l->len += strlen(at);
}

static void
line_quoted(struct line *l, const char *s)
{
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			line_puts(l, "\\");
		line_puts(l, (char[]){*s, '\0'});
	}
}

/* As line_text(), in JSON's quotes. What is escaped is clean UTF-8 without
 * controls, so quotes and backslashes are all that is left to do. */
static void
line_quoted_text(struct line *l, const char *text, size_t tail)
{
	char shown[LINE_MAX_BYTES];
	size_t room = sizeof l->data - l->len - tail, quoted = 0;

	(void)text_escape_str(shown, room, text);
	for (const char *s = shown; *s; s++)
		quoted += *s == '"' || *s == '\\' ? 2 : 1;
	if (quoted > room)
		(void)text_escape_str(shown, room / 2, text);
	line_quoted(l, shown);
}

static void
line_number(struct line *l, const char *before, int64_t n)
{
	char digits[NUMBER_MAX];

	(void)snprintf(digits, sizeof digits, "%" PRId64, n);
	line_field(l, before, digits, "");
}

static void
format_text(struct line *l, const struct message *m)
{
	size_t fields;

	line_puts(l, logger.program);
	line_number(l, "[", getpid());
	line_field(l, "]: ", level_names[m->level], ":");
	fields = l->len;
	line_field(l, " pool=", m->pool, "");
	line_field(l, " worker=", m->worker, "");
	line_field(l, " pid=", m->pid, "");
	line_field(l, " job=", m->job, "");
	line_puts(l, l->len > fields ? ": " : " ");
	line_text(l, m->text, 1);
	line_puts(l, "\n");
}

static void
json_time(struct line *l)
{
	char stamp[40];
	struct timespec now;
	struct tm tm;
	size_t n;

	clock_gettime(CLOCK_REALTIME, &now);
	n = strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", gmtime_r(&now.tv_sec, &tm));
	(void)snprintf(stamp + n, sizeof stamp - n, ".%06ldZ", now.tv_nsec / 1000);
	line_field(l, "{\"time\":\"", stamp, "\"");
}

/* A job's id is a string here as it is everywhere outside. */
static void
format_json(struct line *l, const struct message *m)
{
	json_time(l);
	line_field(l, ",\"level\":\"", level_names[m->level], "\"");
	line_field(l, ",\"program\":\"", logger.program, "\"");
	line_number(l, ",\"pid\":", getpid());
	line_field(l, ",\"event\":\"", events[m->event].word, "\"");
	if (*m->pool) {
		line_puts(l, ",\"pool\":\"");
		line_quoted(l, m->pool);
		line_puts(l, "\"");
	}
	line_field(l, ",\"worker\":", m->worker, "");
	line_field(l, ",\"worker_pid\":", m->pid, "");
	line_field(l, ",\"job\":\"", m->job, "\"");
	line_puts(l, ",\"message\":\"");
	line_quoted_text(l, m->text, 3);
	line_puts(l, "\"}\n");
}

/* Who reads the plain journal sees no fields. What a worker said is left to stand for
 * itself: somebody may want it as it was. */
static void
message_place(struct line *l, const struct message *m)
{
	if (!*m->pool || m->quoted)
		return;
	line_puts(l, m->pool);
	line_field(l, "/", m->worker, "");
	line_field(l, " job ", m->job, "");
	line_puts(l, ": ");
}

static void
format_journal(struct line *l, const struct message *m)
{
	line_number(l, "PRIORITY=", m->level);
	line_field(l, "\nSYSLOG_IDENTIFIER=", logger.program, "\n");
	line_field(l, "MESSAGE_ID=", events[m->event].id, "\n");
	line_field(l, "PREFORKD_EVENT=", events[m->event].word, "\n");
	line_field(l, "PREFORKD_POOL=", m->pool, "\n");
	line_field(l, "PREFORKD_WORKER=", m->worker, "\n");
	line_field(l, "PREFORKD_WORKER_PID=", m->pid, "\n");
	line_field(l, "PREFORKD_JOB=", m->job, "\n");
	line_puts(l, "MESSAGE=");
	message_place(l, m);
	line_text(l, m->text, 1);
	line_puts(l, "\n");
}

/* ---- messages ---- */

static bool
log_write(const struct message *m)
{
	static void (*const formats[])(struct line *, const struct message *) = {
		[LOG_FORMAT_TEXT] = format_text,
		[LOG_FORMAT_JSON] = format_json,
	};
	struct line l = {.len = 0};
	int r = -ENOTCONN;

	if (logger.journal_fd >= 0) {
		format_journal(&l, m);
		r = write_journal(&l);
	}
	if (r == 0 || r == -EAGAIN)
		return r == 0;
	l.len = 0;
	if (logger.journal_fd >= 0) { /* its stream takes a level like this */
		line_number(&l, "<", m->level);
		line_puts(&l, ">");
	}
	formats[logger.format](&l, m);
	return write_stderr(&l);
}

/* What was dropped is told first: by its place the reader sees where. */
static bool
log_write_dropped(void)
{
	char text[64];
	struct message m = {.level = LOG_WARNING, .text = text, .event = LOG_EVENT_LINES_DROPPED};

	if (logger.dropped == 0)
		return true;
	(void)snprintf(text, sizeof text, "%" PRIu64 " message%s dropped", logger.dropped,
		       logger.dropped == 1 ? "" : "s");
	if (!log_write(&m))
		return false;
	logger.dropped = 0;
	return true;
}

bool
log_has_dropped(void)
{
	return logger.dropped > 0;
}

void
log_tell_dropped(void)
{
	(void)log_write_dropped();
}

static void
describe(struct message *m, const struct log_about *about)
{
	if (about->pool)
		(void)text_escape_str(m->pool, sizeof m->pool, about->pool);
	if (about->worker > 0)
		(void)snprintf(m->worker, sizeof m->worker, "%d", about->worker - 1);
	if (about->pid > 0)
		(void)snprintf(m->pid, sizeof m->pid, "%d", (int)about->pid);
	if (about->job > 0)
		(void)snprintf(m->job, sizeof m->job, "%" PRIu64, about->job);
	m->event = about->event;
	m->quoted = about->quoted;
}

static __attribute__((format(printf, 3, 0))) void
log_va(const struct log_about *about, int level, const char *fmt, va_list ap)
{
	int saved = errno;
	char text[LINE_MAX_BYTES];
	struct message m = {.level = level & LOG_PRIMASK, .text = text};

	if (!log_wants(m.level))
		return;
	if (vsnprintf(text, sizeof text, fmt, ap) < 0)
		(void)snprintf(text, sizeof text, "%s", fmt);
	if (about)
		describe(&m, about);
	if (!logger.opened)
		log_open();
	if (!log_write_dropped() || !log_write(&m))
		logger.dropped++;
	errno = saved;
}

void
log_msg(int level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_va(NULL, level, fmt, ap);
	va_end(ap);
}

void
log_about(const struct log_about *about, int level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_va(about, level, fmt, ap);
	va_end(ap);
}

void
log_event(enum log_event event, int level, const char *fmt, ...)
{
	struct log_about about = {.event = event};
	va_list ap;

	va_start(ap, fmt);
	log_va(&about, level, fmt, ap);
	va_end(ap);
}

void
log_lines(const struct log_about *about, int level, const char *text, size_t len)
{
	while (len > 0) {
		const char *end = memchr(text, '\n', len);
		size_t n = end ? (size_t)(end - text) : len;

		log_about(about, level, "%.*s", (int)n, text);
		n += end != NULL;
		text += n;
		len -= n;
	}
}
