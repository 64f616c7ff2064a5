/* SPDX-License-Identifier: MIT */
/*
 * worker - takes jobs from a peer, and gives each back as its result.
 *
 *   worker WIRE SOCKET
 *
 * One job at a time; what is said after it, its result and that the next one is
 * wanted, is one write. It ends when the peer does.
 */
#include "wire.h"

#include <err.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROOM (64 * 1024) /* to read into, at least */

static const struct wire *wire;
static struct ear ear;
static struct bytes out;
static int fd;

static void
say(void)
{
	while (out.head < out.len) {
		ssize_t n = write(fd, out.data + out.head, out.len - out.head);

		if (n < 0)
			err(1, "write");
		out.head += (size_t)n;
	}
}

static void
on_job(const struct item *job)
{
	char queue[QUEUE_LEN + 1] = "";

	if (wire->answer) {
		wire->answer(&out, job);
		return;
	}
	if (job->len < QUEUE_LEN)
		errx(1, "a job without a queue");
	memcpy(queue, job->data, QUEUE_LEN);
	wire->put(&out, queue, "", job->data + QUEUE_LEN, job->len - QUEUE_LEN);
	if (wire->settle)
		wire->settle(&out, job);
	wire->take(&out, "jobs", 1);
}

static bool
on_next(void)
{
	struct item item;
	enum heard heard = wire->next(&ear, &item);

	if (heard == HEARD_NONSENSE)
		errx(1, "was told nonsense: '%.*s'", (int)(ear.in.len - ear.in.head),
		     ear.in.data + ear.in.head);
	if (heard == HEARD_PAYLOAD)
		on_job(&item);
	else if (heard == HEARD_NOTE && wire->on_note)
		wire->on_note(&out, &item);
	return heard != HEARD_PART;
}

int
main(int argc, char **argv)
{
	if (argc != 3)
		errx(64, "usage: worker WIRE SOCKET");
	wire = wire_find(argv[1]);
	fd = wire_connect(argv[2]);
	wire->hello(&out, NULL, "jobs");
	if (wire->take)
		wire->take(&out, "jobs", 1);
	for (;;) {
		ssize_t n;

		say();
		bytes_need(&ear.in, ROOM);
		n = read(fd, ear.in.data + ear.in.len, ear.in.size - ear.in.len);
		if (n <= 0)
			return n < 0;
		ear.in.len += (size_t)n;
		while (on_next())
			;
	}
}
