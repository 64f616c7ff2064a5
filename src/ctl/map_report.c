/* SPDX-License-Identifier: MIT */
/* What a map says at its end. */
#include "base/text.h"
#include "ctl/human.h"
#include "ctl/map.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- how to go on --- */

/* A word as a shell reads it. */
static void
put_quoted(struct buf *b, const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789%+,-./:=@_";

	if (*word && word[strspn(word, plain)] == '\0') {
		buf_puts(b, word);
		return;
	}
	buf_putc(b, '\'');
	for (; *word; word++)
		if (*word == '\'')
			buf_puts(b, "'\\''");
		else
			buf_putc(b, *word);
	buf_putc(b, '\'');
}

/* A redirection to the file that a descriptor is of, if it is a file's. */
static void
put_redirection(struct buf *b, int fd, const char *how)
{
	char link[64], path[PATH_MAX];
	struct stat st;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, sizeof(path) - 1);
	if (n <= 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_nlink == 0)
		return;
	path[n] = '\0';
	buf_putf(b, " %s", how);
	put_quoted(b, path);
}

/* The words of the command line, but that a new log is gone on with. */
static void
put_command(struct buf *b, char **argv)
{
	static const char from[] = "--joblog";
	size_t n = sizeof(from) - 1;
	bool options = true;

	for (; *argv; argv++) {
		const char *word = *argv;
		if (options && strncmp(word, from, n) == 0 && (!word[n] || word[n] == '=')) {
			buf_puts(b, "--resume");
			word += n;
			if (*word)
				put_quoted(b, word);
		} else {
			put_quoted(b, word);
		}
		options = options && strcmp(*argv, "--") != 0;
		if (argv[1])
			buf_putc(b, ' ');
	}
}

static void
hint_resume(const struct map *m, char **argv)
{
	struct buf b = {0};

	if (m->log->use == LOG_NONE) {
		ctl_hint("with --resume FILE the same command would go on where it was ended");
		return;
	}
	put_command(&b, argv);
	put_redirection(&b, STDIN_FILENO, "<");
	put_redirection(&b, STDOUT_FILENO, ">>");
	buf_putc(&b, '\0');
	if (!buf_failed(&b))
		ctl_hint("it goes on with: %s", buf_head(&b));
	buf_free(&b);
}

/* --- the summary --- */

static void
report_summary(const struct map *m)
{
	int64_t took = mono_since(mono_now(), m->started);
	uint64_t lines = m->done + m->failed;
	char span[HUMAN_MAX], rate[HUMAN_MAX];
	struct buf b = {0};

	if (m->failed)
		buf_putf(&b, "%llu of %llu lines failed", (unsigned long long)m->failed,
			 (unsigned long long)lines);
	else
		buf_putf(&b, "%llu line%s", (unsigned long long)lines, lines == 1 ? "" : "s");
	buf_putf(&b, ", %s", human_span(span, took));
	if (took > 0)
		buf_putf(&b, " (%s/s)", human_rate(rate, (double)lines * 1e6 / (double)took));
	if (m->skipped)
		buf_putf(&b, "; %llu passed over", (unsigned long long)m->skipped);
	buf_putc(&b, '\0');
	if (!buf_failed(&b))
		ctl_warn("%s", buf_head(&b));
	buf_free(&b);
}

static void
report_halt(const struct map *m)
{
	static const char *const what[] = {
		[HALT_FAIL] = "failed", [HALT_SUCCESS] = "succeeded", [HALT_DONE] = "were done"};
	const struct map_halt *h = &m->setup.halt;

	ctl_warn("halted: %llu%s of the lines %s", (unsigned long long)h->limit,
		 h->is_percent ? "%" : "", what[h->what]);
}

/* Lines that failed and have not come again. */
static void
report_missing(const struct map *m)
{
	uint64_t missing = m->log->was_failed - m->log->again;
	char shown[256];

	if (m->log->use == LOG_RETRY && missing && map_finished(m))
		ctl_warn("%llu lines that failed according to %s are not in the input",
			 (unsigned long long)missing,
			 text_escape_str(shown, sizeof(shown), m->log->path));
}

void
map_report(const struct map *m, const struct ctl *ctl, int status, bool summary)
{
	unsigned long long next = m->done + m->failed + m->skipped + 1;

	if (m->signal)
		ctl_warn("ended by SIG%s", sigabbrev_np(m->signal));
	if (m->hung_up && status == STATUS_NO_DAEMON && !m->setup.own)
		ctl_warn("the daemon went away at line %llu", next);
	if (m->halted)
		report_halt(m);
	report_missing(m);
	if (summary || m->failed || m->signal)
		report_summary(m);
	if (m->signal)
		hint_resume(m, ctl->argv);
}
