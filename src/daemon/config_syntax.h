/* SPDX-License-Identifier: MIT */
/*
 * config_syntax - a look at a file's text before libconfig's.
 *
 * Private to config*.c. libconfig 1.5 says "syntax error" and a line, and keeps
 * 32 bits of a number without saying so. This checks the same grammar, knows the
 * column and the usual causes, and notes every number as it is written. No I/O.
 */
#pragma once

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>

struct syntax {
	char **numbers; /* in the order of the text */
	size_t n_numbers;
	size_t at;	   /* the offset of the first mistake */
	char message[256]; /* what it is */
};

/* text[len] is 0, and no byte before it. False: at and message are set. The caller
 * calls syntax_free() in any case. */
bool syntax_check(const char *text, size_t len, struct syntax *ret);
void syntax_free(struct syntax *s);

/* The line of an offset, from 1. */
unsigned syntax_line(const char *text, size_t at);
/* That line and a caret below the offset, as two lines. */
void syntax_show(const char *text, size_t len, size_t at, struct buf *out);
