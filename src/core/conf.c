/* SPDX-License-Identifier: MIT */
#include "core/conf.h"

#include <stdlib.h>
#include <string.h>

static void
free_words(char **words)
{
	for (char **w = words; w && *w; w++)
		free(*w);
	free(words);
}

static void
free_run_as(struct conf_run_as *r)
{
	free(r->user);
	free(r->group);
	free(r->groups);
	free(r->home);
	free(r->directory);
	free_words(r->environment);
}

void
conf_pool_free(struct conf_pool *p)
{
	free(p->name);
	free_words(p->command);
	free_run_as(&p->run_as);
	memset(p, 0, sizeof(*p));
}

void
conf_access_free(struct conf_access *a)
{
	free_words(a->users);
	free_words(a->groups);
	free_words(a->allow);
	free_words(a->pools);
	free(a->uids);
	free(a->gids);
	memset(a, 0, sizeof(*a));
}

void
conf_free(struct conf *c)
{
	for (size_t i = 0; i < c->n_access; i++)
		conf_access_free(&c->access[i]);
	free(c->access);
	for (size_t i = 0; i < c->n_pools; i++)
		conf_pool_free(&c->pools[i]);
	free(c->pools);
	free(c->path);
	free(c->control.listen);
	free(c->control.group);
	free(c->pool_dir);
	memset(c, 0, sizeof(*c));
}
