/* SPDX-License-Identifier: MIT */
#include "each/each.h"

#include "base/parse.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <sysexits.h>
#include <unistd.h>

#define HEADER_MAX 128
#define READ_SIZE 65536

/* ---- the descriptors ---- */

static void
put_in_place(int fd, int from)
{
	if (from != fd && dup2(from, fd) < 0)
		err(EX_OSERR, "descriptor %d", fd);
}

/* Nothing that we open may be 0, 1 or 2 by accident. */
static void
fill_standard_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd < 3);
	if (fd < 0)
		err(EX_OSERR, "/dev/null");
	close(fd);
}

/* ---- out ---- */

static void
write_all(int fd, struct iovec *v, int n)
{
	while (n > 0) {
		ssize_t wrote = writev(fd, v, n);

		if (wrote < 0 && errno != EINTR)
			err(EX_IOERR, "cannot answer");
		for (; n > 0 && wrote >= (ssize_t)v->iov_len; v++, n--)
			wrote -= (ssize_t)v->iov_len;
		if (n > 0 && wrote > 0) {
			v->iov_base = (char *)v->iov_base + wrote;
			v->iov_len -= (size_t)wrote;
		}
	}
}

static void
put_message(struct channel *c, const char *head, const char *text, size_t len)
{
	struct iovec v[3] = {
		{.iov_base = (void *)(uintptr_t)head, .iov_len = strlen(head)},
		{.iov_base = (void *)(uintptr_t)text, .iov_len = len},
		{.iov_base = (char[]){'\n'}, .iov_len = 1},
	};

	write_all(c->out, v, 3);
}

static void
put_answer(struct channel *c, const struct each_job *j, enum answer verb, const char *text,
	   size_t len)
{
	static const char *const verbs[] = {
		[ANSWER_OK] = "OK", [ANSWER_ERR] = "ERR", [ANSWER_RETRY] = "RETRY"};
	char head[HEADER_MAX];

	if (c->frame)
		snprintf(head, sizeof(head), "%s %llu %zu\n", verbs[verb],
			 (unsigned long long)j->id, len);
	else
		snprintf(head, sizeof(head), "%s ", verbs[verb]);
	put_message(c, head, text, len);
}

void
channel_answer(struct channel *c, enum answer verb, const char *text, size_t len)
{
	put_answer(c, c->now, verb, text, len);
	free(c->now);
	c->now = NULL;
}

/* ---- in ---- */

/* A job of len bytes at data, at the end of the line of those that wait. */
static void
add_job(struct channel *c, uint64_t id, unsigned attempt, const char *data, size_t len)
{
	struct each_job *j = malloc(sizeof(*j) + len + 1);

	if (!j)
		errx(EX_OSERR, "out of memory for a job of %zu bytes", len);
	*j = (struct each_job){.id = id, .attempt = attempt, .len = len};
	memcpy(j->payload, data, len);
	j->payload[len] = '\0';
	list_append(&c->jobs, &j->link);
}

static void
cancel_job(struct channel *c, uint64_t id)
{
	if (c->now && c->now->id == id)
		c->now->cancelled = true;
	list_foreach(it, next, &c->jobs) {
		struct each_job *j = container_of(it, struct each_job, link);

		if (j->id != id)
			continue;
		list_remove(it);
		put_answer(c, j, ANSWER_ERR, "cancelled", strlen("cancelled"));
		free(j);
	}
}

/* The length of the line at the head of input, or -1 while its end is not there. */
static ssize_t
find_line(struct channel *c)
{
	const char *s = buf_head(&c->input);
	size_t len = buf_len(&c->input);
	const char *lf = len > c->scanned ? memchr(s + c->scanned, '\n', len - c->scanned) : NULL;

	c->scanned = lf ? 0 : len;
	return lf ? lf - s : -1;
}

/* Up to three numbers behind a word. False: it is not of that form. */
static bool
parse_header(const char *s, size_t len, const char *word, uint64_t *numbers, int count)
{
	size_t n = strlen(word);

	if (len < n || memcmp(s, word, n) != 0)
		return false;
	for (int i = 0; i < count; i++) {
		const char *space;

		if (len == n || s[n] != ' ')
			return false;
		s += n + 1;
		len -= n + 1;
		space = memchr(s, ' ', len);
		n = space ? (size_t)(space - s) : len;
		if (parse_u64(s, n, SIZE_MAX / 2, &numbers[i]) != 0)
			return false;
	}
	return n == len;
}

/* One message of level frame. False: not all of it is there. */
static bool
take_frame(struct channel *c)
{
	ssize_t line = find_line(c);
	const char *s = buf_head(&c->input);
	uint64_t numbers[3];
	size_t whole;

	if (line < 0 && buf_len(&c->input) < HEADER_MAX)
		return false;
	if (line >= 0 && parse_header(s, (size_t)line, "CANCEL", numbers, 1)) {
		cancel_job(c, numbers[0]);
		buf_consume(&c->input, (size_t)line + 1);
		return true;
	}
	if (line < 0 || !parse_header(s, (size_t)line, "JOB", numbers, 3))
		errx(EX_PROTOCOL, "what came is not JOB <id> <attempt> <len>");
	whole = (size_t)line + 1 + numbers[2] + 1;
	if (buf_len(&c->input) < whole)
		return false; /* the header is found again: it is short */
	add_job(c, numbers[0], (unsigned)numbers[1], s + line + 1, numbers[2]);
	buf_consume(&c->input, whole);
	return true;
}

static bool
take_line(struct channel *c)
{
	ssize_t line = find_line(c);

	if (line < 0)
		return false;
	add_job(c, 0, 0, buf_head(&c->input), (size_t)line);
	buf_consume(&c->input, (size_t)line + 1);
	return true;
}

void
channel_read(struct channel *c)
{
	ssize_t n;

	if (!buf_reserve(&c->input, READ_SIZE))
		errx(EX_OSERR, "out of memory for a job of more than %zu bytes",
		     buf_len(&c->input));
	n = read(c->in, buf_tail(&c->input), buf_room(&c->input));
	if (n < 0 && errno == EINTR)
		return;
	if (n <= 0) {
		c->eof = true;
		return;
	}
	buf_commit(&c->input, (size_t)n);
	while (c->frame ? take_frame(c) : take_line(c))
		continue;
	buf_trim(&c->input, READ_SIZE);
}

struct each_job *
channel_take(struct channel *c)
{
	struct list *l = list_first(&c->jobs);

	if (!l)
		return NULL;
	list_remove(l);
	c->now = container_of(l, struct each_job, link);
	return c->now;
}

void
channel_open(struct channel *c, bool frame)
{
	const char *where = getenv("PREFORKD_CHANNEL");
	bool fd3 = where && strcmp(where, "fd3") == 0;
	int null;

	*c = (struct channel){.frame = frame};
	list_init(&c->jobs);
	c->in = fcntl(fd3 ? 3 : STDIN_FILENO, F_DUPFD_CLOEXEC, 10);
	c->out = fcntl(fd3 ? 3 : STDOUT_FILENO, F_DUPFD_CLOEXEC, 10);
	if (c->in < 0 || c->out < 0)
		err(EX_OSERR, "the channel");
	if (fd3)
		close(3);
	fill_standard_fds();
	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (null < 0)
		err(EX_OSERR, "/dev/null");
	put_in_place(STDIN_FILENO, null);
	put_in_place(STDOUT_FILENO, STDERR_FILENO);
	close(null);
	put_message(c, frame ? "READY 1" : "READY", NULL, 0);
}

/* The descriptors are left to the exit: a channel that closes before it is a
 * worker that does something odd. */
void
channel_fini(struct channel *c)
{
	while (channel_take(c))
		free(c->now);
	buf_free(&c->input);
}
