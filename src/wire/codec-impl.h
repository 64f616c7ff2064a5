/* SPDX-License-Identifier: MIT */
/*
 * codec-impl - what the three levels share, and how each is plugged in.
 *
 * Floor 1, private to codec*.c. Helpers that find something wrong write the
 * codec's error and return CODEC_BAD, so that a level only passes it on.
 */
#pragma once

#include "wire/codec.h"

struct codec_ops {
	const char *name;
	bool in_order;
	bool any_bytes;	    /* payloads may hold LF and NUL */
	size_t before_text; /* bytes of a line, at most, in front of what max_result bounds */
	enum codec_result (*decode)(struct codec *c, const char *data, size_t len,
				    struct codec_event *ret);
	void (*cut_short)(struct codec *c, const char *data, size_t len); /* write error */
	void (*put_job)(struct buf *out, uint64_t id, unsigned attempt, const char *payload,
			size_t len);
	void (*put_cancel)(struct buf *out, uint64_t id); /* NULL: there is no such message */
};

extern const struct codec_ops codec_filter_ops, codec_line_ops, codec_frame_ops;

/* data escaped and cut, in c->shown. */
const char *codec_show(struct codec *c, const char *data, size_t len);

enum codec_result codec_bad(struct codec *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Search on for the LF of the line at data, which has at most limit bytes before
 * it. CODEC_EVENT: *ret_len bytes are before it, and scanned is ready for the next
 * line. CODEC_BAD: there are more, scanned is limit + 1, no error is written yet. */
enum codec_result codec_find_line(struct codec *c, const char *data, size_t len, size_t limit,
				  size_t *ret_len);

/* A line or text of more than max_result bytes. */
enum codec_result codec_too_long(struct codec *c, const char *data, size_t len);

/* Which verb the line's first word is: its length, or 0 when it is none. */
size_t codec_find_verb(const char *line, size_t len, enum codec_verb *ret);

/* For the levels that are lines alone. */
void codec_line_cut_short(struct codec *c, const char *data, size_t len);
void codec_line_put_job(struct buf *out, uint64_t id, unsigned attempt, const char *payload,
			size_t len);
