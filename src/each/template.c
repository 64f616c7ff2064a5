/* SPDX-License-Identifier: MIT */
#include "each/each.h"

#include "base/mem.h"

#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PLACE "{}"
#define PLACE_LEN 2

/* What a shell exits with. */
#define EXIT_CANNOT 126
#define EXIT_NOT_FOUND 127

/* 0, or why this is no program: an errno. */
static int
check_program(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return errno;
	if (S_ISDIR(st.st_mode))
		return EISDIR;
	return access(path, X_OK) < 0 ? errno : 0;
}

/* Look in PATH. What is there but cannot be executed is passed over, and is the
 * reason where nothing better comes. */
static int
search(const char *name, char **ret_path)
{
	const char *dirs = getenv("PATH");
	int why = ENOENT;

	if (!dirs)
		dirs = "/usr/local/bin:/usr/bin:/bin";
	for (;; dirs++) {
		int len = (int)strcspn(dirs, ":");
		char *path = mem_printf("%.*s%s%s", len, dirs, len ? "/" : "", name);
		int r = check_program(path);

		if (r == 0) {
			*ret_path = path;
			return 0;
		}
		free(path);
		if (r != ENOENT && r != ENOTDIR)
			why = r;
		dirs += len;
		if (!*dirs)
			return why;
	}
}

void
template_init(struct template *t, char **command)
{
	char *found = NULL;
	bool is_path = strchr(command[0], '/') != NULL;
	int why = is_path ? check_program(command[0]) : search(command[0], &found);

	if (why)
		errx(why == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT, "cannot execute %s: %s%s",
		     command[0], strerror(why), why == ENOENT && !is_path ? " in $PATH" : "");
	*t = (struct template){
		.command = command,
		.path = found ? found : mem_strdup(command[0]),
		.longest = (size_t)sysconf(_SC_PAGESIZE) * 32 - 1, /* the kernel's constant */
	};
	for (char **arg = command + 1; *arg; arg++)
		t->takes_job = t->takes_job || strstr(*arg, PLACE);
}

void
template_fini(struct template *t)
{
	free(t->path);
	t->path = NULL;
}

/* The argument with the payload in it, malloc'ed; NULL: too long. */
static char *
fill_one(const struct template *t, const char *arg, const struct each_job *j)
{
	size_t places = 0, len = strlen(arg);
	char *filled, *at;

	for (const char *p = arg; (p = strstr(p, PLACE)); p += PLACE_LEN)
		places++;
	if (j->len > t->longest || len + places * j->len - places * PLACE_LEN > t->longest)
		return NULL;
	filled = mem_array(len + places * j->len + 1, 1);
	at = filled;
	for (const char *p; (p = strstr(arg, PLACE)); arg = p + PLACE_LEN) {
		at = mempcpy(at, arg, (size_t)(p - arg));
		at = mempcpy(at, j->payload, j->len);
	}
	strcpy(at, arg);
	return filled;
}

char **
template_fill(const struct template *t, const struct each_job *j, const char **ret_why)
{
	size_t n = 0;
	char **argv;

	if (!t->takes_job)
		return t->command;
	if (memchr(j->payload, '\0', j->len)) {
		*ret_why = "the payload has a NUL byte in it, which an argument cannot have";
		return NULL;
	}
	while (t->command[n])
		n++;
	argv = mem_array(n + 1, sizeof(*argv));
	argv[0] = t->command[0];
	for (size_t i = 1; i < n; i++) {
		bool fill = strstr(t->command[i], PLACE);

		argv[i] = fill ? fill_one(t, t->command[i], j) : t->command[i];
		if (!argv[i]) {
			template_free(t, argv);
			*ret_why = "the payload is too long for an argument";
			return NULL;
		}
	}
	return argv;
}

void
template_free(const struct template *t, char **argv)
{
	if (!argv || argv == t->command)
		return;
	for (size_t i = 0; argv[i]; i++)
		if (argv[i] != t->command[i])
			free(argv[i]);
	free(argv);
}
