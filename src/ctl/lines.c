/* SPDX-License-Identifier: MIT */
#include "ctl/lines.h"

#include "base/buf.h"
#include "base/mono.h"
#include "base/text.h"
#include "ctl/errors.h"
#include "ctl/reply.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BATCH 512		       /* lines */
#define READ_CHUNK (64U << 10)	       /* bytes */
#define LENGTH_MAX (size_t)(64U << 20) /* of a line; a longer one is refused */
#define BACKOFF_MIN_US 2000
#define BACKOFF_MAX_US 200000
#define BUSY_TELL_US (10 * USEC_PER_SEC)

enum line_state { LINE_WAITS, LINE_TAKEN, LINE_REFUSED };

struct line {
	size_t at, len; /* in the input */
	enum line_state state;
	char id[24];
};

struct lines {
	struct ctl *ctl;
	const char *pool;
	char end; /* of a line */
	bool retry;
	struct buf prefix;    /* of every command, as sent */
	unsigned long before; /* lines before the batch */
	struct line batch[BATCH];
	size_t count, printed;
	struct buf input, request;
	size_t searched;    /* bytes of it that hold no end of a line */
	bool eof, skipping; /* to the end of a line that is too long */
	int status;	    /* of the first line that was refused */
	bool stop;	    /* no more lines */
};

/* --- the command that is sent for a line --- */

static void
put_word(struct buf *b, const char *data, size_t len)
{
	buf_putc(b, '$');
	buf_put_u64(b, len);
	buf_puts(b, "\r\n");
	buf_put(b, data, len);
	buf_puts(b, "\r\n");
}

static void
make_prefix(struct lines *l, const struct args *args)
{
	struct command c = {0};

	command_add(&c, "SUBMIT");
	command_add(&c, l->pool);
	args_add_options(args, &c, OPT(TIMEOUT) | OPT(KEEP));
	buf_putf(&l->prefix, "*%d\r\n", c.count + 1);
	for (int i = 0; i < c.count; i++)
		put_word(&l->prefix, c.argv[i], c.len[i]);
	command_free(&c);
}

/* --- lines --- */

static void
refuse(struct lines *l, struct line *line, const char *text, size_t len)
{
	const struct error_row *row = error_find(text, len);
	char where[32], shown[1024];

	snprintf(where, sizeof(where), "line %lu",
		 l->before + (unsigned long)(line - l->batch) + 1);
	line->state = LINE_REFUSED;
	l->status = l->status ? l->status : row->status;
	l->stop |= row->ends_map;
	if (row->ends_map)
		error_report(where, text, len, l->pool);
	else
		ctl_warn("%s: %s", where, text_escape(shown, sizeof(shown), text, len));
}

static struct line *
add_line(struct lines *l, size_t at, size_t len)
{
	struct line *line = &l->batch[l->count++];

	*line = (struct line){.at = at, .len = len};
	return line;
}

/* Drop what is there of a line that was refused for its length. */
static void
skip(struct lines *l)
{
	char *head = buf_head(&l->input), *end = memchr(head, l->end, buf_len(&l->input));

	l->skipping = !end;
	buf_consume(&l->input, end ? (size_t)(end + 1 - head) : buf_len(&l->input));
}

/* Cut the input into lines, as many as there are or fit; bytes behind them in
 * *ret_used. */
static void
cut(struct lines *l, size_t *ret_used)
{
	size_t at = 0, n = buf_len(&l->input);
	const char *data = n ? buf_head(&l->input) : "";

	while (l->count < BATCH && at < n) {
		size_t from = at + l->searched;
		const char *end = memchr(data + from, l->end, n - from);
		l->searched = end ? 0 : n - at;
		if (!end && !l->eof)
			break;
		size_t len = end ? (size_t)(end - data) - at : n - at;
		add_line(l, at, len);
		at += len + (end != NULL);
		l->searched = 0;
	}
	*ret_used = at;
}

/* False: there will be no more. */
static bool
read_input(struct lines *l)
{
	if (!buf_reserve(&l->input, READ_CHUNK)) {
		ctl_warn("out of memory");
		l->status = STATUS_OS;
		return false;
	}
	ssize_t n = read(STDIN_FILENO, buf_tail(&l->input), READ_CHUNK);
	if (n > 0) {
		buf_commit(&l->input, (size_t)n);
	} else if (n == 0) {
		l->eof = true;
	} else if (errno != EINTR) {
		ctl_warn("cannot read standard input: %s", strerror(errno));
		l->status = STATUS_FAILED;
		return false;
	}
	return true;
}

/* The next batch; *ret_used as by cut(). False: it was the last one. */
static bool
next_batch(struct lines *l, size_t *ret_used)
{
	static const char text[] = "TOOBIG the line is longer than 64M";

	l->count = l->printed = 0;
	for (;;) {
		if (l->skipping && buf_len(&l->input))
			skip(l);
		cut(l, ret_used);
		if (l->count)
			return true;
		if (l->eof)
			return false;
		if (buf_len(&l->input) > LENGTH_MAX) {
			refuse(l, add_line(l, 0, 0), text, sizeof(text) - 1);
			l->skipping = true;
			l->searched = 0;
			*ret_used = buf_len(&l->input);
			return true;
		}
		if (!read_input(l))
			return false;
	}
}

/* --- sending --- */

static void
on_reply(struct lines *l, struct line *line, const redisReply *r, size_t *busy)
{
	if (reply_is_text(r)) {
		line->state = LINE_TAKEN;
		snprintf(line->id, sizeof(line->id), "%s", r->str);
	} else if (r->type != REDIS_REPLY_ERROR) {
		ctl_warn("the daemon answered with something that is not an id");
		l->status = STATUS_FAILED;
		l->stop = true;
	} else if (l->retry && strcmp(error_find(r->str, r->len)->word, "BUSY") == 0) {
		++*busy;
	} else if (!l->stop) {
		refuse(l, line, r->str, r->len);
	}
}

/* Send the lines that wait and take their replies; *ret_busy: how many found the
 * queue full. False: the connection is broken, and that was said. */
static bool
send_batch(struct lines *l, size_t *ret_busy)
{
	struct line *sent[BATCH];
	size_t n = 0;
	int status = STATUS_OK;

	*ret_busy = 0;
	for (size_t i = 0; i < l->count; i++) {
		struct line *line = &l->batch[i];
		if (line->state != LINE_WAITS)
			continue;
		buf_put(&l->request, buf_head(&l->prefix), buf_len(&l->prefix));
		put_word(&l->request, buf_head(&l->input) + line->at, line->len);
		sent[n++] = line;
	}
	if (n)
		status = ctl_send(l->ctl, &l->request);
	buf_consume(&l->request, buf_len(&l->request));
	for (size_t i = 0; i < n && !status; i++) {
		redisReply *r = NULL;
		status = ctl_receive(l->ctl, &r);
		if (!status)
			on_reply(l, sent[i], r, ret_busy);
		freeReplyObject(r);
	}
	l->status = status ? status : l->status;
	l->stop |= status != STATUS_OK;
	return !status;
}

/* The ids of the lines up to the first that still waits. */
static void
print_ids(struct lines *l)
{
	for (; l->printed < l->count; l->printed++) {
		const struct line *line = &l->batch[l->printed];
		if (line->state == LINE_WAITS)
			break;
		if (line->state == LINE_REFUSED)
			continue;
		if (l->ctl->json)
			printf("{\"line\":%lu,\"id\":\"%s\"}\n",
			       l->before + (unsigned long)l->printed + 1, line->id);
		else
			puts(line->id);
	}
	if (fflush(stdout) != 0) /* there is nobody to tell of more */
		l->stop = true;
}

static void
back_off(const struct lines *l, int64_t *us, mono_t since, bool *told)
{
	struct timespec pause = {0, *us * 1000};

	nanosleep(&pause, NULL);
	*us = *us * 2 < BACKOFF_MAX_US ? *us * 2 : BACKOFF_MAX_US;
	if (!*told && mono_since(mono_now(), since) > BUSY_TELL_US) {
		*told = true;
		ctl_warn("the queue of %s is full; waiting", l->pool);
	}
}

static void
submit_batch(struct lines *l)
{
	int64_t us = BACKOFF_MIN_US;
	mono_t since = mono_now();
	size_t busy = 0, was = 0;
	bool told = false;

	while (send_batch(l, &busy)) {
		print_ids(l);
		if (!busy || l->stop)
			break;
		if (busy != was) /* it goes on */
			us = BACKOFF_MIN_US;
		was = busy;
		back_off(l, &us, since, &told);
	}
}

int
lines_submit(struct ctl *ctl, const struct args *args)
{
	size_t used = 0;

	/* before any line is read: is there such a pool? */
	const char *words[] = {"POOL", args->words[0]};
	redisReply *r = NULL;
	int status = ctl_call_words(ctl, words, 2, &r);
	freeReplyObject(r);
	if (status)
		return status;
	struct lines *l = ctl_realloc(NULL, sizeof(*l));
	*l = (struct lines){
		.ctl = ctl,
		.pool = args->words[0],
		.end = args->values[OPT_NULL] ? '\0' : '\n',
		.retry = !args->values[OPT_NO_RETRY],
	};
	make_prefix(l, args);
	while (!l->stop && next_batch(l, &used)) {
		submit_batch(l);
		buf_consume(&l->input, used);
		l->before += l->count;
	}
	status = l->status;
	buf_free(&l->prefix);
	buf_free(&l->input);
	buf_free(&l->request);
	free(l);
	return status;
}
