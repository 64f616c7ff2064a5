/* SPDX-License-Identifier: MIT */
#include "ctl/help.h"

#include "ctl/args.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
print_option(const struct option_row *o)
{
	char left[64], letter[8] = "";

	if (o->letter)
		snprintf(letter, sizeof(letter), "-%c, ", o->letter);
	snprintf(left, sizeof(left), "%s--%s%s%s", letter, o->name, o->value ? " " : "",
		 o->value ? o->value : "");
	printf("  %-20s %s\n", left, o->summary);
}

static void
print_options(uint64_t which)
{
	for (int i = 0; i < OPT_MAX; i++)
		if (which & UINT64_C(1) << i)
			print_option(&options[i]);
}

static void
print_group(enum verb_group group)
{
	if (!verb_groups[group])
		return;
	printf("%s:\n", verb_groups[group]);
	for (const struct verb *v = verbs; v->name; v++)
		if (v->group == group)
			printf("  %-9s %s\n", v->name, v->summary);
	puts("");
}

static int
help_all(void)
{
	puts("usage: preforkctl [-s PATH | -i NAME] [--json] VERB ...\n\nRun jobs on the workers of preforkd, "
	     "and look after it.\n");
	for (int group = 0; group < GROUP_MAX; group++)
		print_group((enum verb_group)group);
	puts("Options of all verbs:");
	print_options(OPT_GLOBAL | OPT(JSON));
	puts("\nThe socket is that of -s or -i, $PREFORKD_SOCKET, $XDG_RUNTIME_DIR/preforkd/control.sock\n"
	     "if there is one, or /run/preforkd/control.sock. preforkctl help VERB says more;\n"
	     "preforkctl help commands is about those of the control socket.\n\n"
	     "Exit status: 0; 1 the job failed; 124 it timed out; 70 its worker crashed; 75 busy, or\n"
	     "not finished; 65 payload refused; 69 no daemon, or no worker comes up; 77 no\n"
	     "permission; 64 usage.");
	return STATUS_OK;
}

static int
help_verb(const struct verb *v)
{
	char *synopsis = verb_synopsis(v);

	printf("usage: %s\n\n%s\n", synopsis, v->summary);
	free(synopsis);
	if (v->more)
		printf("\n%s\n", v->more);
	puts("");
	print_options(v->options | OPT(SOCKET) | OPT(INSTANCE));
	return STATUS_OK;
}

int
verb_help(struct ctl *ctl, const struct args *args)
{
	const char *word = args->count ? args->words[0] : NULL;
	const struct verb *v = word ? verb_find(word) : NULL;

	if (!word)
		return help_all();
	if (v)
		return help_verb(v);
	if (strcmp(word, "commands") == 0)
		return help_commands(ctl);
	/* RUN is a command, run a verb */
	if (strpbrk(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
		return help_command(ctl, word);
	return args_bad_verb(word);
}
