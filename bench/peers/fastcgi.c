/* SPDX-License-Identifier: MIT */
/*
 * FastCGI, for php-fpm: a request's body is the payload, and the queue the script. A
 * connection is one process's from its first request to its end, so that requests
 * that follow each other on it are that process's jobs, one after the other.
 */
#include "wire.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum record { BEGIN = 1, END = 3, PARAMS = 4, STDIN = 5, STDOUT = 6 };

#define HEAD 8
#define CONTENT_MAX 65535

static void
put_record(struct bytes *out, enum record type, const char *content, size_t len)
{
	const char head[HEAD] = {1, (char)type, 0, 1, (char)(len >> 8), (char)len, 0, 0};

	bytes_add(out, head, HEAD);
	bytes_add(out, content, len);
}

static void
put_param(struct bytes *params, const char *name, const char *value)
{
	const char lengths[] = {(char)strlen(name), (char)strlen(value)};

	bytes_add(params, lengths, sizeof(lengths));
	bytes_say(params, name);
	bytes_say(params, value);
}

static void
fastcgi_hello(struct bytes *out, const char *puts, const char *takes)
{
	(void)out;
	(void)puts;
	(void)takes;
}

static void
fastcgi_put(struct bytes *out, const char *queue, const char *front, const char *data, size_t len)
{
	static const char begin[HEAD] = {0, 1 /* a responder */, 1 /* keep the connection */};
	static struct bytes params;
	char digits[24];

	(void)front;
	if (!params.len) {
		snprintf(digits, sizeof(digits), "%zu", len);
		put_param(&params, "SCRIPT_FILENAME", queue);
		put_param(&params, "REQUEST_METHOD", "POST");
		put_param(&params, "CONTENT_LENGTH", digits);
	}
	put_record(out, BEGIN, begin, sizeof(begin));
	put_record(out, PARAMS, params.data, params.len);
	put_record(out, PARAMS, "", 0);
	while (len) {
		size_t part = len < CONTENT_MAX ? len : CONTENT_MAX;

		put_record(out, STDIN, data, part);
		data += part;
		len -= part;
	}
	put_record(out, STDIN, "", 0);
}

static size_t
content_len(const char *record)
{
	return (size_t)(uint8_t)record[4] << 8 | (uint8_t)record[5];
}

static size_t
record_len(const char *record)
{
	return HEAD + content_len(record) + (uint8_t)record[6];
}

/* The records of one reply, up to its end; 0: not whole. */
static size_t
reply_len(const char *at, size_t len)
{
	size_t done = 0;

	while (len - done >= HEAD && len - done >= record_len(at + done)) {
		const char *record = at + done;

		done += record_len(record);
		if (record[1] == END)
			return done;
	}
	return 0;
}

/* What the script wrote is laid together where it is. */
static enum heard
fastcgi_next(struct ear *ear, struct item *item)
{
	char *at = ear->in.data + ear->in.head;
	size_t whole = reply_len(at, ear->in.len - ear->in.head);
	size_t text = 0;
	const char *body;

	if (!whole)
		return HEARD_PART;
	for (size_t i = 0; i < whole;) {
		size_t all = record_len(at + i), len = content_len(at + i);

		if (at[i + 1] == STDOUT) {
			memmove(at + text, at + i + HEAD, len);
			text += len;
		}
		i += all;
	}
	ear->in.head += whole;
	body = memmem(at, text, "\r\n\r\n", 4);
	if (!body)
		return HEARD_NONSENSE;
	*item = (struct item){.data = body + 4, .last = true};
	item->len = (size_t)(at + text - item->data);
	return HEARD_PAYLOAD;
}

const struct wire wire_fastcgi = {
	.name = "fastcgi",
	.hello = fastcgi_hello,
	.put = fastcgi_put,
	.next = fastcgi_next,
};
