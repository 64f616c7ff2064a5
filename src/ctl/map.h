/* SPDX-License-Identifier: MIT */
/*
 * map - each line of the input is a job, results come out in input order.
 *
 * One connection, RUNs pipelined on it within a window; one thread, one poll.
 * The input buffer holds every line until its result is known (a line that was
 * refused with BUSY is sent again from there), the ring has an entry for each
 * such line. Replies come in the order of the commands, so a result normally
 * goes straight to the output buffer; only behind a line that has to be sent
 * again it is held in its entry. All of it is bounded: lines by the window and
 * by MAP_BYTES, output by MAP_OUTPUT, and then input is no longer read.
 */
#pragma once

#include "base/buf.h"
#include "base/mono.h"

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define MAP_WINDOW_MAX 65536		 /* lines */
#define MAP_BYTES (size_t)(4U << 20)	 /* of lines without a result; one line may be longer */
#define MAP_LINE_MAX (size_t)(64U << 20) /* a longer line fails */
#define MAP_OUTPUT (size_t)(1U << 20)	 /* above it no replies are read */

enum entry_state {
	ENTRY_SENT,
	ENTRY_BUSY, /* refused for now */
	ENTRY_DONE,
};

struct entry {
	uint64_t pos; /* of the line, from the start of the input */
	size_t len;
	enum entry_state state;
	char *held; /* result that waits for those before it; malloc'ed, NULL: empty */
	size_t held_len;
};

/* What is known of the pool when the map begins. */
struct map_pool {
	const char *name;
	const char *timeout; /* as given, or NULL */
	bool own;	     /* of a private daemon */
	int64_t slots;	     /* workers × pipeline */
	int64_t queue_limit;
};

struct map {
	struct map_pool pool;
	int in, sock, out;
	size_t out_chunk; /* bytes that one write to out may have without blocking */
	bool out_at_once; /* a person watches */

	/* input: [lines without result][scanned, no LF yet][unknown] */
	struct buf input;
	uint64_t base;	    /* position of the buffer's first byte */
	uint64_t next;	    /* position behind the last line that was taken */
	size_t searched;    /* bytes behind next that hold no LF */
	bool eof, skipping; /* skipping: to the end of a line that is too long */

	struct entry *ring;
	size_t ring_size;    /* a power of two */
	uint64_t head, tail; /* line number - 1 of the oldest without result, of the next */
	uint64_t *sent;	     /* ring: lines in the order of their commands */
	uint64_t sent_head, sent_tail;
	size_t window, window_min, window_max;
	mono_t round_start; /* for the window's size */
	size_t round_replies;

	size_t busy; /* entries that are ENTRY_BUSY */
	mono_t retry_at, busy_since;
	int64_t backoff_us;
	bool busy_told;

	struct buf prefix; /* of every command, as sent */
	struct buf request, output;
	mono_t output_since; /* the first byte in output */
	redisReader *reader;

	mono_t started;
	uint64_t failed;  /* lines */
	int status;	  /* exit status that ends the map; -1: it goes on */
	bool hung_up;	  /* the daemon is gone */
	bool output_gone; /* it cannot be written, or nobody reads it any more */
	bool hinted;
};

/* --- map_line.c: lines and their results; no I/O but messages --- */

void map_init(struct map *m, const struct map_pool *pool);
void map_release(struct map *m);

/* n bytes were read to the input's tail. */
void map_input_added(struct map *m, size_t n);
bool map_wants_input(const struct map *m);

/* Take as many lines as the window allows, and put their commands to request. */
void map_take_lines(struct map *m, mono_t now);

/* Bytes from the daemon. */
void map_replies(struct map *m, const char *data, size_t len);

/* Send what was refused again, when its time has come. */
void map_retry(struct map *m, mono_t now);

bool map_finished(const struct map *m);

/* End the map with a message about the oldest line without a result. */
void map_stop(struct map *m, int status);

/* --- map_loop.c --- */

/* Until the end; an exit status, whose reason has been printed but for hung_up. */
int map_loop(struct map *m);

/* --- map_private.c --- */

struct private_daemon {
	pid_t pid;
	int fd; /* our end of its connection */
};

/* Start preforkd with the pool "map" of n workers that run command (NULL at its
 * end). An exit status. */
int private_start(struct private_daemon *d, long n, const char *protocol, char **command);

/* Ask it to end and let its workers see the end of their input and finish; the
 * connection is at EOF then. Closing it instead ends them at once. */
void private_stop(int fd);

/* Wait for its end; say what it was when it was not a good one, or came early.
 * An exit status. */
int private_wait(struct private_daemon *d, bool early);
