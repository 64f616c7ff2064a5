/* SPDX-License-Identifier: MIT */
/* Changing a pool while it works: scale, restart, clear. */
#include "base/buf.h"
#include "base/text.h"
#include "ctl/args.h"
#include "ctl/errors.h"
#include "ctl/event.h"
#include "ctl/json.h"
#include "ctl/news.h"
#include "ctl/reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* {"pool":name,more} or, for a person, nothing. */
static void
print_json(const char *pool, const char *more)
{
	struct buf b = {0};

	buf_puts(&b, "{\"pool\":");
	json_string(&b, pool, strlen(pool));
	buf_putf(&b, ",%s}", more);
	json_finish(&b);
}

int
verb_scale(struct ctl *ctl, const struct args *args)
{
	const char *words[] = {"SCALE", args->words[0], args->words[1]};
	redisReply *r = NULL;
	int status = ctl_call_words(ctl, words, 3, &r);

	if (!status && ctl->json)
		status = json_print_named("reply", r);
	freeReplyObject(r);
	return status;
}

/* --- clear --- */

/* Both commands go out in one write and are carried out in one turn of the daemon,
 * in which no job begins, so what is queued is what is cancelled. */
static int
clear_pool(struct ctl *ctl, const char *pool)
{
	const char *look[] = {"POOL", pool}, *clear[] = {"CLEAR", pool};
	redisReply *before = NULL, *cleared = NULL;
	struct buf b = {0};
	char count[64];

	command_put(&b, look, 2);
	command_put(&b, clear, 2);
	int status = ctl_send(ctl, &b);
	buf_free(&b);
	if (!status)
		status = ctl_receive(ctl, &before);
	if (!status)
		status = ctl_receive(ctl, &cleared);
	if (!status && cleared->type == REDIS_REPLY_ERROR)
		status = ctl_report(ctl, cleared, pool);
	long long n = status ? 0 : reply_int(before, "queued", 0);
	snprintf(count, sizeof(count), "\"cancelled\":%lld", n);
	if (!status && ctl->json)
		print_json(pool, count);
	else if (!status)
		printf("%s: %lld cancelled\n", pool, n);
	freeReplyObject(before);
	freeReplyObject(cleared);
	return status;
}

int
verb_clear(struct ctl *ctl, const struct args *args)
{
	int status = STATUS_OK;

	for (int i = 0; i < args->count && !status; i++)
		status = clear_pool(ctl, args->words[i]);
	return status;
}

/* --- restart --- */

struct restart {
	struct ctl *ctl;
	char *pool;	    /* of POOL[/WORKER] */
	const char *worker; /* NULL: all of them */
	struct news news;
};

/* How many workers are still to be replaced; -1: it could not be asked. */
static int64_t
ask_left(struct restart *r, redisReply **ret_pool)
{
	const char *words[] = {"POOL", r->pool};

	if (ctl_call_words(r->ctl, words, 2, ret_pool) != STATUS_OK)
		return -1;
	return reply_int(*ret_pool, "restarting", 0);
}

static int
report_failed(struct restart *r)
{
	redisReply *pool = NULL;
	char why[256], said[256];

	ask_left(r, &pool);
	const char *error = reply_str(pool, "last_error", "its new workers do not start");
	const char *words = reply_str(pool, "last_stderr", NULL);
	ctl_warn("the restart of %s was given up: %s", r->pool,
		 text_escape_str(why, sizeof(why), error));
	if (words)
		ctl_hint("%s", text_escape_str(said, sizeof(said), words));
	ctl_hint("the workers that were not replaced go on; more: preforkctl logs %s", r->pool);
	freeReplyObject(pool);
	return STATUS_FAILED;
}

static int
report_done(struct restart *r)
{
	if (r->ctl->json)
		print_json(r->pool, "\"event\":\"restarted\"");
	else if (r->ctl->terminal)
		printf("%s%s%s: restarted\n", r->pool, r->worker ? "/" : "",
		       r->worker ? r->worker : "");
	return STATUS_OK;
}

/* Is the restart over by that? An end that was still of an earlier one is not ours,
 * and what was lost may have been ours. */
static bool
is_end(struct restart *r, const struct event *e, bool *ret_failed)
{
	struct text event;
	redisReply *pool = NULL;

	*ret_failed = false;
	if (e->kind == EVENT_POOL && !event_field(e, "event", &event))
		return false;
	if (e->kind == EVENT_POOL)
		*ret_failed = text_is(&event, "restart-failed");
	bool over = ask_left(r, &pool) <= 0;
	freeReplyObject(pool);
	return over;
}

static int
await_end(struct restart *r)
{
	enum news_what what;
	struct message m;
	struct event e;
	bool failed;
	int status = STATUS_OK;

	while ((what = news_next(&r->news, &m, &status)) == NEWS_MESSAGE)
		if (event_parse(m.channel, m.channel_len, m.text, m.text_len, &e) &&
		    is_end(r, &e, &failed))
			return failed ? report_failed(r) : report_done(r);
	if (what == NEWS_INTERRUPTED) {
		ctl_warn("the restart of %s goes on", r->pool);
		return STATUS_LATER;
	}
	return status;
}

static int
begin(struct restart *r, bool wait)
{
	const char *words[] = {"RESTART", r->pool, r->worker};
	redisReply *reply = NULL;
	int status = ctl_call_words(r->ctl, words, r->worker ? 3 : 2, &reply);

	if (!status && r->ctl->json && !wait)
		status = json_print_named("reply", reply);
	freeReplyObject(reply);
	return status;
}

/* Its end is listened for before it is begun, or it could be missed. */
static int
restart_and_wait(struct restart *r)
{
	struct buf channel = {0};

	buf_putf(&channel, "pool.%s", r->pool);
	buf_putc(&channel, '\0');
	int status = buf_failed(&channel) ? STATUS_OS : news_open(&r->news, r->ctl);
	if (!status)
		status = news_subscribe(&r->news, "lost");
	if (!status)
		status = news_subscribe(&r->news, buf_head(&channel));
	if (!status)
		status = begin(r, true);
	if (!status)
		status = await_end(r);
	news_close(&r->news);
	buf_free(&channel);
	return status;
}

static int
restart_one(struct ctl *ctl, const char *word, bool wait)
{
	const char *slash = strrchr(word, '/');
	struct restart r = {
		.ctl = ctl,
		.pool = slash ? strndup(word, (size_t)(slash - word)) : strdup(word),
		.worker = slash ? slash + 1 : NULL,
		.news.interrupt = -1,
	};

	if (!r.pool) {
		ctl_warn("out of memory");
		return STATUS_OS;
	}
	int status = wait ? restart_and_wait(&r) : begin(&r, false);
	free(r.pool);
	return status;
}

int
verb_restart(struct ctl *ctl, const struct args *args)
{
	int status = STATUS_OK;

	for (int i = 0; i < args->count && !status; i++)
		status = restart_one(ctl, args->words[i], !args->values[OPT_NO_WAIT]);
	return status;
}
