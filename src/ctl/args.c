/* SPDX-License-Identifier: MIT */
#include "ctl/args.h"

#include "base/buf.h"
#include "base/parse.h"
#include "base/text.h"
#include "ctl/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NEAR 2 /* edits that a name may be away from what was typed, to be proposed */

/* Where the parser is. */
struct walk {
	int n, at;
	char **argv;
	struct args *args;
	const struct verb *verb;
};

static void
put_option(struct buf *b, const struct option_row *o)
{
	if (o->letter && !o->value)
		buf_putf(b, " [-%c]", o->letter);
	else if (o->value)
		buf_putf(b, " [--%s %s]", o->name, o->value);
	else
		buf_putf(b, " [--%s]", o->name);
}

char *
verb_synopsis(const struct verb *verb)
{
	struct buf b = {0};
	bool words_first = verb->payload_at > 0;

	buf_putf(&b, "preforkctl %s", verb->name);
	if (verb->before && words_first)
		buf_putf(&b, " %s", verb->before);
	for (int i = 0; i < OPT_MAX; i++)
		if (verb->options & UINT64_C(1) << i && i != OPT_JSON)
			put_option(&b, &options[i]);
	if (verb->options & OPT(JSON))
		put_option(&b, &options[OPT_JSON]);
	if (verb->before && !words_first)
		buf_putf(&b, " %s", verb->before);
	if (verb->after)
		buf_putf(&b, " %s", verb->after);
	buf_putc(&b, '\0');
	char *s = buf_steal(&b, NULL);
	return s ? s : ctl_realloc(NULL, 0);
}

int
args_usage(const struct verb *verb, const char *fmt, ...)
{
	char line[1024], shown[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (verb && verb->plugin) {
		struct check c = {0};
		check_say(&c, CHECK_UNKNOWN, "%s", line);
		return check_print(&c, "");
	}
	ctl_warn("%s", text_escape_str(shown, sizeof(shown), line));
	if (verb) {
		char *synopsis = verb_synopsis(verb);
		ctl_hint("usage: %s", synopsis);
		free(synopsis);
	} else {
		ctl_hint("which verbs there are: preforkctl help");
	}
	return STATUS_USAGE;
}

/* Is name nearer to what was typed than *best was? Short names are not as easily
 * mistaken for one another. */
static bool
is_nearer(const char *typed, const char *name, unsigned *best)
{
	unsigned limit = strlen(typed) > 4 ? NEAR : NEAR - 1;
	unsigned distance = text_distance(typed, name, limit);

	if (distance > limit || distance >= *best)
		return false;
	*best = distance;
	return true;
}

int
args_bad_verb(const char *name)
{
	unsigned best = NEAR + 1;
	const char *nearest = NULL;

	for (const struct verb *v = verbs; v->name; v++)
		if (v->group != GROUP_HIDDEN && is_nearer(name, v->name, &best))
			nearest = v->name;
	if (nearest)
		return args_usage(NULL, "there is no verb \"%s\"; did you mean %s?", name, nearest);
	return args_usage(NULL, "there is no verb \"%s\"", name);
}

uint64_t
args_allowed(const struct verb *verb)
{
	/* in front of the verb: those that any verb may take */
	return OPT_GLOBAL | (verb ? verb->options : OPT(JSON));
}

static int
bad_option(const struct verb *verb, const char *word)
{
	const char *name = word + strspn(word, "-"), *nearest = NULL;
	unsigned best = NEAR + 1;

	for (int i = 0; i < OPT_MAX && strlen(name) > 1; i++)
		if (args_allowed(verb) & UINT64_C(1) << i &&
		    is_nearer(name, options[i].name, &best))
			nearest = options[i].name;
	if (nearest)
		return args_usage(verb, "there is no option %s; did you mean --%s?", word, nearest);
	if (verb)
		return args_usage(verb, "%s does not take %s", verb->name, word);
	return args_usage(verb, "there is no option %s in front of the verb", word);
}

const struct option_row *
args_find_option(const struct verb *verb, const char *word, const char **ret_value)
{
	bool is_long = word[1] == '-';
	const char *name = word + 1 + is_long;
	size_t len = is_long ? strcspn(name, "=") : 1;

	for (int i = 0; i < OPT_MAX; i++) {
		const struct option_row *o = &options[i];
		if (!(args_allowed(verb) & UINT64_C(1) << i))
			continue;
		if (is_long ? strncmp(name, o->name, len) != 0 || o->name[len] : *name != o->letter)
			continue;
		*ret_value = name[len] ? name + len + is_long : NULL;
		return o;
	}
	return NULL;
}

static int
check_value(const struct verb *verb, const struct option_row *o, const char *value)
{
	int64_t us;
	uint64_t n;
	size_t len = strlen(value);

	if (o->kind == KIND_DURATION && parse_duration(value, len, &us) != 0)
		return args_usage(verb,
				  "--%s \"%s\" is not a duration: a number and us, ms, s, m, h or "
				  "d, or infinity",
				  o->name, value);
	if (o->kind == KIND_NUMBER && (parse_u64(value, len, 1000000, &n) != 0 || n == 0))
		return args_usage(verb, "--%s \"%s\" is not a number from 1 to 1000000", o->name,
				  value);
	if (o->kind == KIND_WORD && !*value)
		return args_usage(verb, "--%s must not be empty", o->name);
	return STATUS_OK;
}

static int
take_option(struct walk *w)
{
	const char *word = w->argv[w->at++], *value = NULL;
	const struct option_row *o = args_find_option(w->verb, word, &value);

	if (!o)
		return bad_option(w->verb, word);
	if (o->kind == KIND_FLAG) {
		if (value)
			return args_usage(w->verb, "%s: --%s takes no value", word, o->name);
		value = "";
	} else if (!value) {
		if (w->at == w->n)
			return args_usage(w->verb, "--%s wants a value: %s", o->name, o->value);
		value = w->argv[w->at++];
	}
	w->args->values[o - options] = value;
	return o->kind == KIND_FLAG ? STATUS_OK : check_value(w->verb, o, value);
}

static int
take_word(struct walk *w)
{
	char *word = w->argv[w->at++];

	if (w->verb) {
		w->args->words[w->args->count++] = word;
		return STATUS_OK;
	}
	w->verb = verb_find(word);
	return w->verb ? STATUS_OK : args_bad_verb(word);
}

static bool
options_ended(const struct walk *w)
{
	const struct args *a = w->args;

	return a->command >= 0 ||
	       (w->verb && w->verb->payload_at && a->count > w->verb->payload_at);
}

static int
take_next(struct walk *w)
{
	const char *word = w->argv[w->at];

	if (options_ended(w) || word[0] != '-' || !word[1])
		return take_word(w);
	if (strcmp(word, "--") == 0) {
		w->at++;
		w->args->command = w->args->count;
		return STATUS_OK;
	}
	return take_option(w);
}

static int
check_count(const struct verb *v, const struct args *args)
{
	if (args->count < v->min)
		return args_usage(v, "%s wants %s", v->name, v->before);
	if (v->max >= 0 && args->count > v->max)
		return args_usage(v, "%s does not take \"%s\"", v->name, args->words[v->max]);
	return STATUS_OK;
}

int
args_parse(int n, char **argv, struct args *args, const struct verb **ret_verb)
{
	struct walk w = {.n = n, .argv = argv, .args = args};
	int status = STATUS_OK;

	*args = (struct args){.command = -1};
	args->words = ctl_realloc(NULL, ((size_t)n + 1) * sizeof(*args->words));
	while (!status && w.at < n)
		status = take_next(&w);
	bool asks = args->values[OPT_HELP] || args->values[OPT_VERSION];
	if (!status && w.verb && !asks)
		status = check_count(w.verb, args);
	if (!status && w.verb && args->values[OPT_JSON] && !(w.verb->options & OPT(JSON)) && !asks)
		status = args_usage(w.verb, "%s has no --json", w.verb->name);
	*ret_verb = w.verb;
	return status;
}

void
args_add_options(const struct args *args, struct command *c, uint64_t which)
{
	for (int i = 0; i < OPT_MAX; i++) {
		if (!(which & UINT64_C(1) << i) || !args->values[i] || !options[i].wire)
			continue;
		command_add(c, options[i].wire);
		command_add(c, args->values[i]);
	}
}
