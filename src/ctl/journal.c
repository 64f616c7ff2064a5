/* SPDX-License-Identifier: MIT */
#include "ctl/journal.h"

#include "base/mono.h"
#include "base/parse.h"
#include "base/text.h"
#include "ctl/ctl.h"
#include "ctl/human.h"

#include <endian.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#define WORDS_MAX 24
#define LINES "100"
#define VALUE_MAX (UINT64_C(1) << 30) /* the journal takes less than this */

/* --- the command --- */

struct words {
	char *v[WORDS_MAX + 1];
	size_t n;
};

static void __attribute__((format(printf, 2, 3))) add(struct words *w, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (w->n == WORDS_MAX || vasprintf(&w->v[w->n], fmt, ap) < 0) {
		ctl_warn("out of memory");
		exit(STATUS_OS);
	}
	va_end(ap);
	w->n++;
}

static void
add_match(struct words *w, const char *field, const char *value)
{
	if (value && *value)
		add(w, "%s=%s", field, value);
}

static void
add_since(struct words *w, const char *since)
{
	int64_t us;

	if (parse_duration(since, strlen(since), &us) == 0 && us != USEC_INFINITY)
		add(w, "--since=-%lldus", (long long)us);
	else
		add(w, "--since=%s", since);
}

static void
add_level(struct words *w, const char *level)
{
	add(w, "--priority=%s", strcmp(level, "error") == 0 ? "err" : level);
}

size_t
journal_lines_wanted(const struct journal_query *q)
{
	bool ours = q->lines && q->since && !q->follow && !q->output;

	return ours ? strtoul(q->lines, NULL, 10) : 0;
}

/* With both --since and --lines journalctl begins there, and these are the oldest; so
 * for the newest all are asked for. */
static void
add_lines(struct words *w, const struct journal_query *q)
{
	if (journal_lines_wanted(q) || (q->all && !q->lines))
		add(w, "--lines=all");
	else if (q->lines)
		add(w, "--lines=%s", q->lines);
	else if (!q->since && !q->follow)
		add(w, "--lines=" LINES);
}

static void
add_format(struct words *w, const char *output)
{
	add(w, "--output=%s", output ? output : "export");
	if (!output)
		add(w, "--output-fields=MESSAGE,PRIORITY,SYSLOG_IDENTIFIER,PREFORKD_POOL,"
		       "PREFORKD_WORKER,PREFORKD_JOB");
}

/* What the service manager says of the unit belongs to the daemon's log: why it was
 * started, killed, not started again. */
static void
add_of_unit(struct words *w, const struct journal_query *q)
{
	add_match(w, "_SYSTEMD_UNIT", q->unit);
	add_match(w, "_SYSTEMD_USER_UNIT", q->user_unit);
	add(w, "+");
	if (q->user_unit && *q->user_unit) {
		add_match(w, "_SYSTEMD_UNIT", q->unit);
		add_match(w, "USER_UNIT", q->user_unit);
	} else {
		add(w, "_PID=1");
		add_match(w, "UNIT", q->unit);
	}
}

static void
add_of_named(struct words *w, const struct journal_query *q)
{
	if (q->only_named) {
		add_match(w, "_SYSTEMD_UNIT", q->named_unit);
		add(w, "+");
		add_match(w, "_SYSTEMD_USER_UNIT", q->named_unit);
	} else {
		add(w, "SYSLOG_IDENTIFIER=preforkd");
	}
	if (!q->named_unit)
		return;
	add(w, "+");
	add(w, "_PID=1");
	add_match(w, "UNIT", q->named_unit);
	add(w, "+");
	add_match(w, "USER_UNIT", q->named_unit);
}

static void
add_about(struct words *w, const struct journal_query *q)
{
	add_match(w, "PREFORKD_POOL", q->pool);
	add_match(w, "PREFORKD_WORKER", q->worker);
	add_match(w, "PREFORKD_JOB", q->job);
}

static void
add_matches(struct words *w, const struct journal_query *q)
{
	bool about = q->pool || q->worker || q->job;

	if (!about && q->unit) {
		add_of_unit(w, q);
	} else if (!about) {
		add_of_named(w, q);
	} else if (!q->unit && q->only_named) {
		add_match(w, "_SYSTEMD_UNIT", q->named_unit);
		add_about(w, q);
		add(w, "+");
		add_match(w, "_SYSTEMD_USER_UNIT", q->named_unit);
		add_about(w, q);
	} else {
		add_match(w, "_SYSTEMD_UNIT", q->unit);
		add_match(w, "_SYSTEMD_USER_UNIT", q->user_unit);
		add_about(w, q);
	}
}

char **
journal_command(const struct journal_query *q)
{
	struct words w = {.n = 0};

	add(&w, "journalctl");
	add(&w, "--no-pager");
	add_format(&w, q->output);
	if (q->follow)
		add(&w, "--follow");
	add_lines(&w, q);
	if (q->since)
		add_since(&w, q->since);
	if (q->level)
		add_level(&w, q->level);
	add_matches(&w, q);
	char **words = ctl_realloc(NULL, sizeof(w.v));
	memcpy(words, w.v, sizeof(w.v));
	return words;
}

void
journal_command_free(char **words)
{
	for (char **w = words; *w; w++)
		free(*w);
	free(words);
}

bool
journal_is_unit(const char *name)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789:-_.\\@";

	return *name && strspn(name, allowed) == strlen(name) && strlen(name) < 256;
}

/* --- what it prints --- */

static bool
is(struct journal_slice name, const char *word)
{
	return name.len == strlen(word) && memcmp(name.data, word, name.len) == 0;
}

static void
take_field(struct journal_entry *e, struct journal_slice name, struct journal_slice value)
{
	static const struct {
		const char *name;
		size_t at;
	} rows[] = {
		{"MESSAGE", offsetof(struct journal_entry, message)},
		{"SYSLOG_IDENTIFIER", offsetof(struct journal_entry, identifier)},
		{"PREFORKD_POOL", offsetof(struct journal_entry, pool)},
		{"PREFORKD_WORKER", offsetof(struct journal_entry, worker)},
		{"PREFORKD_JOB", offsetof(struct journal_entry, job)},
	};
	uint64_t n;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (is(name, rows[i].name))
			*(struct journal_slice *)(void *)((char *)e + rows[i].at) = value;
	if (is(name, "__REALTIME_TIMESTAMP") &&
	    parse_u64(value.data, value.len, INT64_MAX, &n) == 0)
		e->unix_us = (int64_t)n;
	if (is(name, "PRIORITY") && parse_u64(value.data, value.len, LOG_DEBUG, &n) == 0)
		e->level = (int)n;
}

/* NAME LF, eight bytes of length, and so many of value. The bytes of it all, 0: not
 * all there, -1: wrong. */
static ssize_t
take_binary(const char *data, size_t len, size_t name_len, struct journal_slice *ret)
{
	size_t head = name_len + 1 + sizeof(uint64_t);
	uint64_t n;

	if (len < head)
		return 0;
	memcpy(&n, data + name_len + 1, sizeof(n));
	n = le64toh(n);
	if (n > VALUE_MAX)
		return -1;
	if (len - head <= n)
		return 0;
	*ret = (struct journal_slice){data + head, (size_t)n};
	return data[head + n] == '\n' ? (ssize_t)(head + n + 1) : -1;
}

ssize_t
journal_parse(const char *data, size_t len, struct journal_entry *ret)
{
	size_t at = 0;

	*ret = (struct journal_entry){.unix_us = -1, .level = -1};
	while (at < len) {
		const char *s = data + at, *end = memchr(s, '\n', len - at);
		size_t line = end ? (size_t)(end - s) : 0;
		const char *equals = line ? memchr(s, '=', line) : NULL;
		struct journal_slice name = {s, line}, value;
		ssize_t n;

		if (!end)
			return 0;
		if (!line)
			return (ssize_t)at + 1;
		if (equals) {
			name.len = (size_t)(equals - s);
			value = (struct journal_slice){equals + 1, line - name.len - 1};
			n = (ssize_t)line + 1;
		} else {
			n = take_binary(s, len - at, line, &value);
			if (n <= 0)
				return n;
		}
		take_field(ret, name, value);
		at += (size_t)n;
	}
	return 0;
}

/* --- a line of it --- */

static void
put_slice(struct buf *b, const char *before, struct journal_slice s)
{
	if (!s.data)
		return;
	char *shown = ctl_escape(s.data, s.len);
	buf_putf(b, "%s%s", before, shown);
	free(shown);
}

/* The levels that are worth a word, and a colour. */
static const struct {
	const char *word;
	int colour;
} levels[] = {
	[LOG_EMERG] = {"emergency: ", 31}, [LOG_ALERT] = {"alert: ", 31},
	[LOG_CRIT] = {"critical: ", 31},   [LOG_ERR] = {"error: ", 31},
	[LOG_WARNING] = {"warning: ", 33},
};

void
journal_format(const struct journal_entry *e, bool colour, struct buf *line)
{
	char time[HUMAN_MAX];
	struct journal_slice message = e->message;
	struct buf place = {0};
	bool marked = e->level >= 0 && e->level <= LOG_WARNING;

	colour = colour && marked;
	buf_putf(line, "%s ", human_time(time, e->unix_us < 0 ? -1 : e->unix_us / 1000));
	if (e->pool.data || e->worker.data)
		put_slice(&place, "", e->pool);
	else
		put_slice(&place, "", e->identifier);
	put_slice(&place, "/", e->worker);
	put_slice(&place, " job ", e->job);
	buf_puts(&place, ": ");
	buf_put(line, buf_head(&place), buf_len(&place));
	/* The message has it too, for who reads the plain journal. */
	if (message.len >= buf_len(&place) &&
	    memcmp(message.data, buf_head(&place), buf_len(&place)) == 0) {
		message.data += buf_len(&place);
		message.len -= buf_len(&place);
	}
	buf_free(&place);
	if (colour)
		buf_putf(line, "\033[%dm", levels[e->level].colour);
	if (marked)
		buf_puts(line, levels[e->level].word);
	put_slice(line, "", message);
	buf_puts(line, colour ? "\033[0m\n" : "\n");
}
