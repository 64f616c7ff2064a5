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

/* ---- what a worker has from its start ---- */

static bool
same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool
same_words(char *const *a, char *const *b)
{
	if (!a || !b)
		return a == b;
	for (; *a && *b; a++, b++)
		if (strcmp(*a, *b) != 0)
			return false;
	return *a == *b;
}

/* Names stand for numbers here: a user that has got another one is another user. */
static bool
same_user(const struct conf_run_as *a, const struct conf_run_as *b)
{
	return a->uid == b->uid && a->gid == b->gid && a->n_groups == b->n_groups &&
	       (!a->n_groups || !memcmp(a->groups, b->groups, a->n_groups * sizeof(*a->groups))) &&
	       same_text(a->user, b->user) && same_text(a->home, b->home);
}

static bool
same_run_as(const struct conf_run_as *a, const struct conf_run_as *b)
{
	return same_user(a, b) && same_text(a->directory, b->directory) && a->umask == b->umask &&
	       a->nice == b->nice && a->no_new_privs == b->no_new_privs &&
	       memcmp(a->limits, b->limits, sizeof(a->limits)) == 0 &&
	       same_words(a->environment, b->environment) &&
	       a->whole_environment == b->whole_environment;
}

bool
conf_pool_same_worker(const struct conf_pool *a, const struct conf_pool *b)
{
	return same_words(a->command, b->command) && a->protocol == b->protocol &&
	       a->channel == b->channel && a->pipeline == b->pipeline &&
	       a->in_order == b->in_order && a->one_to_one == b->one_to_one &&
	       a->job.max_result == b->job.max_result && same_run_as(&a->run_as, &b->run_as);
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
