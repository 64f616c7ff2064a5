/* SPDX-License-Identifier: MIT */
/*
 * news - what a worker said of a job while it went on, kept for who asks late.
 *
 * Floor 2. Part of a job from its first OUT or PROGRESS on. Messages are kept
 * whole, the newest so many bytes of them, so that a late listener gets an end
 * of what there was without a gap, and never half a message.
 */
#pragma once

#include "base/list.h"

#include <stdint.h>

#define NEWS_TEXT_MAX 1024 /* bytes of a progress' text; the rest is dropped */

struct message {
	struct list link; /* in news->outs */
	size_t len;
	char text[];
};

struct news {
	struct list outs; /* struct message, oldest first */
	size_t bytes;	  /* all that it takes, itself too */
	bool progressed;
	uint64_t done, total; /* of the last PROGRESS */
	char *text;	      /* its text; malloc'ed, NULL when empty */
	size_t text_len;
};

struct news *news_new(void);
void news_free(struct news *n); /* NULL: no-op */

/* Keep one OUT, and of those before it the last ones that fit into limit bytes with
 * it. One that does not fit alone takes all with it. */
void news_out(struct news *n, const char *text, size_t len, size_t limit);
void news_progress(struct news *n, uint64_t done, uint64_t total, const char *text, size_t len);

/* Bytes of a progress' text that are taken: not half a character. */
size_t news_text_len(const char *text, size_t len);
