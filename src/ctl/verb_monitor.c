/* SPDX-License-Identifier: MIT */
/* What happens, a line each, until Ctrl-C. */
#include "ctl/args.h"
#include "ctl/event.h"
#include "ctl/news.h"
#include "ctl/reply.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The words of a filter: kinds, and whose news; both may be empty, for all. */
struct filter {
	bool kinds[EVENT_MAX];
	bool any_kind;
	const char **pools, **ids;
	int npools, nids;
};

/* Where the news of a kind are: of everything, of one pool, of one job. NULL: there
 * is no such channel. */
static const struct source {
	enum event_kind kind;
	bool asked_for; /* only where it is named: there may be very much of it */
	const char *all, *pool, *id;
} sources[] = {
	{EVENT_JOB, false, "jobs.*", "jobs.%s", "job.%s"},
	{EVENT_OUT, true, "out.*", NULL, "out.%s"},
	{EVENT_PROGRESS, true, "progress.*", NULL, "progress.%s"},
	{EVENT_POOL, false, "pool.*", "pool.%s", NULL},
	{EVENT_WORKER, false, "worker.*", "worker.%s", NULL},
};

#define SOURCES (sizeof(sources) / sizeof(sources[0]))

static bool
is_id(const char *word)
{
	return *word && strspn(word, "0123456789") == strlen(word);
}

static bool
take_kind(struct filter *f, const char *word)
{
	for (size_t i = 0; i < SOURCES; i++)
		if (strcmp(word, event_kinds[sources[i].kind]) == 0) {
			f->any_kind = f->kinds[sources[i].kind] = true;
			return true;
		}
	return false;
}

static void
read_filter(struct filter *f, const struct args *args)
{
	size_t size = ((size_t)args->count + 1) * sizeof(char *);

	*f = (struct filter){.pools = ctl_realloc(NULL, size), .ids = ctl_realloc(NULL, size)};
	for (int i = 0; i < args->count; i++) {
		if (is_id(args->words[i]))
			f->ids[f->nids++] = args->words[i];
		else if (!take_kind(f, args->words[i]))
			f->pools[f->npools++] = args->words[i];
	}
}

/* Is there something to be heard with it? */
static int
check_filter(const struct filter *f)
{
	const struct verb *v = verb_find("monitor");

	for (size_t i = 0; i < SOURCES; i++) {
		const struct source *s = &sources[i];
		if (!f->kinds[s->kind])
			continue;
		if (f->npools && !f->nids && !s->pool)
			return args_usage(v, "%s is about a job: name its id, and no pool",
					  event_kinds[s->kind]);
		if (f->nids && !f->npools && !s->id)
			return args_usage(v, "%s is not about a job: name a pool, and no id",
					  event_kinds[s->kind]);
	}
	return STATUS_OK;
}

static int
subscribe_each(struct news *n, const char *channel, const char *const *names, int count)
{
	int status = STATUS_OK;

	for (int i = 0; channel && i < count && !status; i++) {
		struct buf name = {0};
		const char *mark = strstr(channel, "%s");
		buf_putf(&name, "%.*s%s", (int)(mark - channel), channel, names[i]);
		buf_putc(&name, '\0');
		status = buf_failed(&name) ? STATUS_OS : news_subscribe(n, buf_head(&name));
		buf_free(&name);
	}
	return status;
}

static int
subscribe(struct news *n, const struct filter *f)
{
	int status = news_subscribe(n, "lost");

	for (size_t i = 0; i < SOURCES && !status; i++) {
		const struct source *s = &sources[i];
		bool wanted = f->any_kind ? f->kinds[s->kind] : !s->asked_for || f->nids;
		if (!wanted)
			continue;
		if (!f->npools && !f->nids)
			status = news_match(n, s->all);
		if (!status)
			status = subscribe_each(n, s->pool, f->pools, f->npools);
		if (!status)
			status = subscribe_each(n, s->id, f->ids, f->nids);
	}
	return status;
}

/* What does not exist would be silent for ever: ask each with its command. */
static int
check_names(struct ctl *ctl, const char *command, const char *const *names, int count)
{
	int status = STATUS_OK;

	for (int i = 0; i < count && !status; i++) {
		const char *words[] = {command, names[i]};
		redisReply *r = NULL;
		status = ctl_call_words(ctl, words, 2, &r);
		freeReplyObject(r);
	}
	return status;
}

static void
print_event(const struct ctl *ctl, struct buf *b, const struct event *e)
{
	struct timespec now;
	struct tm tm;
	char time[16] = "";

	clock_gettime(CLOCK_REALTIME, &now);
	long ms = now.tv_nsec / 1000000;
	if (ctl->json) {
		buf_putf(b, "{\"unix_ms\":%lld,", (long long)now.tv_sec * 1000 + ms);
		event_put_json(b, e);
		buf_puts(b, "}\n");
	} else {
		if (localtime_r(&now.tv_sec, &tm))
			strftime(time, sizeof(time), "%H:%M:%S", &tm);
		buf_putf(b, "%s.%03ld ", time, ms);
		event_put_line(b, e, ctl->colour);
		buf_putc(b, '\n');
	}
	if (!buf_failed(b))
		fwrite(buf_head(b), 1, buf_len(b), stdout);
	buf_consume(b, buf_len(b));
}

/* Ctrl-C is the ordinary end, and so is a reader who has enough. */
static int
print_news(struct news *n)
{
	struct buf b = {0};
	struct message m;
	struct event e;
	int status = STATUS_OK;

	while (news_next(n, &m, &status) == NEWS_MESSAGE)
		if (event_parse(m.channel, m.channel_len, m.text, m.text_len, &e))
			print_event(&n->ctl, &b, &e);
	buf_free(&b);
	return status;
}

int
verb_monitor(struct ctl *ctl, const struct args *args)
{
	struct filter f;
	struct news n = {.interrupt = -1};

	read_filter(&f, args);
	int status = check_filter(&f);
	if (!status)
		status = check_names(ctl, "POOL", f.pools, f.npools);
	if (!status)
		status = check_names(ctl, "JOB", f.ids, f.nids);
	if (!status)
		status = news_open(&n, ctl);
	if (!status)
		status = subscribe(&n, &f);
	if (!status)
		status = print_news(&n);
	news_close(&n);
	free(f.pools);
	free(f.ids);
	return status;
}
