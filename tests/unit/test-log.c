/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* The room itself, so that its state can be reset and its journal be ours. */
#define JOURNAL_SOCKET "journal.sock"
#include "base/log.c"

#include <sys/wait.h>

#define N(array) (sizeof(array) / sizeof(array)[0])

static char folder[] = "/tmp/test-log-XXXXXX";
static int real_stderr;
static char got[256 * 1024];

/* Standard error becomes fd, which stays the caller's. */
static void
redirect(int fd)
{
	fd_close(&logger.own_fd);
	fd_close(&logger.journal_fd);
	logger.opened = false;
	logger.dropped = 0;
	logger.waits = logger.patient = false;
	assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
}

static void
restore(void)
{
	redirect(real_stderr);
	log_setup("preforkd", LOG_INFO, LOG_FORMAT_TEXT);
}

/* All that can be read from fd now, as a string in got. */
static size_t
drain(int fd)
{
	size_t len = 0;
	ssize_t n;

	assert_int_equal(fd_set_nonblock(fd), 0);
	while ((n = read(fd, got + len, sizeof got - 1 - len)) > 0)
		len += (size_t)n;
	got[len] = '\0';
	return len;
}

/* What one message becomes on a pipe. */
static const char *
one(const struct log_about *about, int level, const char *text)
{
	int p[2];

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	redirect(p[1]);
	log_about(about, level, "%s", text);
	restore();
	drain(p[0]);
	close(p[0]);
	close(p[1]);
	return got;
}

static const struct {
	struct log_about about;
	int level;
	const char *text, *line; /* of the line: what follows "preforkd[PID]: " */
	const char *json;	 /* what follows the pid */
} cases[] = {
	{{0}, LOG_INFO, "hello", "info: hello\n", ",\"message\":\"hello\"}\n"},
	{{0}, LOG_ERR, "", "error: \n", ",\"message\":\"\"}\n"},
	{{.pool = "thumbs"},
	 LOG_WARNING,
	 "x",
	 "warning: pool=thumbs: x\n",
	 ",\"pool\":\"thumbs\",\"message\":\"x\"}\n"},
	{{.pool = "thumbs", .worker = 4, .pid = 812, .job = 123},
	 LOG_NOTICE,
	 "gone",
	 "notice: pool=thumbs worker=3 pid=812 job=123: gone\n",
	 ",\"pool\":\"thumbs\",\"worker\":3,\"worker_pid\":812,\"job\":\"123\",\"message\":\"gone\"}\n"},
	{{.worker = 1},
	 LOG_INFO,
	 "first slot",
	 "info: worker=0: first slot\n",
	 ",\"worker\":0,\"message\":\"first slot\"}\n"},
	{{.job = 9007199254740991},
	 LOG_INFO,
	 "far",
	 "info: job=9007199254740991: far\n",
	 ",\"job\":\"9007199254740991\",\"message\":\"far\"}\n"},
	{{.pool = "a\nb"},
	 LOG_INFO,
	 "forged\npreforkd[1]: error: \x1b[31m\xff\xc2\x9b",
	 "info: pool=a\\x0ab: forged\\x0apreforkd[1]: error: \\x1b[31m\\xff\\xc2\\x9b\n",
	 ",\"pool\":\"a\\\\x0ab\",\"message\":\"forged\\\\x0apreforkd[1]: error: \\\\x1b[31m\\\\xff"
	 "\\\\xc2\\\\x9b\"}\n"},
	{{.event = LOG_EVENT_READY},
	 LOG_INFO,
	 "it is",
	 "info: it is\n",
	 ",\"event\":\"ready\",\"message\":\"it is\"}\n"},
	{{.pool = "p", .event = LOG_EVENT_POOL_DEGRADED},
	 LOG_ERR,
	 "why",
	 "error: pool=p: why\n",
	 ",\"event\":\"pool-degraded\",\"pool\":\"p\",\"message\":\"why\"}\n"},
	{{0},
	 LOG_INFO,
	 "quote \" slash \\ \xc3\xbc",
	 "info: quote \" slash \\ \xc3\xbc\n",
	 ",\"message\":\"quote \\\" slash \\\\ \xc3\xbc\"}\n"},
};

static void
test_text(void **state)
{
	char expected[256];

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		(void)snprintf(expected, sizeof expected, "preforkd[%d]: %s", getpid(),
			       cases[i].line);
		assert_string_equal(one(&cases[i].about, cases[i].level, cases[i].text), expected);
	}
}

static void
test_json(void **state)
{
	char expected[320];

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		const char *line, *rest;

		log_setup("preforkd", LOG_INFO, LOG_FORMAT_JSON);
		line = one(&cases[i].about, cases[i].level, cases[i].text);
		(void)snprintf(expected, sizeof expected,
			       ",\"level\":\"%s\",\"program\":\"preforkd\",\"pid\":%d%s",
			       level_names[cases[i].level], getpid(), cases[i].json);
		rest = strstr(line, ",\"level\"");
		assert_non_null(rest);
		assert_string_equal(rest, expected);
		/* {"time":"2025-01-31T23:59:59.000000Z" */
		assert_int_equal(rest - line, 37);
		assert_memory_equal(line, "{\"time\":\"20", 11);
		assert_memory_equal(line + 35, "Z\"", 2);
	}
}

static void
test_levels(void **state)
{
	int p[2];

	(void)state;
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	redirect(p[1]);
	assert_true(log_wants(LOG_INFO));
	assert_false(log_wants(LOG_DEBUG));
	log_msg(LOG_DEBUG, "not this");
	log_setup("preforkd", LOG_ERR, LOG_FORMAT_TEXT);
	log_msg(LOG_WARNING, "nor this");
	log_msg(LOG_ERR, "this");
	log_setup("other", LOG_DEBUG, LOG_FORMAT_TEXT);
	log_msg(LOG_DEBUG, "and this");
	restore();
	drain(p[0]);
	assert_null(strstr(got, "not this"));
	assert_null(strstr(got, "nor this"));
	assert_non_null(strstr(got, "]: error: this\n"));
	assert_non_null(strstr(got, "other["));
	assert_non_null(strstr(got, "]: debug: and this\n"));
	close(p[0]);
	close(p[1]);
}

/* Fill pattern by pattern around the limit: the line is whole, at most 4096
 * bytes, and cut between characters. */
static void
test_long(void **state)
{
	static const char *const patterns[] = {"x",	   "\n", "\"", "\\", "\xe2\x82\xac",
					       "\xc2\x85", "a\""};
	static char text[9000];

	(void)state;
	for (size_t i = 0; i < N(patterns) * 2; i++) {
		const char *pattern = patterns[i / 2];

		for (size_t len = 900; len<8900; len += len> 3900 && len < 4200 ? 1 : 500) {
			size_t n = strlen(pattern);

			for (size_t at = 0; at < len; at++)
				text[at] = pattern[at % n];
			text[len - len % n] = '\0';
			log_setup("preforkd", LOG_INFO, i % 2 ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT);
			(void)one(NULL, LOG_INFO, text);
			assert_true(strlen(got) <= LINE_MAX_BYTES);
			assert_ptr_equal(strchr(got, '\n'), got + strlen(got) - 1);
			if (i % 2)
				assert_string_equal(got + strlen(got) - 3, "\"}\n");
			if (len > 4100)
				assert_non_null(strstr(got, "..."));
			assert_null(strstr(got, "\\xe2")); /* no character was cut */
		}
	}
}

/* A full pipe: dropped at once, counted, told when it flows again. */
static void
test_drops(void **state)
{
	int p[2], sent = 0;

	(void)state;
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	redirect(p[1]);
	while (logger.dropped == 0) {
		log_msg(LOG_INFO, "message %d", ++sent);
		assert_true(sent < 100000);
	}
	log_msg(LOG_INFO, "lost too");
	assert_int_equal(logger.dropped, 2);
	drain(p[0]);
	assert_null(strstr(got, "lost too"));
	assert_int_equal(got[strlen(got) - 1], '\n');

	log_msg(LOG_INFO, "flows again");
	assert_int_equal(logger.dropped, 0);
	drain(p[0]);
	assert_non_null(strstr(got, "]: warning: 2 messages dropped\n"));
	assert_true(strstr(got, "flows again") > strstr(got, "dropped"));
	assert_int_equal(fcntl(p[1], F_GETFL) & O_NONBLOCK, 0); /* others write there too */
	restore();
	close(p[0]);
	close(p[1]);
}

/* A reader that is gone, no descriptor at all: dropped, and no SIGPIPE. */
static void
test_gone(void **state)
{
	int p[2], s[2];

	(void)state;
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	redirect(p[1]);
	log_msg(LOG_INFO, "heard");
	close(p[0]);
	log_msg(LOG_INFO, "unheard");
	assert_int_equal(logger.dropped, 1);
	close(p[1]);

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
	redirect(s[1]);
	log_msg(LOG_INFO, "heard");
	assert_true(drain(s[0]) > 0);
	close(s[0]);
	log_msg(LOG_INFO, "unheard");
	assert_int_equal(logger.dropped, 1);
	close(s[1]);

	redirect(real_stderr);
	close(STDERR_FILENO);
	log_msg(LOG_INFO, "unheard");
	assert_int_equal(logger.dropped, 1);
	restore();
}

/* A file is written at its end, wherever its reader is. */
static void
test_file(void **state)
{
	int fd = open("file", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	(void)state;
	assert_true(fd >= 0);
	redirect(fd);
	log_msg(LOG_INFO, "one");
	log_msg(LOG_INFO, "two");
	restore();
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	drain(fd);
	assert_non_null(strstr(got, "info: one\n"));
	assert_non_null(strstr(got, "info: two\n"));
	close(fd);
}

static void
test_errno(void **state)
{
	int p[2];

	(void)state;
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	redirect(p[1]);
	errno = ENOENT;
	log_msg(LOG_INFO, "it says: %m");
	assert_int_equal(errno, ENOENT);
	log_msg(LOG_DEBUG, "unwanted");
	assert_int_equal(errno, ENOENT);
	drain(p[0]);
	assert_non_null(strstr(got, "it says: No such file or directory\n"));
	close(p[0]);
	errno = EDOM;
	log_msg(LOG_INFO, "to nobody");
	assert_int_equal(errno, EDOM);
	restore();
	close(p[1]);
}

static int
bind_journal(void)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = JOURNAL_SOCKET};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof name), 0);
	return fd;
}

static void
set_journal_stream(int fd, unsigned ino_off)
{
	struct stat st;
	char text[64];

	assert_int_equal(fstat(fd, &st), 0);
	(void)snprintf(text, sizeof text, "%ju:%ju", (uintmax_t)st.st_dev,
		       (uintmax_t)st.st_ino + ino_off);
	assert_int_equal(setenv("JOURNAL_STREAM", text, 1), 0);
}

static void
test_journal(void **state)
{
	static const struct log_about about = {.pool = "p", .worker = 1, .pid = 7, .job = 9};
	int s[2], journal = bind_journal();
	char where[8];
	ssize_t n;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
	set_journal_stream(s[1], 0);
	redirect(s[1]);
	assert_string_equal(log_where(where, sizeof where), "journal");
	log_about(&about, LOG_ERR, "two\nlines");
	n = recv(journal, got, sizeof got - 1, MSG_DONTWAIT);
	assert_true(n > 0);
	got[n] = '\0';
	assert_string_equal(got, "PRIORITY=3\nSYSLOG_IDENTIFIER=preforkd\nPREFORKD_POOL=p\n"
				 "PREFORKD_WORKER=0\nPREFORKD_WORKER_PID=7\nPREFORKD_JOB=9\n"
				 "MESSAGE=p/0 job 9: two\\x0alines\n");
	log_about(&(struct log_about){.pool = "p"}, LOG_ERR, "a pool's");
	n = recv(journal, got, sizeof got - 1, MSG_DONTWAIT);
	assert_true(n > 0);
	got[n] = '\0';
	assert_non_null(strstr(got, "\nMESSAGE=p: a pool's\n"));
	log_about(&(struct log_about){.pool = "p", .worker = 3, .quoted = true}, LOG_ERR, "said");
	n = recv(journal, got, sizeof got - 1, MSG_DONTWAIT);
	assert_true(n > 0);
	got[n] = '\0';
	assert_non_null(strstr(got, "\nMESSAGE=said\n"));
	log_event(LOG_EVENT_POOL_DEGRADED, LOG_ERR, "an event");
	n = recv(journal, got, sizeof got - 1, MSG_DONTWAIT);
	assert_true(n > 0);
	got[n] = '\0';
	assert_string_equal(got, "PRIORITY=3\nSYSLOG_IDENTIFIER=preforkd\n"
				 "MESSAGE_ID=e96bc439a3e940d7b4f820ecf78f2f56\n"
				 "PREFORKD_EVENT=pool-degraded\nMESSAGE=an event\n");
	log_msg(LOG_INFO, "plain");
	n = recv(journal, got, sizeof got - 1, MSG_DONTWAIT);
	assert_true(n > 0);
	got[n] = '\0';
	assert_string_equal(got, "PRIORITY=6\nSYSLOG_IDENTIFIER=preforkd\nMESSAGE=plain\n");
	assert_int_equal(drain(s[0]), 0);

	/* A journal that does not keep up costs messages, not time. */
	for (int i = 0; i < 100000 && logger.dropped == 0; i++)
		log_msg(LOG_INFO, "flood");
	assert_int_equal(logger.dropped, 1);
	while (recv(journal, got, sizeof got, MSG_DONTWAIT) > 0)
		;
	log_msg(LOG_INFO, "after");
	n = recv(journal, got, sizeof got - 1, MSG_DONTWAIT);
	assert_true(n > 0);
	got[n] = '\0';
	assert_non_null(strstr(got, "PREFORKD_EVENT=log-lines-dropped\n"));
	assert_non_null(strstr(got, "MESSAGE=1 message dropped\n"));

	/* One that is gone leaves its stream, on which levels stand in front. */
	close(journal);
	unlink(JOURNAL_SOCKET);
	log_msg(LOG_ERR, "fallen back");
	drain(s[0]);
	assert_memory_equal(got, "<3>preforkd[", 12);
	assert_non_null(strstr(got, "]: error: fallen back\n"));

	/* The next one has it again. */
	journal = bind_journal();
	log_msg(LOG_INFO, "and back");
	assert_true(recv(journal, got, sizeof got - 1, MSG_DONTWAIT) > 0);
	assert_int_equal(drain(s[0]), 0);
	close(journal);
	unlink(JOURNAL_SOCKET);
	restore();
	unsetenv("JOURNAL_STREAM");
	close(s[0]);
	close(s[1]);
}

/* A child that begins to take what is in the journal's queue a moment from now, up to
 * "the end" or an empty message. */
static pid_t
read_slowly(int journal, int go)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		char byte;

		if (read(go, &byte, 1) == 1)
			while (recv(journal, got, sizeof got, 0) > 0 && !strstr(got, "the end"))
				memset(got, 0, 64);
		_exit(0);
	}
	return pid;
}

/* Who ends for its mistakes says all of them, to a journal that is slow; one that takes
 * nothing is waited for once. */
static void
test_patience(void **state)
{
	static const struct log_about about = {.event = LOG_EVENT_CONFIG_REFUSED};
	int s[2], go[2], journal = bind_journal(), sent = 0;
	char text[1024] = "";
	struct timespec before, after;
	pid_t pid;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
	assert_int_equal(pipe2(go, O_CLOEXEC), 0);
	set_journal_stream(s[1], 0);
	redirect(s[1]);
	assert_true(log_to_journal());
	while (logger.dropped == 0 && sent < 100000)
		log_msg(LOG_INFO, "line %d", ++sent);
	assert_int_equal(logger.dropped, 1);
	assert_true(log_has_dropped());
	log_tell_dropped();
	assert_true(log_has_dropped());

	pid = read_slowly(journal, go[0]);
	assert_int_equal(write(go[1], "x", 1), 1);
	log_wait();
	for (int i = 0; i < 20; i++)
		strcat(text, "a mistake\n");
	log_lines(&about, LOG_ERR, text, strlen(text));
	assert_false(log_has_dropped());
	log_lines(&about, LOG_ERR, "a part\nthe end", 14);
	assert_false(log_has_dropped());
	assert_int_equal(waitpid(pid, NULL, 0), pid);

	/* It comes back when all has been read, and not before. */
	log_msg(LOG_INFO, "said");
	pid = read_slowly(journal, go[0]);
	assert_int_equal(write(go[1], "x", 1), 1);
	log_finish();
	assert_int_equal(recv(journal, got, sizeof got, MSG_DONTWAIT), -1);
	assert_int_equal(waitpid(pid, NULL, 0), pid);

	clock_gettime(CLOCK_MONOTONIC, &before);
	for (int i = 0; i < sent + 10; i++)
		log_msg(LOG_INFO, "nobody reads");
	clock_gettime(CLOCK_MONOTONIC, &after);
	assert_true(log_has_dropped());
	assert_in_range(after.tv_sec - before.tv_sec, WAIT_SECONDS - 1, 3 * WAIT_SECONDS);
	while (recv(journal, got, sizeof got, MSG_DONTWAIT) > 0)
		;
	log_tell_dropped();
	assert_false(log_has_dropped());
	close(journal);
	unlink(JOURNAL_SOCKET);
	restore();
	unsetenv("JOURNAL_STREAM");
	for (int i = 0; i < 2; i++) {
		close(s[i]);
		close(go[i]);
	}
}

/* The variable is inherited: a redirected standard error is not the journal. */
static void
test_not_journal(void **state)
{
	static const char *const streams[] = {"", ":", "1", "1:", "1:2:3", "x:y", "-1:-1"};
	int p[2], journal = bind_journal();
	char where[8];

	(void)state;
	for (size_t i = 0; i <= N(streams); i++) {
		assert_int_equal(pipe2(p, O_CLOEXEC), 0);
		if (i < N(streams))
			assert_int_equal(setenv("JOURNAL_STREAM", streams[i], 1), 0);
		else
			set_journal_stream(p[1], 1);
		redirect(p[1]);
		assert_false(log_to_journal());
		log_wait();
		log_lines(NULL, LOG_INFO, "here\nand here\n", 14);
		assert_true(drain(p[0]) > 0);
		assert_non_null(strstr(got, "]: info: and here\n"));
		assert_memory_equal(log_where(where, sizeof where), "pipe:[", 6);
		assert_int_equal(recv(journal, got, sizeof got, MSG_DONTWAIT), -1);
		restore();
		close(p[0]);
		close(p[1]);
	}
	unsetenv("JOURNAL_STREAM");
	close(journal);
	unlink(JOURNAL_SOCKET);
}

/* Each event is found by one word and one id, which are of the form that others expect. */
static void
test_events(void **state)
{
	(void)state;
	for (size_t i = 1; i < LOG_EVENT_COUNT; i++) {
		const char *word = events[i].word, *id = events[i].id;

		assert_true(*word && strspn(word, "abcdefghijklmnopqrstuvwxyz-") == strlen(word));
		assert_true(strlen(id) == 32 && strspn(id, "0123456789abcdef") == 32);
		for (size_t other = 1; other < i; other++) {
			assert_string_not_equal(word, events[other].word);
			assert_string_not_equal(id, events[other].id);
		}
	}
}

static int
set_up(void **state)
{
	(void)state;
	unsetenv("JOURNAL_STREAM");
	real_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 20);
	if (real_stderr < 0 || !mkdtemp(folder) || chdir(folder) < 0)
		return -1;
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	(void)unlink("file");
	return rmdir(folder);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),	cmocka_unit_test(test_json),
		cmocka_unit_test(test_levels),	cmocka_unit_test(test_long),
		cmocka_unit_test(test_drops),	cmocka_unit_test(test_gone),
		cmocka_unit_test(test_file),	cmocka_unit_test(test_errno),
		cmocka_unit_test(test_journal), cmocka_unit_test(test_not_journal),
		cmocka_unit_test(test_events),	cmocka_unit_test(test_patience),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
