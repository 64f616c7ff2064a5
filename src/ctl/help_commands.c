/* SPDX-License-Identifier: MIT */
/* Help on the commands of the control socket, which the daemon gives itself. */
#include "base/buf.h"
#include "base/text.h"
#include "ctl/args.h"
#include "ctl/help.h"
#include "ctl/reply.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* Classes of commands, as the daemon calls them, and what they stand for. */
static const struct {
	const char *name, *title;
} classes[] = {
	{"submit", "Jobs"},
	{"read", "Looking"},
	{"admin", "Administration"},
	{"connection", "The connection"},
};

/* "client|list" → "CLIENT LIST" */
static void
put_name(struct buf *b, const char *name)
{
	for (; *name; name++)
		buf_putc(b, *name == '|' ? ' ' : (char)toupper((unsigned char)*name));
}

static bool
has_flag(const redisReply *arg, const char *flag)
{
	const redisReply *flags = reply_get(arg, "flags");

	for (size_t i = 0; reply_is_array(flags) && i < flags->elements; i++)
		if (reply_is_text(flags->element[i]) && strcmp(flags->element[i]->str, flag) == 0)
			return true;
	return false;
}

static void
put_arg(struct buf *b, const redisReply *arg)
{
	const char *token = reply_str(arg, "token", NULL);
	bool optional = has_flag(arg, "optional");

	buf_putf(b, " %s%s%s%s%s%s", optional ? "[" : "", token ? token : "", token ? " " : "",
		 reply_str(arg, "name", "?"), has_flag(arg, "multiple") ? " ..." : "",
		 optional ? "]" : "");
}

/* A line of what the daemon said, made fit to be shown. */
static void
print_line(struct buf *b)
{
	char shown[1024];

	puts(text_escape(shown, sizeof(shown), buf_len(b) ? buf_head(b) : "", buf_len(b)));
	buf_free(b);
}

static void
print_synopsis(const char *before, const char *name, const redisReply *doc)
{
	const redisReply *args = reply_get(doc, "arguments");
	struct buf b = {0};

	buf_puts(&b, before);
	put_name(&b, name);
	for (size_t i = 0; reply_is_array(args) && i < args->elements; i++)
		put_arg(&b, args->element[i]);
	print_line(&b);
}

static void
print_indented(const char *indent, const char *text)
{
	struct buf b = {0};

	buf_putf(&b, "%s%s", indent, text);
	print_line(&b);
}

static void
print_command(const char *name, const redisReply *doc)
{
	const redisReply *subs = reply_get(doc, "subcommands");

	print_synopsis("command: ", name, doc);
	puts("");
	print_indented("", reply_str(doc, "summary", ""));
	printf("\nWho may: those with the right \"%s\"\n", reply_str(doc, "group", "?"));
	for (size_t i = 0; reply_is_array(subs) && i + 1 < subs->elements; i += 2) {
		if (!reply_is_text(subs->element[i]))
			continue;
		puts("");
		print_synopsis("", subs->element[i]->str, subs->element[i + 1]);
		print_indented("    ", reply_str(subs->element[i + 1], "summary", ""));
	}
}

/* Columns that the names take in a list. */
static size_t
name_columns(const redisReply *docs)
{
	size_t most = 0;

	for (size_t i = 0; i < docs->elements; i += 2)
		if (reply_is_text(docs->element[i]) && docs->element[i]->len > most)
			most = docs->element[i]->len;
	return most;
}

static void
print_class(const redisReply *docs, const char *class, const char *title)
{
	size_t left = 2 + name_columns(docs);

	printf("%s:\n", title);
	for (size_t i = 0; i + 1 < docs->elements; i += 2) {
		const redisReply *name = docs->element[i], *doc = docs->element[i + 1];
		struct buf b = {0};
		if (!reply_is_text(name) || strcmp(reply_str(doc, "group", ""), class) != 0)
			continue;
		buf_puts(&b, "  ");
		put_name(&b, name->str);
		while (buf_len(&b) < left + 1)
			buf_putc(&b, ' ');
		buf_puts(&b, reply_str(doc, "summary", ""));
		print_line(&b);
	}
	puts("");
}

static int
ask_docs(struct ctl *ctl, const char *name, redisReply **ret_docs)
{
	const char *words[] = {"COMMAND", "DOCS", name};
	int status = ctl_call_words(ctl, words, name ? 3 : 2, ret_docs);

	if (!status && !reply_is_array(*ret_docs)) {
		ctl_warn("the daemon answered with something that is no description");
		return STATUS_FAILED;
	}
	return status;
}

int
help_commands(struct ctl *ctl)
{
	redisReply *docs = NULL;
	int status = ask_docs(ctl, NULL, &docs);

	if (!status) {
		puts("The commands of the control socket, see preforkd-control(7); any of them "
		     "can be sent\nwith preforkctl call.\n");
		for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
			print_class(docs, classes[i].name, classes[i].title);
		puts("preforkctl help COMMAND says more, such as: preforkctl help RUN");
	}
	freeReplyObject(docs);
	return status;
}

int
help_command(struct ctl *ctl, const char *name)
{
	redisReply *docs = NULL;
	int status = ask_docs(ctl, name, &docs);

	if (!status && docs->elements < 2) {
		ctl_warn("there is no command \"%s\"", name);
		ctl_hint("those there are: preforkctl help commands");
		status = STATUS_USAGE;
	} else if (!status && reply_is_text(docs->element[0])) {
		print_command(docs->element[0]->str, docs->element[1]);
	}
	freeReplyObject(docs);
	return status;
}
