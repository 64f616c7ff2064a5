/* SPDX-License-Identifier: MIT */
/* What act's jobs can ask for: each verb answers by itself, or does not. */
#include "act.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *late_text;

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
progress(const char *arg)
{
	if (level == LEVEL_FRAME) {
		char head[128];
		unsigned long long done = 0, total = 0;

		sscanf(arg, "%llu %llu", &done, &total);
		snprintf(head, sizeof(head), "PROGRESS %s %llu %llu\n", job_id, done, total);
		raw(head);
	} else {
		raw("PROGRESS ");
		raw(arg);
		raw("\n");
	}
}

/* Steps with bars between: "gate PATH", "progress DONE TOTAL text", or an OUT. */
static void
act_say(const char *arg)
{
	char *steps = strdup(arg), *rest = steps, *step;

	while ((step = strsep(&rest, "|")) != NULL) {
		if (strncmp(step, "gate ", 5) == 0)
			gate(step + 5);
		else if (strncmp(step, "progress ", 9) == 0)
			progress(step + 9);
		else
			answer("OUT", step, strlen(step));
	}
	free(steps);
	ok("said");
}

/* So many OUTs of a hundred bytes, as fast as it goes. */
static void
act_out_flood(const char *arg)
{
	long n = atol(arg);
	char text[101];

	for (long i = 0; i < n; i++) {
		snprintf(text, sizeof(text), "%0100ld", i);
		answer("OUT", text, 100);
	}
	ok("flooded");
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

void
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
	if (dir != NULL)
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

/* Leave so many ended processes behind, whose parent has ended too. */
static void
act_orphans(const char *arg)
{
	long n = strtol(arg, NULL, 10);
	int status = 0;
	pid_t parent = fork();

	if (parent == 0) {
		for (long i = 0; i < n; i++) {
			pid_t pid = fork();

			if (pid == 0)
				_exit(0);
			if (pid < 0)
				_exit(1);
		}
		_exit(0);
	}
	waitpid(parent, &status, 0);
	ok(status == 0 ? "orphans" : "not all of them");
}

/* Start a process that nothing holds any more, as daemons do. It waits at the gate. */
static void
act_daemonize(const char *arg)
{
	pid_t parent = fork();

	if (parent == 0) {
		setsid();
		if (fork() == 0) {
			gate(arg);
			_exit(0);
		}
		_exit(0);
	}
	waitpid(parent, NULL, 0);
	ok("daemonized");
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
	{"say", act_say},
	{"out-flood", act_out_flood},
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
	{"orphans", act_orphans},
	{"daemonize", act_daemonize},
};

void
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
