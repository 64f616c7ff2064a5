/* SPDX-License-Identifier: MIT */
/*
 * map - each line of the input is a job, results come out in input order.
 *
 * One thread, one poll. RUNs are pipelined on one connection within a window;
 * where results are wanted as they come, on several with a job or two each,
 * since the replies of one keep the order of its commands. A line that was taken
 * from the input has an entry until its result is known (one that was refused
 * with BUSY, or failed and may be tried again, is sent again from there) and,
 * where there is an order, until it is its turn. All of it is bounded: lines by
 * the window and by MAP_BYTES, output by MAP_OUTPUT, and then input is no longer
 * read.
 */
#pragma once

#include "base/buf.h"
#include "base/mono.h"
#include "ctl/ctl.h"
#include "ctl/map_log.h"
#include "ctl/map_screen.h"

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define MAP_WINDOW_MAX 65536		 /* lines */
#define MAP_BYTES (size_t)(4U << 20)	 /* of lines without a result; one line may be longer */
#define MAP_LINE_MAX (size_t)(64U << 20) /* a longer line fails */
#define MAP_OUTPUT (size_t)(1U << 20)	 /* above it no replies are read */
#define MAP_CONNS_MAX 256

struct map_halt {
	enum { HALT_NEVER, HALT_SOON, HALT_NOW } when;
	enum { HALT_FAIL, HALT_SUCCESS, HALT_DONE, HALT_NOTHING } what;
	uint64_t limit;	 /* lines, or percent of those that are done */
	bool is_percent; /* and then at least HALT_LEAST of them */
};

#define HALT_LEAST 3

/* What is known when the map begins. */
struct map_setup {
	const char *pool;    /* its name */
	const char *timeout; /* as given, or NULL */
	bool own;	     /* a pool of a private daemon */
	int64_t slots;	     /* workers × pipeline */
	int64_t queue_limit;

	bool nul;	  /* lines end with NUL, not LF */
	bool unordered;	  /* results as they come */
	uint64_t in_size; /* of the input, or 0 where that is not known */
	bool tag;	  /* with the line before each line of the result */
	bool each;	  /* results are output, with line feeds of their own */
	unsigned retries;
	struct map_halt halt;
};

enum entry_state {
	ENTRY_FREE,
	ENTRY_SENT,
	ENTRY_BUSY, /* refused for now */
	ENTRY_DONE, /* waits for those before it */
};

struct entry {
	enum entry_state state;
	bool again;	   /* an earlier map has it as failed */
	unsigned attempts; /* this one included */
	uint64_t line;	   /* number in the input, from 1 */
	uint64_t hash;	   /* where there is a log */
	char *text;	   /* malloc'ed */
	size_t len;
	const char *failure; /* what it failed of; NULL: it did not */
	char *held;	     /* result that waits for those before it; malloc'ed, NULL: empty */
	size_t held_len;
	mono_t sent, answered; /* sent: the first time */
};

struct map_conn {
	struct map *map;
	int fd;
	struct buf request;
	redisReader *reader;
	uint32_t *sent; /* ring of entries, in the order of their commands */
	uint64_t sent_head, sent_tail;
};

struct map {
	struct map_setup setup;
	struct map_log *log;
	int in, out;
	size_t out_chunk; /* bytes that one write to out may have without blocking */
	bool out_at_once; /* a person watches */

	struct buf input;
	size_t searched;    /* bytes at its head that hold no end of a line */
	bool eof, skipping; /* skipping: to the end of a line that is too long */
	uint64_t in_bytes;  /* taken from the input so far */

	struct entry *entries;
	uint32_t *unused; /* stack of entries that are ENTRY_FREE */
	size_t n_entries, n_unused;
	uint32_t *order;  /* ring: entries in the order of the input; not where it is unordered */
	size_t ring_size; /* a power of two, of all rings */
	uint64_t head, tail;
	size_t bytes; /* of lines in entries */

	struct map_conn *conns;
	size_t n_conns, depth; /* depth: commands on one at a time */
	uint32_t *places;      /* stack: connections, each as often as it has room for a command */
	size_t n_places;

	size_t window, window_min, window_max;
	mono_t round_start; /* for the window's size */
	size_t round_replies;

	size_t busy; /* entries that are ENTRY_BUSY */
	mono_t retry_at, busy_since;
	int64_t backoff_us;
	bool busy_told;

	struct buf prefix; /* of every command, as sent */
	struct buf output;
	mono_t output_since;		 /* the first byte in output */
	uint64_t out_added, out_written; /* bytes */

	struct screen *screen;
	int signals; /* descriptor that they are read from; -1: none */
	mono_t now, started;
	uint64_t lines;			/* of the input, so far */
	uint64_t done, failed, skipped; /* lines; skipped: by what the log says */
	int status;			/* exit status that ends the map; -1: it goes on */
	int signal;			/* that ends it, or 0 */
	bool halted;			/* no more lines are taken */
	bool log_lost;			/* it cannot be written */
	bool hung_up;			/* the daemon is gone */
	bool output_gone;		/* it cannot be written, or nobody reads it any more */
	bool hinted;
};

/* --- map_line.c: lines, and how they are sent; no I/O but messages --- */

/* fds: the connections, n of them, which stay the caller's; log and screen, too. */
void map_init(struct map *m, const struct map_setup *setup, const int *fds, size_t n);
void map_release(struct map *m);

/* How many connections it takes. */
size_t map_conns_wanted(const struct map_setup *setup);

/* n bytes were read to the input's tail. */
void map_input_added(struct map *m, size_t n);
bool map_wants_input(const struct map *m);

/* Take as many lines as the window allows, and put their commands to requests. */
void map_take_lines(struct map *m);
/* Would it take any, as things are? */
bool map_can_take(const struct map *m);

/* Send an entry's line, for the first time or again. */
void map_send(struct map *m, struct entry *e);

/* The entry's line is dealt with. */
void map_forget(struct map *m, struct entry *e);

/* Send what was refused again, when its time has come. */
void map_retry(struct map *m);

bool map_finished(const struct map *m);

/* --- map_result.c: replies, results, failures; no I/O but messages --- */

void map_reader_init(struct map_conn *c);

/* Bytes from the daemon. */
void map_replies(struct map_conn *c, const char *data, size_t len);

/* The line cannot be sent: it fails by itself. */
void map_refuse(struct map *m, struct entry *e, const char *text);

/* End the map with a status, unless it has one already. */
void map_stop(struct map *m, int status);

/* --- map_loop.c --- */

/* Until the end; an exit status, whose reason has been printed but for hung_up. */
int map_loop(struct map *m);

/* --- map_signal.c --- */

/* From here on SIGINT, SIGTERM and SIGHUP, unless they are ignored, are read from
 * a descriptor, which is returned; -1: they have their usual effect. */
int map_signals_hold(void);
/* The one that came, or 0. */
int map_signals_read(int fd);
/* As they were; one that has come by now has its usual effect. */
void map_signals_release(int fd);

/* --- map_report.c --- */

/* What is to be said at the end. */
void map_report(const struct map *m, const struct ctl *ctl, int status, bool summary);

/* --- map_private.c --- */

struct private_daemon {
	pid_t pid;
	int fds[MAP_CONNS_MAX + 1]; /* our ends of its connections */
	size_t n;
	int messages; /* what it says, to be shown; -1: it does that by itself */
};

/* What its one pool is like. */
struct private_setup {
	long workers;
	const char *protocol;
	char **command; /* NULL at its end */
	bool each;	/* the command is run for each job */
	size_t conns;
	bool relay; /* its messages are to come through us */
};

/* Start preforkd with the pool "map". An exit status. */
int private_start(struct private_daemon *d, const struct private_setup *setup);

/* Close what is still open of our ends. */
void private_close(struct private_daemon *d);

/* Ask it to end and let its workers see the end of their input and finish; the
 * connection is at EOF then. Closing it instead ends them at once. */
void private_stop(int fd);

/* Wait for its end; say what it was when it was not a good one, or came early.
 * An exit status. */
int private_wait(struct private_daemon *d, bool early);
