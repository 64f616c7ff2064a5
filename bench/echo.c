/* SPDX-License-Identifier: MIT */
/*
 * echo - the bench's "line" worker: the job is its own result.
 *
 * It answers all that it has read with one write, as a worker does that takes its
 * batches as they come; lines may be of any length. The answer to a line that came alone
 * is not copied: "OK " is put before it where it lies. With an argument it says READY first.
 */
#include <err.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROOM (64 * 1024) /* to read into, at least */
#define OK 3		 /* bytes of "OK ", kept free before what is read */

struct bytes {
	char *data;
	size_t size;
	size_t len;
};

static struct bytes in = {.size = OK, .len = OK}, out;
static size_t seen = OK; /* up to here in in no line ends */

static void
bytes_need(struct bytes *b, size_t more)
{
	if (b->size - b->len >= more)
		return;
	b->size = 2 * b->size > b->len + more ? 2 * b->size : b->len + more;
	b->data = realloc(b->data, b->size);
	if (!b->data)
		err(1, "no memory");
}

static void
say(const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(STDOUT_FILENO, data, len);

		if (n < 0)
			err(1, "write");
		data += n;
		len -= (size_t)n;
	}
}

/* The end of the line at from; NULL: it is not whole. */
static char *
line_end(size_t from)
{
	char *end = memchr(in.data + from, '\n', in.len - from);

	return end ? end + 1 : NULL;
}

static void
answer_many(void)
{
	size_t line = OK;
	char *end;

	while ((end = line_end(line > seen ? line : seen))) {
		size_t len = (size_t)(end - in.data) - line;

		bytes_need(&out, OK + len);
		memcpy(out.data + out.len, "OK ", OK);
		memcpy(out.data + out.len + OK, in.data + line, len);
		out.len += OK + len;
		line += len;
	}
	say(out.data, out.len);
	out.len = 0;
	in.len = OK + (in.len - line);
	memmove(in.data + OK, in.data + line, in.len - OK);
	seen = in.len;
}

static void
answer(void)
{
	char *end = line_end(seen);

	if (!end) {
		seen = in.len;
	} else if (end < in.data + in.len) {
		answer_many();
	} else {
		memcpy(in.data, "OK ", OK);
		say(in.data, in.len);
		in.len = seen = OK;
	}
}

int
main(int argc, char **argv)
{
	(void)argv;
	if (argc > 1)
		say("READY\n", 6);
	for (;;) {
		ssize_t n;

		bytes_need(&in, ROOM);
		n = read(STDIN_FILENO, in.data + in.len, in.size - in.len);
		if (n == 0 || (n < 0 && errno == ECONNRESET))
			return 0;
		if (n < 0)
			err(1, "read");
		in.len += (size_t)n;
		answer();
	}
}
