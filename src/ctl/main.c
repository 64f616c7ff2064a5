/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "ctl/args.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static void
look_at_terminal(struct ctl *ctl)
{
	struct winsize size;
	const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");

	ctl->terminal = isatty(STDOUT_FILENO);
	if (!ctl->terminal)
		return;
	ctl->colour = !(no_colour && *no_colour) && !(term && strcmp(term, "dumb") == 0);
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) {
		ctl->columns = size.ws_col;
		ctl->rows = size.ws_row;
	}
}

/* What was printed must have arrived; a reader that went away (head) is none of
 * our business. */
static int
finish_output(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	if (errno == EPIPE)
		return status;
	ctl_warn("cannot write to standard output: %s", strerror(errno));
	return status ? status : STATUS_FAILED;
}

/* Which daemon is meant, by -s or -i. */
static int
choose_daemon(struct ctl *ctl, const struct args *args)
{
	ctl->socket = args->values[OPT_SOCKET];
	ctl->instance = args->values[OPT_INSTANCE];
	if (ctl->socket && ctl->instance)
		return args_usage(NULL, "-s and -i both say which daemon: only one of them");
	if (ctl->instance && (!*ctl->instance || strchr(ctl->instance, '/')))
		return args_usage(NULL, "-i: the name of an instance, as in preforkd@NAME.service");
	return STATUS_OK;
}

static int
dispatch(struct ctl *ctl, struct args *args, const struct verb *verb)
{
	if (args->values[OPT_VERSION]) {
		puts("preforkctl " PREFORKD_VERSION);
		return STATUS_OK;
	}
	if (args->values[OPT_HELP]) {
		struct args about = {.command = -1};
		char *word = verb ? strdup(verb->name) : NULL;
		about.words = &word;
		about.count = word != NULL;
		verb_help(ctl, &about);
		free(word);
		return STATUS_OK;
	}
	if (!verb)
		return args_usage(NULL, "what to do? the first word is a verb, such as status");
	int status = choose_daemon(ctl, args);
	if (status)
		return status;
	ctl->json = args->values[OPT_JSON];
	return verb->run(ctl, args);
}

/* A standard descriptor that is closed must not become a socket: each missing
 * one is opened so that its use fails as if it were closed. */
static void
fill_standard_fds(void)
{
	static const int modes[] = {O_WRONLY, O_RDONLY, O_WRONLY};

	for (int fd = 0; fd < 3; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		int filled = open("/dev/null", modes[fd]); /* the lowest free number */
		if (filled != fd)
			exit(STATUS_OS);
	}
}

int
main(int argc, char **argv)
{
	struct ctl ctl = {.argv = argv};
	struct args args;
	const struct verb *verb;

	/* Names and payloads are UTF-8 wherever this runs; only characters are
	 * asked about, messages stay as they are. */
	fill_standard_fds();
	setlocale(LC_CTYPE, "C.UTF-8");
	signal(SIGPIPE, SIG_IGN);
	look_at_terminal(&ctl);
	int status = args_parse(argc - 1, argv + 1, &args, &verb);
	if (!status)
		status = dispatch(&ctl, &args, verb);
	if (ctl.redis)
		redisFree(ctl.redis);
	free(args.words);
	return finish_output(status);
}
