/* SPDX-License-Identifier: MIT */
#include "daemon/config.h"

#include "base/mem.h"
#include "base/parse.h"
#include "daemon/config_access.h"
#include "daemon/config_check.h"
#include "daemon/config_read.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The files' way to one struct conf. */
struct loading {
	struct conf *conf;
	struct mistakes mistakes;
	char **places;	 /* FILE:LINE of each pool of conf */
	bool waits;	 /* for the main file's writer, where it is a pipe */
	bool pools_seen; /* pools that could not be read too */
};

static char *
join(const char *dir, const char *name)
{
	return *name == '/' || strcmp(dir, ".") == 0 ? mem_strdup(name) :
						       mem_printf("%s/%s", dir, name);
}

/* "." for a file in the current directory. */
static char *
directory_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return mem_strdup(".");
	return slash == path ? mem_strdup("/") : mem_printf("%.*s", (int)(slash - path), path);
}

/* pools */

static void
check_name(struct loading *l, struct reading *r, const struct conf_pool *p)
{
	if (!p->name)
		return;
	for (size_t i = 0; i < l->conf->n_pools; i++)
		if (l->conf->pools[i].name && strcmp(l->conf->pools[i].name, p->name) == 0)
			mistake_at(r, config_line_of(r, "name"), NULL,
				   "the pool \"%s\" is there already, at %s", p->name,
				   l->places[i]);
}

/* Add the pool that a reading was made for. */
static void
add_pool(struct loading *l, struct reading *r, const struct conf_pool *take_pool)
{
	size_t n = l->conf->n_pools;

	check_name(l, r, take_pool);
	l->conf->pools = realloc(l->conf->pools, (n + 1) * sizeof(*l->conf->pools));
	l->places = realloc(l->places, (n + 1) * sizeof(*l->places));
	if (!l->conf->pools || !l->places)
		mem_out();
	l->conf->pools[n] = *take_pool;
	l->places[n] = mem_printf("%s:%u", r->file, r->line);
	l->conf->n_pools++;
	config_check_pool(r, l->conf, &l->conf->pools[n]);
}

static void
load_listed_pool(struct loading *l, const char *file, config_setting_t *group, int i)
{
	struct conf_pool pool = {0};
	char prefix[32];
	struct reading r = {
		.mistakes = &l->mistakes,
		.file = file,
		.prefix = prefix,
		.line = config_setting_source_line(group),
		.schema = &schema_pool,
		.base = &pool,
	};

	snprintf(prefix, sizeof(prefix), "pools[%d].", i);
	l->pools_seen = true;
	if (!config_setting_is_group(group)) {
		prefix[strlen(prefix) - 1] = 0;
		mistake_at(&r, 0, "", "must be a group: { name = \"…\"; command = [ … ]; }");
		return;
	}
	config_read_group(&r, group);
	add_pool(l, &r, &pool);
}

static void
load_pool_list(struct loading *l, struct reading *r, const config_setting_t *list)
{
	if (!list)
		return;
	if (!config_setting_is_list(list)) {
		l->pools_seen = true;
		mistake_at(r, config_setting_source_line(list), "pools",
			   "must be a list of groups: ( { name = \"…\"; command = [ … ]; } )");
		return;
	}
	for (int i = 0; i < config_setting_length(list); i++)
		load_listed_pool(l, r->file, config_setting_get_elem(list, (unsigned)i), i);
}

static void
load_pool_file(struct loading *l, const char *path, const char *name)
{
	struct conf_pool pool = {0};
	struct config_file file;
	struct reading r = {
		.mistakes = &l->mistakes,
		.file = path,
		.prefix = "",
		.line = 1,
		.schema = &schema_pool,
		.base = &pool,
	};
	const struct schema_key *key = schema_find(r.schema, "name");
	struct config_value v = {VALUE_STRING, name, NULL};
	const char *why;

	l->pools_seen = true;
	if (!key->type->read(key, &v, &pool, &why)) {
		struct buf allowed = {0};

		key->type->allowed(key, &allowed);
		mistake_in(r.mistakes, path, "the file's name is the pool's, and must be %s",
			   schema_text(&allowed));
		buf_free(&allowed);
	}
	if (config_file_open(&file, path, false, r.mistakes)) {
		config_read_group(&r, config_root_setting(&file.config));
		add_pool(l, &r, &pool);
	} else {
		conf_pool_free(&pool);
	}
	config_file_close(&file);
}

static int
is_pool_file(const struct dirent *e)
{
	size_t len = strlen(e->d_name);

	return e->d_name[0] != '.' && len > 5 && strcmp(e->d_name + len - 5, ".conf") == 0;
}

static int
by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void
load_pool_dir(struct loading *l, struct reading *r, const char *dir)
{
	unsigned line = config_line_of(r, "pool_dir");
	struct dirent **entries;
	int n = scandir(dir, &entries, is_pool_file, by_name);

	if (n < 0 && (errno != ENOENT || line))
		mistake_at(r, line, "pool_dir", "\"%s\": cannot read %s: %s", l->conf->pool_dir,
			   dir, strerror(errno));
	for (int i = 0; i < n; i++) {
		char *path = join(dir, entries[i]->d_name);

		entries[i]->d_name[strlen(entries[i]->d_name) - 5] = 0;
		load_pool_file(l, path, entries[i]->d_name);
		free(path);
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
}

/* the main file */

static void
load_pools(struct loading *l, struct reading *r, const config_setting_t *root)
{
	char *above = directory_of(r->file), *dir = join(above, l->conf->pool_dir);
	bool has_dir = *l->conf->pool_dir && !config_is_bad(r, "pool_dir");

	if (root)
		load_pool_list(l, r, config_setting_get_member(root, "pools"));
	if (has_dir)
		load_pool_dir(l, r, dir);
	if (!l->pools_seen && l->mistakes.n == 0 && has_dir)
		mistake_in(r->mistakes, r->file, "no pool: put one in %s/NAME.conf", dir);
	else if (!l->pools_seen && l->mistakes.n == 0)
		mistake_in(r->mistakes, r->file, "no pool: put one in pools = ( { … } )");
	free(dir);
	free(above);
}

static void
load_main(struct loading *l, const char *path, const char *listen)
{
	struct config_file file;
	struct reading r = {
		.mistakes = &l->mistakes,
		.file = path,
		.prefix = "",
		.line = 1,
		.schema = &schema_main,
		.base = l->conf,
	};

	l->conf->path = mem_strdup(path);
	if (config_file_open(&file, path, l->waits, r.mistakes)) {
		config_setting_t *root = config_root_setting(&file.config);

		config_read_group(&r, root);
		config_check_main(&r, l->conf, listen, true);
		config_read_access(&r, l->conf, config_setting_get_member(root, "access"));
		load_pools(l, &r, root);
	} else if (file.text && !strstr(file.text, "pool_dir")) {
		/* What it says is not known, but pools are where they always are. */
		schema_set_defaults(&schema_main, l->conf);
		l->conf->control.client_memory = SIZE_INFINITY;
		load_pools(l, &r, NULL);
	}
	config_file_close(&file);
}

int
config_load_at(const char *path, const char *listen, bool waits, struct conf *ret_conf,
	       struct buf *ret_errors)
{
	struct loading l = {.conf = ret_conf, .waits = waits, .mistakes = {.out = ret_errors}};

	memset(ret_conf, 0, sizeof(*ret_conf));
	load_main(&l, path, listen);
	for (size_t i = 0; i < ret_conf->n_pools; i++)
		free(l.places[i]);
	free(l.places);
	return config_finish(&l.mistakes, ret_conf);
}
