/* SPDX-License-Identifier: MIT */
#include "ctl/check.h"

#include "base/text.h"
#include "ctl/ctl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_BYTES 1024 /* without figures; some readers take no more than 4096 in all */
#define MORE_BYTES 32	/* of which "; and 17 more" has so many */

static const char *const names[CHECK_MAX] = {
	[CHECK_OK] = "OK",
	[CHECK_WARNING] = "WARNING",
	[CHECK_CRITICAL] = "CRITICAL",
	[CHECK_UNKNOWN] = "UNKNOWN",
};

/* What one knows to be wrong is worse than what one does not know. */
static const enum check_status worst_first[CHECK_MAX] = {CHECK_CRITICAL, CHECK_WARNING,
							 CHECK_UNKNOWN, CHECK_OK};

void
check_say(struct check *c, enum check_status status, const char *fmt, ...)
{
	char text[CHECK_ITEM_MAX * 2];
	va_list ap;

	if (c->count == c->cap) {
		c->cap = c->cap ? c->cap * 2 : 16;
		c->items = ctl_realloc(c->items, c->cap * sizeof(*c->items));
	}
	struct check_item *item = &c->items[c->count++];
	item->status = status;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	text_escape_str(item->text, sizeof(item->text), text);
	for (char *bar = item->text; (bar = strchr(bar, '|'));)
		*bar = '/'; /* figures begin there */
}

void
check_figure(struct check *c, const char *name, double value, const char *unit, const char *rest)
{
	buf_putf(&c->figures, "%s%s=%.10g%s%s", buf_len(&c->figures) ? " " : "", name, value, unit,
		 rest);
}

enum check_status
check_worst(const struct check *c)
{
	for (size_t w = 0; w < CHECK_MAX; w++)
		for (size_t i = 0; i < c->count; i++)
			if (c->items[i].status == worst_first[w])
				return worst_first[w];
	return CHECK_OK;
}

void
check_format(const struct check *c, const char *when_ok, struct buf *line)
{
	enum check_status worst = check_worst(c);
	size_t hidden = 0;
	bool first = true;

	buf_putf(line, "PREFORKD %s:", names[worst]);
	if (worst == CHECK_OK) {
		buf_putf(line, " %s", when_ok);
		first = false;
	}
	for (size_t w = 0; w < CHECK_MAX; w++)
		for (size_t i = 0; i < c->count; i++) {
			const struct check_item *item = &c->items[i];
			if (item->status != worst_first[w])
				continue;
			if (buf_len(line) + strlen(item->text) + MORE_BYTES > LINE_BYTES) {
				hidden++;
				continue;
			}
			buf_putf(line, "%s %s", first ? "" : ";", item->text);
			first = false;
		}
	if (hidden)
		buf_putf(line, "; and %zu more", hidden);
}

int
check_print(struct check *c, const char *when_ok)
{
	enum check_status worst = check_worst(c);
	struct buf line = {0};

	check_format(c, when_ok, &line);
	if (buf_len(&c->figures) && !buf_failed(&c->figures))
		buf_putf(&line, " | %.*s", (int)buf_len(&c->figures), buf_head(&c->figures));
	if (buf_failed(&line))
		puts("PREFORKD UNKNOWN: out of memory");
	else
		printf("%.*s\n", (int)buf_len(&line), buf_head(&line));
	if (buf_failed(&line))
		worst = CHECK_UNKNOWN;
	buf_free(&line);
	buf_free(&c->figures);
	free(c->items);
	*c = (struct check){0};
	return (int)worst;
}
