/* SPDX-License-Identifier: MIT */
#include "ctl/listing.h"

#include "base/buf.h"
#include "ctl/human.h"
#include "ctl/json.h"
#include "ctl/reply.h"
#include "ctl/table.h"

#include <stdio.h>
#include <string.h>

/* Endings of names, the longer ones first. */
static const struct unit {
	const char *ending;
	bool shown; /* as part of the name, where that says what is meant */
	char *(*write)(char dst[HUMAN_MAX], int64_t n);
} units[] = {
	{"_unix_ms", false, human_time},
	{"_ms", false, human_age},
	{"_us", false, human_span},
	{"_bytes", true, human_size},
};

static const struct unit *
unit_of(const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		size_t n = strlen(units[i].ending);
		if (len > n && strcmp(name + len - n, units[i].ending) == 0)
			return &units[i];
	}
	return NULL;
}

/* "oldest_queued_ms" → "oldest queued" */
static void
add_name(struct table *t, const char *name, const struct unit *unit)
{
	char label[128];
	size_t len = strlen(name) - (unit && !unit->shown ? strlen(unit->ending) : 0);

	if (len >= sizeof(label))
		len = sizeof(label) - 1;
	for (size_t i = 0; i < len; i++)
		label[i] = name[i] == '_' ? ' ' : name[i];
	table_add_bytes(t, label, len);
}

/* A list, such as a command: its words. */
static void
add_list(struct table *t, const redisReply *list)
{
	struct buf words = {0};

	for (size_t i = 0; i < list->elements; i++) {
		buf_puts(&words, i ? " " : "");
		if (reply_is_text(list->element[i]))
			buf_put(&words, list->element[i]->str, list->element[i]->len);
	}
	table_add_bytes(t, buf_len(&words) ? buf_head(&words) : "", buf_len(&words));
	buf_free(&words);
}

static void
add_value(struct table *t, const redisReply *value, const struct unit *unit)
{
	char text[HUMAN_MAX];
	int64_t n;

	if (unit && reply_as_int(value, &n))
		table_add(t, unit->write(text, n));
	else if (reply_is_array(value))
		add_list(t, value);
	else if (value->type == REDIS_REPLY_INTEGER)
		table_addf(t, "%lld", value->integer);
	else
		table_add_bytes(t, value->str ? value->str : "", value->len);
}

int
listing_print(const struct ctl *ctl, const redisReply *map)
{
	static const struct column columns[] = {{"", false}, {"", false}};
	struct table t;

	if (ctl->json)
		return json_print(map, JSON_MAP);
	table_init(&t, columns, 2);
	t.no_titles = true;
	for (size_t i = 0; reply_is_array(map) && i + 1 < map->elements; i += 2) {
		const redisReply *name = map->element[i], *value = map->element[i + 1];
		if (!reply_is_text(name) || reply_is_nil(value))
			continue;
		const struct unit *unit = unit_of(name->str);
		add_name(&t, name->str, unit);
		add_value(&t, value, unit);
	}
	table_print(&t, stdout, (size_t)ctl->columns);
	table_free(&t);
	return STATUS_OK;
}

int
listing_of(struct ctl *ctl, const char *command, const char *name)
{
	const char *words[] = {command, name};
	redisReply *r = NULL;
	int status = ctl_call_words(ctl, words, 2, &r);

	if (!status)
		status = listing_print(ctl, r);
	freeReplyObject(r);
	return status;
}
