/* SPDX-License-Identifier: MIT */
/* Commands about the daemon itself: STATUS, INFO, CONFIG, RELOAD, DRAIN, SHUTDOWN. */
#include "config.h"

#include "base/log.h"
#include "base/parse.h"
#include "base/text.h"
#include "control/command.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- STATUS ---- */

static void
cmd_status(struct request *r)
{
	const struct server *s = r->server;
	struct pools_totals t = pools_total(s->pools);
	char log[256];
	struct fields f;

	fields_begin(&f, r->client->proto);
	field_str(&f, "version", PREFORKD_VERSION);
	field_int(&f, "pid", getpid());
	field_str(&f, "state", s->ops->state(s->ctx));
	field_int(&f, "uptime_ms", mono_since(r->now, s->started) / USEC_PER_MSEC);
	field_int(&f, "generation", 1);
	field_int(&f, "clients", (int64_t)s->client_count);
	field_int(&f, "pools", (int64_t)s->pools->count);
	field_int(&f, "workers", (int64_t)t.up);
	field_int(&f, "workers_wanted", (int64_t)t.wanted);
	field_int(&f, "busy", (int64_t)t.busy);
	field_int(&f, "queued", (int64_t)t.queued);
	field_int(&f, "running", (int64_t)t.running);
	field_int(&f, "memory_bytes", (int64_t)t.bytes);
	field_int(&f, "reloads", (int64_t)s->reloads);
	field_str(&f, "reload_error", s->reload_error);
	field_str(&f, "reload_warning", s->reload_warning);
	field_str(&f, "config", s->conf->path);
	field_int(&f, "config_unix_ms", s->loaded_unix_us / USEC_PER_MSEC);
	field_str(&f, "unit", s->units.system);
	field_str(&f, "user_unit", s->units.user);
	field_str(&f, "log", log_where(log, sizeof(log)));
	fields_end(&f, r->out);
}

/* ---- INFO: the sections that Redis' tools look for, and ours ---- */

static void
info_server(struct request *r, struct buf *b)
{
	const struct server *s = r->server;

	buf_putf(b,
		 "redis_version:7.0.0\r\nredis_mode:standalone\r\n"
		 "preforkd_version:" PREFORKD_VERSION "\r\nprocess_id:%d\r\n"
		 "uptime_in_seconds:%lld\r\nstate:%s\r\n",
		 (int)getpid(), (long long)(mono_since(r->now, s->started) / USEC_PER_SEC),
		 s->ops->state(s->ctx));
}

static void
info_clients(struct request *r, struct buf *b)
{
	buf_putf(b, "connected_clients:%llu\r\nmaxclients:%llu\r\n",
		 (unsigned long long)r->server->client_count,
		 (unsigned long long)r->server->max_clients);
}

static void
info_stats(struct request *r, struct buf *b)
{
	struct pools_totals t = pools_total(r->server->pools);

	buf_putf(b,
		 "total_connections_received:%llu\r\njobs_done:%llu\r\njobs_failed:%llu\r\n"
		 "jobs_queued:%llu\r\njobs_running:%llu\r\nworkers:%llu\r\n",
		 (unsigned long long)r->server->connections, (unsigned long long)t.done,
		 (unsigned long long)t.failed, (unsigned long long)t.queued,
		 (unsigned long long)t.running, (unsigned long long)t.up);
}

static void
info_pools(struct request *r, struct buf *b)
{
	const struct pools *ps = r->server->pools;

	for (size_t i = 0; i < ps->count; i++) {
		const struct pool *p = ps->v[i];

		if (!access_allows_pool(r->client, CLASS_READ, p))
			continue;
		buf_putf(b,
			 "pool_%s:state=%s,up=%u,workers=%u,queued=%llu,done=%llu,failed=%llu\r\n",
			 p->conf->name, pool_state_name(pool_state(p)), p->up, p->wanted,
			 (unsigned long long)p->queue.count, (unsigned long long)p->stats.done,
			 (unsigned long long)p->stats.failed);
	}
}

static const struct {
	const char *name;
	void (*put)(struct request *r, struct buf *b);
} info_sections[] = {
	{"Server", info_server},
	{"Clients", info_clients},
	{"Stats", info_stats},
	{"Pools", info_pools},
};

static bool
info_wanted(const struct request *r, const char *section)
{
	static const char *const all[] = {"all", "default", "everything"};

	for (size_t i = 1; i < r->argc; i++) {
		if (slice_is(&r->argv[i], section))
			return true;
		for (size_t a = 0; a < sizeof(all) / sizeof(all[0]); a++)
			if (slice_is(&r->argv[i], all[a]))
				return true;
	}
	return r->argc == 1;
}

static void
cmd_info(struct request *r)
{
	struct buf b = {0};

	for (size_t i = 0; i < sizeof(info_sections) / sizeof(info_sections[0]); i++) {
		if (!info_wanted(r, info_sections[i].name))
			continue;
		buf_putf(&b, "%s# %s\r\n", buf_len(&b) ? "\r\n" : "", info_sections[i].name);
		info_sections[i].put(r, &b);
	}
	resp_put_bulk(r->out, buf_head(&b), buf_len(&b));
	buf_free(&b);
}

/* ---- CONFIG GET: the names that Redis' tools ask for ---- */

static void
config_maxclients(const struct request *r, char *dst, size_t cap)
{
	snprintf(dst, cap, "%llu", (unsigned long long)r->server->max_clients);
}

static void
config_timeout(const struct request *r, char *dst, size_t cap)
{
	int64_t us = r->server->conf->control.client_timeout_us;
	int64_t s = us == USEC_INFINITY ? 0 : us / USEC_PER_SEC + (us % USEC_PER_SEC > 0);

	snprintf(dst, cap, "%lld", (long long)s); /* 0: never */
}

static void
config_save(const struct request *r, char *dst, size_t cap)
{
	(void)r;
	snprintf(dst, cap, "%s", "");
}

static void
config_no(const struct request *r, char *dst, size_t cap)
{
	(void)r;
	snprintf(dst, cap, "no");
}

static const struct {
	const char *name;
	void (*get)(const struct request *r, char *dst, size_t cap);
} config_rows[] = {
	{"appendonly", config_no},
	{"maxclients", config_maxclients},
	{"save", config_save},
	{"timeout", config_timeout},
};

static bool
config_matches(const struct request *r, const char *name)
{
	char pattern[64];

	for (size_t i = 2; i < r->argc; i++) {
		const struct resp_slice *s = &r->argv[i];

		for (size_t n = 0; n < s->len && n < sizeof(pattern); n++)
			pattern[n] = (char)tolower((unsigned char)s->data[n]);
		if (s->len <= sizeof(pattern) && text_glob(pattern, s->len, name, strlen(name)))
			return true;
	}
	return false;
}

static void
config_get(struct request *r)
{
	struct fields f;
	char value[64];

	fields_begin(&f, r->client->proto);
	for (size_t i = 0; i < sizeof(config_rows) / sizeof(config_rows[0]); i++) {
		if (!config_matches(r, config_rows[i].name))
			continue;
		config_rows[i].get(r, value, sizeof(value));
		field_str(&f, config_rows[i].name, value);
	}
	fields_end(&f, r->out);
}

/* ---- RELOAD, DRAIN, SHUTDOWN ---- */

static void
cmd_reload(struct request *r)
{
	const char *code, *why = r->server->ops->reload(r->server->ctx, &code);

	if (why)
		resp_put_error(r->out, code, why, strlen(why));
	else
		client_await_reload(r->client);
}

static void
cmd_drain(struct request *r)
{
	r->server->ops->drain(r->server->ctx);
	resp_put_simple(r->out, "OK");
}

static void
cmd_shutdown(struct request *r)
{
	bool now = r->argc == 2 && slice_is(&r->argv[1], "NOW");

	if (r->argc > 1 && !now) {
		resp_put_errorf(r->out, "ERR", "SHUTDOWN takes NOW, or nothing");
		return;
	}
	r->server->ops->stop(r->server->ctx, now);
	resp_put_simple(r->out, "OK");
}

static const struct command config_subcommands[] = {
	{.name = "CONFIG GET",
	 .arity = -3,
	 .class = CLASS_READ,
	 .summary = "The few settings that Redis' tools ask for",
	 .handle = config_get,
	 .args = {{.name = "pattern", .multiple = true}}},
	{.name = NULL},
};

const struct command admin_commands[] = {
	{.name = "STATUS",
	 .arity = 1,
	 .class = CLASS_READ,
	 .summary = "The daemon at a glance",
	 .handle = cmd_status},
	{.name = "INFO",
	 .arity = -1,
	 .class = CLASS_READ,
	 .summary = "The daemon at a glance, as text in Redis' form",
	 .handle = cmd_info,
	 .args = {{.name = "section", .optional = true, .multiple = true}}},
	{.name = "CONFIG",
	 .arity = -2,
	 .class = CLASS_READ,
	 .summary = "The configuration is in its files: preforkd -T prints it",
	 .subcommands = config_subcommands},
	{.name = "RELOAD",
	 .arity = 1,
	 .class = CLASS_ADMIN,
	 .summary = "Read the configuration again and put it in force",
	 .handle = cmd_reload,
	 .in_multi = MULTI_REFUSED,
	 .defers = true},
	{.name = "DRAIN",
	 .arity = 1,
	 .class = CLASS_ADMIN,
	 .summary = "Take no new jobs and finish those there are",
	 .handle = cmd_drain},
	{.name = "SHUTDOWN",
	 .arity = -1,
	 .class = CLASS_ADMIN,
	 .summary = "Drain and end; NOW: without waiting for jobs",
	 .handle = cmd_shutdown,
	 .in_multi = MULTI_REFUSED,
	 .args = {{.name = "NOW", .optional = true}}},
	{.name = NULL},
};
