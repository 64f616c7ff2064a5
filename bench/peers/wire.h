/* SPDX-License-Identifier: MIT */
/*
 * wire - how the peers are spoken to, by a client and by a worker.
 *
 * A wire makes requests and takes what comes apart, and does no I/O. With a wire of
 * queues a job is put into the queue "jobs" with the name of its client's own queue
 * before it, and the worker puts it, without that name, there; to take something from
 * a queue is a command that waits, and holds up what is behind it on its connection.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#define QUEUE_LEN 8 /* of the name of a client's queue */

struct bytes {
	char *data;
	size_t head; /* what is there is from here */
	size_t len;  /* to here */
	size_t size;
};

/* What has come on a connection, and how far it is understood. */
struct ear {
	struct bytes in;
	unsigned state; /* the wire's; 0 at first */
	unsigned left;
};

enum heard {
	HEARD_PART,    /* more has to come */
	HEARD_NOTE,    /* something that needs no answer, or a wire's own */
	HEARD_PAYLOAD, /* a job to a worker, its result to a client */
	HEARD_NONSENSE,
};

/* What was heard; good until more is read. */
struct item {
	const char *data;
	size_t len;
	const char *id; /* the peer's, of this job */
	size_t id_len;
	bool last;	/* of what one take brings */
	unsigned about; /* which note, if it needs an answer */
};

struct wire {
	const char *name;
	bool batches; /* a take brings all that is there, at most so many */
	/* What a connection says first, with the queues it puts into and takes from, if any. */
	void (*hello)(struct bytes *out, const char *puts, const char *takes);
	/* A payload, with another in front of it, or "". */
	void (*put)(struct bytes *out, const char *queue, const char *front, const char *data,
		    size_t len);
	/* NULL: what is put is answered on its connection, unasked. */
	void (*take)(struct bytes *out, const char *queue, unsigned most);
	/* What was taken is done with; NULL: nothing needs to be said. */
	void (*settle)(struct bytes *out, const struct item *item);
	enum heard (*next)(struct ear *ear, struct item *ret_item);
	/* A worker's answer to a job and a note; NULL: that of a wire of queues. */
	void (*answer)(struct bytes *out, const struct item *job);
	void (*on_note)(struct bytes *out, const struct item *note);
};

extern const struct wire wire_beanstalk, wire_fastcgi, wire_gearman, wire_redis;

const struct wire *wire_find(const char *name);
/* A path of a socket, or a port of this machine. Ends the program where it cannot. */
int wire_connect(const char *where);

void bytes_need(struct bytes *b, size_t more);
void bytes_add(struct bytes *b, const void *data, size_t len);
void bytes_say(struct bytes *b, const char *text);
void bytes_number(struct bytes *b, size_t n);
/* The line that begins at head, without its end, which is "\r\n"; NULL: not whole. */
const char *bytes_line(const struct bytes *b, size_t *ret_len);
/* The number at text; ends the program if there is none. */
size_t number_at(const char *text);
