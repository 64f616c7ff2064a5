/* SPDX-License-Identifier: MIT */
/*
 * check - is all well? In the one line that monitoring systems read.
 *
 * The form is that of the Monitoring Plugins: "PREFORKD WARNING: what is wrong;
 * and what else | figures", and the status is the exit status. The line is of
 * bounded length, the worst comes first, and there is no byte in it that could
 * end it or begin the figures.
 */
#pragma once

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>

enum check_status { CHECK_OK, CHECK_WARNING, CHECK_CRITICAL, CHECK_UNKNOWN, CHECK_MAX };

#define CHECK_ITEM_MAX 256

/* --- check_line.c --- */

/* A zeroed one is empty; check_print() frees it. */
struct check {
	struct check_item {
		enum check_status status;
		char text[CHECK_ITEM_MAX];
	} * items;
	size_t count, cap;
	struct buf figures;
};

/* One thing that is to be said; CHECK_OK: a note. The text may hold any bytes. */
void check_say(struct check *c, enum check_status status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* A figure: its name, value and unit, then what is behind it (";warn;crit;min;max"). */
void check_figure(struct check *c, const char *name, double value, const char *unit,
		  const char *rest);

/* Print the line. when_ok: what is said where nothing is wrong, before the notes.
 * The exit status. */
int check_print(struct check *c, const char *when_ok);

/* The line without figures. */
void check_format(const struct check *c, const char *when_ok, struct buf *line);
enum check_status check_worst(const struct check *c);

/* --- check_limit.c --- */

/* A warning is what is above warn, critical what is above crit. */
struct limit {
	bool given, share; /* share: of a hundred */
	double warn, crit; /* seconds, if it is of time; crit HUGE_VAL: there is none */
	char warn_text[24], crit_text[24];
};

/* "W" or "W,C". NULL, or what is wrong with it. */
const char *limit_parse(struct limit *l, bool of_time, const char *text);

enum check_status limit_judge(const struct limit *l, double value);
