/* SPDX-License-Identifier: MIT */
#include "ctl/json.h"

#include "ctl/ctl.h"
#include "ctl/reply.h"

#include <stdio.h>
#include <string.h>

/* Fields that are numbers with a fraction, which RESP2 can send only as text. */
static const char *const fractions[] = {"done_per_s"};

/* The range of the second byte that a lead byte allows; it keeps out overlong
 * forms, surrogates and what is above U+10FFFF. */
static bool
second_byte_ok(unsigned char lead, unsigned char second)
{
	unsigned char low = 0x80, high = 0xbf;

	switch (lead) {
	case 0xe0:
		low = 0xa0;
		break;
	case 0xed:
		high = 0x9f;
		break;
	case 0xf0:
		low = 0x90;
		break;
	case 0xf4:
		high = 0x8f;
		break;
	default:
		break;
	}
	return second >= low && second <= high;
}

size_t
json_utf8(const char *s, size_t len)
{
	unsigned char lead = (unsigned char)s[0];
	size_t n = lead < 0x80 ? 1 :
		   lead < 0xc2 ? 0 :
		   lead < 0xe0 ? 2 :
		   lead < 0xf0 ? 3 :
		   lead < 0xf5 ? 4 :
				 0;

	if (n < 2)
		return n;
	if (n > len || !second_byte_ok(lead, (unsigned char)s[1]))
		return 0;
	for (size_t i = 2; i < n; i++)
		if (((unsigned char)s[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

static void
put_ascii(struct buf *b, char c)
{
	static const char plain[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
	const char *at = c ? strchr(plain, c) : NULL;

	if (at) {
		buf_putc(b, '\\');
		buf_putc(b, letters[at - plain]);
	} else if ((unsigned char)c < 0x20 || c == 0x7f) {
		buf_putf(b, "\\u%04x", (unsigned)(unsigned char)c);
	} else {
		buf_putc(b, c);
	}
}

void
json_string(struct buf *b, const char *s, size_t len)
{
	buf_putc(b, '"');
	while (len) {
		size_t n = json_utf8(s, len);
		if (n == 0)
			buf_puts(b, "\\ufffd");
		else if (n == 1)
			put_ascii(b, *s);
		else
			buf_put(b, s, n);
		n = n ? n : 1;
		s += n;
		len -= n;
	}
	buf_putc(b, '"');
}

static void
put_base64(struct buf *b, const char *s, size_t len)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < len; i += 3) {
		uint32_t word = 0;
		for (size_t k = 0; k < 3; k++)
			word = word << 8 | (i + k < len ? (unsigned char)s[i + k] : 0);
		for (size_t k = 0; k < 4; k++)
			buf_putc(b, i + k > len ? '=' : digits[word >> (18 - 6 * k) & 63]);
	}
}

void
json_bytes(struct buf *b, const char *name, const char *s, size_t len)
{
	size_t i = 0, n;

	while (i < len && (n = json_utf8(s + i, len - i)) != 0)
		i += n;
	if (i == len) {
		buf_putf(b, "\"%s\":", name);
		json_string(b, s, len);
		return;
	}
	buf_putf(b, "\"%s_base64\":\"", name);
	put_base64(b, s, len);
	buf_putc(b, '"');
}

static bool
is_fraction(const redisReply *name)
{
	for (size_t i = 0; i < sizeof(fractions) / sizeof(fractions[0]); i++)
		if (strcmp(name->str, fractions[i]) == 0)
			return true;
	return false;
}

static void
put_map(struct buf *b, const redisReply *map)
{
	double d;

	buf_putc(b, '{');
	for (size_t i = 0; i + 1 < map->elements; i += 2) {
		const redisReply *name = map->element[i], *value = map->element[i + 1];
		if (!reply_is_text(name))
			continue;
		buf_puts(b, i ? "," : "");
		json_string(b, name->str, name->len);
		buf_putc(b, ':');
		if (is_fraction(name) && reply_as_double(value, &d))
			buf_putf(b, "%.10g", d);
		else
			json_reply(b, value, JSON_LIST);
	}
	buf_putc(b, '}');
}

static void
put_list(struct buf *b, const redisReply *list, enum json_shape shape)
{
	buf_putc(b, '[');
	for (size_t i = 0; i < list->elements; i++) {
		buf_puts(b, i ? "," : "");
		json_reply(b, list->element[i], shape == JSON_MAPS ? JSON_MAP : JSON_LIST);
	}
	buf_putc(b, ']');
}

void
json_reply(struct buf *b, const redisReply *r, enum json_shape shape)
{
	if (reply_is_array(r)) {
		if (shape == JSON_MAP)
			put_map(b, r);
		else
			put_list(b, r, shape);
	} else if (r->type == REDIS_REPLY_INTEGER) {
		buf_putf(b, "%lld", r->integer);
	} else if (reply_is_nil(r)) {
		buf_puts(b, "null");
	} else {
		json_string(b, r->str, r->len);
	}
}

int
json_flush(struct buf *b)
{
	if (buf_failed(b)) {
		ctl_warn("out of memory");
		return STATUS_OS;
	}
	fwrite(buf_len(b) ? buf_head(b) : "", 1, buf_len(b), stdout);
	buf_consume(b, buf_len(b));
	return STATUS_OK;
}

int
json_finish(struct buf *b)
{
	buf_putc(b, '\n');
	int status = json_flush(b);
	buf_free(b);
	return status;
}

int
json_print(const redisReply *r, enum json_shape shape)
{
	struct buf b = {0};

	json_reply(&b, r, shape);
	return json_finish(&b);
}

int
json_print_named(const char *name, const redisReply *r)
{
	struct buf b = {0};

	buf_putf(&b, "{\"%s\":", name);
	json_reply(&b, r, JSON_LIST);
	buf_putc(&b, '}');
	return json_finish(&b);
}
