/* SPDX-License-Identifier: MIT */
#include "base/text.h"
#include "ctl/args.h"
#include "ctl/human.h"
#include "ctl/json.h"
#include "ctl/reply.h"
#include "ctl/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_BYTES 1024
#define ROWS 24 /* of a terminal that does not say */

enum colour { COLOUR_GREEN = 32, COLOUR_YELLOW = 33, COLOUR_RED = 31 };

struct screen {
	size_t width; /* 0: no limit */
	int rows_left;
	int hidden; /* pools that there was no room for */
};

static void __attribute__((format(printf, 2, 3))) say(struct screen *s, const char *fmt, ...)
{
	char line[LINE_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	table_print_line(stdout, s->width, line);
	s->rows_left--;
}

/* A field's text, fit to be shown, in a buffer of the caller. */
static const char *
text_of(const redisReply *map, const char *name, char *dst, size_t cap)
{
	const redisReply *value = reply_get(map, name);

	if (!reply_is_text(value))
		return NULL;
	return text_escape(dst, cap, value->str, value->len);
}

/* --- what is wrong with a pool --- */

static void
say_degraded(struct screen *s, const redisReply *pool, const char *name)
{
	char why[256], last[512], next[HUMAN_MAX];
	int64_t retry = reply_int(pool, "retry_ms", -1);
	const char *reason = text_of(pool, "last_error", why, sizeof(why));
	const char *words = text_of(pool, "last_stderr", last, sizeof(last));

	if (retry >= 0)
		say(s, "  %s: %s (%lld times, next try in %s)", name,
		    reason ? reason : "its workers do not start",
		    (long long)reply_int(pool, "fails", 0), human_age(next, retry));
	else
		say(s, "  %s: %s (%lld times)", name, reason ? reason : "its workers do not start",
		    (long long)reply_int(pool, "fails", 0));
	if (words)
		say(s, "    %s", words);
	say(s, "    more: preforkctl logs %s", name);
}

static void
say_paused(struct screen *s, const redisReply *pool, const char *name)
{
	say(s, "  %s: paused, %lld queued; go on with: preforkctl resume %s", name,
	    (long long)reply_int(pool, "queued", 0), name);
}

static void
say_saturated(struct screen *s, const redisReply *pool, const char *name)
{
	char oldest[HUMAN_MAX];

	say(s, "  %s: all %lld workers busy, %lld of %lld queued, the oldest for %s", name,
	    (long long)reply_int(pool, "up", 0), (long long)reply_int(pool, "queued", 0),
	    (long long)reply_int(pool, "queue_limit", 0),
	    human_age(oldest, reply_int(pool, "oldest_queued_ms", -1)));
}

static void
say_plain(struct screen *s, const redisReply *pool, const char *name)
{
	say(s, "  %s: %s, %lld of %lld workers up", name, reply_str(pool, "state", "?"),
	    (long long)reply_int(pool, "up", 0), (long long)reply_int(pool, "workers", 0));
}

static void
say_draining(struct screen *s, const redisReply *pool, const char *name)
{
	say(s, "  %s: draining, %lld running, %lld queued, %lld results kept", name,
	    (long long)reply_int(pool, "running", 0), (long long)reply_int(pool, "queued", 0),
	    (long long)reply_int(pool, "kept", 0));
}

/* The states that are worth a word, worst first. */
static const struct trouble {
	const char *state;
	int rows; /* at most */
	void (*say)(struct screen *s, const redisReply *pool, const char *name);
} troubles[] = {
	{"degraded", 3, say_degraded},	 {"paused", 1, say_paused},
	{"saturated", 1, say_saturated}, {"starting", 1, say_plain},
	{"draining", 1, say_draining},
};

static bool
has_state(const redisReply *pool, const char *state)
{
	return strcmp(reply_str(pool, "state", ""), state) == 0;
}

static int
count_state(const redisReply *pools, const char *state)
{
	int n = 0;

	for (size_t i = 0; i < pools->elements; i++)
		n += has_state(pools->element[i], state);
	return n;
}

static void
say_trouble(struct screen *s, const redisReply *pools, const struct trouble *trouble)
{
	char name[128];

	for (size_t i = 0; i < pools->elements; i++) {
		const redisReply *pool = pools->element[i];
		if (!has_state(pool, trouble->state))
			continue;
		if (s->rows_left <= trouble->rows) { /* one row is for the count of the rest */
			s->hidden++;
			continue;
		}
		const char *shown = text_of(pool, "name", name, sizeof(name));
		trouble->say(s, pool, shown ? shown : "?");
	}
}

/* --- the head --- */

static enum colour
colour_of(const char *state, const redisReply *pools)
{
	if (strcmp(state, "degraded") == 0)
		return COLOUR_RED;
	if (strcmp(state, "ready") != 0 || count_state(pools, "saturated") ||
	    count_state(pools, "paused"))
		return COLOUR_YELLOW;
	return COLOUR_GREEN;
}

/* "DEGRADED (1 of 3 pools)", "ready (3 pools)" */
static void
write_state(char *dst, size_t cap, const char *state, const redisReply *pools)
{
	int bad = count_state(pools, "degraded"), all = (int)pools->elements;
	const char *plural = all == 1 ? "" : "s";
	char shown[64];

	text_escape_str(shown, sizeof(shown), state);
	if (strcmp(state, "degraded") == 0)
		snprintf(dst, cap, "DEGRADED (%d of %d pool%s)", bad, all, plural);
	else if (bad)
		snprintf(dst, cap, "%s (%d of %d pool%s degraded)", shown, bad, all, plural);
	else
		snprintf(dst, cap, "%s (%d pool%s)", shown, all, plural);
}

/* ", preforkd.service" where it is one: a daemon that logs elsewhere was started by hand,
 * and the unit is that of whoever did. */
static const char *
write_unit(char *dst, size_t cap, const redisReply *status)
{
	char unit[128];
	const char *own = text_of(status, "user_unit", unit, sizeof(unit));

	*dst = '\0';
	if (!own || !*own)
		own = text_of(status, "unit", unit, sizeof(unit));
	if (own && *own && strcmp(reply_str(status, "log", ""), "journal") == 0)
		snprintf(dst, cap, ", %s", own);
	return dst;
}

static void
say_head(const struct ctl *ctl, struct screen *s, const redisReply *status, const redisReply *pools)
{
	char state[128], version[64], up[HUMAN_MAX], unit[160];
	const char *word = reply_str(status, "state", "?");
	const char *v = text_of(status, "version", version, sizeof(version));

	if (ctl->colour)
		printf("\033[1;%dm●\033[0m", (int)colour_of(word, pools));
	else
		fputs("●", stdout);
	write_state(state, sizeof(state), word, pools);
	s->width -= s->width > 1; /* the dot's */
	say(s, " preforkd %s, up %s, pid %lld%s: %s", v ? v : "?",
	    human_long(up, reply_int(status, "uptime_ms", -1)),
	    (long long)reply_int(status, "pid", 0), write_unit(unit, sizeof(unit), status), state);
	s->width = (size_t)ctl->columns;
}

static void
say_sums(struct screen *s, const redisReply *status)
{
	char memory[HUMAN_MAX];
	int64_t up = reply_int(status, "workers", 0);

	say(s, "  workers %lld/%lld (%lld busy)  queued %lld  memory %s", (long long)up,
	    (long long)reply_int(status, "workers_wanted", up),
	    (long long)reply_int(status, "busy", 0), (long long)reply_int(status, "queued", 0),
	    human_size(memory, reply_int(status, "memory_bytes", 0)));
}

/* What is in force is not what is in the files, or not all of it works. */
static void
say_reload(struct screen *s, const redisReply *status)
{
	const redisReply *error = reply_get(status, "reload_error");
	char shown[512];

	if (!reply_is_text(error))
		return;
	text_escape(shown, sizeof(shown), error->str, strcspn(error->str, "\n"));
	say(s, "  the last reload failed: %s", shown);
}

static void
print_status(const struct ctl *ctl, const redisReply *status, const redisReply *pools)
{
	struct screen s = {.width = (size_t)ctl->columns,
			   .rows_left = (ctl->rows ? ctl->rows : ROWS) - 1};

	say_head(ctl, &s, status, pools);
	say_sums(&s, status);
	say_reload(&s, status);
	for (size_t i = 0; i < sizeof(troubles) / sizeof(troubles[0]); i++)
		say_trouble(&s, pools, &troubles[i]);
	if (s.hidden)
		say(&s, "  and %d more: preforkctl pools", s.hidden);
	if (pools->elements == 0)
		say(&s, "  no pools yet: each is a file NAME.conf in the daemon's pool.d");
}

static int
not_preforkd(const struct ctl *ctl)
{
	ctl_warn("what answers at %s is not preforkd", ctl->path);
	return STATUS_FAILED;
}

/* The screen needs both replies. */
static int
show(struct ctl *ctl, const redisReply *status)
{
	const char *words[] = {"POOLS"};
	redisReply *pools = NULL;
	int error = ctl_call_words(ctl, words, 1, &pools);

	if (error)
		return error;
	if (reply_is_array(status) && reply_is_array(pools))
		print_status(ctl, status, pools);
	else
		error = not_preforkd(ctl);
	freeReplyObject(pools);
	return error;
}

int
verb_status(struct ctl *ctl, const struct args *args)
{
	const char *words[] = {"STATUS"};
	redisReply *status = NULL;
	int error = ctl_call_words(ctl, words, 1, &status);

	(void)args;
	if (!error)
		error = ctl->json ? json_print(status, JSON_MAP) : show(ctl, status);
	freeReplyObject(status);
	return error;
}
