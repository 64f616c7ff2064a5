/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "base/parse.h"
#include "each/each.h"

#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#define MAX_RESULT (16 << 20) /* where no daemon says it: its default */

static void
usage(FILE *to)
{
	fputs("usage: preforkd-each COMMAND [ARGUMENT | {}]...\n"
	      "\n"
	      "A worker of preforkd that runs COMMAND once for each job. The job takes the\n"
	      "place of {} in the arguments; where there is none it is the standard input.\n"
	      "The standard output is the result. Exit status 75: to be tried again; any\n"
	      "other but 0: the job failed. See preforkd-each(1).\n"
	      "\n"
	      "  -h, --help     this text\n"
	      "  -V, --version  the version\n",
	      to);
}

/* The index of the command in argv; does not return where that is not asked for. */
static int
read_options(int argc, char **argv)
{
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "+hV", options, NULL)) != -1) {
		switch (c) {
		case 'h':
			usage(stdout);
			exit(EX_OK);
		case 'V':
			puts("preforkd-each " PREFORKD_VERSION);
			exit(EX_OK);
		default:
			usage(stderr);
			exit(EX_USAGE);
		}
	}
	if (optind == argc) {
		warnx("no command");
		usage(stderr);
		exit(EX_USAGE);
	}
	return optind;
}

/* Is it level frame, or else line? Without a daemon it can be tried by hand. */
static bool
read_level(void)
{
	const char *level = getenv("PREFORKD_PROTOCOL");

	if (!level || strcmp(level, "line") == 0)
		return false;
	if (strcmp(level, "frame") != 0)
		errx(EX_CONFIG,
		     "protocol = \"%s\" cannot say that a job failed: "
		     "the pool needs protocol = \"line\" or \"frame\"",
		     level);
	return true;
}

static size_t
read_max_result(void)
{
	const char *s = getenv("PREFORKD_MAX_RESULT");
	uint64_t n;

	return s && parse_u64(s, strlen(s), SIZE_MAX, &n) == 0 ? (size_t)n : MAX_RESULT;
}

static bool
is_passing(int error)
{
	return error == EAGAIN || error == ENOMEM || error == EMFILE || error == ENFILE;
}

/* It could not be started: say why. */
static void
answer_unstarted(struct channel *c, const struct template *t, int error)
{
	char text[512];

	if (error == E2BIG)
		snprintf(text, sizeof(text), "the payload is too long for an argument");
	else
		snprintf(text, sizeof(text), "cannot execute %s: %s%s", t->path, strerror(error),
			 error == ENOEXEC ? " (no #! line?)" : "");
	channel_answer(c, is_passing(error) ? ANSWER_RETRY : ANSWER_ERR, text, strlen(text));
}

/* CANCEL is the one message that matters while a job runs, and only frame has it:
 * what is not read of a line pool's jobs can go to another worker. */
static void
see_through(struct child *child, struct channel *c)
{
	while (!child_ended(child)) {
		if (child_wait(child, c->frame && !c->eof ? c->in : -1))
			channel_read(c);
		if (c->now->cancelled)
			child_cut(child, "cancelled");
	}
}

static void
run(struct channel *c, const struct template *t, size_t max_result)
{
	struct child child = CHILD_NONE;
	const char *why = NULL;
	char **argv = template_fill(t, c->now, &why);
	char text[2048];
	enum answer verb;
	int error;

	if (!argv) {
		channel_answer(c, ANSWER_ERR, why, strlen(why));
		return;
	}
	child.max_result = max_result;
	error = child_start(&child, t, argv, c->now);
	template_free(t, argv);
	if (error) {
		answer_unstarted(c, t, error);
	} else {
		see_through(&child, c);
		verb = child_verdict(&child, !c->frame, text, sizeof(text));
		if (verb == ANSWER_OK)
			channel_answer(c, verb, buf_head(&child.result), buf_len(&child.result));
		else
			channel_answer(c, verb, text, strlen(text));
	}
	child_fini(&child);
}

int
main(int argc, char **argv)
{
	struct child nobody = CHILD_NONE;
	struct template t;
	struct channel c;
	int command = read_options(argc, argv);
	bool frame = read_level();
	size_t max_result = read_max_result();

	template_init(&t, argv + command);
	child_setup();
	channel_open(&c, frame);
	while (!child_told_to_end()) {
		if (channel_take(&c))
			run(&c, &t, max_result);
		else if (c.eof)
			break;
		else if (child_wait(&nobody, c.in))
			channel_read(&c);
	}
	channel_fini(&c);
	template_fini(&t);
	return EX_OK;
}
