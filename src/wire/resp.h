/* SPDX-License-Identifier: MIT */
/*
 * resp - the protocol of Redis: an incremental command parser and reply writers.
 *
 * Floor 1: no descriptor, no clock. The parser belongs to one client and is fed
 * that client's input buffer; arguments are not copied, but slices of the
 * buffer, valid until the caller consumes the command's bytes (but for quoted
 * inline ones, which live until the next resp_parse()). It remembers how
 * far it got, so a command that arrives a byte at a time is not scanned again,
 * and how the last one began, so what is repeated is compared and not parsed.
 * Writers append one reply each to a struct buf in RESP2 or RESP3.
 */
#pragma once

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct resp_slice {
	const char *data;
	size_t len;
};

enum resp_result {
	RESP_AGAIN,  /* more bytes are needed */
	RESP_OK,     /* argv[0 … argc-1] is a command; consume ret_used bytes when done with it */
	RESP_LENGTH, /* an argument of pending_len bytes (> check_above) is announced: look at what
	              * is there (argc, argv of the complete ones), then call resp_parse() again to
	              * take it, or resp_skip() first to have the rest of the command dropped */
	RESP_SKIPPED, /* an empty command, or one that resp_skip() was called for, has been dropped
		       * whole */
	RESP_BAD,     /* not the protocol (error says what, for -ERR): answer and close */
	RESP_HTTP,    /* an HTTP client (POST, Host: as a first word): close without a word */
};

struct resp_limits {
	size_t max_args;    /* *n with a greater n is RESP_BAD */
	size_t max_bulk;    /* $n with a greater n is RESP_BAD */
	size_t max_inline;  /* an inline command without LF in so many bytes is RESP_BAD (a header
			     * line is, at the first byte that does not fit) */
	size_t check_above; /* see RESP_LENGTH */
};

#define RESP_HEAD_MAX 64 /* bytes of a command that the next one is compared with, at most */

struct resp_parser {
	const struct resp_limits *limits;
	struct resp_slice *argv; /* of the command being parsed; right when RESP_OK or RESP_LENGTH
				  * is returned */
	const char *base;	 /* where data was when argv was last right: it may have moved */
	size_t argc;		 /* complete arguments */
	size_t argv_cap;
	size_t announced;   /* n of *n; 0: between commands */
	size_t scanned;	    /* bytes of this command understood (of an inline one: searched) */
	size_t pending_len; /* length of the argument being read, when has_pending */
	bool has_pending;
	bool skipping;
	bool repeats; /* with RESP_OK: argv[0 … argc-2] are those of the last command that was OK */
	uint8_t head_len; /* of an array, up to its last argument's header; 0: none is kept */
	size_t head_argc; /* and arguments in it, which are still in argv */
	char head[RESP_HEAD_MAX];
	char *inline_text; /* unquoted copy of an inline command's quoted arguments */
	size_t inline_cap;
	const char *error;   /* RESP_BAD: one line, without the -ERR; lives as long as the parser */
	char error_text[48]; /* room for one that shows a byte */
};

void resp_parser_init(struct resp_parser *p, const struct resp_limits *limits);
void resp_parser_free(struct resp_parser *p);
/* Between commands: give back what a large one took, argv with it. */
void resp_parser_trim(struct resp_parser *p);

/* Parse the command that starts at data[0]. data must start at the same command
 * (it may have moved) with at least as many bytes as at the last call that
 * returned RESP_AGAIN or RESP_LENGTH. *ret_used: bytes to consume now; nonzero
 * with RESP_OK and RESP_SKIPPED, and with RESP_AGAIN while skipping (dropped
 * bytes need no buffer); zero otherwise. RESP_AGAIN always waits for bytes that
 * are not there yet. One call takes or drops one command, so that who counts
 * commands counts empty ones too. An inline command's first word is looked at
 * for RESP_HTTP; its quotes are those of Redis. */
enum resp_result resp_parse(struct resp_parser *p, const char *data, size_t len, size_t *ret_used);

/* After RESP_AGAIN: so many bytes, at least, are known to come behind the len that there are. */
static inline size_t
resp_missing(const struct resp_parser *p, size_t len)
{
	return p->has_pending && !p->skipping ? p->scanned + p->pending_len + 2 - len : 0;
}

/* After RESP_LENGTH: drop this command, to the exact byte. argv is gone with the
 * bytes of the next call. */
void resp_skip(struct resp_parser *p);

enum resp_proto { RESP2 = 2, RESP3 = 3 };

void resp_put_simple(struct buf *b, const char *s); /* +OK; s: our words, no CR or LF */

/* -CODE text. CR, LF and TAB in text (len bytes) become spaces, other controls and what is not
 * UTF-8 \xNN; trailing white space goes; what is longer than RESP_ERROR_MAX bytes then is cut
 * and ends in "...". code: one word of ours. */
#define RESP_ERROR_MAX 1023
void resp_put_error(struct buf *b, const char *code, const char *text, size_t len);
void resp_put_errorf(struct buf *b, const char *code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The same, where between the two goes what is fit to be shown as it is. */
void resp_begin_error(struct buf *b, const char *code);
void resp_end_error(struct buf *b);

void resp_put_int(struct buf *b, int64_t n);			 /* :n */
void resp_put_bulk(struct buf *b, const void *data, size_t len); /* $len */
void resp_put_str(struct buf *b, const char *s);	  /* the same; NULL: $-1, for RESP2 */
void resp_put_null(struct buf *b, enum resp_proto proto); /* $-1 or _ */
void resp_put_bool(struct buf *b, enum resp_proto proto, bool v); /* :1 or #t */

/* Bulk or ",v": at most 6 decimals, a point whatever the locale has; inf, -inf, nan. */
void resp_put_double(struct buf *b, enum resp_proto proto, double v);

void resp_put_array(struct buf *b, size_t n);			   /* *n, elements follow */
void resp_put_map(struct buf *b, enum resp_proto proto, size_t n); /* *2n or %n, pairs follow */
void resp_put_set(struct buf *b, enum resp_proto proto, size_t n); /* *n or ~n */
/* *n or >n: what was not asked for, between replies. */
void resp_put_push(struct buf *b, enum resp_proto proto, size_t n);
