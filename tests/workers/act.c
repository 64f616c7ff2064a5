/* SPDX-License-Identifier: MIT */
/*
 * act - a test worker that does what its job tells it to.
 *
 * Speaks "line" (default), "filter" or "frame". A job is a verb and its
 * argument, after a space; the table lists them. The argument is a text but for
 * sleep MS TEXT, exit STATUS, kill SIGNAL, extra N, raw HEX, stderr-flood LINES,
 * big BYTES, leak MIB, file PATH and the gates' FIFO. A worker reads its
 * channel itself, never ahead of the line or body it needs where --bytewise is
 * given, and never writes through a buffer, so that a test knows what was read
 * and written when it dies. A job without a known verb is its own result.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum level { LEVEL_LINE, LEVEL_FILTER, LEVEL_FRAME };

static enum level level;
static int fd_in = STDIN_FILENO, fd_out = STDOUT_FILENO;
static bool bytewise;
static char inbuf[65536];
static size_t in_at, in_len;
static char job_id[32]; /* frame: of the job being answered */
static const char *late_text;

extern char **environ;

/* ---- bytes ---------------------------------------------------------------- */

static void
write_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			_exit(3);
		p += n;
		len -= (size_t)n;
	}
}

/* The next byte of the channel, or -1 at its end. */
static int
next_byte(void)
{
	if (in_at == in_len) {
		ssize_t n;

		do
			n = read(fd_in, inbuf, bytewise ? 1 : sizeof(inbuf));
		while (n < 0 && errno == EINTR);
		if (n <= 0)
			return -1;
		in_at = 0;
		in_len = (size_t)n;
	}
	return (unsigned char)inbuf[in_at++];
}

/* Read up to LF into a new string (without it); NULL at end of file. */
static char *
read_line(void)
{
	size_t len = 0, cap = 256;
	char *line = malloc(cap);
	int c;

	if (line == NULL)
		_exit(3);
	while ((c = next_byte()) >= 0 && c != '\n') {
		if (len + 1 == cap) {
			cap *= 2;
			line = realloc(line, cap);
			if (line == NULL)
				_exit(3);
		}
		line[len++] = (char)c;
	}
	line[len] = '\0';
	if (c < 0) {
		free(line);
		return NULL;
	}
	return line;
}

/* ---- answers -------------------------------------------------------------- */

static void
answer(const char *verb, const char *text, size_t len)
{
	char *out = malloc(len + 128);
	size_t n = 0;

	if (out == NULL)
		_exit(3);
	if (level == LEVEL_LINE)
		n = (size_t)sprintf(out, len > 0 ? "%s " : "%s", verb);
	else if (level == LEVEL_FRAME)
		n = (size_t)sprintf(out, "%s %s %zu\n", verb, job_id, len);
	memcpy(out + n, text, len);
	out[n + len] = '\n';
	write_all(fd_out, out, n + len + 1);
	free(out);
}

static void
ok(const char *text)
{
	answer("OK", text, strlen(text));
}

static void
raw(const char *text)
{
	write_all(fd_out, text, strlen(text));
}

/* Answer with a file's content, its LFs made '|'. */
static void
answer_file(const char *path)
{
	char text[16384];
	FILE *f = fopen(path, "re");
	size_t n;

	if (f == NULL) {
		ok("no such file");
		return;
	}
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	for (size_t i = 0; i < n; i++)
		if (text[i] == '\n' || text[i] == '\0')
			text[i] = '|';
	answer("OK", text, n);
}

static void
nap_ms(long ms)
{
	struct timespec ts = {ms / 1000, ms % 1000 * 1000000};

	while (nanosleep(&ts, &ts) < 0 && errno == EINTR)
		;
}

/* A FIFO that the test opens (it knows then that this point is reached) and
 * closes (to let it go on). */
static void
gate(const char *path)
{
	char c;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		_exit(4);
	while (read(fd, &c, 1) > 0)
		;
	close(fd);
}

/* ---- verbs: each answers by itself, or does not ----------------------------- */

static void
act_echo(const char *arg)
{
	ok(arg);
}

static void
act_err(const char *arg)
{
	answer("ERR", arg, strlen(arg));
}

static void
act_retry(const char *arg)
{
	answer("RETRY", arg, strlen(arg));
}

static void
act_out(const char *arg)
{
	answer("OUT", arg, strlen(arg));
	ok("after out");
}

static void
act_progress(const char *arg)
{
	char head[128];

	(void)arg;
	if (level == LEVEL_FRAME)
		snprintf(head, sizeof(head), "PROGRESS %s 1 2\n", job_id);
	else
		snprintf(head, sizeof(head), "PROGRESS 1 2 half\n");
	raw(head);
	ok("after progress");
}

static void
act_log(const char *arg)
{
	char head[64];

	if (level == LEVEL_FRAME)
		snprintf(head, sizeof(head), "LOG 4 %zu\n", strlen(arg));
	else
		snprintf(head, sizeof(head), "LOG ");
	raw(head);
	raw(arg);
	raw("\n");
	ok("after log");
}

static void
act_sleep(const char *arg)
{
	char *text;

	nap_ms(strtol(arg, &text, 10));
	ok(*text == ' ' ? text + 1 : text);
}

static void
act_gate(const char *arg)
{
	gate(arg);
	ok("gate");
}

static void
act_exit(const char *arg)
{
	_exit(atoi(arg));
}

static void
act_kill(const char *arg)
{
	kill(getpid(), atoi(arg));
	pause();
}

static void
act_half(const char *arg)
{
	raw(level == LEVEL_FRAME ? "OK 1 20\nhalf an" : "OK half an ans");
	(void)arg;
	_exit(1);
}

static void
act_answer_exit(const char *arg)
{
	ok(arg);
	_exit(0);
}

/* Answer, then wait, then die without having read what came meanwhile. */
static void
act_answer_gate_exit(const char *arg)
{
	ok("answered");
	gate(arg);
	_exit(1);
}

/* Answer, then go on (reading) only after the gate. */
static void
act_answer_gate(const char *arg)
{
	ok("answered");
	gate(arg);
}

static void
act_hang(const char *arg)
{
	(void)arg;
	for (;;)
		pause();
}

static void
act_hang_hard(const char *arg)
{
	(void)arg;
	signal(SIGTERM, SIG_IGN);
	for (;;)
		pause();
}

static void
on_term_answer(int sig)
{
	(void)sig;
	ok(late_text);
	_exit(0);
}

/* Hang; at TERM answer all the same. */
static void
act_late(const char *arg)
{
	late_text = arg;
	signal(SIGTERM, on_term_answer);
	for (;;)
		pause();
}

static void
act_flood(const char *arg)
{
	char block[4096];

	(void)arg;
	memset(block, 'f', sizeof(block));
	memcpy(block, "OK ", 3);
	for (;;)
		write_all(fd_out, block, sizeof(block));
}

/* N more answers than were asked for; together in one write where they are few. */
static void
act_extra(const char *arg)
{
	static char lines[32768];
	size_t len = 0;

	for (long n = strtol(arg, NULL, 10); n >= 0; n--) {
		len += (size_t)sprintf(lines + len, "OK one of many\n");
		if (n == 0 || len > sizeof(lines) - 64) {
			write_all(fd_out, lines, len);
			len = 0;
		}
	}
}

static void
act_stderr(const char *arg)
{
	write_all(STDERR_FILENO, arg, strlen(arg));
	write_all(STDERR_FILENO, "\n", 1);
	ok("after stderr");
}

static void
act_stderr_flood(const char *arg)
{
	char line[128];

	for (long i = 0, n = strtol(arg, NULL, 10); i < n; i++) {
		int len = snprintf(line, sizeof(line),
				   "line %ld of a flood of lines on standard error\n", i);

		write_all(STDERR_FILENO, line, (size_t)len);
	}
	ok("after flood");
}

static void
act_stderr_exit(const char *arg)
{
	write_all(STDERR_FILENO, arg, strlen(arg));
	write_all(STDERR_FILENO, "\n", 1);
	_exit(5);
}

/* Bytes given in hexadecimal, and no more. */
static void
act_raw(const char *arg)
{
	unsigned value;

	for (; sscanf(arg, "%2x", &value) == 1; arg += 2) {
		char c = (char)value;

		write_all(fd_out, &c, 1);
	}
}

static void
act_nothing(const char *arg)
{
	(void)arg;
}

static void
act_big(const char *arg)
{
	size_t len = strtoul(arg, NULL, 10);
	char *text = malloc(len + 1);

	if (text == NULL)
		_exit(3);
	memset(text, 'x', len);
	answer("OK", text, len);
	free(text);
}

static void
act_length(const char *arg)
{
	char text[32];

	snprintf(text, sizeof(text), "%zu", strlen(arg));
	ok(text);
}

static void
act_pid(const char *arg)
{
	char text[32];

	(void)arg;
	snprintf(text, sizeof(text), "%d", (int)getpid());
	ok(text);
}

static void
act_file(const char *arg)
{
	answer_file(arg);
}

static void
act_environ(const char *arg)
{
	char text[16384];
	size_t n = 0;

	(void)arg;
	for (char **e = environ; *e != NULL && n < sizeof(text) - 1; e++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s|", *e);
	answer("OK", text, n < sizeof(text) ? n : sizeof(text) - 1);
}

static void
act_fds(const char *arg)
{
	char text[4096] = "";
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *e;

	(void)arg;
	while (dir != NULL && (e = readdir(dir)) != NULL) {
		if (e->d_name[0] == '.' || atoi(e->d_name) == dirfd(dir))
			continue;
		strcat(text, e->d_name);
		strcat(text, " ");
	}
	closedir(dir);
	ok(text);
}

static void
act_ids(const char *arg)
{
	char text[512], cwd[256];
	mode_t mask = umask(0);

	(void)arg;
	umask(mask);
	snprintf(text, sizeof(text),
		 "pid=%d pgid=%d sid=%d uid=%d euid=%d gid=%d umask=%04o nice=%d nnp=%d cwd=%s",
		 (int)getpid(), (int)getpgrp(), (int)getsid(0), (int)getuid(), (int)geteuid(),
		 (int)getgid(), (unsigned)mask, getpriority(PRIO_PROCESS, 0),
		 prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0),
		 getcwd(cwd, sizeof(cwd)) != NULL ? cwd : "?");
	ok(text);
}

static void
act_leak(const char *arg)
{
	size_t len = strtoul(arg, NULL, 10) << 20;
	volatile char *p = malloc(len);

	if (p == NULL) {
		answer("ERR", "no memory", 9);
		return;
	}
	for (size_t i = 0; i < len; i += 4096)
		p[i] = 1;
	ok("leaked");
}

static void
act_close_out(const char *arg)
{
	(void)arg;
	close(fd_out);
	for (;;)
		pause();
}

/* Leave a child behind that holds the channel, and die. */
static void
act_grandchild(const char *arg)
{
	(void)arg;
	if (fork() == 0)
		for (;;)
			pause();
	_exit(6);
}

static const struct verb {
	const char *name;
	void (*run)(const char *arg);
} verbs[] = {
	{"echo", act_echo},
	{"err", act_err},
	{"retry", act_retry},
	{"out", act_out},
	{"progress", act_progress},
	{"log", act_log},
	{"sleep", act_sleep},
	{"gate", act_gate},
	{"exit", act_exit},
	{"kill", act_kill},
	{"half", act_half},
	{"answer-exit", act_answer_exit},
	{"answer-gate-exit", act_answer_gate_exit},
	{"answer-gate", act_answer_gate},
	{"hang", act_hang},
	{"hang-hard", act_hang_hard},
	{"late", act_late},
	{"flood", act_flood},
	{"extra", act_extra},
	{"stderr", act_stderr},
	{"stderr-flood", act_stderr_flood},
	{"stderr-exit", act_stderr_exit},
	{"raw", act_raw},
	{"nothing", act_nothing},
	{"big", act_big},
	{"length", act_length},
	{"pid", act_pid},
	{"file", act_file},
	{"environ", act_environ},
	{"fds", act_fds},
	{"ids", act_ids},
	{"leak", act_leak},
	{"close-out", act_close_out},
	{"grandchild", act_grandchild},
};

static void
act(char *job)
{
	char *arg = strchr(job, ' ');
	size_t len = arg != NULL ? (size_t)(arg - job) : strlen(job);

	arg = arg != NULL ? arg + 1 : job + len;
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strlen(verbs[i].name) == len && memcmp(verbs[i].name, job, len) == 0) {
			verbs[i].run(arg);
			return;
		}
	}
	ok(job);
}

/* ---- jobs ----------------------------------------------------------------- */

static bool
serve_line(void)
{
	char *job = read_line();

	if (job == NULL)
		return false;
	act(job);
	free(job);
	return true;
}

static bool
serve_frame(void)
{
	char *head = read_line(), *body;
	unsigned attempt;
	size_t len;

	if (head == NULL)
		return false;
	if (sscanf(head, "JOB %31s %u %zu", job_id, &attempt, &len) != 3) {
		free(head); /* a CANCEL: the job it names has been answered */
		return true;
	}
	free(head);
	body = malloc(len + 1);
	if (body == NULL)
		_exit(3);
	for (size_t i = 0; i <= len; i++) {
		int c = next_byte();

		if (c < 0)
			_exit(3);
		body[i] = (char)c;
	}
	body[len] = '\0'; /* was the LF */
	act(body);
	free(body);
	return true;
}

/* ---- start ---------------------------------------------------------------- */

static bool linger; /* stay when the channel has ended */

/* Options act as soon as they are met, in order; one with a value returns 2. */
static int
flag(const char *o)
{
	if (strcmp(o, "--frame") == 0)
		level = LEVEL_FRAME;
	else if (strcmp(o, "--filter") == 0)
		level = LEVEL_FILTER;
	else if (strcmp(o, "--fd3") == 0)
		fd_in = fd_out = 3;
	else if (strcmp(o, "--bytewise") == 0)
		bytewise = true;
	else if (strcmp(o, "--ready") == 0)
		raw("READY\n");
	else if (strcmp(o, "--ignore-term") == 0)
		signal(SIGTERM, SIG_IGN);
	else if (strcmp(o, "--ignore-eof") == 0)
		linger = true;
	else
		return 0;
	return 1;
}

static int
option(const char *o, const char *v)
{
	if (flag(o))
		return 1;
	if (v == NULL)
		_exit(64);
	if (strcmp(o, "--raw") == 0)
		act_raw(v);
	else if (strcmp(o, "--gate") == 0)
		gate(v);
	else if (strcmp(o, "--nap-ms") == 0)
		nap_ms(atol(v));
	else if (strcmp(o, "--stderr") == 0)
		dprintf(STDERR_FILENO, "%s\n", v);
	else if (strcmp(o, "--exit") == 0)
		_exit(atoi(v));
	else if (strcmp(o, "--exit-unless") == 0) {
		if (access(v, F_OK) != 0)
			_exit(7);
	} else
		_exit(64);
	return 2;
}

int
main(int argc, char **argv)
{
	bool more = true;
	int i = 1;

	while (i < argc && strncmp(argv[i], "--", 2) == 0)
		i += option(argv[i], argv[i + 1]);
	while (more)
		more = level == LEVEL_FRAME ? serve_frame() : serve_line();
	while (linger)
		pause();
	_exit(0);
}
