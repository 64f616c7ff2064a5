/* SPDX-License-Identifier: MIT */
#include "core/news.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static size_t
cost(size_t len)
{
	return sizeof(struct message) + len;
}

struct news *
news_new(void)
{
	struct news *n = mem_new(sizeof(*n));

	list_init(&n->outs);
	n->bytes = sizeof(*n);
	return n;
}

static void
drop_oldest(struct news *n)
{
	struct message *m = container_of(list_first(&n->outs), struct message, link);

	list_remove(&m->link);
	n->bytes -= cost(m->len);
	free(m);
}

void
news_free(struct news *n)
{
	if (!n)
		return;
	while (!list_empty(&n->outs))
		drop_oldest(n);
	free(n->text);
	free(n);
}

void
news_out(struct news *n, const char *text, size_t len, size_t limit)
{
	size_t others = sizeof(*n) + n->text_len; /* what is no OUT is not under the limit */
	bool fits = cost(len) <= limit;
	struct message *m = fits ? malloc(cost(len)) : NULL;

	/* What is kept is an end of what there was: without this one, nothing. */
	while (!list_empty(&n->outs) && (!m || n->bytes - others > limit - cost(len)))
		drop_oldest(n);
	if (!m)
		return;
	m->len = len;
	if (len)
		memcpy(m->text, text, len);
	list_append(&n->outs, &m->link);
	n->bytes += cost(len);
}

void
news_progress(struct news *n, uint64_t done, uint64_t total, const char *text, size_t len)
{
	len = news_text_len(text, len);
	n->progressed = true;
	n->done = done;
	n->total = total;
	n->bytes -= n->text_len;
	free(n->text);
	n->text = len ? malloc(len) : NULL;
	n->text_len = n->text ? len : 0;
	n->bytes += n->text_len;
	if (n->text)
		memcpy(n->text, text, len);
}

size_t
news_text_len(const char *text, size_t len)
{
	if (len <= NEWS_TEXT_MAX)
		return len;
	len = NEWS_TEXT_MAX;
	for (unsigned back = 0; back < 3 && (text[len] & 0xc0) == 0x80; back++)
		len--;
	return len;
}
