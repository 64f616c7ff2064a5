/* SPDX-License-Identifier: MIT */
#include "ctl/news.h"

#include "base/fd.h"
#include "ctl/errors.h"
#include "ctl/reply.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* From here on Ctrl-C is one of the things that are waited for. Where it is ignored,
 * as in a shell's background job, it stays so. */
static void
catch_interrupt(struct news *n)
{
	struct sigaction now;
	sigset_t set;

	if (n->catching)
		return;
	n->catching = true;
	if (sigaction(SIGINT, NULL, &now) == 0 && now.sa_handler == SIG_IGN)
		return;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	n->interrupt = signalfd(-1, &set, SFD_CLOEXEC);
	if (n->interrupt >= 0)
		sigprocmask(SIG_BLOCK, &set, NULL);
}

static void
release_interrupt(struct news *n)
{
	sigset_t set;

	if (n->interrupt < 0)
		return;
	fd_close(&n->interrupt);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

int
news_open(struct news *n, const struct ctl *ctl)
{
	*n = (struct news){.ctl = *ctl, .interrupt = -1};
	n->ctl.redis = NULL;
	return ctl_connect(&n->ctl);
}

void
news_close(struct news *n)
{
	release_interrupt(n);
	freeReplyObject(n->held);
	if (n->ctl.redis)
		redisFree(n->ctl.redis);
	*n = (struct news){.interrupt = -1};
}

static int
subscribe(struct news *n, const char *command, const char *name)
{
	const char *words[] = {command, name};
	struct buf b = {0};

	command_put(&b, words, 2);
	int status = ctl_send(&n->ctl, &b);
	if (!status)
		status = ctl_flush(&n->ctl);
	buf_free(&b);
	return status;
}

int
news_subscribe(struct news *n, const char *channel)
{
	return subscribe(n, "SUBSCRIBE", channel);
}

int
news_match(struct news *n, const char *pattern)
{
	return subscribe(n, "PSUBSCRIBE", pattern);
}

/* message channel text, pmessage pattern channel text; else it is a confirmation. */
static bool
is_message(const redisReply *r, struct message *ret)
{
	size_t last = r->elements - 1;

	if (!reply_is_array(r) || r->elements < 3 || !reply_is_text(r->element[0]))
		return false;
	if (strcmp(r->element[0]->str, r->elements == 3 ? "message" : "pmessage") != 0)
		return false;
	const redisReply *channel = r->element[last - 1], *text = r->element[last];
	if (!reply_is_text(channel) || !reply_is_text(text))
		return false;
	*ret = (struct message){channel->str, text->str, channel->len, text->len};
	return true;
}

/* What is not taken would end the process when it is no longer blocked. */
static bool
took_interrupt(int fd)
{
	struct signalfd_siginfo info;

	return read(fd, &info, sizeof(info)) == sizeof(info);
}

/* Nothing to read: wait for more. NEWS_MESSAGE: look again. */
static enum news_what
wait_for_more(struct news *n)
{
	struct pollfd fds[] = {
		{.fd = n->ctl.redis->fd, .events = POLLIN},
		{.fd = n->interrupt, .events = POLLIN},
		{.fd = STDOUT_FILENO}, /* its errors are told in any case */
	};

	if (fflush(stdout) != 0)
		return NEWS_UNREAD;
	if (poll(fds, sizeof(fds) / sizeof(fds[0]), -1) < 0)
		return NEWS_MESSAGE;
	if (fds[1].revents && took_interrupt(n->interrupt))
		return NEWS_INTERRUPTED;
	if (fds[2].revents & (POLLERR | POLLHUP))
		return NEWS_UNREAD;
	if (fds[0].revents && redisBufferRead(n->ctl.redis) != REDIS_OK)
		return NEWS_BROKEN;
	return NEWS_MESSAGE;
}

/* The next frame, which n->held is then. */
static enum news_what
next_frame(struct news *n)
{
	enum news_what what = NEWS_MESSAGE;
	void *reply = NULL;

	freeReplyObject(n->held);
	n->held = NULL;
	while (what == NEWS_MESSAGE && !reply)
		if (redisGetReplyFromReader(n->ctl.redis, &reply) != REDIS_OK)
			what = NEWS_BROKEN;
		else if (!reply)
			what = wait_for_more(n);
	n->held = reply;
	return what;
}

enum news_what
news_next(struct news *n, struct message *ret, int *ret_status)
{
	enum news_what what;

	catch_interrupt(n);
	do
		what = next_frame(n);
	while (what == NEWS_MESSAGE && n->held->type != REDIS_REPLY_ERROR &&
	       !is_message(n->held, ret));
	if (what == NEWS_BROKEN)
		*ret_status = ctl_report_broken(&n->ctl);
	if (what != NEWS_MESSAGE || n->held->type != REDIS_REPLY_ERROR)
		return what;
	*ret_status = error_report(NULL, n->held->str, n->held->len, NULL);
	return NEWS_BROKEN;
}
