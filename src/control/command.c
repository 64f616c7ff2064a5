/* SPDX-License-Identifier: MIT */
#include "control/command.h"

#include "base/mem.h"
#include "base/text.h"
#include "control/multi.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define WORD_MAX 64		 /* a longer first word is no command's */
#define ARGUMENT_MAX (64 * 1024) /* of an argument that is no payload */

static const struct command *const families[] = {
	job_commands,	 pool_commands,	   roster_commands, admin_commands,   connection_commands,
	client_commands, command_commands, multi_commands,  metrics_commands, event_commands,
};

#define FAMILIES (sizeof(families) / sizeof(families[0]))

const struct command *
command_at(size_t i)
{
	for (size_t f = 0; f < FAMILIES; f++)
		for (const struct command *row = families[f]; row->name; row++)
			if (i-- == 0)
				return row;
	return NULL;
}

static inline unsigned
fold(char c)
{
	return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

static bool
is_same_word(const char *a, const char *b, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (a[i] != b[i] && fold(a[i]) != fold(b[i]))
			return false;
	return true;
}

bool
slice_is(const struct resp_slice *s, const char *word)
{
	return s->len == strlen(word) && is_same_word(s->data, word, s->len);
}

/* ---- finding its row ---- */

#define PLACES 256   /* a power of two, far above the number of rows */
#define ROWS_MAX 128 /* so many more places, that the search need not begin anew */

/* All rows, each at the place of its name or the next free one. */
static struct place {
	const struct command *row;
	size_t len; /* of its name */
} places[PLACES + ROWS_MAX];

/* In any case: of what is no letter, some share a place. */
static unsigned
place_of(const char *name, size_t len)
{
	unsigned ends = len ? (name[0] | 0x20u) * 8 + (name[len - 1] | 0x20u) : 0;

	return (ends + (unsigned)len * 64) % PLACES;
}

void
command_index(void)
{
	const struct command *row;

	memset(places, 0, sizeof(places));
	for (size_t i = 0; (row = command_at(i)); i++) {
		size_t len = strlen(row->name);
		struct place *at = &places[place_of(row->name, len)];

		assert(i < ROWS_MAX - 1);
		while (at->row)
			at++;
		*at = (struct place){row, len};
	}
}

const struct command *
command_find(const struct resp_slice *name)
{
	const struct place *at = &places[place_of(name->data, name->len)];

	while (at->row &&
	       (at->len != name->len || !is_same_word(at->row->name, name->data, at->len)))
		at++;
	return at->row;
}

const char *
command_word(const struct command *row)
{
	const char *space = strrchr(row->name, ' ');

	return space ? space + 1 : row->name;
}

static const struct command *
find_subcommand(const struct command *row, const struct resp_slice *word)
{
	for (row = row->subcommands; row->name; row++)
		if (slice_is(word, command_word(row)))
			return row;
	return NULL;
}

const char *command_class_name(enum command_class class)
{
	static const char *const names[] = {
		[CLASS_CONNECTION] = "connection",
		[CLASS_READ] = "read",
		[CLASS_SUBMIT] = "submit",
		[CLASS_ADMIN] = "admin",
	};

	return names[class];
}

/* ---- how to say it ---- */

static const struct {
	const char *keyword, *word; /* before each of its kind */
	const char *open, *close;   /* around what may be left out */
} synopsis_marks[] = {
	[SYNOPSIS_TEXT] = {"", "", "[", "]"},
	[SYNOPSIS_MDOC] = {"Ic ", "Ar ", "Oo ", " Oc"},
};

void
command_put_synopsis(struct buf *b, const struct command *row, enum synopsis_form form)
{
	const char *keyword = synopsis_marks[form].keyword;

	buf_putf(b, "%s%s", keyword, row->name);
	for (const struct command_arg *a = row->args; a->name; a++) {
		bool said = isupper((unsigned char)a->name[0]);

		buf_putf(b, " %s", a->optional ? synopsis_marks[form].open : "");
		if (a->token)
			buf_putf(b, "%s%s ", keyword, a->token);
		buf_putf(b, "%s%s%s%s", said ? keyword : synopsis_marks[form].word, a->name,
			 a->multiple ? " ..." : "", a->optional ? synopsis_marks[form].close : "");
	}
}

/* ---- is it for its pool, and its client? ---- */

static bool
names_pool(const struct request *r)
{
	return r->row->args[0].is_pool && r->argc >= 2;
}

static void
find_pool(struct request *r)
{
	const struct resp_slice *name = &r->argv[1];

	r->pool = names_pool(r) ? pools_find(r->server->pools, name->data, name->len) : NULL;
}

/* more: not all of its words are there yet. */
static bool
is_allowed(const struct request *r, bool more)
{
	if (names_pool(r) || (r->row->args[0].is_pool && more))
		return access_allows_pool(r->client, r->row->class, r->pool);
	return access_allows(r->client, r->row->class);
}

/* "NOPERM why", malloc'ed. p NULL: no pool in particular. */
static char *
refusal(const struct request *r, const struct pool *p)
{
	if (r->row->class == CLASS_ADMIN)
		audit_refused(r, p);
	return mem_printf("NOPERM %s needs the right '%s'%s%s, which uid %u does not have",
			  r->row->name, command_class_name(r->row->class),
			  p ? " for the pool " : "", p ? p->conf->name : "", r->client->uid);
}

void
request_refuse(struct request *r, const struct pool *p)
{
	char *why = refusal(r, p), *text = strchr(why, ' ') + 1;

	resp_put_error(r->out, "NOPERM", text, strlen(text));
	free(why);
}

void
request_put_no_pool(struct request *r, const struct resp_slice *name)
{
	char shown[128];

	text_escape(shown, sizeof(shown), name->data, name->len);
	resp_put_errorf(r->out, "NOPOOL", "no pool '%s': POOLS lists those there are", shown);
}

/* ---- what is wrong with a command, before it is begun ---- */

static void
put_unknown(struct request *r)
{
	const struct resp_slice *word = &r->argv[0];
	char shown[WORD_MAX * 4];

	text_escape(shown, sizeof(shown), word->data, word->len < WORD_MAX ? word->len : WORD_MAX);
	resp_put_errorf(r->out, "ERR", "unknown command '%s': COMMAND DOCS lists those there are",
			shown);
}

static void
put_unknown_subcommand(struct request *r)
{
	const struct resp_slice *word = r->argc > 1 ? &r->argv[1] : NULL;
	char shown[WORD_MAX * 4];
	struct buf have = {0};

	for (const struct command *sub = r->row->subcommands; sub->name; sub++)
		buf_putf(&have, "%s%s", buf_len(&have) ? ", " : "", command_word(sub));
	if (word)
		text_escape(shown, sizeof(shown), word->data,
			    word->len < WORD_MAX ? word->len : WORD_MAX);
	resp_put_errorf(r->out, "ERR",
			word ? "unknown subcommand '%s': %s has %.*s" :
			       "%s%s needs a subcommand: %.*s",
			word ? shown : "", r->row->name, (int)buf_len(&have),
			buf_failed(&have) ? "" : buf_head(&have));
	buf_free(&have);
}

static void
put_usage(struct request *r)
{
	struct buf usage = {0};

	command_put_synopsis(&usage, r->row, SYNOPSIS_TEXT);
	resp_put_errorf(r->out, "ERR", "wrong number of arguments for '%s': %.*s", r->row->name,
			(int)buf_len(&usage), buf_failed(&usage) ? "" : buf_head(&usage));
	buf_free(&usage);
}

/* In the words of Redis, which clients know. */
static void
put_only_listens(struct request *r)
{
	const char *from = r->row->name;
	char name[WORD_MAX];
	size_t n = 0;

	for (; n < sizeof(name) - 1 && from[n]; n++)
		name[n] = from[n] == ' ' ? '|' : (char)tolower((unsigned char)from[n]);
	name[n] = 0;
	resp_put_errorf(r->out, "ERR",
			"Can't execute '%s': only (P)SUBSCRIBE / (P)UNSUBSCRIBE / PING / QUIT / "
			"RESET are allowed in this context",
			name);
}

static void
put_no_right(struct request *r)
{
	request_refuse(r, r->pool);
}

static void
put_not_in_multi(struct request *r)
{
	resp_put_errorf(r->out, "ERR", "Command not allowed inside a transaction: %s",
			r->row->name);
}

/* ---- what becomes of a command ---- */

enum verdict {
	VERDICT_CARRY_OUT,
	VERDICT_KEEP, /* for EXEC */
	VERDICT_NO_COMMAND,
	VERDICT_NO_SUBCOMMAND,
	VERDICT_WORDS, /* too few, or too many */
	VERDICT_LISTENS,
	VERDICT_NO_RIGHT,
	VERDICT_NOT_IN_MULTI,
};

static void (*const replies[])(struct request *r) = {
	[VERDICT_KEEP] = multi_queue,
	[VERDICT_NO_COMMAND] = put_unknown,
	[VERDICT_NO_SUBCOMMAND] = put_unknown_subcommand,
	[VERDICT_WORDS] = put_usage,
	[VERDICT_LISTENS] = put_only_listens,
	[VERDICT_NO_RIGHT] = put_no_right,
	[VERDICT_NOT_IN_MULTI] = put_not_in_multi,
};

static const enum verdict verdicts_in_multi[] = {
	[MULTI_QUEUED] = VERDICT_KEEP,
	[MULTI_AT_ONCE] = VERDICT_CARRY_OUT,
	[MULTI_REFUSED] = VERDICT_NOT_IN_MULTI,
};

/* From r's row, which has some, to that of its subcommand. False: there is no such. Apart
 * from the way of commands that have none, which would save the registers of its loop. */
__attribute__((noinline)) static bool
enter_subcommand(struct request *r)
{
	const struct command *sub;

	if (r->argc < 2)
		return r->row->handle;
	sub = find_subcommand(r->row, &r->argv[1]);
	if (sub)
		r->row = sub;
	return sub;
}

static bool
arity_fits(const struct command *row, size_t argc)
{
	return row->arity < 0 ? argc >= (size_t)-row->arity : argc == (size_t)row->arity;
}

/* In RESP2 nothing marks what was not asked for: replies between the messages would
 * be taken for some. */
static bool
only_listens(const struct client *c)
{
	return c->proto == RESP2 && client_subscriptions(c);
}

static enum verdict
judge(struct request *r)
{
	if (!r->named)
		r->named = command_find(&r->argv[0]);
	r->row = r->named;
	if (!r->row)
		return VERDICT_NO_COMMAND;
	if (r->row->subcommands && !enter_subcommand(r))
		return VERDICT_NO_SUBCOMMAND;
	if (!arity_fits(r->row, r->argc))
		return VERDICT_WORDS;
	if (!r->row->subscribed && only_listens(r->client))
		return VERDICT_LISTENS;
	find_pool(r);
	if (!is_allowed(r, false))
		return VERDICT_NO_RIGHT;
	return r->client->multi ? verdicts_in_multi[r->row->in_multi] : VERDICT_CARRY_OUT;
}

bool
command_check(struct request *r)
{
	enum verdict verdict = judge(r);

	if (verdict == VERDICT_CARRY_OUT)
		return true;
	replies[verdict](r);
	if (verdict != VERDICT_KEEP)
		multi_spoil(r->client);
	return false;
}

/* ---- carrying it out ---- */

static void
carry_out(struct request *r, size_t reply_at)
{
	r->row->handle(r);
	if (r->row->class == CLASS_ADMIN)
		audit_done(r, reply_at);
}

static bool
is_error(const struct buf *out, size_t reply_at)
{
	return buf_len(out) > reply_at && buf_head(out)[reply_at] == '-';
}

const struct command *
command_execute(struct client *c, const struct command *named, const struct resp_slice *argv,
		size_t argc)
{
	struct request r = {
		.client = c,
		.named = named,
		.server = c->server,
		.argv = argv,
		.argc = argc,
		.out = client_reply(c),
		.now = loop_now(c->server->loop),
	};
	size_t reply_at = buf_len(r.out);

	if (command_check(&r))
		carry_out(&r, reply_at);
	c->brief = r.row && r.row->brief ? c->brief + 1 : 0;
	c->failed = is_error(r.out, reply_at);
	return r.named;
}

/* Before a long argument is buffered: is it for somebody who may, and for a pool
 * that would take it? */
char *
command_refuse_length(struct client *c, const struct resp_slice *argv, size_t argc, size_t len)
{
	struct request r = {.client = c, .server = c->server, .argv = argv, .argc = argc};
	const char *of_what = " where it is not a job's payload";
	uint64_t limit = ARGUMENT_MAX;

	r.row = argc ? command_find(&argv[0]) : NULL;
	if (r.row)
		find_pool(&r);
	if (r.row && !is_allowed(&r, true))
		return refusal(&r, r.pool);
	if (r.row && r.row->defers && names_pool(&r)) {
		if (!r.pool || r.pool->mode != POOLS_OPEN)
			return mem_strdup("NOPOOL no such pool: POOLS lists those there are");
		limit = r.pool->conf->job.max_payload;
		of_what = " (job.max_payload)";
	}
	if (c->multi && !multi_has_room(c, len))
		return mem_strdup("TOOBIG more than a MULTI can hold (control.client_memory)");
	if (len <= limit)
		return NULL;
	return mem_printf("TOOBIG %zu bytes, and at most %llu are taken%s", len,
			  (unsigned long long)limit, of_what);
}
