/* SPDX-License-Identifier: MIT */
/* One job, live: what it puts out, how far it is, and at the end its result. */
#include "base/buf.h"
#include "ctl/args.h"
#include "ctl/errors.h"
#include "ctl/event.h"
#include "ctl/human.h"
#include "ctl/json.h"
#include "ctl/news.h"
#include "ctl/reply.h"
#include "ctl/result.h"
#include "ctl/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct follow {
	struct ctl *ctl;
	const char *id;
	struct news news;
	bool lines;	   /* each OUT is one */
	bool status_line;  /* standard error is a terminal */
	bool status_shown; /* and there is one on it */
	char state[32];	   /* as news have it */
	struct buf end;	   /* its end, as an error reply would have it; empty: done */
};

/* --- the line on the terminal --- */

static void
clear_status(struct follow *f)
{
	if (f->status_shown)
		fputs("\r\033[K", stderr);
	f->status_shown = false;
}

static void
show_status(struct follow *f, const struct buf *b)
{
	char *shown = ctl_escape(buf_len(b) ? buf_head(b) : "", buf_len(b));
	int width = f->ctl->columns ? f->ctl->columns : 80;

	/* a line that wraps cannot be taken back */
	if (f->status_line)
		fprintf(stderr, "\r\033[K%.*s", (int)table_text_fit(shown, (size_t)width - 1),
			shown);
	else
		fprintf(stderr, "%s\n", shown);
	f->status_shown = f->status_line;
	free(shown);
}

static void
show_progress(struct follow *f, const struct event *e)
{
	struct buf b = {0};

	buf_putf(&b, "%llu/%llu", (unsigned long long)e->done, (unsigned long long)e->total);
	if (e->total)
		buf_putf(&b, " %d%%", (int)((double)e->done / (double)e->total * 100));
	if (e->text.len)
		buf_putc(&b, ' ');
	buf_put(&b, e->text.data, e->text.len);
	show_status(f, &b);
	buf_free(&b);
}

/* That it waits is worth a word where it can be taken back. */
static void
show_state(struct follow *f)
{
	struct buf b = {0};

	if (!f->status_line)
		return;
	buf_puts(&b, f->state);
	show_status(f, &b);
	buf_free(&b);
}

/* --- what comes --- */

static void
print_json(const struct event *e)
{
	struct buf b = {0};

	buf_putc(&b, '{');
	event_put_json(&b, e);
	buf_putc(&b, '}');
	json_finish(&b);
}

static void
print_out(struct follow *f, const struct text *out)
{
	clear_status(f);
	fwrite(out->len ? out->data : "", 1, out->len, stdout);
	if (f->lines)
		putchar('\n');
}

/* The words of error replies for a job's reasons. */
static const char *
error_word(const struct event *e)
{
	static const struct {
		const char *reason, *word;
	} words[] = {{"error", "FAILED"}, {"crashed", "CRASHED"}, {"timeout", "TIMEOUT"}};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (text_is(&e->reason, words[i].reason))
			return words[i].word;
	return text_is(&e->state, "cancelled") ? "CANCELLED" : "FAILED";
}

static bool
is_over(const char *state)
{
	return strcmp(state, "queued") != 0 && strcmp(state, "running") != 0;
}

/* True: the job is over. */
static bool
take_state(struct follow *f, const struct event *e)
{
	snprintf(f->state, sizeof(f->state), "%.*s", (int)e->state.len, e->state.data);
	if (!is_over(f->state)) {
		show_state(f);
		return false;
	}
	if (strcmp(f->state, "done") != 0) {
		buf_puts(&f->end, error_word(e));
		buf_putc(&f->end, ' ');
		buf_put(&f->end, e->text.len ? e->text.data : e->reason.data,
			e->text.len ? e->text.len : e->reason.len);
	}
	return true;
}

/* JOB: in *ret_state, where it is known. An exit status. */
static int
ask_state(struct follow *f, char *pool, size_t cap)
{
	const char *words[] = {"JOB", f->id};
	redisReply *r = NULL;
	int status = ctl_call_words(f->ctl, words, 2, &r);

	if (!status) {
		snprintf(f->state, sizeof(f->state), "%s", reply_str(r, "state", "?"));
		snprintf(pool, cap, "%s", reply_str(r, "pool", ""));
	}
	freeReplyObject(r);
	return status;
}

/* What was missed may have been its end. True: the job is over. */
static bool
take_loss(struct follow *f, const struct event *e, int *ret_status)
{
	char pool[128];

	clear_status(f);
	ctl_warn("%llu messages were lost: they were not taken in time",
		 (unsigned long long)e->count);
	*ret_status = ask_state(f, pool, sizeof(pool));
	return *ret_status || is_over(f->state);
}

static bool
take_event(struct follow *f, const struct event *e, int *ret_status)
{
	if (f->ctl->json && e->kind != EVENT_LOST)
		print_json(e);
	switch (e->kind) {
	case EVENT_JOB:
		return take_state(f, e);
	case EVENT_OUT:
		if (!f->ctl->json)
			print_out(f, &e->text);
		return false;
	case EVENT_PROGRESS:
		if (!f->ctl->json)
			show_progress(f, e);
		return false;
	case EVENT_LOST:
		return take_loss(f, e, ret_status);
	case EVENT_POOL:
	case EVENT_WORKER:
	case EVENT_MAX:
		break;
	}
	return false;
}

/* --- the end --- */

/* RESULT, in its own way; or, where it is not kept (as a RUN's, which went to its
 * caller), what news said. */
static int
print_end(struct follow *f)
{
	const char *words[] = {"RESULT", f->id};
	redisReply *r = NULL;
	struct buf b = {0};

	command_put(&b, words, 2);
	int status = ctl_send(f->ctl, &b);
	if (!status)
		status = ctl_receive(f->ctl, &r);
	buf_free(&b);
	if (status)
		return status;
	if (r->type != REDIS_REPLY_ERROR) {
		status = result_print(f->ctl, r);
	} else if (strcmp(error_find(r->str, r->len)->word, "NOJOB") != 0) {
		status = error_report(NULL, r->str, r->len, f->id);
	} else if (buf_len(&f->end)) {
		status = error_report(NULL, buf_head(&f->end), buf_len(&f->end), NULL);
	} else {
		ctl_warn("job %s is done; its result is not kept", f->id);
	}
	freeReplyObject(r);
	return status;
}

static int
end_of(struct follow *f, enum news_what what, int status)
{
	fflush(stdout);
	clear_status(f);
	if (what == NEWS_UNREAD || status)
		return status;
	if (what == NEWS_INTERRUPTED) {
		ctl_warn("job %s goes on", f->id);
		ctl_hint("look again: preforkctl follow %s; end it: preforkctl cancel %s", f->id,
			 f->id);
		return STATUS_LATER;
	}
	news_close(&f->news); /* Ctrl-C ends this again */
	return print_end(f);
}

static int
follow_news(struct follow *f)
{
	enum news_what what = NEWS_MESSAGE;
	int status = STATUS_OK;
	struct message m;
	struct event e;
	bool over = false;

	while (!over && (what = news_next(&f->news, &m, &status)) == NEWS_MESSAGE)
		if (event_parse(m.channel, m.channel_len, m.text, m.text_len, &e))
			over = take_event(f, &e, &status);
	return end_of(f, what, status);
}

/* Its state comes last, so that whatever was put out before its end is here before
 * its end is. */
static int
subscribe(struct follow *f)
{
	static const char *const channels[] = {"lost", "out.%s", "progress.%s", "job.%s"};
	char name[64];
	int status = STATUS_OK;

	for (size_t i = 0; i < sizeof(channels) / sizeof(channels[0]) && !status; i++) {
		const char *mark = strstr(channels[i], "%s");
		if (mark)
			snprintf(name, sizeof(name), "%.*s%s", (int)(mark - channels[i]),
				 channels[i], f->id);
		status = news_subscribe(&f->news, mark ? name : channels[i]);
	}
	return status;
}

/* Workers of the level line say lines; those of frames say bytes. */
static int
ask_lines(struct follow *f, const char *pool)
{
	const char *words[] = {"POOL", pool};
	redisReply *r = NULL;
	int status = ctl_call_words(f->ctl, words, 2, &r);

	if (!status)
		f->lines = strcmp(reply_str(r, "protocol", ""), "frame") != 0;
	freeReplyObject(r);
	return status;
}

int
verb_follow(struct ctl *ctl, const struct args *args)
{
	struct follow f = {
		.ctl = ctl,
		.id = args->words[0],
		.status_line = isatty(STDERR_FILENO) && !ctl->json,
		.news.interrupt = -1,
	};
	char pool[128];

	if (strlen(f.id) > 20)
		return args_usage(verb_find("follow"), "\"%s\" is not an id", f.id);
	int status = news_open(&f.news, ctl);
	if (!status)
		status = subscribe(&f);
	if (!status)
		status = ask_state(&f, pool, sizeof(pool));
	if (!status)
		status = ask_lines(&f, pool);
	if (!status)
		status = follow_news(&f);
	news_close(&f.news);
	buf_free(&f.end);
	return status;
}
