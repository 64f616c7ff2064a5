/* SPDX-License-Identifier: MIT */
#include "ctl/map_log.h"

#include "base/fd.h"
#include "base/parse.h"
#include "base/text.h"
#include "ctl/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADING "Seq\tHash\tStart\tSeconds\tResult\tAttempts\tLine\n"
#define HEADING_LEN (sizeof(HEADING) - 1)
#define READ_CHUNK (256U << 10)
#define RECORD_MAX 4096 /* bytes; ours are shorter */
#define SHOWN_MAX 128	/* bytes of a line that are shown, escaped */
#define HASH_DIGITS 16

/* --- reading --- */

/* The next column of *text; false: there is none. */
static bool
take_column(const char **text, size_t *len, const char **ret, size_t *ret_len)
{
	const char *tab = memchr(*text, '\t', *len);

	if (!tab)
		return false;
	*ret = *text;
	*ret_len = (size_t)(tab - *text);
	*text = tab + 1;
	*len -= *ret_len + 1;
	return true;
}

static bool
parse_hash(const char *s, size_t len, uint64_t *ret)
{
	uint64_t hash = 0;

	for (size_t i = 0; i < len; i++) {
		int digit = s[i] >= '0' && s[i] <= '9' ? s[i] - '0' :
			    s[i] >= 'a' && s[i] <= 'f' ? s[i] - 'a' + 10 :
							 -1;
		if (digit < 0)
			return false;
		hash = hash << 4 | (unsigned)digit;
	}
	*ret = hash;
	return len == HASH_DIGITS && hash;
}

bool
map_log_parse(const char *text, size_t len, uint64_t *ret_hash, bool *ret_ok, bool *ret_again)
{
	enum { SEQ, HASH, START, SECONDS, RESULT, ATTEMPTS, COLUMNS };
	const char *column[COLUMNS];
	size_t n[COLUMNS];
	uint64_t number;

	for (int i = 0; i < COLUMNS; i++)
		if (!take_column(&text, &len, &column[i], &n[i]))
			return false;
	*ret_again = n[ATTEMPTS] && *column[ATTEMPTS] == '+';
	*ret_ok = n[RESULT] == 2 && memcmp(column[RESULT], "ok", 2) == 0;
	return n[RESULT] && parse_hash(column[HASH], n[HASH], ret_hash) &&
	       parse_u64(column[SEQ], n[SEQ], UINT64_MAX, &number) == 0 &&
	       parse_u64(column[ATTEMPTS] + *ret_again, n[ATTEMPTS] - *ret_again, UINT32_MAX,
			 &number) == 0;
}

static void
count_record(struct map_log *l, uint64_t hash, bool ok, bool again)
{
	struct tally_row *row = tally_get(&l->tally, hash);

	if (again && row->failed) {
		row->failed--;
		l->was_failed--;
	}
	row->done += ok;
	row->failed += !ok;
	l->was_done += ok;
	l->was_failed += !ok;
}

/* What is done with each line of a file: which one, from its start. */
typedef bool (*on_line)(struct map_log *l, uint64_t number, const char *text, size_t len);

static bool
on_counted(struct map_log *l, uint64_t number, const char *text, size_t len)
{
	(void)text;
	(void)len;
	l->was_done = number;
	return true;
}

static bool
on_record(struct map_log *l, uint64_t number, const char *text, size_t len)
{
	uint64_t hash;
	bool ok, again;

	if (number == 1) /* the heading */
		return len + 1 == HEADING_LEN && memcmp(text, HEADING, len) == 0;
	if (!map_log_parse(text, len, &hash, &ok, &again))
		return false;
	count_record(l, hash, ok, again);
	return true;
}

/* Walk through the whole lines of the file; *ret_end: where the last one ends.
 * 0, an errno, or -1 when a line is not as it should be, which is *ret_line. */
static int
walk(struct map_log *l, on_line on, off_t *ret_end, uint64_t *ret_line)
{
	struct buf b = {0};
	int result = 0;
	ssize_t n = 1;

	*ret_end = 0;
	*ret_line = 0;
	for (off_t at = 0; n > 0 && result == 0; at += n > 0 ? n : 0) {
		if (!buf_reserve(&b, READ_CHUNK)) {
			result = ENOMEM;
			break;
		}
		n = pread(l->fd, buf_tail(&b), READ_CHUNK, at);
		if (n < 0)
			result = errno;
		buf_commit(&b, n > 0 ? (size_t)n : 0);
		char *lf;
		while (result == 0 && buf_len(&b) &&
		       (lf = memchr(buf_head(&b), '\n', buf_len(&b)))) {
			size_t len = (size_t)(lf - buf_head(&b));
			if (!on(l, ++*ret_line, buf_head(&b), len))
				result = -1;
			buf_consume(&b, len + 1);
			*ret_end += (off_t)len + 1;
		}
		if (result == 0 && buf_len(&b) > RECORD_MAX) {
			++*ret_line;
			result = -1;
		}
	}
	buf_free(&b);
	return result;
}

/* --- opening --- */

static int
cannot(const struct map_log *l, const char *what, int error)
{
	char shown[256];

	ctl_warn("cannot %s %s: %s", what, text_escape_str(shown, sizeof(shown), l->path),
		 strerror(error));
	return STATUS_FAILED;
}

static int
not_a_log(const struct map_log *l, uint64_t line)
{
	char shown[256];

	text_escape_str(shown, sizeof(shown), l->path);
	if (line <= 1)
		ctl_warn("%s is not a log of map's", shown);
	else
		ctl_warn("%s: line %llu is not a record of map's", shown, (unsigned long long)line);
	ctl_hint("nothing was done, and the file is as it was");
	return STATUS_USAGE;
}

/* At once: a file that cannot be written is known before a job has run. */
static int
write_heading(struct map_log *l)
{
	buf_puts(&l->records, HEADING);
	int error = map_log_write(l, 0, 0);
	return error ? cannot(l, "write", error) : STATUS_OK;
}

/* No record; the heading may be torn itself. */
static bool
is_heading_only(const struct map_log *l, off_t size)
{
	char start[HEADING_LEN];

	return size <= (off_t)HEADING_LEN && pread(l->fd, start, (size_t)size, 0) == size &&
	       memcmp(start, HEADING, (size_t)size) == 0;
}

/* Count, then read: the table gets its size once. A record that was torn when its
 * map was killed ends without a line feed, and goes. */
static int
read_log(struct map_log *l, off_t size)
{
	off_t end;
	uint64_t line;
	int error = walk(l, on_counted, &end, &line);

	if (error == 0) {
		tally_init(&l->tally, (size_t)l->was_done);
		l->was_done = 0;
		error = walk(l, on_record, &end, &line);
	}
	if (error > 0)
		return cannot(l, "read", error);
	if (error < 0)
		return not_a_log(l, line);
	if (end == 0 && size > 0 && !is_heading_only(l, size))
		return not_a_log(l, 1);
	if (end < size && ftruncate(l->fd, end) != 0)
		return cannot(l, "write", errno);
	return end == 0 ? write_heading(l) : STATUS_OK;
}

/* A log that is there is gone on with, or left alone. */
static int
look_at_file(struct map_log *l)
{
	struct stat st;
	char shown[256];

	text_escape_str(shown, sizeof(shown), l->path);
	if (fstat(l->fd, &st) != 0)
		return cannot(l, "read", errno);
	if (S_ISREG(st.st_mode) && flock(l->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
		ctl_warn("%s is in use by another map", shown);
		return STATUS_LATER;
	}
	if (l->use != LOG_NEW && !S_ISREG(st.st_mode)) {
		ctl_warn("%s is not a file that can be read again", shown);
		return STATUS_USAGE;
	}
	if (l->use != LOG_NEW)
		return read_log(l, st.st_size);
	if (S_ISREG(st.st_mode) && st.st_size > 0 && !is_heading_only(l, st.st_size)) {
		ctl_warn("%s is there already", shown);
		ctl_hint("go on with it: --resume %s; or remove it, or name another file", shown);
		return STATUS_USAGE;
	}
	if (st.st_size == (off_t)HEADING_LEN)
		return STATUS_OK;
	/* one that was torn is written anew */
	if (st.st_size > 0 && ftruncate(l->fd, 0) != 0)
		return cannot(l, "write", errno);
	return write_heading(l);
}

int
map_log_open(struct map_log *l, const char *path, enum log_use use)
{
	int flags = O_APPEND | O_CLOEXEC | O_NOCTTY;
	struct timespec ts;

	*l = (struct map_log){.use = use, .path = path, .fd = -1};
	if (use == LOG_NONE)
		return STATUS_OK;
	flags |= O_RDWR | (use == LOG_RETRY ? 0 : O_CREAT);
	l->fd = open(path, flags, 0666);
	if (l->fd < 0)
		return cannot(l, use == LOG_RETRY ? "read" : "write", errno);
	clock_gettime(CLOCK_REALTIME, &ts);
	l->unix_us = ts.tv_sec * USEC_PER_SEC + ts.tv_nsec / 1000 - mono_now().us;
	return look_at_file(l);
}

void
map_log_close(struct map_log *l)
{
	fd_close(&l->fd);
	tally_free(&l->tally);
	buf_free(&l->records);
	l->use = LOG_NONE;
}

/* --- what is to be done --- */

bool
map_log_wants(struct map_log *l, uint64_t hash, bool *ret_again)
{
	struct tally_row *row = tally_find(&l->tally, hash);

	*ret_again = false;
	if (l->use == LOG_RESUME && row && row->done) {
		row->done--;
		return false;
	}
	if (row && row->failed) {
		row->failed--;
		l->again++;
		*ret_again = true;
	}
	return l->use != LOG_RETRY || *ret_again;
}

/* --- writing --- */

static void
put_hash(struct buf *b, uint64_t hash)
{
	char digits[HASH_DIGITS];

	for (int i = HASH_DIGITS; i-- > 0; hash >>= 4)
		digits[i] = "0123456789abcdef"[hash & 15];
	buf_put(b, digits, sizeof(digits));
}

/* Seconds with three digits behind the point. */
static void
put_seconds(struct buf *b, int64_t us)
{
	unsigned ms = (unsigned)(us / 1000 % 1000);
	char fraction[] = {'.', (char)('0' + ms / 100), (char)('0' + ms / 10 % 10),
			   (char)('0' + ms % 10)};

	buf_put_u64(b, (uint64_t)(us / USEC_PER_SEC));
	buf_put(b, fraction, sizeof(fraction));
}

void
map_log_add(struct map_log *l, const struct log_record *r)
{
	struct buf *b = &l->records;
	char shown[SHOWN_MAX];

	buf_put_u64(b, r->line);
	buf_putc(b, '\t');
	put_hash(b, r->hash);
	buf_putc(b, '\t');
	put_seconds(b, r->sent.us + l->unix_us);
	buf_putc(b, '\t');
	put_seconds(b, mono_since(r->answered, r->sent));
	buf_putc(b, '\t');
	buf_puts(b, r->result);
	buf_puts(b, r->again ? "\t+" : "\t");
	buf_put_u64(b, r->attempts);
	buf_putc(b, '\t');
	buf_puts(b, text_escape(shown, sizeof(shown), r->text, r->len));
	buf_putc(b, '\n');
}

static int
write_records(struct map_log *l, size_t n)
{
	while (n) {
		ssize_t done = write(l->fd, buf_head(&l->records), n);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done < 0 ? errno : EIO;
		buf_consume(&l->records, (size_t)done);
		n -= (size_t)done;
	}
	return 0;
}

int
map_log_write(struct map_log *l, uint64_t added, uint64_t written)
{
	int error = 0;

	if (buf_failed(&l->records))
		return ENOMEM;
	while (!error && l->fd >= 0 && buf_len(&l->records)) {
		if (!l->marked) {
			l->marked = buf_len(&l->records);
			l->mark_at = added;
		}
		if (written < l->mark_at)
			break;
		error = write_records(l, l->marked);
		l->marked = 0;
	}
	return error;
}
