/* SPDX-License-Identifier: MIT */
/*
 * codec - what a master and one worker say to each other, in one of three levels.
 *
 * Floor 1: no descriptor, no clock, no job. A codec encodes jobs into a worker's
 * output buffer and cuts that worker's bytes into events. It is one per worker
 * and remembers how far it has scanned. What a worker sends can make it report
 * CODEC_BAD, with a reason in words, and nothing worse.
 */
#pragma once

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum codec_level { CODEC_FILTER, CODEC_LINE, CODEC_FRAME };

enum codec_verb {
	VERB_OK,
	VERB_ERR,
	VERB_RETRY,
	VERB_OUT,
	VERB_PROGRESS,
	VERB_LOG,
	VERB_READY,
};

/* One message from the worker. text points into the input given to
 * codec_decode() and is valid until those bytes are consumed. */
struct codec_event {
	enum codec_verb verb;
	int level;	  /* LOG: 0 … 7 as in <syslog.h>, LOG_INFO where none is given */
	size_t used;	  /* bytes of the input that it had, to be consumed when done with it */
	uint64_t id;	  /* frame: of OK, ERR, RETRY, OUT, PROGRESS; else 0 */
	const char *text; /* result, message, log text */
	size_t len;
	uint64_t done, total; /* PROGRESS */
	uint64_t capacity;    /* frame's READY: how many jobs at once, 0 where it does not say */
};

enum codec_result { CODEC_AGAIN, CODEC_EVENT, CODEC_BAD };

struct codec {
	enum codec_level level;
	bool in_order;	   /* answers come in the order of the jobs, not with their ids */
	size_t max_result; /* bytes of a line's text or a frame's body */
	size_t max_line;   /* filter, line: bytes of a line that may still have such a text */
	size_t last;	   /* bytes of the last line */
	size_t scanned;	   /* bytes searched for the end of the line, from the start of input */
	bool answered;	   /* a message has been understood: from then on a bad line gets no hint */
	size_t body;	   /* frame: header's length where a body is awaited, else 0 */
	struct codec_event pending; /* frame: what the header said */
	char shown[61];		    /* what came, as an error shows it: escaped, cut */
	char error[256];	    /* CODEC_BAD: what came and what was expected */
};

void codec_init(struct codec *c, enum codec_level level, size_t max_result);

/* The next message at the start of data. CODEC_EVENT: *ret is set. CODEC_AGAIN: call
 * again with the same bytes and more behind them. CODEC_BAD: the worker broke the
 * protocol. */
enum codec_result codec_decode(struct codec *c, const char *data, size_t len,
			       struct codec_event *ret);

/* After CODEC_AGAIN: so many bytes may well come behind the len that there are, since that was
 * announced, or since the last line had as many. */
size_t codec_missing(const struct codec *c, size_t len);

/* At end of file: is there a message cut short in these (undecodable) bytes?
 * True also sets error. */
bool codec_cut_short(struct codec *c, const char *data, size_t len);

/* Append a job. Payloads were checked with codec_payload_fits(). attempt >= 1. */
void codec_put_job(const struct codec *c, struct buf *out, uint64_t id, unsigned attempt,
		   const char *payload, size_t len);
/* Append a request to give a job up; frame only, a no-op elsewhere. */
void codec_put_cancel(const struct codec *c, struct buf *out, uint64_t id);

/* NULL, or why this level cannot carry the payload and which one can. */
const char *codec_payload_fits(enum codec_level level, const char *payload, size_t len);

const char *codec_level_name(enum codec_level level); /* "filter", "line", "frame" */
