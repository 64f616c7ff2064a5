/* SPDX-License-Identifier: MIT */
#include "wire.h"

#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

static const struct wire *const wires[] = {&wire_beanstalk, &wire_fastcgi, &wire_gearman,
					   &wire_redis};

const struct wire *
wire_find(const char *name)
{
	for (size_t i = 0; i < sizeof(wires) / sizeof(*wires); i++)
		if (strcmp(wires[i]->name, name) == 0)
			return wires[i];
	errx(64, "%s: no such wire", name);
}

static int
connect_port(const char *port)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons((in_port_t)number_at(port)),
	};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int on = 1;

	if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
	    connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		err(1, "port %s", port);
	return fd;
}

static int
connect_path(const char *path)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(to.sun_path))
		errx(64, "%s: too long", path);
	strcpy(to.sun_path, path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		err(1, "%s", path);
	return fd;
}

int
wire_connect(const char *where)
{
	return strchr(where, '/') ? connect_path(where) : connect_port(where);
}

void
bytes_need(struct bytes *b, size_t more)
{
	if (b->head == b->len)
		b->head = b->len = 0;
	if (b->size - b->len >= more)
		return;
	if (b->head) {
		memmove(b->data, b->data + b->head, b->len - b->head);
		b->len -= b->head;
		b->head = 0;
	}
	if (b->size - b->len >= more)
		return;
	b->size = 2 * b->size > b->len + more ? 2 * b->size : b->len + more;
	b->data = realloc(b->data, b->size);
	if (!b->data)
		err(1, "no memory");
}

void
bytes_add(struct bytes *b, const void *data, size_t len)
{
	bytes_need(b, len);
	memcpy(b->data + b->len, data, len);
	b->len += len;
}

void
bytes_say(struct bytes *b, const char *text)
{
	bytes_add(b, text, strlen(text));
}

void
bytes_number(struct bytes *b, size_t n)
{
	char digits[20];
	size_t at = sizeof(digits);

	do
		digits[--at] = (char)('0' + n % 10);
	while (n /= 10);
	bytes_add(b, digits + at, sizeof(digits) - at);
}

const char *
bytes_line(const struct bytes *b, size_t *ret_len)
{
	const char *from = b->data + b->head;
	const char *end = memchr(from, '\n', b->len - b->head);

	if (!end)
		return NULL;
	*ret_len = (size_t)(end - from) - 1;
	return from;
}

size_t
number_at(const char *text)
{
	size_t n = 0;

	if (*text < '0' || *text > '9')
		errx(1, "no number: '%.*s'", (int)strcspn(text, "\r\n"), text);
	while (*text >= '0' && *text <= '9')
		n = n * 10 + (size_t)(*text++ - '0');
	return n;
}
