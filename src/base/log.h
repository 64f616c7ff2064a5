/* SPDX-License-Identifier: MIT */
/*
 * log - one line a message, never in the way.
 *
 * Floor 0. Messages go to the journal's socket when standard error is the
 * journal, else to standard error as text or JSON. Writing never blocks: a
 * line that does not go out at once is dropped and counted, and the count is
 * logged when lines go out again. Bytes from outside are escaped here.
 */
#pragma once

#include "base/log-events.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <syslog.h> /* LOG_ERR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG */

enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/* What a line is about; unset members are left out of it. */
struct log_about {
	const char *pool;
	int worker; /* slot + 1; 0: none */
	pid_t pid;
	uint64_t job;
	enum log_event event; /* not shown in text */
	bool quoted;	      /* the text is a worker's own: the journal has it as it is */
};

/* level: the most verbose level that is written (LOG_ERR … LOG_DEBUG). Can be
 * called again, when the configuration is known. Before the first call:
 * LOG_INFO as text. */
void log_setup(const char *program, int level, enum log_format format);
bool log_wants(int level);

/* Do lines go to the journal, with their fields? Else they are text or JSON. */
bool log_to_journal(void);
/* Where lines go, for people: "journal", or what standard error is ("/dev/pts/3",
 * "pipe:[1234]"). Returns dst (cap bytes, cap >= 8). */
const char *log_where(char *dst, size_t cap);
/* From now on wait for a journal that does not keep up, for two seconds, and no more
 * once that was in vain: for a process that only says why it ends. */
void log_wait(void);
/* The process is about to end: see that the journal has all its lines, for as long. It
 * looks up whose a line is when it reads it, and of a process that is gone finds nothing. */
void log_finish(void);

/* What was dropped is told before the next line; or now, if there is room. */
bool log_has_dropped(void);
void log_tell_dropped(void);

void log_msg(int level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void log_about(const struct log_about *about, int level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Each line of a text, which ends in one, is a line of the log. */
void log_lines(const struct log_about *about, int level, const char *text, size_t len);
void log_event(enum log_event event, int level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
