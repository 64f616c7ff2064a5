/* SPDX-License-Identifier: MIT */
/* long: the spawned program is the test itself */
/*
 * The loader that is spawned here is this program itself: it does what the
 * command's first word says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/proc.h"

#include "base/list.h"
#include "loop-thread.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the child's side ---- */

static int
child_argv(char **words)
{
	for (; *words; words++)
		dprintf(1, "%s\n", *words);
	return 0;
}

static int
child_environment(char **words)
{
	(void)words;
	for (char **e = environ; *e; e++)
		dprintf(1, "%s\n", *e);
	return 0;
}

/* Echo one line between these descriptors. */
static int
child_echo(char **words)
{
	int from = atoi(words[1]), to = atoi(words[2]);
	char line[64];
	ssize_t n = read(from, line, sizeof(line));

	return n > 0 && write(to, line, (size_t)n) == n ? 0 : 1;
}

static int
child_descriptors(char **words)
{
	DIR *d = opendir("/proc/self/fd");
	const struct dirent *e;
	unsigned open = 0;

	(void)words;
	while ((e = readdir(d)))
		if (e->d_name[0] != '.' && atoi(e->d_name) != dirfd(d))
			open |= 1u << (atoi(e->d_name) & 31);
	dprintf(1, "%x\n", open);
	return 0;
}

static int
child_signals(char **words)
{
	sigset_t mask;
	int n = 0;

	(void)words;
	sigprocmask(SIG_BLOCK, NULL, &mask);
	for (int s = 1; s < SIGRTMIN; s++) {
		struct sigaction sa;

		n += sigismember(&mask, s);
		n += sigaction(s, NULL, &sa) == 0 && sa.sa_handler == SIG_IGN;
	}
	dprintf(1, "%d %d\n", n, getpgid(0) == getpid());
	return 0;
}

static int
child_exit(char **words)
{
	return atoi(words[1]);
}

static int
child_raise(char **words)
{
	setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
	raise(atoi(words[1]));
	return 0;
}

/* Say that it is there, and stay until killed. */
static int
child_stay(char **words)
{
	(void)words;
	dprintf(1, "here\n");
	while (pause() < 0)
		;
	return 0;
}

/* The same, without a group of its own. */
static int
child_leave(char **words)
{
	setpgid(0, getpgid(getppid()));
	return child_stay(words);
}

/* A child of its own stays, and it goes; or stays too. */
static int
child_fork(char **words)
{
	if (fork() == 0 || words[1])
		return child_stay(words);
	return 0;
}

static int
child_report(char **words)
{
	dprintf(3, "cannot %s\n", words[1]);
	return 126;
}

static int
child_main(char **argv)
{
	static const struct {
		const char *name;
		int (*run)(char **words);
	} rows[] = {
		{"environment", child_environment},
		{"echo", child_echo},
		{"descriptors", child_descriptors},
		{"signals", child_signals},
		{"exit", child_exit},
		{"raise", child_raise},
		{"stay", child_stay},
		{"leave", child_leave},
		{"fork", child_fork},
		{"report", child_report},
	};
	char **words = argv;

	while (*words && strcmp(*words, "--") != 0)
		words++;
	for (size_t i = 0; *words && i < sizeof(rows) / sizeof(rows[0]); i++)
		if (!strcmp(words[1], rows[i].name))
			return rows[i].run(words + 1);
	return child_argv(argv);
}

/* ---- the parent's ---- */

static struct loop_thread t;
static struct proc p;
static struct spawn_fds fds;
static struct conf_run_as run_as;
static unsigned exits;

static void
on_exit_(struct proc *proc)
{
	assert_ptr_equal(proc, &p);
	assert_true(proc->exited);
	exits++;
}

static unsigned
count_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static int
start(void **state)
{
	static char root[] = "/";

	(void)state;
	run_as = (struct conf_run_as){
		.directory = root, .umask = 022, .uid = (uid_t)-1, .gid = (gid_t)-1};
	for (size_t i = 0; i < RLIM_NLIMITS; i++)
		run_as.limits[i] = CONF_RLIMIT_UNSET;
	fds = (struct spawn_fds){-1, -1, -1, -1};
	p = (struct proc){.pidfd = -1, .watch.fd = -1};
	exits = 0;
	loop_thread_start(&t, NULL);
	return 0;
}

static int
stop(void **state)
{
	(void)state;
	if (p.pid && !p.exited) {
		proc_signal(&p, SIGKILL);
		waitpid(p.pid, NULL, 0);
	}
	proc_forget(&p);
	if (fds.out != fds.in)
		close(fds.out);
	close(fds.in);
	close(fds.err);
	close(fds.status);
	loop_thread_stop(&t);
	return 0;
}

#define WORDS(...) ((char *[]){__VA_ARGS__, NULL})

static char *
word(const char *s)
{
	static char words[8][16];
	static unsigned n;
	char *at = words[n++ % 8];

	snprintf(at, sizeof(words[0]), "%s", s);
	return at;
}

static int
try_spawn(const char *loader, enum conf_channel channel, char *const *command)
{
	static char a[] = "A=1", b[] = "B=two words";
	char *const environment[] = {a, b, NULL};
	struct spawn how = {
		.loader = loader,
		.command = command,
		.environment = environment,
		.channel = channel,
		.run_as = &run_as,
		.soft_nofile = 1024,
	};

	return proc_spawn(&p, t.loop, &how, on_exit_, &fds);
}

static void
spawn(enum conf_channel channel, char *const *command)
{
	assert_int_equal(try_spawn("/proc/self/exe", channel, command), 0);
	assert_true(p.pid > 0);
}

/* Everything from fd to its end; or, with lines, so many lines. */
static const char *
read_text(int fd, int lines)
{
	static char text[4096];
	size_t len = 0;

	for (;;) {
		struct pollfd pf = {.fd = fd, .events = POLLIN};
		ssize_t n;

		assert_int_equal(poll(&pf, 1, 30000), 1);
		n = read(fd, text + len, lines ? 1 : sizeof(text) - 1 - len);
		if (n <= 0)
			break;
		len += (size_t)n;
		if (lines && text[len - 1] == '\n' && !--lines)
			break;
	}
	text[len] = 0;
	return text;
}

static void
wait_exit(void)
{
	while (!exits)
		loop_thread_wait(&t);
	assert_true(p.exited);
	assert_int_equal(p.pidfd, -1);
	assert_int_equal(waitpid(p.pid, NULL, WNOHANG), -1); /* reaped */
	loop_thread_turn(&t);
	assert_int_equal(exits, 1); /* told once */
}

/* ---- what the loader gets ---- */

static void
test_loader_arguments(void **state)
{
	(void)state;
	spawn(CHANNEL_STDIO, WORDS(word("/bin/w"), word("a b"), word("")));
	assert_string_equal(read_text(fds.in, 0),
			    "/proc/self/exe\n--status=3\n--close-from=3\n--chdir=/\n--umask=0022\n"
			    "--soft-nofile=1024\n--\n/bin/w\na b\n\n");
	wait_exit();
}

static void
test_loader_arguments_all(void **state)
{
	static gid_t groups[] = {5, 6};

	(void)state;
	run_as.nice = -5;
	run_as.limits[RLIMIT_CORE] = 0;
	run_as.limits[RLIMIT_NOFILE] = RLIM_INFINITY;
	run_as.uid = 33;
	run_as.gid = 34;
	run_as.groups = groups;
	run_as.n_groups = 2;
	run_as.no_new_privs = true;
	spawn(CHANNEL_PIPE, WORDS(word("w")));
	assert_string_equal(read_text(fds.in, 0),
			    "/proc/self/exe\n--status=3\n--close-from=3\n--chdir=/\n--umask=0022\n"
			    "--nice=-5\n--rlimit=core:0\n--rlimit=nofile:infinity\n"
			    "--soft-nofile=1024\n--gid=34\n--groups=5,6\n--uid=33\n"
			    "--no-new-privs\n--\nw\n");
	wait_exit();
}

static void
test_environment(void **state)
{
	(void)state;
	spawn(CHANNEL_STDIO, WORDS(word("environment")));
	assert_string_equal(read_text(fds.in, 0), "A=1\nB=two words\n");
	wait_exit();
}

static void
test_signals(void **state)
{
	(void)state;
	spawn(CHANNEL_STDIO, WORDS(word("signals")));
	assert_string_equal(read_text(fds.in, 0), "0 1\n");
	wait_exit();
}

/* ---- channels ---- */

static void
test_channels(void **state)
{
	static const struct {
		enum conf_channel channel;
		const char *from, *to;
		bool one; /* descriptor */
	} rows[] = {
		{CHANNEL_STDIO, "0", "1", true},
		{CHANNEL_STDIO, "1", "0", true}, /* the same socket */
		{CHANNEL_PIPE, "0", "1", false},
		{CHANNEL_FD3, "3", "3", true},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (i) {
			stop(state);
			start(state);
		}
		spawn(rows[i].channel, WORDS(word("echo"), word(rows[i].from), word(rows[i].to)));
		assert_int_equal(fds.in == fds.out, rows[i].one);
		assert_true(fcntl(fds.in, F_GETFL) & O_NONBLOCK);
		assert_true(fcntl(fds.out, F_GETFL) & O_NONBLOCK);
		assert_true(fcntl(fds.in, F_GETFD) & FD_CLOEXEC);
		assert_int_equal(write(fds.out, "hello\n", 6), 6);
		assert_string_equal(read_text(fds.in, 0), "hello\n");
		wait_exit();
		assert_int_equal(p.status, 0);
	}
}

/* Under fd3 standard input is empty, and standard output goes to standard error's. */
static void
test_fd3_stdio(void **state)
{
	(void)state;
	spawn(CHANNEL_FD3, WORDS(word("echo"), word("0"), word("1")));
	wait_exit();
	assert_int_equal(WEXITSTATUS(p.status), 1);
	stop(state);
	start(state);
	spawn(CHANNEL_FD3, WORDS(word("echo"), word("3"), word("1")));
	assert_int_equal(write(fds.out, "to the log\n", 11), 11);
	assert_string_equal(read_text(fds.err, 0), "to the log\n");
	wait_exit();
}

static void
test_descriptors(void **state)
{
	static const struct {
		enum conf_channel channel;
		const char *open; /* bits, with the status descriptor */
	} rows[] = {{CHANNEL_STDIO, "f\n"}, {CHANNEL_PIPE, "f\n"}, {CHANNEL_FD3, "1f\n"}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (i) {
			stop(state);
			start(state);
		}
		spawn(rows[i].channel, WORDS(word("descriptors")));
		assert_string_equal(read_text(rows[i].channel == CHANNEL_FD3 ? fds.err : fds.in, 0),
				    rows[i].open);
		wait_exit();
	}
}

static void
test_status_pipe(void **state)
{
	(void)state;
	spawn(CHANNEL_STDIO, WORDS(word("report"), word("do it")));
	assert_string_equal(read_text(fds.status, 0), "cannot do it\n");
	wait_exit();
	assert_int_equal(WEXITSTATUS(p.status), 126);
}

/* ---- ends ---- */

static void
test_ends(void **state)
{
	static const struct {
		const char *word, *number, *text;
	} rows[] = {
		{"exit", "0", "exited with status 0"},
		{"exit", "3", "exited with status 3"},
		{"exit", "255", "exited with status 255"},
		{"raise", "9", "killed by signal 9 (SIGKILL)"},
		{"raise", "15", "killed by signal 15 (SIGTERM)"},
		{"raise", "13", "killed by signal 13 (SIGPIPE)"},
	};
	char text[64];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (i) {
			stop(state);
			start(state);
		}
		spawn(CHANNEL_STDIO, WORDS(word(rows[i].word), word(rows[i].number)));
		wait_exit();
		proc_describe(p.status, text, sizeof(text));
		assert_string_equal(text, rows[i].text);
	}
}

static void
test_describe(void **state)
{
	static const struct {
		int status;
		const char *text;
	} rows[] = {
		{0x0b, "killed by signal 11 (SIGSEGV)"},
		{0x8b, "killed by signal 11 (SIGSEGV), core dumped"},
		{0x26, "killed by signal 38 (?)"},
		{0x100, "exited with status 1"},
	};
	char text[64];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		proc_describe(rows[i].status, text, sizeof(text));
		assert_string_equal(text, rows[i].text);
	}
	proc_describe(0x8b, text, 10); /* cut, not overrun */
	assert_string_equal(text, "killed by");
}

static void
test_signal(void **state)
{
	(void)state;
	proc_signal(&p, SIGTERM); /* never spawned: nobody's */
	spawn(CHANNEL_STDIO, WORDS(word("stay")));
	read_text(fds.in, 1);
	proc_signal(&p, SIGTERM);
	wait_exit();
	assert_int_equal(WTERMSIG(p.status), SIGTERM);
	proc_signal(&p, SIGKILL); /* reaped: the number may be anybody's */
}

/* The whole group: standard error ends when the last of it is gone. */
static void
test_signal_group(void **state)
{
	(void)state;
	spawn(CHANNEL_STDIO, WORDS(word("fork"), word("stay")));
	read_text(fds.in, 2);
	proc_signal(&p, SIGTERM);
	wait_exit();
	assert_string_equal(read_text(fds.err, 0), "");
}

static void
test_signal_outside_its_group(void **state)
{
	(void)state;
	spawn(CHANNEL_STDIO, WORDS(word("leave")));
	read_text(fds.in, 1);
	proc_signal(&p, SIGTERM);
	wait_exit();
	assert_int_equal(WTERMSIG(p.status), SIGTERM);
}

/* What a process leaves behind in its group goes with it. */
static void
test_left_behind(void **state)
{
	(void)state;
	spawn(CHANNEL_STDIO, WORDS(word("fork")));
	wait_exit();
	assert_int_equal(p.status, 0);
	assert_string_equal(read_text(fds.err, 0), "");
}

static void
test_forget(void **state)
{
	pid_t pid;

	(void)state;
	spawn(CHANNEL_STDIO, WORDS(word("stay")));
	read_text(fds.in, 1);
	pid = p.pid;
	proc_forget(&p);
	proc_forget(&p);
	kill(-pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	p.exited = true;
	loop_thread_turn(&t);
	assert_int_equal(exits, 0);
}

static void
test_no_loader(void **state)
{
	unsigned before = count_descriptors();

	(void)state;
	assert_int_equal(try_spawn("/nonexistent", CHANNEL_STDIO, WORDS(word("w"))), -ENOENT);
	assert_int_equal(try_spawn("/", CHANNEL_PIPE, WORDS(word("w"))), -EACCES);
	assert_int_equal(p.pid, 0);
	assert_int_equal(fds.in, -1);
	assert_int_equal(count_descriptors(), before);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

/* No descriptor to be had, wherever it runs out: nothing is left behind. */
static void
test_no_descriptors(void **state)
{
	static const enum conf_channel channels[] = {CHANNEL_STDIO, CHANNEL_FD3, CHANNEL_PIPE};
	unsigned before = count_descriptors();
	struct rlimit old, low;
	int r = -EMFILE;

	(void)state;
	getrlimit(RLIMIT_NOFILE, &old);
	for (size_t i = 0; i < 3; i++) {
		unsigned failed = 0;

		for (rlim_t n = before - 3; n < before + 20; n++) {
			low = (struct rlimit){n, old.rlim_max};
			setrlimit(RLIMIT_NOFILE, &low);
			r = try_spawn("/proc/self/exe", channels[i],
				      WORDS(word("exit"), word("0")));
			setrlimit(RLIMIT_NOFILE, &old);
			if (r == 0)
				break;
			failed++;
			assert_true(r == -EMFILE || r == -EINVAL || r == -EBADF);
			assert_int_equal(count_descriptors(), before);
		}
		assert_int_equal(r, 0);
		assert_true(failed > 3);
		wait_exit();
		stop(state);
		start(state);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_loader_arguments),
		TEST(test_loader_arguments_all),
		TEST(test_environment),
		TEST(test_signals),
		TEST(test_channels),
		TEST(test_fd3_stdio),
		TEST(test_descriptors),
		TEST(test_status_pipe),
		TEST(test_ends),
		TEST(test_describe),
		TEST(test_signal),
		TEST(test_signal_group),
		TEST(test_signal_outside_its_group),
		TEST(test_left_behind),
		TEST(test_forget),
		TEST(test_no_loader),
		TEST(test_no_descriptors),
	};

	if (argc > 1 && !strncmp(argv[1], "--status=", 9))
		_exit(child_main(argv));
	/* Whoever started the test may have left it descriptors of all kinds. */
	close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
