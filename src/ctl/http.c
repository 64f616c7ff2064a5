/* SPDX-License-Identifier: MIT */
#include "ctl/http.h"

#include <string.h>
#include <strings.h>

/* Bytes that the caller has: never NUL-terminated. */
struct span {
	const char *p;
	size_t len;
};

/* What is known when some lines have been read. */
struct head {
	struct http_request *ret;
	bool has_line, needs_host;
	unsigned hosts;
	int openmetrics, text; /* how much each is wanted, in thousandths; -1: not named */
};

static bool
refuse(struct head *h, int status, const char *why)
{
	*h->ret = (struct http_request){.status = status, .why = why};
	return false;
}

/* ---- words ---- */

static bool
is_token(struct span s)
{
	static const char marks[] = "!#$%&'*+-.^_`|~";

	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i], letter = c | 0x20;

		if (!(letter >= 'a' && letter <= 'z') && !(c >= '0' && c <= '9') &&
		    !(c && strchr(marks, c)))
			return false;
	}
	return s.len > 0;
}

static bool
is_word(struct span s, const char *word)
{
	return s.len == strlen(word) && strncasecmp(s.p, word, s.len) == 0;
}

static bool
is_exactly(struct span s, const char *word)
{
	return s.len == strlen(word) && memcmp(s.p, word, s.len) == 0;
}

static struct span
trim(struct span s)
{
	while (s.len && (*s.p == ' ' || *s.p == '\t'))
		s.p++, s.len--;
	while (s.len && (s.p[s.len - 1] == ' ' || s.p[s.len - 1] == '\t'))
		s.len--;
	return s;
}

/* What stands before the next mark, and in *rest what stands behind it. */
static struct span
cut(struct span *rest, char mark)
{
	const char *end = rest->len ? memchr(rest->p, mark, rest->len) : NULL;
	struct span before = *rest;

	if (!end) {
		*rest = (struct span){rest->p + rest->len, 0};
		return before;
	}
	before.len = (size_t)(end - rest->p);
	*rest = (struct span){end + 1, rest->len - before.len - 1};
	return before;
}

/* ---- Accept ---- */

/* A weight, "0.75", in thousandths; what is none counts as 0. */
static int
read_weight(struct span s)
{
	int n = 0, unit = 1000;

	for (size_t i = 0; i < s.len; i++) {
		if (i == 1 && s.p[i] == '.')
			continue;
		if (s.p[i] < '0' || s.p[i] > '9' || unit == 0)
			return 0;
		n += (s.p[i] - '0') * unit;
		unit /= 10;
	}
	return n > 1000 ? 1000 : n;
}

/* One of the kinds that are wanted: type/subtype;version=1.0.0;q=0.5 */
static void
read_kind(struct head *h, struct span kind)
{
	struct span type = trim(cut(&kind, ';')), version = {"", 0};
	int weight = 1000;

	while (kind.len) {
		struct span value = trim(cut(&kind, ';')), name = trim(cut(&value, '='));

		value = trim(value);
		if (value.len >= 2 && *value.p == '"' && value.p[value.len - 1] == '"')
			value = (struct span){value.p + 1, value.len - 2};
		if (is_word(name, "q"))
			weight = read_weight(value);
		else if (is_word(name, "version"))
			version = value;
	}
	if (is_word(type, "application/openmetrics-text") &&
	    (!version.len || is_word(version, "1.0.0")))
		h->openmetrics = weight > h->openmetrics ? weight : h->openmetrics;
	if (is_word(type, "text/plain"))
		h->text = weight > h->text ? weight : h->text;
}

static void
read_accept(struct head *h, struct span value)
{
	while (value.len)
		read_kind(h, cut(&value, ','));
}

/* ---- lines ---- */

/* Whatever the line is: no control character but a tab may be in it. */
static bool
is_text(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (((unsigned char)s.p[i] < ' ' && s.p[i] != '\t') || s.p[i] == 127)
			return false;
	return true;
}

static bool
is_visible(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] <= ' ' || s.p[i] > '~')
			return false;
	return s.len > 0;
}

/* The path of /a?b and of http://host/a?b. */
static void
read_target(struct head *h, struct span target)
{
	static const char scheme[] = "http://";
	struct span path = cut(&target, '?');

	if (path.len > strlen(scheme) && !strncasecmp(path.p, scheme, strlen(scheme))) {
		struct span rest = {path.p + strlen(scheme), path.len - strlen(scheme)};
		const char *slash = memchr(rest.p, '/', rest.len);

		path = slash ? (struct span){slash, (size_t)(rest.p + rest.len - slash)} :
			       (struct span){"/", 1};
	}
	h->ret->path = path.p;
	h->ret->path_len = path.len;
}

static bool
read_request_line(struct head *h, struct span line)
{
	struct span method = cut(&line, ' '), target = cut(&line, ' '), version = line;

	if (!is_token(method) || !is_visible(target))
		return refuse(h, 400, "the first line is to be like: GET /metrics HTTP/1.1");
	if (version.len != strlen("HTTP/1.1") || strncmp(version.p, "HTTP/", 5) != 0 ||
	    version.p[5] < '0' || version.p[5] > '9' || version.p[6] != '.' || version.p[7] < '0' ||
	    version.p[7] > '9')
		return refuse(h, 400, "the first line is to end in HTTP/1.0 or HTTP/1.1");
	if (version.p[5] != '1')
		return refuse(h, 505, "this speaks HTTP/1.1 and HTTP/1.0 alone");
	h->has_line = true;
	h->needs_host = version.p[7] != '0';
	h->ret->get = is_exactly(method, "GET");
	h->ret->head = is_exactly(method, "HEAD");
	read_target(h, target);
	return true;
}

static bool
read_field(struct head *h, struct span line)
{
	struct span value = line, name = cut(&value, ':');

	if (name.len == line.len || !is_token(name))
		return refuse(h, 400, "a line of the head is not like: Name: value");
	if (is_word(name, "Host"))
		h->hosts++;
	if (is_word(name, "Accept"))
		read_accept(h, value);
	return true;
}

static bool
finish(struct head *h)
{
	if (h->hosts > 1 || (h->needs_host && h->hosts == 0)) {
		refuse(h, 400, "there is to be one line Host: name");
		return true;
	}
	h->ret->openmetrics = h->openmetrics > 0 && h->openmetrics >= h->text;
	return true;
}

/* The end of the next line: where its LF is, or NULL. What there is of it comes in
 * *ret_line, without LF, and without a CR at its end. */
static const char *
next_line(const char *p, size_t len, struct span *ret_line)
{
	const char *lf = len ? memchr(p, '\n', len) : NULL;

	*ret_line = (struct span){p, lf ? (size_t)(lf - p) : len};
	if (ret_line->len && p[ret_line->len - 1] == '\r')
		ret_line->len--;
	return lf;
}

static bool
read_line(struct head *h, struct span line)
{
	return h->has_line ? read_field(h, line) : read_request_line(h, line);
}

bool
http_parse(const char *data, size_t len, struct http_request *ret)
{
	struct head h = {.ret = ret, .openmetrics = -1, .text = -1};
	const char *p = data, *end = data + len, *lf;
	struct span line;

	if (len > HTTP_HEAD_MAX)
		end = data + HTTP_HEAD_MAX;
	*ret = (struct http_request){.status = 200};
	while ((lf = next_line(p, (size_t)(end - p), &line))) {
		p = lf + 1;
		if (!is_text(line)) {
			refuse(&h, 400, "there is a control character in the head");
			return true;
		}
		/* an empty line before the first one is forgiven, as all do */
		if (line.len == 0 && h.has_line)
			return finish(&h);
		if (line.len && !read_line(&h, line))
			return true;
	}
	if (!is_text(line)) {
		refuse(&h, 400, "there is a control character in the head");
		return true;
	}
	if (end - data < HTTP_HEAD_MAX)
		return false;
	if (h.has_line)
		refuse(&h, 431, "the head of the request is longer than 8 KiB");
	else
		refuse(&h, 414, "the first line of the request is longer than 8 KiB");
	return true;
}
