/* SPDX-License-Identifier: MIT */
/* preforkctl logs: what the journal has of a pool, a worker, a job, the daemon. */
#include "base/fd.h"
#include "base/parse.h"
#include "base/text.h"
#include "ctl/args.h"
#include "ctl/errors.h"
#include "ctl/journal.h"
#include "ctl/reply.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 2000 /* a daemon that hangs has a log, too */
#define READ_BYTES 65536

/* --- what is asked for --- */

static bool
is_number(const char *text)
{
	uint64_t n;

	return parse_u64(text, strlen(text), INT64_MAX, &n) == 0;
}

static bool
is_pool(const char *name)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789_.-";

	return *name && *name != '.' && *name != '-' && strspn(name, allowed) == strlen(name);
}

static bool
is_choice(const char *choices, const char *word)
{
	size_t len = strlen(word);

	for (const char *s = choices; *s; s += strcspn(s, " "), s += strspn(s, " "))
		if (strcspn(s, " ") == len && memcmp(s, word, len) == 0)
			return true;
	return false;
}

static int
take_place(struct journal_query *q, const struct args *args)
{
	const struct verb *verb = verb_find("logs");

	if (args->count) {
		char *slash = strchr(args->words[0], '/');
		q->pool = args->words[0];
		if (slash) {
			*slash = '\0';
			q->worker = slash + 1;
		}
		if (!is_pool(q->pool))
			return args_usage(verb, "\"%.100s\" is not a pool's name", q->pool);
	}
	if (q->worker && args->values[OPT_WORKER])
		return args_usage(verb, "the worker is named twice: %.20s and %.20s", q->worker,
				  args->values[OPT_WORKER]);
	if (args->values[OPT_WORKER])
		q->worker = args->values[OPT_WORKER];
	if (q->worker && !is_number(q->worker))
		return args_usage(verb, "\"%.100s\" is not a worker's number: 0, 1, ...",
				  q->worker);
	return STATUS_OK;
}

static int
take_query(struct journal_query *q, const struct ctl *ctl, const struct args *args)
{
	const struct verb *verb = verb_find("logs");

	*q = (struct journal_query){
		.job = args->values[OPT_OF_JOB],
		.since = args->values[OPT_SINCE],
		.level = args->values[OPT_LEVEL],
		.lines = args->values[OPT_LAST],
		.output = ctl->json ? "json" : args->values[OPT_OUTPUT],
		.follow = args->values[OPT_FOLLOW] != NULL,
		.all = args->values[OPT_ALL] != NULL,
	};
	if (q->job && !is_number(q->job))
		return args_usage(verb, "\"%.100s\" is not a job's id", q->job);
	if (q->level && !is_choice(options[OPT_LEVEL].choices, q->level))
		return args_usage(verb, "--level \"%.100s\": one of %s", q->level,
				  options[OPT_LEVEL].choices);
	return take_place(q, args);
}

/* --- what the daemon knows of it --- */

/* Its own place in the journal, where it has one. False: its log goes elsewhere. */
static bool
take_unit(struct journal_query *q, const redisReply *status)
{
	const char *log = reply_str(status, "log", "journal");
	const char *unit = reply_str(status, "unit", ""),
		   *user = reply_str(status, "user_unit", "");
	char shown[300];

	if (strcmp(log, "journal") != 0) {
		text_escape_str(shown, sizeof(shown), log);
		ctl_warn(
			"the daemon's log is not in the journal; it goes to its standard error, %s",
			*shown ? shown : "which is closed");
		if (*shown == '/' && strncmp(shown, "/dev/", 5) != 0)
			ctl_hint("tail -f %s", shown);
		return false;
	}
	if (journal_is_unit(unit)) {
		q->unit = unit;
		q->user_unit = journal_is_unit(user) ? user : NULL;
	}
	return true;
}

/* The pool is the daemon's, as far as that can be known. */
static int
check_pool(struct ctl *ctl, const char *pool)
{
	const char *words[] = {"POOL", pool};
	struct buf messages = {0};
	redisReply *r = NULL;
	int status;

	ctl_messages_to(&messages);
	status = ctl_call_words(ctl, words, 2, &r);
	ctl_messages_to(NULL);
	freeReplyObject(r);
	if (status == STATUS_FAILED) { /* and not for want of a right, or of an answer */
		fwrite(buf_head(&messages), 1, buf_len(&messages), stderr);
		ctl_hint("of a pool that was removed: journalctl PREFORKD_POOL=%s", pool);
	} else {
		status = STATUS_OK;
	}
	buf_free(&messages);
	return status;
}

/* Nobody is there to ask: go by the names that the units have when they are installed. */
static void
take_name(struct journal_query *q, const struct ctl *ctl, const char *why)
{
	static char name[256];
	const char *env = getenv("PREFORKD_SOCKET");

	if (ctl->instance) {
		snprintf(name, sizeof(name), "preforkd@%s.service", ctl->instance);
		q->only_named = journal_is_unit(name);
		q->named_unit = q->only_named ? name : NULL;
	} else if (!ctl->socket && !(env && *env)) {
		q->named_unit = "preforkd.service";
	}
	if (q->only_named)
		ctl_warn("%s", why);
	else
		ctl_warn("%s; this may be the log of several daemons", why);
}

/* *ret_status is to stay as long as q is used. An exit status. */
static int
ask_daemon(struct ctl *ctl, struct journal_query *q, redisReply **ret_status)
{
	const char *words[] = {"STATUS"};
	struct buf messages = {0};
	char why[256];

	ctl->patience_ms = PATIENCE_MS;
	ctl_messages_to(&messages);
	int status = ctl_call_words(ctl, words, 1, ret_status);
	ctl_messages_to(NULL);
	ctl_first_message(&messages, why, sizeof(why));
	buf_free(&messages);
	if (status) {
		take_name(q, ctl, why);
		return STATUS_OK;
	}
	if (!take_unit(q, *ret_status))
		return STATUS_FAILED;
	return q->pool ? check_pool(ctl, q->pool) : STATUS_OK;
}

/* --- journalctl --- */

static int
no_journalctl(int error)
{
	ctl_warn("cannot run journalctl: %s", strerror(error));
	if (error == ENOENT)
		ctl_hint("the log is in the journal of systemd, whose package has journalctl");
	return STATUS_OS;
}

/* Its form is what is wanted: it takes our place. */
static int
become(char **command)
{
	fflush(stdout);
	signal(SIGPIPE, SIG_DFL);
	execvp(command[0], command);
	return no_journalctl(errno);
}

/* The process, whose output is to be read from *ret_fd; or -errno. */
static pid_t
spawn(char **command, int *ret_fd)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t pipe_signal;
	int p[2], error;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) < 0)
		return -errno;
	sigemptyset(&pipe_signal);
	sigaddset(&pipe_signal, SIGPIPE);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, p[1], STDOUT_FILENO);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigdefault(&attr, &pipe_signal);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF);
	error = posix_spawnp(&pid, command[0], &actions, &attr, command, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	fd_close(&p[1]);
	if (error)
		fd_close(&p[0]);
	*ret_fd = p[0];
	return error ? -error : pid;
}

/* Lines on their way to standard output. */
struct printer {
	bool colour;
	uint64_t count;	   /* lines that came */
	struct buf *lines; /* the last of them, keep in number; a ring by count */
	size_t keep;	   /* 0: they go out at once */
	struct buf line;   /* then */
};

static void
print_entry(struct printer *p, const struct journal_entry *e)
{
	struct buf *line = p->keep ? &p->lines[p->count % p->keep] : &p->line;

	if (!e->message.data)
		return;
	p->count++;
	buf_consume(line, buf_len(line));
	journal_format(e, p->colour, line);
	if (!p->keep)
		fwrite(buf_head(line), 1, buf_len(line), stdout);
}

static void
print_kept(struct printer *p)
{
	size_t n = p->count < p->keep ? p->count : p->keep;

	for (uint64_t i = p->count - n; i < p->count; i++) {
		const struct buf *line = &p->lines[i % p->keep];
		fwrite(buf_head(line), 1, buf_len(line), stdout);
	}
}

static void
printer_free(struct printer *p)
{
	for (size_t i = 0; i < p->keep; i++)
		buf_free(&p->lines[i]);
	free(p->lines);
	buf_free(&p->line);
}

static bool
not_an_entry(void)
{
	ctl_warn("what journalctl prints is not to be read as its export format");
	return false;
}

/* Those entries that are whole. False: that is not what journalctl prints. */
static bool
print_entries(struct printer *p, struct buf *in)
{
	struct journal_entry e;
	ssize_t n;

	while ((n = journal_parse(buf_head(in), buf_len(in), &e)) > 0) {
		print_entry(p, &e);
		buf_consume(in, (size_t)n);
	}
	return n == 0 || not_an_entry();
}

/* Until there is something to read. False: nobody reads what we print. */
static bool
wait_for_more(int fd)
{
	struct pollfd fds[] = {{.fd = fd, .events = POLLIN}, {.fd = STDOUT_FILENO}};

	if (fflush(stdout) != 0)
		return false;
	while (poll(fds, 2, -1) < 0 && errno == EINTR)
		;
	return fds[0].revents || !(fds[1].revents & (POLLERR | POLLHUP));
}

/* All that comes. False: that was not to its end. */
static bool
relay(struct printer *p, int fd)
{
	struct buf in = {0};
	bool good = true;
	ssize_t n = 1;

	while (good && n > 0) {
		good = wait_for_more(fd) && buf_reserve(&in, READ_BYTES);
		n = good ? read(fd, buf_tail(&in), READ_BYTES) : 0;
		if (n > 0) {
			buf_commit(&in, (size_t)n);
			good = print_entries(p, &in);
		}
	}
	if (good && buf_len(&in))
		good = not_an_entry();
	buf_free(&in);
	return good;
}

static int
run(const struct ctl *ctl, char **command, const struct journal_query *q)
{
	struct printer p = {.colour = ctl->colour, .keep = journal_lines_wanted(q)};
	int fd = -1, how = 0;
	pid_t pid = spawn(command, &fd);

	if (pid <= 0)
		return no_journalctl(-pid);
	p.lines = ctl_realloc(NULL, p.keep * sizeof(*p.lines));
	memset(p.lines, 0, p.keep * sizeof(*p.lines));
	if (!relay(&p, fd))
		kill(pid, SIGTERM);
	print_kept(&p);
	fd_close(&fd);
	while (waitpid(pid, &how, 0) < 0 && errno == EINTR)
		;
	printer_free(&p);
	if (WIFEXITED(how) && WEXITSTATUS(how)) /* it has said why */
		return STATUS_FAILED;
	if (!p.count && !q->follow)
		ctl_warn("the journal has no such lines");
	return STATUS_OK;
}

int
verb_logs(struct ctl *ctl, const struct args *args)
{
	struct journal_query q;
	redisReply *r = NULL;
	int status = take_query(&q, ctl, args);

	if (!status)
		status = ask_daemon(ctl, &q, &r);
	if (!status) {
		char **command = journal_command(&q);
		if (ctl->redis) { /* it may be long until this ends */
			redisFree(ctl->redis);
			ctl->redis = NULL;
		}
		status = q.output ? become(command) : run(ctl, command, &q);
		journal_command_free(command);
	}
	freeReplyObject(r);
	return status;
}
