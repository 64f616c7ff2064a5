/* SPDX-License-Identifier: MIT */
#include "daemon/config_check.h"

#include "base/mem.h"
#include "base/parse.h"
#include "daemon/config.h"

#include <grp.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SAY_MAX 256
#define COMMAND_ROOM 4096 /* bytes of a command besides its payload */

/* One rule about two keys. It holds for defaults too: what is not set and what is set
 * to the default are the same. When it is broken, say what, to go behind the key's path. */
struct check {
	const char *key, *other;
	bool (*broken)(const struct conf *c, const struct conf_pool *p, char say[SAY_MAX]);
};

__attribute__((format(printf, 2, 3))) static bool
broken(char say[SAY_MAX], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(say, SAY_MAX, fmt, ap);
	va_end(ap);
	return true;
}

static bool
filter_pipeline(const struct conf *c, const struct conf_pool *p, char say[SAY_MAX])
{
	(void)c;
	if (p->protocol != PROTOCOL_FILTER || p->pipeline == 1 || p->one_to_one)
		return false;
	return broken(say,
		      "%u with protocol \"filter\": nothing marks which answer belongs to which "
		      "line; must be 1, or one_to_one = true where it answers each line with one",
		      p->pipeline);
}

static bool
one_to_one_protocol(const struct conf *c, const struct conf_pool *p, char say[SAY_MAX])
{
	(void)c;
	if (!p->one_to_one || p->protocol == PROTOCOL_FILTER)
		return false;
	return broken(say, "true, which is for protocol \"filter\" only");
}

static bool
in_order_pipeline(const struct conf *c, const struct conf_pool *p, char say[SAY_MAX])
{
	(void)c;
	if (!p->in_order || p->pipeline > 1)
		return false;
	return broken(say, "true with pipeline 1, where there is no order: leave it out, or set "
			   "pipeline above 1");
}

static bool
ready_protocol(const struct conf *c, const struct conf_pool *p, char say[SAY_MAX])
{
	(void)c;
	if (!p->start.ready || p->protocol != PROTOCOL_FILTER)
		return false;
	return broken(say,
		      "true with protocol \"filter\", in which a worker cannot say READY: must "
		      "be false");
}

static bool
payload_memory(const struct conf *c, const struct conf_pool *p, char say[SAY_MAX])
{
	uint64_t max = c->control.client_memory - COMMAND_ROOM;
	char size[FORMAT_MAX], memory[FORMAT_MAX], allowed[FORMAT_MAX];

	if (p->job.max_payload <= max)
		return false;
	return broken(
		say,
		"%s is more than fits into control.client_memory (%s) with the command around "
		"it: must be at most %s",
		format_size(size, p->job.max_payload),
		format_size(memory, c->control.client_memory), format_size(allowed, max));
}

static const struct check checks[] = {
	{"pipeline", "one_to_one", filter_pipeline},
	{"one_to_one", "protocol", one_to_one_protocol},
	{"in_order", "pipeline", in_order_pipeline},
	{"start.ready", "protocol", ready_protocol},
	{"job.max_payload", "job.max_payload", payload_memory},
};

static void
run_check(struct reading *r, const struct check *k, const struct conf *c, const struct conf_pool *p)
{
	unsigned line = config_line_of(r, k->key);
	char say[SAY_MAX];

	/* What was refused is not there to be compared with. */
	if (config_is_bad(r, k->key) || config_is_bad(r, k->other) || config_is_bad(r, "protocol"))
		return;
	if (!line)
		line = config_line_of(r, k->other);
	if (k->broken(c, p, say))
		mistake_at(r, line, k->key, "%s", say);
}

/* users and groups */

static const struct passwd *
find_user(const char *name)
{
	const struct passwd *pw = getpwnam(name);
	uint64_t uid;

	if (!pw && parse_u64(name, strlen(name), UINT32_MAX - 1, &uid) == 0)
		pw = getpwuid((uid_t)uid);
	return pw;
}

static bool
find_group(const char *name, gid_t *ret)
{
	const struct group *gr = getgrnam(name);
	uint64_t gid;

	if (!gr && parse_u64(name, strlen(name), UINT32_MAX - 1, &gid) == 0)
		gr = getgrgid((gid_t)gid);
	if (gr)
		*ret = gr->gr_gid;
	return gr != NULL;
}

bool
config_find_uid(const char *name, uid_t *ret)
{
	const struct passwd *pw = find_user(name);
	uint64_t uid;

	if (!pw && parse_u64(name, strlen(name), UINT32_MAX - 1, &uid) < 0)
		return false;
	*ret = pw ? pw->pw_uid : (uid_t)uid;
	return true;
}

bool
config_find_gid(const char *name, gid_t *ret)
{
	uint64_t gid;

	if (find_group(name, ret))
		return true;
	if (parse_u64(name, strlen(name), UINT32_MAX - 1, &gid) < 0)
		return false;
	*ret = (gid_t)gid;
	return true;
}

static bool
in_group(gid_t gid)
{
	int n = getgroups(0, NULL);
	gid_t *groups;
	bool found = gid == getegid();

	if (n <= 0 || found)
		return found;
	groups = mem_array((size_t)n, sizeof(*groups));
	n = getgroups(n, groups);
	for (int i = 0; i < n; i++)
		found |= groups[i] == gid;
	free(groups);
	return found;
}

static void
resolve_groups(struct conf_run_as *a, const char *user)
{
	int n = 16, room;

	do {
		room = n;
		free(a->groups);
		a->groups = mem_array((size_t)n, sizeof(*a->groups));
	} while (getgrouplist(user, a->gid, a->groups, &n) < 0 && n > room);
	a->n_groups = n > 0 ? (size_t)n : 0;
}

/* How a daemon that may not switch users gets to be one that may. */
#define AS_ROOT "leave it out, or let root run the daemon (the service: by the drop-in run-as.conf)"

static void
resolve_user(struct reading *r, struct conf_run_as *a)
{
	const struct passwd *pw = find_user(a->user);
	unsigned line = config_line_of(r, "run_as.user");

	if (!pw) {
		mistake_at(r, line, "run_as.user", "\"%s\": there is no such user", a->user);
	} else if (geteuid() != 0 && pw->pw_uid != geteuid()) {
		mistake_at(
			r, line, "run_as.user",
			"\"%s\": must be the user that runs the daemon, who is not root: " AS_ROOT,
			a->user);
	} else {
		a->uid = pw->pw_uid;
		if (a->gid == (gid_t)-1)
			a->gid = pw->pw_gid;
		a->home = mem_strdup(pw->pw_dir);
		resolve_groups(a, pw->pw_name);
	}
}

static void
resolve_group(struct reading *r, struct conf_run_as *a)
{
	unsigned line = config_line_of(r, "run_as.group");

	if (!find_group(a->group, &a->gid))
		mistake_at(r, line, "run_as.group", "\"%s\": there is no such group", a->group);
	else if (geteuid() != 0 && a->gid != getegid())
		mistake_at(
			r, line, "run_as.group",
			"\"%s\": must be the group of the daemon, which root does not run: " AS_ROOT,
			a->group);
}

static void
check_run_as(struct reading *r, struct conf_run_as *a)
{
	a->uid = (uid_t)-1;
	a->gid = (gid_t)-1;
	if (config_is_bad(r, "run_as.user") || config_is_bad(r, "run_as.group"))
		return;
	if (*a->group)
		resolve_group(r, a);
	if (*a->user)
		resolve_user(r, a);
	else if (geteuid() == 0 && r->file)
		mistake_at(
			r, 0, "run_as.user",
			"not set, and the daemon runs as root: must name a user; where the workers "
			"are to be root too, write run_as = { user = \"root\"; }; (for a daemon of "
			"another user, check with -u USER)");
	if (geteuid() == 0)
		return;
	/* We are it already, and may change nothing. */
	a->uid = (uid_t)-1;
	a->gid = (gid_t)-1;
	free(a->groups);
	a->groups = NULL;
	a->n_groups = 0;
}

void
config_check_pool(struct reading *r, const struct conf *c, struct conf_pool *p)
{
	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
		run_check(r, &checks[i], c, p);
	check_run_as(r, &p->run_as);
}

/* Where the socket is when nobody says: in the directory that a service manager
 * has made for the unit (the first, if it made some), so that each instance has one
 * of its own. NULL: nowhere. */
static char *
default_listen(void)
{
	const char *unit = getenv("RUNTIME_DIRECTORY");
	const char *runtime = geteuid() == 0 ? "/run" : getenv("XDG_RUNTIME_DIR");

	if (unit && *unit == '/')
		return mem_printf("%.*s/control.sock", (int)strcspn(unit, ":"), unit);
	return runtime && *runtime ? mem_printf("%s/preforkd/control.sock", runtime) : NULL;
}

/* -s PATH may be relative, as any path on a command line. */
static char *
option_listen(const char *option)
{
	char *here = *option != '/' ? getcwd(NULL, 0) : NULL;
	char *path = here ? mem_printf("%s/%s", here, option) : mem_strdup(option);

	free(here);
	return path;
}

static void
set_listen(struct reading *r, struct conf *c, const char *option)
{
	const struct schema_key *key = schema_find(r->schema, "control.listen");

	if (!option && config_line_of(r, key->path))
		return;
	free(c->control.listen);
	c->control.listen = option ? option_listen(option) : default_listen();
	if (!c->control.listen)
		mistake_in(r->mistakes, r->file ? r->file : "-s",
			   "%snot set, and XDG_RUNTIME_DIR, where the socket would be, is not set "
			   "either: say where it is to be",
			   r->file ? "control.listen: " : "");
	else if (strlen(c->control.listen) > key->max)
		mistake_in(r->mistakes, option ? "-s" : "XDG_RUNTIME_DIR",
			   "%s: a socket's path must be of at most %llu bytes", c->control.listen,
			   (unsigned long long)key->max);
}

static void
resolve_control_group(struct reading *r, struct conf *c)
{
	unsigned line = config_line_of(r, "control.group");

	c->control.gid = (gid_t)-1;
	if (!*c->control.group || config_is_bad(r, "control.group"))
		return;
	if (!find_group(c->control.group, &c->control.gid))
		mistake_at(r, line, "control.group", "\"%s\": there is no such group",
			   c->control.group);
	else if (geteuid() != 0 && !in_group(c->control.gid))
		mistake_at(r, line, "control.group",
			   "\"%s\": must be a group of the user that runs the daemon, who is not "
			   "root",
			   c->control.group);
}

void
config_check_main(struct reading *r, struct conf *c, const char *listen, bool listens)
{
	if (listens)
		set_listen(r, c, listen);
	resolve_control_group(r, c);
	/* Nothing is to be measured with what was refused. */
	if (config_is_bad(r, "control.client_memory"))
		c->control.client_memory = SIZE_INFINITY;
}

int
config_finish(const struct mistakes *m, struct conf *c)
{
	if (buf_failed(m->out))
		mem_out();
	if (m->n == 0)
		return 0;
	conf_free(c);
	return CONFIG_E_INVALID;
}

/* What belongs to a mistake's line (the source, a caret) is indented below it. */
char *
config_summary(const struct buf *errors)
{
	const char *text = buf_len(errors) ? buf_head(errors) : "", *lf;
	const char *end = text + buf_len(errors);
	int first = (int)strcspn(text, "\n");
	size_t n = 0;

	for (const char *line = text; line < end; line = lf + 1) {
		n += *line != ' ';
		lf = memchr(line, '\n', (size_t)(end - line));
		if (!lf)
			break;
	}
	if (n == 1)
		return mem_printf("configuration: %.*s", first, text);
	return mem_printf("configuration: %zu mistakes, the first: %.*s", n, first, text);
}
