/* SPDX-License-Identifier: MIT */
/*
 * table - rows of cells under titles, aligned; and names with values.
 *
 * Cells are escaped when they are put in, so what is printed is fit for a
 * terminal. The owner calls table_free().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct column {
	const char *title;
	bool right; /* aligned: numbers */
};

struct table {
	const struct column *columns;
	size_t ncolumns;
	bool no_titles;
	char **cells; /* row after row */
	size_t count, cap;
	size_t *widths; /* of the columns, so far */
};

void table_init(struct table *t, const struct column *columns, size_t ncolumns);
void table_free(struct table *t);

/* The next cell. NULL: "-". */
void table_add(struct table *t, const char *text);
void table_add_bytes(struct table *t, const char *data, size_t len);
void table_addf(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* width: lines are cut to it; 0: not at all. */
void table_print(struct table *t, FILE *out, size_t width);

/* Forget the rows that were printed; the next go beneath, without titles. */
void table_continue(struct table *t);

/* One line of text and its LF, cut likewise. */
void table_print_line(FILE *out, size_t width, const char *text);

/* Bytes of text that take at most so many columns. */
size_t table_text_fit(const char *text, size_t width);

/* Columns that valid UTF-8 text takes on a terminal. */
size_t table_text_width(const char *text);
