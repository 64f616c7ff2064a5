/* SPDX-License-Identifier: MIT */
/*
 * What may stand at the cursor, for a shell. "preforkctl complete -- WORD..." has
 * the words behind the program's name up to the cursor, the last of which is
 * being typed, and prints "words" and those that begin so, a line each; or
 * "files" or "commands", where the shell knows better.
 */
#include "ctl/args.h"
#include "ctl/event.h"
#include "ctl/reply.h"

#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE_MS 500 /* somebody waits for a key to have an effect */
#define JOBS_MAX "1000"

/* What the words before the cursor mean. */
struct typed {
	struct ctl *ctl;
	const struct verb *verb;
	int count;			/* words behind the verb */
	bool ended;			/* no options any more */
	bool command;			/* behind -- */
	const struct option_row *wants; /* whose value comes next; NULL: none's */
};

/* --- proposals --- */

static void
propose(const char *before, const char *word, const char *begun)
{
	if (strncmp(word, begun, strlen(begun)) == 0)
		printf("%s%s\n", before, word);
}

static void
propose_choices(const char *before, const char *choices, const char *begun)
{
	while (*choices) {
		size_t n = strcspn(choices, " ");
		char word[64];
		snprintf(word, sizeof(word), "%.*s", (int)n, choices);
		propose(before, word, begun);
		choices += n + strspn(choices + n, " ");
	}
}

static void
propose_value(const char *before, const redisReply *value, const char *begun)
{
	char number[24];
	int64_t n;

	if (reply_is_text(value)) {
		propose(before, value->str, begun);
	} else if (reply_as_int(value, &n)) {
		snprintf(number, sizeof(number), "%lld", (long long)n);
		propose(before, number, begun);
	}
}

/* The field name of each map that comes. Without a daemon there are none. */
static void
propose_field(struct ctl *ctl, const char *const *words, int n, const char *field,
	      const char *before, const char *begun)
{
	redisReply *r = NULL;

	ctl->patience_ms = PATIENCE_MS;
	if (ctl_call_words(ctl, words, n, &r) == STATUS_OK && reply_is_array(r))
		for (size_t i = 0; i < r->elements; i++)
			propose_value(before, reply_get(r->element[i], field), begun);
	freeReplyObject(r);
}

/* POOL/WORKER, behind the stroke; before it POOL. */
static void
propose_workers(struct ctl *ctl, const char *begun)
{
	static const char *const pools[] = {"POOLS"};
	const char *slash = strrchr(begun, '/');
	char pool[128], before[130];

	if (!slash) {
		propose_field(ctl, pools, 1, "name", "", begun);
		return;
	}
	snprintf(pool, sizeof(pool), "%.*s", (int)(slash - begun), begun);
	snprintf(before, sizeof(before), "%s/", pool);
	const char *words[] = {"WORKERS", pool};
	propose_field(ctl, words, 2, "worker", before, slash + 1);
}

/* Those that run, by their sockets. */
static void
propose_instances(const char *dir, const char *before, const char *begun)
{
	char path[PATH_MAX];
	glob_t found;

	snprintf(path, sizeof(path), "%s/preforkd-*/control.sock", dir ? dir : "");
	if (!dir || !*dir || glob(path, 0, NULL, &found) != 0)
		return;
	for (size_t i = 0; i < found.gl_pathc; i++) {
		char *name = found.gl_pathv[i] + strlen(dir) + strlen("/preforkd-");
		name[strcspn(name, "/")] = 0;
		propose(before, name, begun);
	}
	globfree(&found);
}

static void
propose_verbs(const char *begun)
{
	for (const struct verb *v = verbs; v->name; v++)
		if (v->group != GROUP_HIDDEN)
			propose("", v->name, begun);
}

static void
propose_kind(struct ctl *ctl, enum complete kind, const char *before, const char *begun)
{
	static const char *const pools[] = {"POOLS"}, *const jobs[] = {"JOBS", "COUNT", JOBS_MAX};

	switch (kind) {
	case COMPLETE_POOL:
		propose_field(ctl, pools, 1, "name", before, begun);
		break;
	case COMPLETE_JOB:
		propose_field(ctl, jobs, 3, "id", before, begun);
		break;
	case COMPLETE_VERB:
		propose_verbs(begun);
		propose("", "commands", begun);
		break;
	case COMPLETE_WORKER:
		propose_workers(ctl, begun);
		break;
	case COMPLETE_EVENTS:
		for (int i = 0; i < EVENT_LOST; i++)
			propose(before, event_kinds[i], begun);
		propose_field(ctl, pools, 1, "name", before, begun);
		break;
	case COMPLETE_INSTANCE:
		propose_instances("/run", before, begun);
		propose_instances(getenv("XDG_RUNTIME_DIR"), before, begun);
		break;
	case COMPLETE_NOTHING:
	case COMPLETE_FILE:
	case COMPLETE_COMMAND:
		break;
	}
}

/* --- what was typed --- */

/* A word that is no option and no option's value. False: there is no such verb. */
static bool
pass_word(struct typed *t, const char *word)
{
	if (t->verb) {
		t->count++;
		t->ended |= t->verb->payload_at && t->count > t->verb->payload_at;
		return true;
	}
	t->verb = verb_find(word);
	return t->verb != NULL;
}

static void
pass_value(struct typed *t, const struct option_row *o, const char *value)
{
	if (o == &options[OPT_SOCKET])
		t->ctl->socket = value;
	else if (o == &options[OPT_INSTANCE])
		t->ctl->instance = value;
}

static void
pass_option(struct typed *t, const char *word)
{
	const char *value = NULL;
	const struct option_row *o = args_find_option(t->verb, word, &value);

	if (!o || o->kind == KIND_FLAG)
		return;
	if (value)
		pass_value(t, o, value);
	else
		t->wants = o;
}

static bool
pass(struct typed *t, const char *word)
{
	if (t->wants && strcmp(word, "=") == 0) /* bash cuts words there */
		return true;
	if (t->wants) {
		pass_value(t, t->wants, word);
		t->wants = NULL;
		return true;
	}
	if (!t->ended && strcmp(word, "--") == 0) {
		t->ended = t->command = true;
		return true;
	}
	if (!t->ended && word[0] == '-' && word[1]) {
		pass_option(t, word);
		return true;
	}
	return pass_word(t, word);
}

/* --- the word at the cursor --- */

/* before: what is typed of the word and is no part of the value */
static void
complete_value(const struct typed *t, const struct option_row *o, const char *before,
	       const char *begun)
{
	if (o->complete == COMPLETE_FILE) {
		puts("files");
		return;
	}
	puts("words");
	propose_choices(before, o->choices ? o->choices : "", begun);
	propose_kind(t->ctl, o->complete, before, begun);
}

static void
complete_option(const struct typed *t, const char *begun)
{
	const char *equals = strchr(begun, '='), *value = NULL;
	const struct option_row *o = NULL;
	char before[64], name[64];

	if (equals && begun[1] == '-')
		o = args_find_option(t->verb, begun, &value);
	if (o && o->kind != KIND_FLAG && value) {
		snprintf(before, sizeof(before), "%.*s", (int)(value - begun), begun);
		complete_value(t, o, before, value);
		return;
	}
	puts("words");
	for (int i = 0; i < OPT_MAX; i++) {
		if (!(args_allowed(t->verb) & UINT64_C(1) << i))
			continue;
		snprintf(name, sizeof(name), "--%s", options[i].name);
		propose("", name, begun);
	}
}

static void
complete_word(const struct typed *t, const char *begun)
{
	const struct verb *v = t->verb;
	enum complete kind;

	if (!v) {
		puts("words");
		propose_verbs(begun);
		return;
	}
	kind = v->words[t->count > 0];
	if (v->max >= 0 && t->count >= v->max)
		kind = COMPLETE_NOTHING;
	if (t->command)
		kind = v->command == COMPLETE_NOTHING ? kind :
		       t->count == 0		      ? v->command :
							COMPLETE_FILE;
	puts(kind == COMPLETE_FILE ? "files" : kind == COMPLETE_COMMAND ? "commands" : "words");
	propose_kind(t->ctl, kind, "", begun);
}

int
verb_complete(struct ctl *ctl, const struct args *args)
{
	struct typed t = {.ctl = ctl};
	const char *last = args->count ? args->words[args->count - 1] : "";

	for (int i = 0; i + 1 < args->count; i++)
		if (!pass(&t, args->words[i]))
			return STATUS_OK;
	if (t.wants)
		complete_value(&t, t.wants, "", strcmp(last, "=") == 0 ? "" : last);
	else if (last[0] == '-' && !t.ended)
		complete_option(&t, last);
	else
		complete_word(&t, last);
	return STATUS_OK;
}
