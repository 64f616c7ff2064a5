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
#include "act.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum level level;
int fd_out = STDOUT_FILENO;
char job_id[32];
static int fd_in = STDIN_FILENO;
static bool bytewise;
static char inbuf[65536];
static size_t in_at, in_len;

/* ---- bytes ---------------------------------------------------------------- */

void
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

void
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

void
ok(const char *text)
{
	answer("OK", text, strlen(text));
}

void
raw(const char *text)
{
	write_all(fd_out, text, strlen(text));
}

void
nap_ms(long ms)
{
	struct timespec ts = {ms / 1000, ms % 1000 * 1000000};

	while (nanosleep(&ts, &ts) < 0 && errno == EINTR)
		;
}

void
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
