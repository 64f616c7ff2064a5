/* SPDX-License-Identifier: MIT */
/*
 * map_log - what became of each line, in a file that a later map goes on with.
 *
 * A heading, then a record for each line that has its result, in columns with a
 * TAB between: the number of the line; the hash of its content, which is all
 * that is gone by; when it was sent (seconds since 1970) and the seconds until
 * its result came; "ok" or what it failed of; how often it was tried, with a +
 * in front where an earlier record of the same content says that it failed, and
 * this one takes its place; and the line itself, escaped and cut, for people.
 *
 * A record goes to the file when the result has gone to the output, so that
 * what the log calls done has been seen by whoever reads the output.
 */
#pragma once

#include "base/buf.h"
#include "base/mono.h"
#include "ctl/tally.h"

#include <stdbool.h>
#include <stdint.h>

enum log_use {
	LOG_NONE,
	LOG_NEW,
	LOG_RESUME, /* what is done is not done again */
	LOG_RETRY,  /* what failed is done again, and nothing else */
};

struct log_record {
	uint64_t line, hash;
	mono_t sent, answered;
	const char *result;
	unsigned attempts;
	bool again;
	const char *text; /* the line */
	size_t len;
};

struct map_log {
	enum log_use use;
	const char *path;
	int fd;		     /* -1: there is no log */
	int64_t unix_us;     /* to add to monotonic time */
	struct tally tally;  /* of earlier maps, less what this one met */
	uint64_t was_done;   /* records at the start: lines that are done */
	uint64_t was_failed; /* and that failed and are not done since */
	uint64_t again;	     /* of these, that have come again */
	struct buf records;  /* not in the file yet */
	size_t marked;	     /* bytes of records that belong to output up to mark_at */
	uint64_t mark_at;    /* byte of the output */
};

/* Read what the file says, and get ready to write to it. An exit status, whose
 * reason has been printed. */
int map_log_open(struct map_log *l, const char *path, enum log_use use);
void map_log_close(struct map_log *l);

/* Is a line with this content to be done? Each answer uses up one occurrence. */
bool map_log_wants(struct map_log *l, uint64_t hash, bool *ret_again);

void map_log_add(struct map_log *l, const struct log_record *r);

/* Of the output, added bytes are there, and written ones have been written.
 * 0, or the errno when the file cannot be written. */
int map_log_write(struct map_log *l, uint64_t added, uint64_t written);

/* --- for tests --- */

/* One record, without its line feed. False: it is none. */
bool map_log_parse(const char *text, size_t len, uint64_t *ret_hash, bool *ret_ok, bool *ret_again);
