/* SPDX-License-Identifier: MIT */
#include "daemon/config_schema.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/mono.h"
#include "base/parse.h"
#include "base/text.h"
#include "core/conf.h"
#include "daemon/config.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define N_OF(a) (sizeof(a) / sizeof((a)[0]))
#define AT(type, field) .offset = offsetof(type, field), .size = sizeof(((type *)0)->field)
#define AT2(type, field) .offset2 = offsetof(type, field), .size2 = sizeof(((type *)0)->field)
#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define TIB (1024 * 1024 * MIB)

static const struct schema_name level_names[] = {
	{"error", LOG_ERR}, {"warning", LOG_WARNING}, {"notice", LOG_NOTICE},
	{"info", LOG_INFO}, {"debug", LOG_DEBUG},     {NULL, 0},
};

static const struct schema_name format_names[] = {
	{"text", LOG_FORMAT_TEXT},
	{"json", LOG_FORMAT_JSON},
	{NULL, 0},
};

static const struct schema_name protocol_names[] = {
	{"filter", PROTOCOL_FILTER},
	{"line", PROTOCOL_LINE},
	{"frame", PROTOCOL_FRAME},
	{NULL, 0},
};

static const struct schema_name channel_names[] = {
	{"stdio", CHANNEL_STDIO},
	{"fd3", CHANNEL_FD3},
	{"pipe", CHANNEL_PIPE},
	{NULL, 0},
};

static const struct schema_name disconnect_names[] = {
	{"drop", DISCONNECT_DROP},
	{"cancel", DISCONNECT_CANCEL},
	{"finish", DISCONNECT_FINISH},
	{NULL, 0},
};

#define MAIN(field) AT(struct conf, field)

static const struct schema_key main_keys[] = {
	{"control.listen", &type_path, NULL,
	 "The control socket. The default is control.sock in the unit's RuntimeDirectory, without "
	 "one /run/preforkd/control.sock of a daemon that root runs, "
	 "$XDG_RUNTIME_DIR/preforkd/control.sock of any other.",
	 MAIN(control.listen), .max = 107, .flags = SCHEMA_COMPUTED},
	{"control.mode", &type_mode, "0660", "The control socket's mode.", MAIN(control.mode),
	 .max = 0777},
	{"control.group", &type_string, "", "The control socket's group; empty: the daemon's own.",
	 MAIN(control.group)},
	{"control.max_clients", &type_int, "10000", "Connections at a time.",
	 MAIN(control.max_clients), .min = 1, .max = 1000000},
	{"control.client_memory", &type_size, "32M",
	 "Unread requests and unsent replies of one connection.", MAIN(control.client_memory),
	 .min = 64 * KIB, .max = TIB},
	{"control.user_memory", &type_size, "256M",
	 "Unread requests and unsent replies of all connections of one user.",
	 MAIN(control.user_memory), .min = 64 * KIB, .max = UINT64_MAX},
	{"control.client_timeout", &type_duration, "1m",
	 "How long a connection over its budget may take nothing of its replies.",
	 MAIN(control.client_timeout_us), .min = 1, .max = UINT64_MAX},
	{"access", &type_groups, "( )",
	 "Who may do what: rules, of which the first that matches decides.", MAIN(access)},
	{"log.level", &type_enum, "info", "The most verbose messages that are logged.",
	 MAIN(log.level), .names = level_names},
	{"log.format", &type_enum, "text", "How log lines look on standard error.",
	 MAIN(log.format), .names = format_names},
	{"drain", &type_duration, "30s", "How long a stop waits for jobs.", MAIN(drain_us),
	 .max = UINT64_MAX},
	{"pool_dir", &type_string, "pool.d",
	 "Where the files of pools are (NAME.conf), counted from the main file's directory; "
	 "empty: nowhere.",
	 MAIN(pool_dir)},
	{"pools", &type_groups, "( )", "Pools in the main file, each with its name.", MAIN(pools)},
};

const struct schema_name schema_rights[] = {
	{"read", RIGHT_READ},
	{"submit", RIGHT_SUBMIT},
	{"admin", RIGHT_ADMIN},
	{NULL, 0},
};

#define ACCESS(field) AT(struct conf_access, field)

static const struct schema_key access_keys[] = {
	{"users", &type_list, NULL, "Whom the rule is for, by name or number.", ACCESS(users),
	 .min = 1, .flags = SCHEMA_COMPUTED},
	{"groups", &type_list, NULL,
	 "And these groups, as a process' own or supplementary one; with neither it is for "
	 "everybody.",
	 ACCESS(groups), .min = 1, .flags = SCHEMA_COMPUTED},
	{"allow", &type_list, NULL, "What they may do; nothing, where it is empty.", ACCESS(allow),
	 .names = schema_rights, .flags = SCHEMA_REQUIRED},
	{"pools", &type_list, "*",
	 "The pools that the rule is about, by name or pattern; the daemon itself is everywhere "
	 "that \"*\" is.",
	 ACCESS(pools), .min = 1},
};

#define POOL(field) AT(struct conf_pool, field)
#define LIMIT(name, type, resource, help)                                                          \
	{                                                                                          \
		"run_as.limits." name, &(type), "", help, POOL(run_as.limits[resource]),           \
			.max = UINT64_MAX                                                          \
	}

static const struct schema_key pool_keys[] = {
	{"name", &type_name, NULL, "The pool's name; that of a pool in a file is the file's.",
	 POOL(name), .flags = SCHEMA_REQUIRED | SCHEMA_LIST_ONLY},
	{"command", &type_words, NULL, "The program that every worker runs, and its arguments.",
	 POOL(command), .flags = SCHEMA_REQUIRED},
	{"protocol", &type_enum, "line", "What the workers speak.", POOL(protocol),
	 .names = protocol_names},
	{"channel", &type_enum, "stdio",
	 "Where a worker has its channel: standard input and output as a socket or as pipes, or "
	 "descriptor 3.",
	 POOL(channel), .names = channel_names},
	{"workers", &type_workers, "auto", "How many; auto is one a CPU.", POOL(workers),
	 AT2(struct conf_pool, workers_auto), .min = 1, .max = CONF_WORKERS_MAX},
	{"pipeline", &type_int, "1", "Jobs that a worker is given at a time.", POOL(pipeline),
	 .min = 1, .max = CONF_PIPELINE_MAX},
	{"in_order", &type_bool, "false",
	 "With pipeline above 1: a worker takes one job at a time, so when it dies only the oldest "
	 "is charged.",
	 POOL(in_order)},
	{"one_to_one", &type_bool, "false",
	 "Of a filter with pipeline above 1: it answers every line with one line.",
	 POOL(one_to_one)},
	{"queue.limit", &type_int, "10000", "Jobs that wait; more are refused with BUSY.",
	 POOL(queue.limit), .max = 1000000000},
	{"queue.memory", &type_size, "64M", "Bytes of payloads that wait.", POOL(queue.memory),
	 .max = UINT64_MAX},
	{"job.timeout", &type_duration, "infinity", "How long a worker may take over a job.",
	 POOL(job.timeout_us), .min = 1, .max = UINT64_MAX},
	{"job.grace", &type_duration, "5s", "Time between TERM and KILL.", POOL(job.grace_us),
	 .max = UINT64_MAX},
	{"job.keep", &type_duration, "1h", "How long a finished job's result is kept.",
	 POOL(job.keep_us), .max = UINT64_MAX},
	{"job.keep_memory", &type_size, "64M", "Bytes of kept results; the oldest go first.",
	 POOL(job.keep_memory), .max = UINT64_MAX},
	{"job.replay", &type_size, "64K",
	 "Bytes of a job's partial output that are kept for those who subscribe late.",
	 POOL(job.replay), .max = 16 * MIB},
	{"job.max_payload", &type_size, "1M", "The largest payload.", POOL(job.max_payload),
	 .min = 1, .max = 512 * MIB},
	{"job.max_result", &type_size, "16M", "The largest result.", POOL(job.max_result), .min = 1,
	 .max = TIB},
	{"job.on_disconnect", &type_enum, "drop",
	 "What becomes of a RUN whose client goes: a queued job is dropped and a running one "
	 "finished and kept, or both are cancelled, or both are finished.",
	 POOL(job.on_disconnect), .names = disconnect_names},
	{"start.ready", &type_bool, "false", "A worker gets its first job only when it says READY.",
	 POOL(start.ready)},
	{"start.required", &type_bool, "false",
	 "The daemon does not start without this pool: its workers cannot be started, and the "
	 "start has failed.",
	 POOL(start.required)},
	{"start.timeout", &type_duration, "90s", "How long a worker may take to be ready.",
	 POOL(start.timeout_us), .min = 1, .max = UINT64_MAX},
	{"start.backoff", &type_backoff, "1s..1m",
	 "How long to wait before a worker that failed to start is tried again: it doubles from "
	 "the first to the second.",
	 POOL(start.backoff_min_us), AT2(struct conf_pool, start.backoff_max_us)},
	{"run_as.user", &type_string, "",
	 "Who the workers run as; empty: whoever runs the daemon, who must not be root.",
	 POOL(run_as.user)},
	{"run_as.group", &type_string, "", "Their group; empty: the user's own.",
	 POOL(run_as.group)},
	{"run_as.directory", &type_path, "/", "Their working directory.", POOL(run_as.directory),
	 .max = 4095},
	{"run_as.umask", &type_mode, "0022", "Their umask.", POOL(run_as.umask), .max = 0777},
	{"run_as.nice", &type_int, "0", "Their niceness.", POOL(run_as.nice), .min = -20,
	 .max = 19},
	{"run_as.no_new_privs", &type_bool, "true",
	 "They cannot gain privileges, not by set-user-ID programs either.",
	 POOL(run_as.no_new_privs)},
	LIMIT("nofile", type_limit_count, RLIMIT_NOFILE, "Open files."),
	LIMIT("as", type_limit_size, RLIMIT_AS, "Address space."),
	LIMIT("core", type_limit_size, RLIMIT_CORE, "A core file."),
	LIMIT("cpu", type_limit_count, RLIMIT_CPU, "CPU time, in seconds."),
	LIMIT("data", type_limit_size, RLIMIT_DATA, "Data segment."),
	LIMIT("fsize", type_limit_size, RLIMIT_FSIZE, "A file that they write."),
	LIMIT("memlock", type_limit_size, RLIMIT_MEMLOCK, "Locked memory."),
	LIMIT("nproc", type_limit_count, RLIMIT_NPROC,
	      "Processes of the user, all over the system."),
	LIMIT("stack", type_limit_size, RLIMIT_STACK, "Stack."),
	{"run_as.environment", &type_environment, "LANG=C.UTF-8",
	 "Variables that they get besides those that are passed on.", POOL(run_as.environment)},
};

_Static_assert(N_OF(main_keys) <= SCHEMA_KEYS_MAX && N_OF(pool_keys) <= SCHEMA_KEYS_MAX,
	       "SCHEMA_KEYS_MAX");

const struct schema schema_main = {main_keys, N_OF(main_keys)};
const struct schema schema_pool = {pool_keys, N_OF(pool_keys)};
const struct schema schema_access = {access_keys, N_OF(access_keys)};

const struct schema_key *
schema_find(const struct schema *s, const char *path)
{
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->keys[i].path, path) == 0)
			return &s->keys[i];
	return NULL;
}

bool
schema_is_group(const struct schema *s, const char *path)
{
	size_t len = strlen(path);

	for (size_t i = 0; i < s->n; i++)
		if (strncmp(s->keys[i].path, path, len) == 0 && s->keys[i].path[len] == '.')
			return true;
	return false;
}

void
schema_set_defaults(const struct schema *s, void *base)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct schema_key *key = &s->keys[i];
		const char *words[] = {key->def, NULL};
		struct config_value v = {key->type->native, key->def, words};
		const char *why;
		bool good = !key->def || !key->type->read || key->type->read(key, &v, base, &why);

		assert(good);
		(void)good;
	}
}

const char *
schema_text(struct buf *b)
{
	buf_putc(b, 0);
	if (buf_failed(b))
		mem_out();
	return buf_head(b);
}

/* The length of the group's part of a path, its dot included: 0 at the top. */
static size_t
group_len(const char *path)
{
	const char *dot = strrchr(path, '.');

	return dot ? (size_t)(dot - path) + 1 : 0;
}

/* The name in path's group that leads to key; false: key is not below that group. */
static bool
name_beside(const struct schema_key *key, const char *path, char *dst, size_t cap)
{
	size_t len = group_len(path);
	const char *rest;

	if (strncmp(key->path, path, len) != 0)
		return false;
	rest = key->path + len;
	snprintf(dst, cap, "%.*s", (int)strcspn(rest, "."), rest);
	return true;
}

static bool
hint_nearest(const struct schema *s, const char *path, struct buf *out)
{
	const char *name = path + group_len(path);
	unsigned best = strlen(name) > 3 ? 3 : 2; /* this far is too far */
	char other[SCHEMA_PATH_MAX], nearest[SCHEMA_PATH_MAX] = "";

	for (size_t i = 0; i < s->n; i++) {
		unsigned d;

		if (!name_beside(&s->keys[i], path, other, sizeof(other)))
			continue;
		d = text_distance(name, other, best);
		if (d < best) {
			best = d;
			memcpy(nearest, other, sizeof(nearest));
		}
	}
	if (nearest[0])
		buf_putf(out, "; did you mean %.*s%s?", (int)group_len(path), path, nearest);
	return nearest[0];
}

/* Keys of that name, or nearly, in another group. */
static bool
hint_elsewhere(const struct schema *s, const char *path, struct buf *out)
{
	const char *name = path + group_len(path);
	unsigned limit = strlen(name) > 5 ? 2 : 0;
	size_t found = 0;

	for (size_t i = 0; i < s->n; i++) {
		const char *other = s->keys[i].path;

		if (text_distance(other + group_len(other), name, limit) > limit)
			continue;
		buf_putf(out, "%s%s", found++ ? " or " : "; did you mean ", other);
	}
	if (found)
		buf_putc(out, '?');
	return found > 0;
}

static bool
hint_other_file(const struct schema *s, const char *path, struct buf *out)
{
	const struct schema *other = s == &schema_main ? &schema_pool : &schema_main;

	if (s == &schema_access || (!schema_find(other, path) && !schema_is_group(other, path)))
		return false;
	buf_puts(out,
		 s == &schema_main ?
			 " of the main file, but one of a pool's: it goes into pool.d/NAME.conf" :
			 " of a pool, but one of the main file's");
	return true;
}

static void
hint_known(const struct schema *s, const char *path, struct buf *out)
{
	char name[SCHEMA_PATH_MAX], last[SCHEMA_PATH_MAX] = "";
	const char *between = "; there are ";

	for (size_t i = 0; i < s->n; i++) {
		if (!name_beside(&s->keys[i], path, name, sizeof(name)) || !strcmp(name, last))
			continue;
		buf_putf(out, "%s%s", between, name);
		memcpy(last, name, sizeof(last));
		between = ", ";
	}
}

void
schema_hint(const struct schema *s, const char *path, struct buf *out)
{
	buf_puts(out, "unknown key");
	if (!hint_other_file(s, path, out) && !hint_nearest(s, path, out) &&
	    !hint_elsewhere(s, path, out))
		hint_known(s, path, out);
}

static void
describe_keys(const struct schema *s, struct buf *out)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct schema_key *key = &s->keys[i];

		buf_putf(out, "%s\t%s\t", key->path, key->type->name);
		key->type->allowed(key, out);
		buf_putf(out, "\t%s\t%s\n", key->def ? key->def : "-", key->help);
	}
}

void
config_describe(struct buf *out)
{
	describe_keys(&schema_main, out);
	buf_puts(out, "pool:\n");
	describe_keys(&schema_pool, out);
	buf_puts(out, "access:\n");
	describe_keys(&schema_access, out);
}

bool
config_parse_level(const char *name, int *ret_level)
{
	for (const struct schema_name *n = level_names; n->name; n++) {
		if (strcmp(n->name, name) != 0)
			continue;
		*ret_level = n->value;
		return true;
	}
	return false;
}
