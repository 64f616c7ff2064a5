/* SPDX-License-Identifier: MIT */
#include "ctl/errors.h"

#include "base/text.h"
#include "ctl/ctl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct error_row rows[] = {
	{.word = "FAILED", .status = STATUS_FAILED},
	{.word = "TIMEOUT",
	 .status = STATUS_TIMEOUT,
	 .hint = "the job's worker was ended; more time: --timeout, or job.timeout of the pool"},
	{.word = "CRASHED",
	 .status = STATUS_CRASHED,
	 .hint = "the worker died with this job; what it said: preforkctl logs %s",
	 .job_hint = "the worker died with this job; what it said last: preforkctl job %s"},
	{.word = "BUSY",
	 .status = STATUS_LATER,
	 .hint = "the queue is full: try again later; see: preforkctl pool %s"},
	{.word = "PENDING",
	 .status = STATUS_LATER,
	 .hint = "the job goes on; its result: preforkctl result %s --wait 1m"},
	{.word = "DRAINING",
	 .status = STATUS_LATER,
	 .ends_map = true,
	 .hint = "the daemon is about to stop: try again when it is back"},
	{.word = "BADPAYLOAD", .status = STATUS_PAYLOAD},
	{.word = "TOOBIG",
	 .status = STATUS_PAYLOAD,
	 .hint = "the limit is job.max_payload of the pool"},
	{.word = "DOWN",
	 .status = STATUS_NO_DAEMON,
	 .ends_map = true,
	 .hint = "no worker comes up; why: preforkctl pool %s"},
	{.word = "BADCONFIG", .status = STATUS_CONFIG, .ends_map = true},
	{.word = "NOPERM",
	 .status = STATUS_PERMISSION,
	 .ends_map = true,
	 .hint = "this needs root, or a user whom the daemon's configuration allows it"},
	{.word = "BADOPTION",
	 .status = STATUS_USAGE,
	 .ends_map = true,
	 .hint = "which options there are: preforkctl help"},
	{.word = "NOPOOL", .status = STATUS_FAILED, .ends_map = true},
	{.word = "NOJOB",
	 .status = STATUS_FAILED,
	 .ends_map = true,
	 .hint = "finished jobs are kept for a while only; those known: preforkctl jobs"},
	{.word = "KEYMISMATCH",
	 .status = STATUS_FAILED,
	 .ends_map = true,
	 .hint = "this key names a job with another payload: use a new key"},
	{.word = "CANCELLED", .status = STATUS_FAILED},
	{.word = "ERR", .status = STATUS_FAILED, .ends_map = true},
};

static bool
word_is(const char *word, const char *text, size_t len)
{
	size_t n = strlen(word);

	return len >= n && memcmp(text, word, n) == 0 && (len == n || text[n] == ' ');
}

const struct error_row *
error_find(const char *text, size_t len)
{
	const struct error_row *last = &rows[sizeof(rows) / sizeof(rows[0]) - 1];

	for (const struct error_row *r = rows; r < last; r++)
		if (word_is(r->word, text, len))
			return r;
	return last;
}

static bool
is_id(const char *subject)
{
	return subject && *subject && strspn(subject, "0123456789") == strlen(subject);
}

int
error_report(const char *where, const char *text, size_t len, const char *subject)
{
	const struct error_row *row = error_find(text, len);
	const char *hint = row->job_hint && is_id(subject) ? row->job_hint : row->hint;
	char shown[1024], name[128];

	ctl_warn("%s%s%s", where ? where : "", where ? ": " : "",
		 text_escape(shown, sizeof(shown), text, len));
	if (!hint)
		return row->status;
	/* -PENDING names the job that it is about */
	if (strcmp(row->word, "PENDING") == 0 && len > strlen("PENDING "))
		subject = text_escape(name, sizeof(name), text + 8, len - 8);
	else if (subject)
		subject = text_escape_str(name, sizeof(name), subject);
	const char *mark = strstr(hint, "%s");
	if (!mark)
		ctl_hint("%s", hint);
	else if (subject)
		ctl_hint("%.*s%s%s", (int)(mark - hint), hint, subject, mark + 2);
	return row->status;
}

static void (*before_message)(void);

void
ctl_before_message(void (*call)(void))
{
	before_message = call;
}

static struct buf *messages;

void
ctl_messages_to(struct buf *to)
{
	messages = to;
}

static const char name_prefix[] = "preforkctl: ";

void
ctl_first_message(const struct buf *from, char *dst, size_t cap)
{
	const char *s = buf_head(from);
	size_t len = buf_len(from), own = strlen(name_prefix);

	if (len >= own && memcmp(s, name_prefix, own) == 0) {
		s += own;
		len -= own;
	}
	const char *end = len ? memchr(s, '\n', len) : NULL;
	snprintf(dst, cap, "%.*s", (int)(end ? end - s : 0), end ? s : "");
}

/* One write a message, so that lines of several programs do not mix. */
static void __attribute__((format(printf, 2, 0)))
say(const char *prefix, const char *fmt, va_list ap)
{
	char line[2048];

	vsnprintf(line, sizeof(line), fmt, ap);
	if (messages)
		buf_putf(messages, "%s%s\n", prefix, line);
	else
		fprintf(stderr, "%s%s\n", prefix, line);
}

void
ctl_warn(const char *fmt, ...)
{
	va_list ap;

	if (before_message)
		before_message();
	va_start(ap, fmt);
	say(name_prefix, fmt, ap);
	va_end(ap);
}

void
ctl_hint(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say("  ", fmt, ap);
	va_end(ap);
}

void *
ctl_realloc(void *ptr, size_t n)
{
	void *p = realloc(ptr, n ? n : 1);

	if (!p) {
		ctl_warn("out of memory");
		exit(STATUS_OS);
	}
	return p;
}

char *
ctl_escape(const char *data, size_t len)
{
	size_t cap = len * 4 + 8; /* \xNN each, and what text_escape() wants at least */

	return text_escape(ctl_realloc(NULL, cap), cap, data, len);
}
