/* SPDX-License-Identifier: MIT */
#include "ctl/table.h"

#include "base/buf.h"
#include "base/text.h"
#include "ctl/ctl.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#define CELL_MAX 512 /* bytes of one cell that are shown */
#define GAP 2	     /* between columns */

void
table_init(struct table *t, const struct column *columns, size_t ncolumns)
{
	*t = (struct table){.columns = columns, .ncolumns = ncolumns};
	t->widths = ctl_realloc(NULL, ncolumns * sizeof(*t->widths));
	for (size_t c = 0; c < ncolumns; c++)
		t->widths[c] = 0;
}

static void
drop_rows(struct table *t)
{
	for (size_t i = 0; i < t->count; i++)
		free(t->cells[i]);
	t->count = 0;
}

void
table_free(struct table *t)
{
	drop_rows(t);
	free(t->cells);
	free(t->widths);
	*t = (struct table){0};
}

void
table_add_bytes(struct table *t, const char *data, size_t len)
{
	char shown[CELL_MAX];

	if (t->count == t->cap) {
		t->cap = t->cap ? t->cap * 2 : 64;
		t->cells = ctl_realloc(t->cells, t->cap * sizeof(*t->cells));
	}
	text_escape(shown, sizeof(shown), data, len);
	size_t n = strlen(shown) + 1;
	t->cells[t->count++] = memcpy(ctl_realloc(NULL, n), shown, n);
}

void
table_add(struct table *t, const char *text)
{
	text = text ? text : "-";
	table_add_bytes(t, text, strlen(text));
}

void
table_addf(struct table *t, const char *fmt, ...)
{
	char text[CELL_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	table_add(t, text);
}

/* The next character: its bytes in *ret_bytes, its columns returned. Where the
 * locale does not help, a byte is a column. */
static size_t
char_width(const char *s, size_t len, size_t *ret_bytes)
{
	mbstate_t state = {0};
	wchar_t wc;
	size_t n = mbrtowc(&wc, s, len, &state);

	if (n == 0 || n > len) {
		*ret_bytes = 1;
		return 1;
	}
	*ret_bytes = n;
	int w = wcwidth(wc);
	return w < 0 ? 1 : (size_t)w;
}

size_t
table_text_width(const char *text)
{
	size_t width = 0, bytes, len = strlen(text);

	for (; len; text += bytes, len -= bytes)
		width += char_width(text, len, &bytes);
	return width;
}

size_t
table_text_fit(const char *text, size_t width)
{
	size_t used = 0, bytes, len = strlen(text);
	const char *p = text;

	for (; len; p += bytes, len -= bytes) {
		used += char_width(p, len, &bytes);
		if (used > width)
			break;
	}
	return (size_t)(p - text);
}

void
table_print_line(FILE *out, size_t width, const char *text)
{
	if (width == 0 || table_text_width(text) <= width)
		fprintf(out, "%s\n", text);
	else /* one column is for the mark */
		fprintf(out, "%.*s…\n", (int)table_text_fit(text, width - 1), text);
}

static void
put_spaces(struct buf *line, size_t n)
{
	while (n--)
		buf_putc(line, ' ');
}

static void
put_cell(struct buf *line, const char *text, size_t width, bool right, bool last)
{
	size_t own = table_text_width(text);
	size_t pad = width > own ? width - own : 0;

	if (right)
		put_spaces(line, pad);
	buf_puts(line, text);
	if (!last)
		put_spaces(line, GAP + (right ? 0 : pad));
}

/* cells: ncolumns of them, or NULL for the titles */
static void
print_row(const struct table *t, char *const *cells, FILE *out, size_t width)
{
	struct buf line = {0};

	for (size_t c = 0; c < t->ncolumns; c++)
		put_cell(&line, cells ? cells[c] : t->columns[c].title, t->widths[c],
			 t->columns[c].right, c + 1 == t->ncolumns);
	buf_putc(&line, '\0');
	if (!buf_failed(&line))
		table_print_line(out, width, buf_head(&line));
	buf_free(&line);
}

static void
widen(size_t *width, const char *text)
{
	size_t own = table_text_width(text);

	*width = own > *width ? own : *width;
}

void
table_print(struct table *t, FILE *out, size_t width)
{
	assert(t->ncolumns > 0);
	for (size_t c = 0; c < t->ncolumns && !t->no_titles; c++)
		widen(&t->widths[c], t->columns[c].title);
	for (size_t i = 0; i < t->count; i++)
		widen(&t->widths[i % t->ncolumns], t->cells[i]);
	if (!t->no_titles)
		print_row(t, NULL, out, width);
	for (size_t i = 0; i + t->ncolumns <= t->count; i += t->ncolumns)
		print_row(t, t->cells + i, out, width);
}

void
table_continue(struct table *t)
{
	drop_rows(t);
	t->no_titles = true;
}
