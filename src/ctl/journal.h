/* SPDX-License-Identifier: MIT */
/*
 * journal - journalctl's command line, and what it prints, as lines for people.
 *
 * journalctl's own short form does not show which worker and which job a line is
 * about, and that is what one looks for in a pool's log. So it is asked for the
 * export format, and the lines are made here; in any other form they are its own.
 */
#pragma once

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What is wanted. Text is NULL where it was not said. */
struct journal_query {
	const char *pool, *worker, *job;
	const char *unit, *user_unit; /* of the daemon, where they are known; or "" */
	const char *named_unit;	      /* if not: the name of its unit, in either manager */
	bool only_named;	      /* it has no other: not a daemon that runs elsewhere */
	const char *since, *level, *lines, *output;
	bool follow, all;
};

/* The words of the command, NULL at their end; both malloc'ed. No shell reads them,
 * and none can be taken for an option or for another match. */
char **journal_command(const struct journal_query *q);
void journal_command_free(char **words);

/* A name that systemd could have given to a unit. */
bool journal_is_unit(const char *name);

/* How many lines whoever prints them is to cut it down to, the last ones; 0: all. */
size_t journal_lines_wanted(const struct journal_query *q);

struct journal_slice {
	const char *data; /* NULL: no such field */
	size_t len;
};

struct journal_entry {
	int64_t unix_us;
	int level; /* 0 … 7, as syslog's; -1: none */
	struct journal_slice message, identifier, pool, worker, job;
};

/* The first entry in data: its bytes, and *ret pointing into it. 0: it is not whole
 * yet; -1: this is not the export format. */
ssize_t journal_parse(const char *data, size_t len, struct journal_entry *ret);

/* An entry as a line with its LF. */
void journal_format(const struct journal_entry *e, bool colour, struct buf *line);
