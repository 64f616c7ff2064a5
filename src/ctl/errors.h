/* SPDX-License-Identifier: MIT */
/*
 * errors - one table: the first word of an error reply, the exit status that
 * goes with it, and what a person can do about it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct error_row {
	const char *word;
	int status;	      /* enum ctl_status */
	bool ends_map;	      /* the lines behind it would get the same */
	const char *hint;     /* %s in it is the subject: a pool's name, or an id; NULL: none */
	const char *job_hint; /* in its place where the subject is an id; NULL: the same */
};

/* The row of an error reply ("BUSY queue full"); never NULL: what is not in the
 * table is treated as ERR. */
const struct error_row *error_find(const char *text, size_t len);

/* Print the error and its hint; returns the exit status. where ("line 3") and
 * subject may be NULL. */
int error_report(const char *where, const char *text, size_t len, const char *subject);
