/* SPDX-License-Identifier: MIT */
#include "base/text.h"
#include "wire/resp.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define HEAD_MAX 24 /* type, sign, 20 digits, CR LF */

static inline char *
write_crlf(char *s)
{
	return mempcpy(s, "\r\n", 2);
}

/* "<type>[-]<n>\r\n" from s on, which has room for HEAD_MAX. Where it ends. */
static inline char *
write_head(char *s, char type, bool negative, uint64_t n)
{
	assert(s);
	*s++ = type;
	if (negative)
		*s++ = '-';
	return write_crlf(buf_digits(s, n));
}

static void
put_head(struct buf *b, char type, bool negative, uint64_t n)
{
	char *s;

	if (!buf_reserve(b, HEAD_MAX))
		return;
	s = buf_tail(b);
	buf_commit(b, (size_t)(write_head(s, type, negative, n) - s));
}

void
resp_put_simple(struct buf *b, const char *s)
{
	buf_putc(b, '+');
	buf_puts(b, s);
	buf_put(b, "\r\n", 2);
}

static bool
is_blank(char c)
{
	if ((unsigned char)c > ' ') /* as most are */
		return false;
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

void
resp_begin_error(struct buf *b, const char *code)
{
	buf_putc(b, '-');
	buf_puts(b, code);
	buf_putc(b, ' ');
}

void
resp_end_error(struct buf *b)
{
	buf_put(b, "\r\n", 2);
}

void
resp_put_error(struct buf *b, const char *code, const char *text, size_t len)
{
	/* one byte more than is shown: enough for text_escape() to see that it must cut */
	char plain[RESP_ERROR_MAX + 1], shown[RESP_ERROR_MAX + 1];
	size_t n;

	while (len && is_blank(text[len - 1]))
		len--;
	n = len < sizeof(plain) ? len : sizeof(plain);
	for (size_t i = 0; i < n; i++)
		plain[i] = is_blank(text[i]) ? ' ' : text[i];
	buf_putc(b, '-');
	buf_puts(b, code);
	if (n) {
		buf_putc(b, ' ');
		buf_puts(b, text_escape(shown, sizeof(shown), plain, n));
	}
	resp_end_error(b);
}

void
resp_put_errorf(struct buf *b, const char *code, const char *fmt, ...)
{
	char text[RESP_ERROR_MAX + 2];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n < 0)
		n = 0;
	resp_put_error(b, code, text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1);
}

void
resp_put_int(struct buf *b, int64_t n)
{
	put_head(b, ':', n < 0, n < 0 ? -(uint64_t)n : (uint64_t)n);
}

void
resp_put_bulk(struct buf *b, const void *data, size_t len)
{
	char *s, *at;

	if (!buf_reserve(b, HEAD_MAX + len + 2))
		return;
	s = buf_tail(b);
	at = write_head(s, '$', false, len);
	if (len)
		at = mempcpy(at, data, len);
	buf_commit(b, (size_t)(write_crlf(at) - s));
}

void
resp_put_str(struct buf *b, const char *s)
{
	if (s)
		resp_put_bulk(b, s, strlen(s));
	else
		resp_put_null(b, RESP2);
}

void
resp_put_null(struct buf *b, enum resp_proto proto)
{
	if (proto == RESP3)
		buf_put(b, "_\r\n", 3);
	else
		buf_put(b, "$-1\r\n", 5);
}

void
resp_put_bool(struct buf *b, enum resp_proto proto, bool v)
{
	if (proto == RESP3)
		buf_put(b, v ? "#t\r\n" : "#f\r\n", 4);
	else
		buf_put(b, v ? ":1\r\n" : ":0\r\n", 4);
}

#define DOUBLE_MAX 32

/* Millionths as a decimal in the DOUBLE_MAX bytes before end, without trailing
 * zeros, and with a point whatever the locale has. Returns where it starts. */
static char *
format_micros(char *end, bool negative, uint64_t micros)
{
	uint64_t whole = micros / 1000000, fraction = micros % 1000000;
	char *s = end;

	*--s = '\0';
	if (fraction) {
		int digits = 6;

		for (; fraction % 10 == 0; fraction /= 10)
			digits--;
		for (; digits; fraction /= 10, digits--)
			*--s = (char)('0' + fraction % 10);
		*--s = '.';
	}
	do
		*--s = (char)('0' + whole % 10);
	while (whole /= 10);
	if (negative && micros)
		*--s = '-';
	return s;
}

void
resp_put_double(struct buf *b, enum resp_proto proto, double v)
{
	char text[DOUBLE_MAX];
	const char *s = text;

	if (isnan(v))
		s = "nan";
	else if (isinf(v))
		s = v < 0 ? "-inf" : "inf";
	else if (fabs(v) < 1e12)
		s = format_micros(text + DOUBLE_MAX, v < 0, (uint64_t)(fabs(v) * 1e6 + 0.5));
	else
		snprintf(text, sizeof(text), "%.17g", v);
	if (proto == RESP2) {
		resp_put_str(b, s);
		return;
	}
	buf_putc(b, ',');
	buf_puts(b, s);
	buf_put(b, "\r\n", 2);
}

void
resp_put_array(struct buf *b, size_t n)
{
	put_head(b, '*', false, n);
}

void
resp_put_map(struct buf *b, enum resp_proto proto, size_t n)
{
	if (proto == RESP3)
		put_head(b, '%', false, n);
	else
		put_head(b, '*', false, 2 * n);
}

void
resp_put_set(struct buf *b, enum resp_proto proto, size_t n)
{
	put_head(b, proto == RESP3 ? '~' : '*', false, n);
}

void
resp_put_push(struct buf *b, enum resp_proto proto, size_t n)
{
	put_head(b, proto == RESP3 ? '>' : '*', false, n);
}
