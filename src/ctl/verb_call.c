/* SPDX-License-Identifier: MIT */
/* Any command, as it is, and its reply, as redis-cli shows it. */
#include "base/buf.h"
#include "ctl/args.h"
#include "ctl/json.h"
#include "ctl/reply.h"

#include <stdio.h>
#include <stdlib.h>

/* For a person: text in quotes, numbered elements, aligned. */
static void
put_shown(struct buf *b, const redisReply *r, size_t indent)
{
	if (reply_is_nil(r)) {
		buf_puts(b, "(nil)\n");
	} else if (r->type == REDIS_REPLY_INTEGER) {
		buf_putf(b, "(integer) %lld\n", r->integer);
	} else if (reply_is_array(r)) {
		int digits = snprintf(NULL, 0, "%zu", r->elements);
		for (size_t i = 0; i < r->elements; i++) {
			if (i)
				buf_putf(b, "%*s", (int)indent, "");
			buf_putf(b, "%*zu) ", digits, i + 1);
			put_shown(b, r->element[i], indent + (size_t)digits + 2);
		}
		if (r->elements == 0)
			buf_puts(b, "(empty)\n");
	} else {
		char *text = ctl_escape(r->str, r->len);
		const char *quote = r->type == REDIS_REPLY_STRING ? "\"" : "";
		buf_putf(b, "%s%s%s\n", quote, text, quote);
		free(text);
	}
}

/* For a program: each text and number on a line of its own, as it is. */
static void
put_plain(struct buf *b, const redisReply *r)
{
	if (reply_is_array(r)) {
		for (size_t i = 0; i < r->elements; i++)
			put_plain(b, r->element[i]);
		return;
	}
	if (r->type == REDIS_REPLY_INTEGER)
		buf_putf(b, "%lld", r->integer);
	else if (!reply_is_nil(r))
		buf_put(b, r->str, r->len);
	buf_putc(b, '\n');
}

int
verb_call(struct ctl *ctl, const struct args *args)
{
	struct command c = {0};
	struct buf b = {0};
	redisReply *r = NULL;

	for (int i = 0; i < args->count; i++)
		command_add(&c, args->words[i]);
	int status = ctl_call(ctl, &c, &r);
	if (!status && ctl->json) {
		status = json_print(r, JSON_LIST);
	} else if (!status) {
		if (ctl->terminal)
			put_shown(&b, r, 0);
		else
			put_plain(&b, r);
		status = json_flush(&b);
	}
	buf_free(&b);
	freeReplyObject(r);
	return status;
}
