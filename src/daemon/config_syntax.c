/* SPDX-License-Identifier: MIT */
#include "daemon/config_syntax.h"

#include "base/mem.h"
#include "base/text.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DEPTH_MAX 16
#define SHOWN_MAX 40  /* of a word in a message */
#define SHOWN_SIDE 60 /* of a line, on either side of the mistake */

struct name {
	const char *at;
	size_t len;
};

struct scan {
	const char *text, *p, *end;
	struct syntax *ret;
	int depth;
	struct name *names; /* of the groups that are open, the innermost last */
	size_t n_names, names_cap;
};

/* All parsers return false when they have failed; then at and message are set. */
static bool parse_value(struct scan *s);

__attribute__((format(printf, 3, 4))) static bool
fail(struct scan *s, const char *at, const char *fmt, ...)
{
	va_list ap;

	/* What is missing at the end is shown behind the last thing that is there. */
	while (at == s->end && at > s->text && isspace((unsigned char)at[-1]))
		s->end = --at;
	s->ret->at = (size_t)(at - s->text);
	va_start(ap, fmt);
	vsnprintf(s->ret->message, sizeof(s->ret->message), fmt, ap);
	va_end(ap);
	return false;
}

static unsigned
line_of(const struct scan *s, const char *at)
{
	return syntax_line(s->text, (size_t)(at - s->text));
}

static const char *
end_of_line(const struct scan *s, const char *p)
{
	const char *lf = memchr(p, '\n', (size_t)(s->end - p));

	return lf ? lf : s->end;
}

static bool
skip_comment(struct scan *s)
{
	const char *start = s->p;

	if (*s->p == '#' || s->p[1] == '/') {
		s->p = end_of_line(s, s->p);
		return true;
	}
	s->p = memmem(start + 2, (size_t)(s->end - start) - 2, "*/", 2);
	if (!s->p)
		return fail(s, start, "this comment does not end: */ is missing");
	s->p += 2;
	return true;
}

static bool
at_comment(const struct scan *s)
{
	if (s->p == s->end)
		return false;
	return *s->p == '#' || (*s->p == '/' && s->end - s->p > 1 && strchr("/*", s->p[1]));
}

static bool
skip_space(struct scan *s)
{
	for (;;) {
		while (s->p < s->end && *s->p && strchr(" \t\r\n\f", *s->p))
			s->p++;
		if (!at_comment(s))
			return true;
		if (!skip_comment(s))
			return false;
	}
}

static bool
is_name_char(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '-' || c == '*';
}

static bool
at_char(const struct scan *s, char c)
{
	return s->p < s->end && *s->p == c;
}

/* How many bytes look as if they were meant as one word. */
static int
word_len(const struct scan *s, const char *p)
{
	const char *q = p;

	while (q < s->end && *q && !strchr(" \t\r\n\f;,=:{}[]()\"#", *q))
		q++;
	if (q == p && q < s->end)
		q++;
	return q - p < SHOWN_MAX ? (int)(q - p) : SHOWN_MAX;
}

/* strings */

static bool
parse_one_string(struct scan *s)
{
	const char *start = s->p++;

	for (; s->p < s->end && *s->p != '"'; s->p++) {
		if (*s->p == '\n')
			break;
		if (*s->p != '\\' || s->end - s->p < 2)
			continue;
		if (strncasecmp(s->p, "\\x00", 4) == 0)
			return fail(s, s->p, "a string cannot hold a zero byte");
		s->p++;
	}
	if (!at_char(s, '"'))
		return fail(s, start,
			    "this string does not end in its line: a \" is missing "
			    "(a line break in a string is \\n)");
	s->p++;
	return true;
}

/* Strings that follow each other are one. */
static bool
parse_string(struct scan *s)
{
	do {
		if (!parse_one_string(s) || !skip_space(s))
			return false;
	} while (at_char(s, '"'));
	return true;
}

/* numbers */

static void
note_number(struct scan *s, const char *start)
{
	struct syntax *r = s->ret;

	if ((r->n_numbers & (r->n_numbers + 1)) == 0) { /* 0, 1, 3, 7 …: full */
		r->numbers = realloc(r->numbers, (2 * r->n_numbers + 1) * sizeof(*r->numbers));
		if (!r->numbers)
			mem_out();
	}
	r->numbers[r->n_numbers++] = mem_printf("%.*s", (int)(s->p - start), start);
}

static void
skip_digits(struct scan *s)
{
	while (s->p < s->end && isdigit((unsigned char)*s->p))
		s->p++;
}

static bool
skip_exponent(struct scan *s)
{
	const char *p = s->p;

	if (p == s->end || (*p != 'e' && *p != 'E'))
		return false;
	p++;
	if (p < s->end && (*p == '-' || *p == '+'))
		p++;
	if (p == s->end || !isdigit((unsigned char)*p))
		return false;
	s->p = p;
	skip_digits(s);
	return true;
}

static bool
at_hex(const struct scan *s)
{
	return s->end - s->p > 2 && s->p[0] == '0' && (s->p[1] == 'x' || s->p[1] == 'X') &&
	       isxdigit((unsigned char)s->p[2]);
}

/* Only an integer may have one L or two behind it. */
static void
skip_number(struct scan *s)
{
	if (at_hex(s)) {
		for (s->p += 2; s->p < s->end && isxdigit((unsigned char)*s->p);)
			s->p++;
	} else {
		if (*s->p == '-' || *s->p == '+')
			s->p++;
		skip_digits(s);
		if (at_char(s, '.')) {
			s->p++;
			skip_digits(s);
			skip_exponent(s);
			return;
		}
		if (skip_exponent(s))
			return;
	}
	for (int i = 0; i < 2 && at_char(s, 'L'); i++)
		s->p++;
}

static bool
parse_number(struct scan *s)
{
	const char *start = s->p;

	skip_number(s);
	if (s->p < s->end && (is_name_char(*s->p) || *s->p == '.' || *s->p == '%')) {
		int len = word_len(s, start);

		return fail(
			s, start,
			"%.*s is not a number; durations, sizes and ranges are strings: \"%.*s\"",
			len, start, len, start);
	}
	note_number(s, start);
	return true;
}

/* words without quotes */

static bool
parse_word(struct scan *s)
{
	static const struct {
		const char *word, *meant;
	} bools[] = {{"yes", "true"}, {"on", "true"}, {"no", "false"}, {"off", "false"}};
	const char *start = s->p;
	int len = word_len(s, start);

	if ((len == 4 && strncasecmp(start, "true", 4) == 0) ||
	    (len == 5 && strncasecmp(start, "false", 5) == 0)) {
		s->p += len;
		return true;
	}
	for (size_t i = 0; i < sizeof(bools) / sizeof(bools[0]); i++)
		if ((size_t)len == strlen(bools[i].word) &&
		    strncasecmp(start, bools[i].word, (size_t)len) == 0)
			return fail(s, start,
				    "%.*s is not a value; write %s, or \"%.*s\" for a string", len,
				    start, bools[i].meant, len, start);
	return fail(s, start, "%.*s is not a value; strings stand in quotes: \"%.*s\"", len, start,
		    len, start);
}

/* lists and groups */

static bool
enter(struct scan *s)
{
	if (++s->depth > DEPTH_MAX)
		return fail(s, s->p, "nested too deep");
	s->p++;
	return skip_space(s);
}

static bool
leave(struct scan *s)
{
	s->depth--;
	s->p++;
	return true;
}

static bool
fail_at_end(struct scan *s, const char *open, char close)
{
	return fail(s, open, "this %c is not closed: a %c is missing", *open, close);
}

/* What separates values in an array or a list. */
static bool
parse_comma(struct scan *s, const char *open, char close)
{
	if (!skip_space(s))
		return false;
	if (s->p == s->end)
		return fail_at_end(s, open, close);
	if (*s->p != ',')
		return fail(s, s->p, "a comma is expected here, or the %c that closes", close);
	s->p++;
	if (!skip_space(s))
		return false;
	if (at_char(s, close))
		return fail(s, s->p, "a comma before the %c that closes: leave the last comma out",
			    close);
	return true;
}

/* '"' for strings, '0' for numbers, 't' for true and false, else the character. */
static char
kind_of(char c)
{
	if (isdigit((unsigned char)c) || (c && strchr("+-.", c)))
		return '0';
	return isalpha((unsigned char)c) ? 't' : c;
}

static bool
parse_element(struct scan *s, char close, char *first)
{
	const char *start = s->p;
	char kind = kind_of(*start);

	if (close == ']' && strchr("[({", kind))
		return fail(s, start,
			    "[ ] holds plain values only; a list of groups or lists is ( )");
	if (!parse_value(s))
		return false;
	if (close == ']' && *first && kind != *first)
		return fail(s, start, "the values in [ ] must be of one type");
	*first = kind;
	return skip_space(s);
}

static bool
parse_elements(struct scan *s, char close)
{
	const char *open = s->p;
	char first = 0;

	if (!enter(s))
		return false;
	if (at_char(s, close))
		return leave(s);
	for (;;) {
		if (s->p == s->end)
			return fail_at_end(s, open, close);
		if (!parse_element(s, close, &first))
			return false;
		if (at_char(s, close))
			return leave(s);
		if (!parse_comma(s, open, close))
			return false;
	}
}

static bool
note_name(struct scan *s, size_t group, struct name name)
{
	for (size_t i = group; i < s->n_names; i++)
		if (s->names[i].len == name.len && memcmp(s->names[i].at, name.at, name.len) == 0)
			return fail(s, name.at, "%.*s is set twice, in line %u too",
				    word_len(s, name.at), name.at, line_of(s, s->names[i].at));
	if (s->n_names == s->names_cap) {
		s->names_cap = 2 * s->names_cap + 16;
		s->names = realloc(s->names, s->names_cap * sizeof(*s->names));
		if (!s->names)
			mem_out();
	}
	s->names[s->n_names++] = name;
	return true;
}

static bool
fail_no_name(struct scan *s)
{
	if (word_len(s, s->p) > 7 && strncmp(s->p, "@include", 8) == 0)
		return fail(s, s->p,
			    "@include is not read: there is one file for the daemon and one "
			    "for each pool");
	if (strchr("]})", *s->p))
		return fail(s, s->p, "nothing is open that this %c could close", *s->p);
	if (strchr(";,", *s->p))
		return fail(s, s->p, "a %c too many", *s->p);
	if (*s->p == '"')
		return fail(s, s->p, "a key is expected here; keys have no quotes");
	return fail(s, s->p, "a key is expected here: name = value;");
}

static bool
parse_setting(struct scan *s, size_t group)
{
	struct name name = {s->p, 0};

	if (!isalpha((unsigned char)*s->p) && *s->p != '*')
		return fail_no_name(s);
	while (s->p < s->end && is_name_char(*s->p))
		s->p++;
	name.len = (size_t)(s->p - name.at);
	if (!note_name(s, group, name) || !skip_space(s))
		return false;
	if (at_char(s, '.'))
		return fail(s, s->p,
			    "a key of a group is written in its group: %.*s = { key = value; }",
			    word_len(s, name.at) < (int)name.len ? word_len(s, name.at) :
								   (int)name.len,
			    name.at);
	if (!at_char(s, '=') && !at_char(s, ':'))
		return fail(s, name.at, "a = is missing behind %.*s", word_len(s, name.at),
			    name.at);
	s->p++;
	if (!skip_space(s) || !parse_value(s) || !skip_space(s))
		return false;
	if (at_char(s, ';') || at_char(s, ','))
		s->p++;
	return skip_space(s);
}

static bool
parse_group(struct scan *s)
{
	const char *open = s->p;
	size_t group = s->n_names;

	if (!enter(s))
		return false;
	while (!at_char(s, '}')) {
		if (s->p == s->end)
			return fail_at_end(s, open, '}');
		if (!parse_setting(s, group))
			return false;
	}
	s->n_names = group;
	return leave(s);
}

static bool
parse_value(struct scan *s)
{
	if (s->p == s->end || strchr(";,)}]", *s->p))
		return fail(s, s->p, "a value is missing");
	if (*s->p == '"')
		return parse_string(s);
	if (*s->p == '[')
		return parse_elements(s, ']');
	if (*s->p == '(')
		return parse_elements(s, ')');
	if (*s->p == '{')
		return parse_group(s);
	if (*s->p == '\'')
		return fail(s, s->p, "strings stand in double quotes: \"…\"");
	if (isdigit((unsigned char)*s->p) ||
	    (s->end - s->p > 1 && strchr("+-.", *s->p) && strchr(".0123456789", s->p[1])))
		return parse_number(s);
	return parse_word(s);
}

bool
syntax_check(const char *text, size_t len, struct syntax *ret)
{
	struct scan s = {.text = text, .p = text, .end = text + len, .ret = ret};
	bool good;

	memset(ret, 0, sizeof(*ret));
	good = skip_space(&s);
	while (good && s.p < s.end)
		good = parse_setting(&s, 0);
	free(s.names);
	return good;
}

void
syntax_free(struct syntax *s)
{
	for (size_t i = 0; i < s->n_numbers; i++)
		free(s->numbers[i]);
	free(s->numbers);
	memset(s, 0, sizeof(*s));
}

unsigned
syntax_line(const char *text, size_t at)
{
	unsigned line = 1;

	for (size_t i = 0; i < at; i++)
		line += text[i] == '\n';
	return line;
}

/* Escaped, but a tab is a blank: what is below must stay below. */
static void
show_part(char dst[4 * SHOWN_SIDE + 8], const char *text, size_t len)
{
	char copy[SHOWN_SIDE] = {0};

	for (size_t i = 0; i < len; i++)
		copy[i] = text[i] == '\t' ? ' ' : text[i];
	text_escape(dst, 4 * SHOWN_SIDE + 8, copy, len);
}

void
syntax_show(const char *text, size_t len, size_t at, struct buf *out)
{
	size_t start = at, end = at, columns = 0;
	char before[4 * SHOWN_SIDE + 8], behind[4 * SHOWN_SIDE + 8];

	while (start > 0 && text[start - 1] != '\n' && at - start < SHOWN_SIDE)
		start--;
	while (end < len && text[end] != '\n' && text[end] != '\r' && end - at < SHOWN_SIDE)
		end++;
	show_part(before, text + start, at - start);
	show_part(behind, text + at, end - at);
	for (const char *c = before; *c; c++)
		columns += ((unsigned char)*c & 0xc0) != 0x80;
	buf_putf(out, "    %s%s\n    %*s^\n", before, behind, (int)columns, "");
}
