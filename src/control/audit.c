/* SPDX-License-Identifier: MIT */
/* The log of administration: what was done, by whom, and who was not let. */
#include "base/log.h"
#include "base/text.h"
#include "control/command.h"

#include <stdio.h>
#include <string.h>

#define WORDS_SHOWN 160 /* bytes of a command */
#define REFUSALS_MAX 10 /* lines in so many seconds: anybody can cause them */
#define REFUSALS_US (10 * USEC_PER_SEC)

/* A word that could be taken for something else than one word stands in quotes. */
static bool
is_plain(const struct resp_slice *word)
{
	for (size_t i = 0; i < word->len; i++)
		if (word->data[i] <= ' ' || word->data[i] == '"' || word->data[i] == 0x7f)
			return false;
	return word->len > 0;
}

static const char *
show_words(char dst[WORDS_SHOWN], const struct resp_slice *argv, size_t argc)
{
	struct buf words = {0};

	for (size_t i = 0; i < argc && buf_len(&words) < WORDS_SHOWN; i++) {
		const char *quote = is_plain(&argv[i]) ? "" : "\"";
		size_t len = argv[i].len < WORDS_SHOWN ? argv[i].len : WORDS_SHOWN;

		buf_putf(&words, "%s%s", i ? " " : "", quote);
		buf_put(&words, argv[i].data, len);
		buf_puts(&words, quote);
	}
	text_escape(dst, WORDS_SHOWN, words.data ? buf_head(&words) : "", buf_len(&words));
	buf_free(&words);
	return dst;
}

/* The error that a reply is; its length, 0: it is none. */
static int
error_of(const struct buf *out, size_t reply_at, const char **ret_text)
{
	const char *reply = buf_head(out) + reply_at;
	size_t len = buf_len(out) - reply_at;
	const char *end = len && *reply == '-' ? memchr(reply, '\r', len) : NULL;

	*ret_text = reply + 1;
	return end ? (int)(end - reply) - 1 : 0;
}

/* Where it concerns one pool, the line is about that one. */
static struct log_about
audit_about(enum log_event event, const struct pool *p)
{
	return (struct log_about){.event = event, .pool = p ? p->conf->name : NULL};
}

void
audit_done(const struct request *r, size_t reply_at)
{
	const struct client *c = r->client;
	struct log_about about = audit_about(LOG_EVENT_ADMIN, r->pool);
	const char *error = "";
	int len = buf_len(r->out) > reply_at ? error_of(r->out, reply_at, &error) : 0;
	char words[WORDS_SHOWN];

	/* The one client of a private daemon ends it as a matter of course. */
	log_about(&about, c->only ? LOG_INFO : LOG_NOTICE, "%s by uid %u, pid %d%s%.*s",
		  show_words(words, r->argv, r->argc), c->uid, (int)c->pid, len ? ": " : "", len,
		  error);
}

/* True: one more line may be written. */
static bool
audit_take(struct audit *a, mono_t now)
{
	if (!a->count || mono_since(now, a->since) >= REFUSALS_US) {
		a->since = now;
		a->count = 0;
	}
	return a->count++ < REFUSALS_MAX;
}

void
audit_refused(const struct request *r, const struct pool *p)
{
	const struct client *c = r->client;
	struct log_about about = audit_about(LOG_EVENT_ADMIN_REFUSED, p);
	struct audit *a = &c->server->audit;
	char words[WORDS_SHOWN], more[96] = "";

	if (!audit_take(a, loop_now(c->server->loop))) {
		a->unsaid++;
		return;
	}
	if (a->unsaid)
		snprintf(more, sizeof(more), " (and %llu more commands since the last such line)",
			 (unsigned long long)a->unsaid);
	a->unsaid = 0;
	log_about(&about, LOG_WARNING, "refused to uid %u, pid %d: %s%s", c->uid, (int)c->pid,
		  show_words(words, r->argv, r->argc), more);
}
