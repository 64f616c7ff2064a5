/* SPDX-License-Identifier: MIT */
/* The environment of a worker: an allow-list, its pool's, and who it is. */
#include "base/mem.h"
#include "pool/worker.h"

#include <stdlib.h>
#include <string.h>

/* What a worker may see of the daemon's environment. */
static const char *const allowed[] = {
	"PATH",
	"LANG",
	"HOME",
	"USER",
	"TZ",
	/* what the unit has for its processes */
	"CREDENTIALS_DIRECTORY",
	"STATE_DIRECTORY",
	"CACHE_DIRECTORY",
};

/* What it never sees, even when it gets the whole: it is said to the daemon. */
static const char *const withheld[] = {
	"NOTIFY_SOCKET", "LISTEN_FDS",	 "LISTEN_PID",	   "LISTEN_FDNAMES",
	"WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM", "INVOCATION_ID",
};

/* As the configuration calls them. */
static const char *const channel_names[] = {
	[CHANNEL_STDIO] = "stdio",
	[CHANNEL_FD3] = "fd3",
	[CHANNEL_PIPE] = "pipe",
};

struct vector {
	char **v;
	size_t count, cap;
};

static size_t
name_length(const char *entry)
{
	return strcspn(entry, "=");
}

static bool
same_name(const char *a, const char *b)
{
	size_t n = name_length(a);

	return n == name_length(b) && !memcmp(a, b, n);
}

/* Put an entry in, in place of the one of that name. take_entry is consumed. */
static void
vector_set(struct vector *e, char *take_entry)
{
	for (size_t i = 0; i < e->count; i++)
		if (same_name(e->v[i], take_entry)) {
			free(e->v[i]);
			e->v[i] = take_entry;
			return;
		}
	if (e->count + 1 >= e->cap) {
		size_t cap = e->cap ? e->cap * 2 : 32;
		char **v = mem_array(cap, sizeof(*v));

		if (e->count)
			memcpy(v, e->v, e->count * sizeof(*v));
		free(e->v);
		e->v = v;
		e->cap = cap;
	}
	e->v[e->count++] = take_entry;
}

static bool
in_names(const char *entry, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (same_name(entry, names[i]))
			return true;
	return false;
}

#define IN(entry, names) in_names(entry, names, sizeof(names) / sizeof((names)[0]))

char **
environment_base(char **environ_, bool whole)
{
	struct vector e = {0};

	vector_set(&e, mem_strdup("PYTHONUNBUFFERED=1"));
	vector_set(&e,
		   mem_strdup("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
	for (char **v = environ_; *v; v++)
		if (strchr(*v, '=') && (whole ? !IN(*v, withheld) : IN(*v, allowed)))
			vector_set(&e, mem_strdup(*v));
	return e.v;
}

char **
environment_of(const struct worker *w)
{
	const struct conf_pool *conf = w->pool->conf;
	const struct conf_run_as *ra = &conf->run_as;
	struct vector e = {0};

	for (char **v = w->pool->pools->base_environment; *v; v++)
		vector_set(&e, mem_strdup(*v));
	if (ra->home) { /* another user's are no use to it */
		vector_set(&e, mem_printf("HOME=%s", ra->home));
		vector_set(&e, mem_printf("USER=%s", ra->user));
	}
	for (char **v = ra->environment; v && *v; v++)
		vector_set(&e, mem_strdup(*v));
	vector_set(&e, mem_printf("PREFORKD_POOL=%s", conf->name));
	vector_set(&e, mem_printf("PREFORKD_WORKER=%u", w->index));
	vector_set(&e, mem_printf("PREFORKD_PROTOCOL=%s",
				  codec_level_name((enum codec_level)conf->protocol)));
	vector_set(&e, mem_printf("PREFORKD_CHANNEL=%s", channel_names[conf->channel]));
	vector_set(&e, mem_printf("PREFORKD_MAX_RESULT=%llu",
				  (unsigned long long)conf->job.max_result));
	vector_set(&e, mem_printf("PREFORKD_GENERATION=%llu", (unsigned long long)w->generation));
	return e.v;
}

void
environment_free(char **env)
{
	for (char **v = env; v && *v; v++)
		free(*v);
	free(env);
}
