/* SPDX-License-Identifier: MIT */
/*
 * news - a connection of its own on which the daemon's news come.
 *
 * In RESP2 a connection that has subscribed can do nothing else, so questions
 * are asked on the other one. What waits here is woken by a message, by Ctrl-C,
 * and by the end of whoever reads standard output, even while nothing happens.
 */
#pragma once

#include "ctl/ctl.h"

struct news {
	struct ctl ctl;	  /* a copy, with a connection of its own */
	redisReply *held; /* the message that was given out last */
	bool catching;	  /* Ctrl-C: it does not end the process */
	int interrupt;	  /* signalfd; -1: none */
};

struct message {
	const char *channel, *text; /* valid until the next one */
	size_t channel_len, text_len;
};

enum news_what {
	NEWS_MESSAGE,
	NEWS_INTERRUPTED, /* by Ctrl-C */
	NEWS_UNREAD,	  /* nobody reads standard output any more */
	NEWS_BROKEN,	  /* the reason was printed; news->status */
};

/* An exit status. */
int news_open(struct news *n, const struct ctl *ctl);

/* Ctrl-C ends the process again from here on. Harmless when it is closed. */
void news_close(struct news *n);

/* Subscribe to one more channel, or to those that match a pattern. That it was
 * refused comes later, by news_next(). An exit status. */
int news_subscribe(struct news *n, const char *channel);
int news_match(struct news *n, const char *pattern);

/* From the first of these on Ctrl-C is NEWS_INTERRUPTED. Wait for the next message; *ret_status: the exit status of NEWS_BROKEN. Standard
 * output is flushed whenever there is something to wait for. */
enum news_what news_next(struct news *n, struct message *ret, int *ret_status);
