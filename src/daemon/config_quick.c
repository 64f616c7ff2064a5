/* SPDX-License-Identifier: MIT */
#include "daemon/config.h"

#include "base/mem.h"
#include "daemon/config_check.h"
#include "daemon/config_read.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void
read_option(struct reading *r, const char *path, const char *text)
{
	const struct schema_key *key = schema_find(r->schema, path);
	struct config_value v = {key->type->native, text, NULL};

	if (text)
		config_read_value(r, key, 0, &v);
}

static void
read_name(struct reading *r, const char *name)
{
	const struct schema_key *key = schema_find(r->schema, "name");
	struct config_value v = {VALUE_STRING, name, NULL};
	struct buf allowed = {0};
	const char *why;

	if (key->type->read(key, &v, r->base, &why))
		return;
	key->type->allowed(key, &allowed);
	mistake_in(r->mistakes, "--pool", "\"%s\": must be %s", name, schema_text(&allowed));
	buf_free(&allowed);
}

static void
read_command(struct reading *r, char *const *command)
{
	const struct schema_key *key = schema_find(r->schema, "command");
	struct config_value v = {VALUE_LIST, NULL, (const char *const *)command};
	const char *why;

	if (!key->type->read(key, &v, r->base, &why))
		mistake_in(r->mistakes, "COMMAND", "missing: -- COMMAND [ARGUMENT…]");
}

static void
set_surroundings(struct reading *r, struct conf_run_as *a)
{
	char *here = getcwd(NULL, 0);

	if (!here) {
		mistake_in(r->mistakes, "--pool", "there is no current directory: %s",
			   strerror(errno));
		return;
	}
	free(a->directory);
	a->directory = here;
	a->umask = umask(0); /* the caller's too; there is no other way to read it */
	umask(a->umask);
}

static void
set_whole_environment(struct conf_run_as *a)
{
	for (char **e = a->environment; *e; e++)
		free(*e);
	a->environment[0] = NULL;
	a->whole_environment = true;
}

/* Whoever is the only client of its own daemon need not be kept from taking its
 * memory: these are against mistakes. */
static void
set_private_limits(struct reading *main, struct reading *pool)
{
	read_option(main, "control.client_memory", "1G");
	read_option(pool, "queue.memory", "1G");
	read_option(pool, "job.max_payload", "64M");
	read_option(pool, "job.max_result", "256M");
}

static void
quick_pool(struct reading *main, const struct config_quick *q, const struct conf *c,
	   struct conf_pool *p)
{
	struct reading r = {
		.mistakes = main->mistakes, .prefix = "--", .schema = &schema_pool, .base = p};

	schema_set_defaults(&schema_pool, p);
	read_name(&r, q->name);
	read_command(&r, q->command);
	read_option(&r, "workers", q->workers);
	read_option(&r, "protocol", q->protocol);
	read_option(&r, "channel", q->channel);
	read_option(&r, "pipeline", q->pipeline);
	if (q->whole_environment)
		set_private_limits(main, &r);
	config_check_pool(&r, c, p);
	set_surroundings(&r, &p->run_as);
	if (q->whole_environment)
		set_whole_environment(&p->run_as);
}

int
config_quick(const struct config_quick *q, struct conf *ret_conf, struct buf *ret_errors)
{
	struct mistakes m = {.out = ret_errors};
	struct reading r = {.mistakes = &m, .prefix = "", .schema = &schema_main, .base = ret_conf};

	memset(ret_conf, 0, sizeof(*ret_conf));
	schema_set_defaults(&schema_main, ret_conf);
	config_check_main(&r, ret_conf, q->listen, !q->whole_environment);
	ret_conf->pools = mem_array(1, sizeof(*ret_conf->pools));
	ret_conf->n_pools = 1;
	quick_pool(&r, q, ret_conf, &ret_conf->pools[0]);
	return config_finish(&m, ret_conf);
}
