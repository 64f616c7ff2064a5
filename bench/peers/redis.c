/* SPDX-License-Identifier: MIT */
/* Redis lists: a queue is a list, LPUSH puts, and BRPOP, or BLMPOP for more, takes. */
#include "wire.h"

#include <stdio.h>
#include <string.h>

/* The state of an ear: which part of a take's reply comes next. */
enum { REPLY, KEY, BODY };

static void
put_bulk(struct bytes *out, const char *front, const char *data, size_t len)
{
	bytes_say(out, "$");
	bytes_number(out, strlen(front) + len);
	bytes_say(out, "\r\n");
	bytes_say(out, front);
	bytes_add(out, data, len);
	bytes_say(out, "\r\n");
}

static void
redis_hello(struct bytes *out, const char *puts, const char *takes)
{
	/* That the jobs come back is proof enough that they were put. */
	if (puts && !takes)
		bytes_say(out, "CLIENT REPLY OFF\r\n");
}

static void
redis_put(struct bytes *out, const char *queue, const char *front, const char *data, size_t len)
{
	bytes_say(out, "*3\r\n$5\r\nLPUSH\r\n");
	put_bulk(out, "", queue, strlen(queue));
	put_bulk(out, front, data, len);
}

static void
redis_take(struct bytes *out, const char *queue, unsigned most)
{
	char digits[16];

	if (most == 1) {
		bytes_say(out, "*3\r\n$5\r\nBRPOP\r\n");
		put_bulk(out, "", queue, strlen(queue));
		bytes_say(out, "$1\r\n0\r\n");
		return;
	}
	bytes_say(out, "*7\r\n$6\r\nBLMPOP\r\n$1\r\n0\r\n$1\r\n1\r\n");
	put_bulk(out, "", queue, strlen(queue));
	bytes_say(out, "$5\r\nRIGHT\r\n$5\r\nCOUNT\r\n");
	put_bulk(out, "", digits, (size_t)snprintf(digits, sizeof(digits), "%u", most));
}

/* A bulk whose head is the line of that length; it stays if it is not whole. */
static enum heard
take_bulk(struct ear *ear, size_t line_len, struct item *item)
{
	struct bytes *in = &ear->in;
	size_t len = number_at(in->data + in->head + 1);

	if (in->len - in->head < line_len + 2 + len + 2)
		return HEARD_PART;
	item->data = in->data + in->head + line_len + 2;
	item->len = len;
	in->head += line_len + 2 + len + 2;
	if (ear->state == KEY) {
		ear->state = BODY;
		ear->left = 1;
		return HEARD_NOTE;
	}
	item->last = --ear->left == 0;
	if (item->last)
		ear->state = REPLY;
	return HEARD_PAYLOAD;
}

static enum heard
redis_next(struct ear *ear, struct item *item)
{
	struct bytes *in = &ear->in;
	size_t len;
	const char *line = bytes_line(in, &len);

	if (!line)
		return HEARD_PART;
	if (*line == '$' && ear->state != REPLY)
		return take_bulk(ear, len, item);
	in->head += len + 2;
	if (*line == '*' && ear->state == REPLY)
		ear->state = KEY;
	else if (*line == '*' && ear->state == BODY)
		ear->left = (unsigned)number_at(line + 1);
	else if (*line != ':' || ear->state != REPLY)
		return HEARD_NONSENSE;
	return HEARD_NOTE;
}

const struct wire wire_redis = {
	.name = "redis",
	.batches = true,
	.hello = redis_hello,
	.put = redis_put,
	.take = redis_take,
	.next = redis_next,
};
