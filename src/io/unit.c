/* SPDX-License-Identifier: MIT */
#include "io/unit.h"

#include "base/buf.h"
#include "base/mem.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool
ends_in(const char *s, size_t len, const char *end)
{
	size_t n = strlen(end);

	return len > n && memcmp(s + len - n, end, n) == 0;
}

/* The first unit of a path below its slices; *path is then what is below it. */
static char *
take_unit(const char **path)
{
	const char *s = *path;
	size_t len = 0;

	do {
		s += len + strspn(s + len, "/");
		len = strcspn(s, "/\n");
	} while (ends_in(s, len, ".slice"));
	*path = s + len;
	if (!ends_in(s, len, ".service") && !ends_in(s, len, ".scope"))
		return mem_strdup("");
	if (*s == '_') /* added where the name could be taken for one of the kernel's files */
		return mem_printf("%.*s", (int)len - 1, s + 1);
	return mem_printf("%.*s", (int)len, s);
}

/* In the hierarchy that systemd keeps its units in; "": there is none. */
static const char *
find_path(const char *text)
{
	const char *named = strstr(text, ":name=systemd:"), *unified = strstr(text, "0::");

	if (named)
		return named + strlen(":name=systemd:");
	if (unified && (unified == text || unified[-1] == '\n'))
		return unified + strlen("0::");
	return "";
}

void
unit_names_parse(const char *text, struct unit_names *ret)
{
	const char *path = find_path(text);

	ret->system = take_unit(&path);
	if (strncmp(ret->system, "user@", 5) == 0)
		ret->user = take_unit(&path);
	else
		ret->user = mem_strdup("");
}

void
unit_names_get(struct unit_names *ret)
{
	int fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
	struct buf text = {0};
	ssize_t n = fd < 0 ? 0 : 1;

	while (n > 0 && buf_reserve(&text, 4096)) {
		n = read(fd, buf_tail(&text), buf_room(&text));
		if (n > 0)
			buf_commit(&text, (size_t)n);
	}
	if (fd >= 0)
		close(fd);
	buf_putc(&text, '\0');
	/* whatever hindered it, a daemon works as well without */
	unit_names_parse(buf_failed(&text) ? "" : buf_head(&text), ret);
	buf_free(&text);
}

void
unit_names_free(struct unit_names *u)
{
	free(u->system);
	free(u->user);
}
