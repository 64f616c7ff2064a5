/* SPDX-License-Identifier: MIT */
#include "base/mem.h"
#include "daemon/config_read.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BYTES_MAX (1024 * 1024)

/* 0 or -errno. */
static int
read_bytes(int fd, struct buf *text)
{
	while (buf_len(text) <= FILE_BYTES_MAX) {
		ssize_t n;

		if (!buf_reserve(text, 8192))
			mem_out();
		n = read(fd, buf_tail(text), 8192);
		if (n == 0)
			return 0;
		if (n > 0)
			buf_commit(text, (size_t)n);
		else if (errno != EINTR)
			return -errno;
	}
	return -EFBIG;
}

/* A directory says what it is by itself. */
static bool
may_block(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
}

/* waits: it may be a pipe, whose writer is waited for. */
static int
read_text(const char *path, bool waits, struct buf *text)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | (waits ? 0 : O_NONBLOCK));
	int r;

	if (fd < 0)
		return -errno;
	r = !waits && may_block(fd) ? -ESPIPE : read_bytes(fd, text);
	close(fd);
	return r;
}

static const char *
read_error(int r)
{
	switch (r) {
	case -EFBIG:
		return "more than 1M";
	case -ESPIPE:
		return "it is not a regular file";
	default:
		return strerror(-r);
	}
}

static void
syntax_mistake(struct mistakes *m, const char *path, const char *text, size_t at, const char *what)
{
	struct reading r = {.mistakes = m, .file = path, .prefix = ""};

	mistake_at(&r, syntax_line(text, at), NULL, "syntax: %s", what);
	syntax_show(text, strlen(text), at, m->out);
}

/* What libconfig refuses and the check before it did not: it knows the line only. */
static void
parse_mistake(struct config_file *f, const char *path, struct mistakes *m)
{
	const char *text = f->text, *what = config_error_text(&f->config);

	for (int line = 1; line < config_error_line(&f->config); line++) {
		const char *lf = strchr(text, '\n');

		if (!lf || !lf[1])
			break;
		text = lf + 1;
	}
	text += strspn(text, " \t");
	syntax_mistake(m, path, f->text, (size_t)(text - f->text), what ? what : "syntax error");
}

/* Give each number its own text. They come in the text's order in both. */
static size_t
hook_numbers(struct config_file *f, config_setting_t *s, size_t next)
{
	if (!config_setting_is_aggregate(s)) {
		if (config_setting_is_number(s) && next < f->syntax.n_numbers)
			config_setting_set_hook(s, f->syntax.numbers[next]);
		return next + (config_setting_is_number(s) ? 1 : 0);
	}
	for (int i = 0; i < config_setting_length(s); i++)
		next = hook_numbers(f, config_setting_get_elem(s, (unsigned)i), next);
	return next;
}

static bool
parse_text(struct config_file *f, const char *path, struct mistakes *m)
{
	size_t len = strlen(f->text);

	if (!syntax_check(f->text, len, &f->syntax)) {
		syntax_mistake(m, path, f->text, f->syntax.at, f->syntax.message);
		return false;
	}
	if (!config_read_string(&f->config, f->text)) {
		parse_mistake(f, path, m);
		return false;
	}
	if (hook_numbers(f, config_root_setting(&f->config), 0) != f->syntax.n_numbers) {
		mistake_in(m, path, "its numbers cannot be told apart: write them in decimal");
		return false;
	}
	return true;
}

bool
config_file_open(struct config_file *f, const char *path, bool waits, struct mistakes *m)
{
	struct buf text = {0};
	size_t len;
	int r;

	memset(f, 0, sizeof(*f));
	config_init(&f->config);
	r = read_text(path, waits, &text);
	if (r < 0) {
		mistake_in(m, path, "cannot read it: %s", read_error(r));
		buf_free(&text);
		return false;
	}
	/* libconfig does not see a comment that ends with the file and not with a line. */
	buf_putc(&text, '\n');
	len = buf_len(&text);
	f->text = buf_steal(&text, NULL);
	if (!f->text)
		mem_out();
	if (strlen(f->text) == len)
		return parse_text(f, path, m);
	syntax_mistake(m, path, f->text, strlen(f->text),
		       "a zero byte behind this: this is not a text file");
	return false;
}

void
config_file_close(struct config_file *f)
{
	config_destroy(&f->config);
	syntax_free(&f->syntax);
	free(f->text);
}
