/* SPDX-License-Identifier: MIT */
#include "daemon/config_access.h"

#include "base/mem.h"
#include "base/parse.h"
#include "daemon/config_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char everybody[] = "for everybody leave users and groups out";

/* What each list takes of a word: NULL, or what is wrong with it. There is room. */

static const char *
take_user(struct conf_access *a, const char *word)
{
	if (strcmp(word, "*") == 0)
		return everybody;
	return config_find_uid(word, &a->uids[a->n_uids++]) ? NULL : "there is no such user";
}

static const char *
take_group(struct conf_access *a, const char *word)
{
	if (strcmp(word, "*") == 0)
		return everybody;
	return config_find_gid(word, &a->gids[a->n_gids++]) ? NULL : "there is no such group";
}

static const char *
take_right(struct conf_access *a, const char *word)
{
	for (const struct schema_name *n = schema_rights; n->name; n++) {
		if (strcmp(n->name, word) != 0)
			continue;
		a->rights |= (unsigned)n->value;
		return NULL;
	}
	return "must be \"read\", \"submit\" or \"admin\"";
}

static const char *
take_pool(struct conf_access *a, const char *word)
{
	(void)a;
	return *word ? NULL : "must be a pool's name, or a pattern such as \"web-*\"";
}

static void
take_words(struct reading *r, struct conf_access *a, const config_setting_t *group, const char *key,
	   char *const *words, const char *(*take)(struct conf_access *, const char *))
{
	const config_setting_t *list = config_setting_get_member(group, key);
	char path[SCHEMA_PATH_MAX];

	for (unsigned i = 0; words && words[i] && !config_is_bad(r, key); i++) {
		const char *wrong = take(a, words[i]);

		if (!wrong)
			continue;
		snprintf(path, sizeof(path), "%s[%u]", key, i);
		mistake_at(r, config_setting_source_line(config_setting_get_elem(list, i)), path,
			   "\"%s\": %s", words[i], wrong);
	}
}

static size_t
count(char *const *words)
{
	size_t n = 0;

	while (words && words[n])
		n++;
	return n;
}

static void
read_rule(struct reading *r, struct conf_access *a, config_setting_t *group)
{
	config_read_group(r, group);
	a->uids = mem_array(count(a->users) + 1, sizeof(*a->uids));
	a->gids = mem_array(count(a->groups) + 1, sizeof(*a->gids));
	take_words(r, a, group, "users", a->users, take_user);
	take_words(r, a, group, "groups", a->groups, take_group);
	take_words(r, a, group, "allow", a->allow, take_right);
	take_words(r, a, group, "pools", a->pools, take_pool);
}

void
config_read_access(struct reading *main, struct conf *c, const config_setting_t *list)
{
	int n = list && config_setting_is_list(list) ? config_setting_length(list) : 0;

	if (list && !config_setting_is_list(list))
		mistake_at(main, config_setting_source_line(list), "access",
			   "must be a list of groups: ( { users = [ \"…\" ]; allow = [ … ]; } )");
	c->access = mem_array((size_t)n + 1, sizeof(*c->access));
	for (int i = 0; i < n; i++) {
		config_setting_t *group = config_setting_get_elem(list, (unsigned)i);
		char prefix[32];
		struct reading r = {
			.mistakes = main->mistakes,
			.file = main->file,
			.prefix = prefix,
			.line = config_setting_source_line(group),
			.schema = &schema_access,
			.base = &c->access[c->n_access],
		};

		snprintf(prefix, sizeof(prefix), "access[%d].", i);
		if (config_setting_is_group(group)) {
			read_rule(&r, &c->access[c->n_access++], group);
			continue;
		}
		prefix[strlen(prefix) - 1] = 0;
		mistake_at(&r, 0, "", "must be a group: { users = [ \"…\" ]; allow = [ … ]; }");
	}
}
