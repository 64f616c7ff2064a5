/* SPDX-License-Identifier: MIT */
#include "wire/resp.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ARGV_FIRST 8  /* arguments to make room for at first */
#define ARGV_KEEP 256 /* and to keep it for */
#define INLINE_KEEP 4096
#define DIGITS_MAX 19 /* of a number in a header line: those of INT64_MAX */

void
resp_parser_init(struct resp_parser *p, const struct resp_limits *limits)
{
	*p = (struct resp_parser){.limits = limits};
}

void
resp_parser_free(struct resp_parser *p)
{
	free(p->argv);
	free(p->inline_text);
	*p = (struct resp_parser){0};
}

void
resp_parser_trim(struct resp_parser *p)
{
	if (p->argv_cap > ARGV_KEEP) {
		free(p->argv);
		p->argv = NULL;
		p->argc = p->argv_cap = p->head_len = 0;
	}
	if (p->inline_cap > INLINE_KEEP) {
		free(p->inline_text);
		p->inline_text = NULL;
		p->inline_cap = 0;
	}
}

static enum resp_result
bad(struct resp_parser *p, const char *error)
{
	p->error = error;
	return RESP_BAD;
}

static enum resp_result
bad_byte(struct resp_parser *p, unsigned char c)
{
	bool printable = c >= ' ' && c <= '~';

	snprintf(p->error_text, sizeof(p->error_text),
		 printable ? "Protocol error: expected '$', got '%c'" :
			     "Protocol error: expected '$', got '\\x%02x'",
		 c);
	return bad(p, p->error_text);
}

static bool
grow_argv(struct resp_parser *p)
{
	size_t cap = p->argv_cap ? p->argv_cap * 2 : ARGV_FIRST;
	struct resp_slice *argv = reallocarray(p->argv, cap, sizeof(*argv));

	if (!argv)
		return false;
	p->argv = argv;
	p->argv_cap = cap;
	return true;
}

static inline bool
push_arg(struct resp_parser *p, const char *data, size_t len)
{
	if (p->argc == p->argv_cap && !grow_argv(p))
		return false;
	p->argv[p->argc++] = (struct resp_slice){data, len};
	return true;
}

/* The bytes lie elsewhere now: so do the arguments in them. Integers, since the old place may
 * be freed memory, which pointers must not be computed from. */
static void
follow_data(struct resp_parser *p, const char *data)
{
	uintptr_t by = (uintptr_t)data - (uintptr_t)p->base;

	if (!by)
		return;
	for (size_t i = 0; i < p->argc; i++)
		p->argv[i].data = (const char *)((uintptr_t)p->argv[i].data + by);
	p->base = data;
}

static inline bool
is_crlf(const char *s)
{
	return memcmp(s, "\r\n", 2) == 0;
}

/* Are the digits from first up to s, if it is not one alone, those of a number that may still
 * be good? As Redis does, refuse leading zeros. */
static bool
are_digits_good(const char *first, const char *s, const char *end, uint64_t n)
{
	if (s == first)
		return s == end;
	return *first != '0' && s - first <= DIGITS_MAX && n <= INT64_MAX;
}

/*
 * The number of a header line, with the CR LF behind it. A line that may still be good has at
 * most 21 bytes, so it costs nothing to read it from its start whenever bytes arrive.
 */
static inline enum resp_result
read_number(const char **at, const char *end, uint64_t *ret)
{
	const char *first = *at, *s = first;
	uint64_t n = 0; /* what overflows it has too many digits */

	for (; s < end && *s >= '0' && *s <= '9'; s++)
		n = n * 10 + (uint64_t)(*s - '0');
	*ret = n;
	if (s != first + 1 && !are_digits_good(first, s, end, n))
		return RESP_BAD;
	if (end - s < 2)
		return s == end || *s == '\r' ? RESP_AGAIN : RESP_BAD;
	if (!is_crlf(s))
		return RESP_BAD;
	*at = s + 2;
	return RESP_OK;
}

/* "*n": announced becomes n, or stays 0 for an empty command, as which one of less than no
 * arguments counts. */
static inline enum resp_result
read_count(struct resp_parser *p, const char **at, const char *end)
{
	const char *s = *at + 1;
	bool negative = s < end && *s == '-';
	enum resp_result r;
	uint64_t n;

	s += negative;
	r = read_number(&s, end, &n);
	if (r == RESP_AGAIN)
		return r;
	if (r == RESP_BAD || (negative ? n == 0 : n > p->limits->max_args))
		return bad(p, "Protocol error: invalid multibulk length");
	p->announced = negative ? 0 : (size_t)n;
	*at = s;
	return RESP_OK;
}

/* "$n" */
static inline enum resp_result
read_length(struct resp_parser *p, const char **at, const char *end, size_t *ret)
{
	const char *s = *at + 1;
	enum resp_result r;
	uint64_t n;

	if (*at == end)
		return RESP_AGAIN;
	if (**at != '$')
		return bad_byte(p, (unsigned char)**at);
	r = read_number(&s, end, &n);
	if (r == RESP_AGAIN)
		return r;
	if (r == RESP_BAD || n > p->limits->max_bulk)
		return bad(p, "Protocol error: invalid bulk length");
	*ret = (size_t)n;
	*at = s;
	return RESP_OK;
}

/* The length is known, the argument comes later: the next call goes on with it. */
static enum resp_result
put_off(struct resp_parser *p, size_t n, enum resp_result r)
{
	p->pending_len = n;
	p->has_pending = true;
	return r;
}

static enum resp_result
bad_end(struct resp_parser *p)
{
	return bad(p, "Protocol error: bulk string not followed by CR LF");
}

static inline enum resp_result
take_body(struct resp_parser *p, const char **at, const char *end, size_t n)
{
	size_t left = (size_t)(end - *at);

	if (left < 2 || left - 2 < n)
		return put_off(p, n, RESP_AGAIN);
	if (!is_crlf(*at + n))
		return bad_end(p);
	if (!push_arg(p, *at, n))
		return bad(p, "out of memory");
	*at += n + 2;
	return RESP_OK;
}

static inline enum resp_result
take_arg(struct resp_parser *p, const char **at, const char *end)
{
	size_t n;
	enum resp_result r = read_length(p, at, end, &n);

	if (r != RESP_OK)
		return r;
	if (n > p->limits->check_above)
		return put_off(p, n, RESP_LENGTH);
	return take_body(p, at, end, n);
}

/* A client's command begins as its last one more often than not: only the last argument, a job's
 * payload or id, is another. The same bytes are the same arguments, so what is as it was is
 * compared, and not read again. */
static void
keep_head(struct resp_parser *p, const char *data)
{
	const struct resp_slice *arg;
	size_t n;

	if (p->argc < 2)
		return;
	arg = &p->argv[p->argc - 2];
	n = (size_t)(arg->data + arg->len + 2 - data);
	if (n > sizeof(p->head))
		return;
	memcpy(p->head, data, n);
	p->head_len = (uint8_t)n;
	p->head_argc = p->argc - 1;
	p->base = data;
}

static inline bool
is_head(const struct resp_parser *p, const char *data, size_t len)
{
	return p->head_len && len >= p->head_len && memcmp(data, p->head, p->head_len) == 0;
}

static void
repeat_head(struct resp_parser *p, const char **at)
{
	p->argc = p->head_argc;
	p->announced = p->argc + 1;
	follow_data(p, *at);
	*at += p->head_len;
}

/* The arguments that are not taken yet: the next one begins here, or its header does. */
static enum resp_result
take_args(struct resp_parser *p, const char *data, const char **at, const char *end)
{
	bool at_once = p->scanned == 0;
	enum resp_result r = RESP_OK;

	if (p->has_pending) {
		p->has_pending = false;
		r = take_body(p, at, end, p->pending_len);
	}
	while (r == RESP_OK && p->argc < p->announced)
		r = take_arg(p, at, end);
	if (r != RESP_OK) {
		p->scanned = (size_t)(*at - data);
		p->base = data;
		return r;
	}
	p->scanned = 0;
	p->announced = 0;
	if (at_once && !p->repeats)
		keep_head(p, data);
	return RESP_OK;
}

static bool
is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* An inline command's line while it is cut into words. */
struct line {
	const char *s, *end;
	char *out; /* where in inline_text the next unquoted byte goes */
};

/* A backslash between double quotes, and what it stands for. */
static void
unescape(struct line *l)
{
	static const char from[] = "nrtba", to[] = "\n\r\t\b\a";
	const char *s = l->s + 1, *named;
	int high, low;

	if (l->end - s >= 3 && s[0] == 'x' && (high = hex_value(s[1])) >= 0 &&
	    (low = hex_value(s[2])) >= 0) {
		*l->out++ = (char)(high << 4 | low);
		l->s = s + 3;
		return;
	}
	named = memchr(from, *s, sizeof(from) - 1);
	*l->out++ = named ? to[named - from] : *s;
	l->s = s + 1;
}

/* From a quote to behind its partner, which must end the word. */
static bool
unquote(struct line *l)
{
	char quote = *l->s++;

	while (l->s < l->end && *l->s != quote) {
		bool escaped = *l->s == '\\' && l->end - l->s >= 2;

		if (escaped && quote == '"') {
			unescape(l);
			continue;
		}
		if (escaped && l->s[1] == '\'')
			l->s++;
		*l->out++ = *l->s++;
	}
	if (l->s == l->end)
		return false;
	l->s++;
	return l->s == l->end || is_space(*l->s);
}

/* What is unquoted is never longer than what it came from, so room for the line
 * is enough for all of its words. */
static bool
reserve_inline(struct resp_parser *p, struct line *l, size_t n)
{
	if (l->out)
		return true;
	if (n > p->inline_cap) {
		char *text = realloc(p->inline_text, n);

		if (!text)
			return false;
		p->inline_text = text;
		p->inline_cap = n;
	}
	l->out = p->inline_text;
	return true;
}

/* A word without quotes is a slice of the line, one with quotes a copy. */
static enum resp_result
take_word(struct resp_parser *p, struct line *l, size_t line_len)
{
	const char *start = l->s;
	char *text;

	while (l->s < l->end && !is_space(*l->s) && *l->s != '"' && *l->s != '\'')
		l->s++;
	if (l->s == l->end || is_space(*l->s))
		return push_arg(p, start, (size_t)(l->s - start)) ? RESP_OK :
								    bad(p, "out of memory");
	if (!reserve_inline(p, l, line_len))
		return bad(p, "out of memory");
	text = l->out;
	l->out = mempcpy(l->out, start, (size_t)(l->s - start));
	if (!unquote(l))
		return bad(p, "Protocol error: unbalanced quotes in request");
	return push_arg(p, text, (size_t)(l->out - text)) ? RESP_OK : bad(p, "out of memory");
}

static enum resp_result
split_line(struct resp_parser *p, const char *s, size_t len)
{
	struct line l = {s, s + len, NULL};
	enum resp_result r;

	for (;;) {
		while (l.s < l.end && is_space(*l.s))
			l.s++;
		if (l.s == l.end)
			return RESP_OK;
		if (p->argc == p->limits->max_args)
			return bad(p, "Protocol error: too many arguments");
		r = take_word(p, &l, len);
		if (r != RESP_OK)
			return r;
	}
}

/* A browser that was made to talk to this socket: its next lines could be
 * commands of somebody else's choice. */
static bool
is_http(const char *s, size_t len)
{
	size_t i = 0, word;

	while (i < len && is_space(s[i]))
		i++;
	for (word = 0; i + word < len && !is_space(s[i + word]); word++)
		;
	return (word == 4 && !strncasecmp(s + i, "POST", 4)) ||
	       (word == 5 && !strncasecmp(s + i, "Host:", 5));
}

static enum resp_result
read_inline(struct resp_parser *p, const char **at, const char *end)
{
	const char *line = *at, *lf;
	size_t left = (size_t)(end - line), n;
	size_t window = left < p->limits->max_inline ? left : p->limits->max_inline;

	lf = p->scanned < window ? memchr(line + p->scanned, '\n', window - p->scanned) : NULL;
	if (!lf) {
		p->scanned = window;
		return left < p->limits->max_inline ?
			       RESP_AGAIN :
			       bad(p, "Protocol error: too big inline request");
	}
	p->scanned = 0;
	n = (size_t)(lf - line);
	*at = lf + 1;
	if (is_http(line, n))
		return RESP_HTTP;
	return split_line(p, line, n);
}

/* Between commands: the head of an array, or all of an inline command. */
static enum resp_result
begin(struct resp_parser *p, const char **at, const char *end)
{
	p->repeats = is_head(p, *at, (size_t)(end - *at));
	if (p->repeats) {
		repeat_head(p, at);
		return RESP_OK;
	}
	p->argc = 0;
	p->head_len = 0;
	if (*at == end)
		return RESP_AGAIN;
	return **at == '*' ? read_count(p, at, end) : read_inline(p, at, end);
}

/* After resp_skip(): go on as take_args() does, but keep nothing. */
static enum resp_result
drop_args(struct resp_parser *p, const char **at, const char *end)
{
	for (; p->argc < p->announced; p->argc++) {
		size_t left, n;

		if (!p->has_pending) {
			enum resp_result r = read_length(p, at, end, &p->pending_len);

			if (r != RESP_OK)
				return r;
		}
		left = (size_t)(end - *at);
		n = left < p->pending_len ? left : p->pending_len;
		*at += n;
		if (left - n < 2)
			return put_off(p, p->pending_len - n, RESP_AGAIN);
		if (!is_crlf(*at))
			return bad_end(p);
		p->has_pending = false;
		*at += 2;
	}
	return RESP_SKIPPED;
}

static enum resp_result
drop(struct resp_parser *p, const char *data, size_t len, size_t *ret_used)
{
	const char *at = data + p->scanned;
	enum resp_result r = drop_args(p, &at, data + len);

	if (r == RESP_BAD)
		return r;
	p->scanned = 0;
	*ret_used = (size_t)(at - data);
	if (r == RESP_SKIPPED) {
		p->skipping = false;
		p->announced = 0;
		p->argc = 0;
	}
	return r;
}

enum resp_result
resp_parse(struct resp_parser *p, const char *data, size_t len, size_t *ret_used)
{
	const char *at = data, *end = data + len;
	enum resp_result r = RESP_OK;

	assert(len >= p->scanned);
	*ret_used = 0;
	if (p->skipping)
		return drop(p, data, len, ret_used);
	if (p->announced) {
		follow_data(p, data);
		at += p->scanned;
	} else {
		r = begin(p, &at, end);
	}
	if (p->announced)
		r = take_args(p, data, &at, end);
	if (r != RESP_OK)
		return r;
	*ret_used = (size_t)(at - data);
	return p->argc ? RESP_OK : RESP_SKIPPED;
}

void
resp_skip(struct resp_parser *p)
{
	assert(p->announced);
	p->skipping = true;
}
