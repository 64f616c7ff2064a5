/* SPDX-License-Identifier: MIT */
#include "daemon/config_read.h"

#include "base/mem.h"
#include "base/text.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* mistakes */

/* One line, and nothing of the files' in it that could be another. take_where is emptied. */
__attribute__((format(printf, 3, 0))) static void
put_mistake(struct mistakes *m, struct buf *take_where, const char *fmt, va_list ap)
{
	char text[1024], *shown;
	size_t len;

	vsnprintf(text, sizeof(text), fmt, ap);
	buf_puts(take_where, text);
	len = buf_len(take_where);
	shown = mem_new(4 * len + 8);
	text_escape(shown, 4 * len + 8, schema_text(take_where), len);
	buf_putf(m->out, "%s\n", shown);
	free(shown);
	buf_free(take_where);
	m->n++;
}

void
mistake_in(struct mistakes *m, const char *file, const char *fmt, ...)
{
	struct buf where = {0};
	va_list ap;

	buf_putf(&where, "%s: ", file);
	va_start(ap, fmt);
	put_mistake(m, &where, fmt, ap);
	va_end(ap);
}

void
mistake_at(struct reading *r, unsigned line, const char *key, const char *fmt, ...)
{
	struct buf where = {0};
	va_list ap;

	if (r->file)
		buf_putf(&where, "%s:%u: ", r->file, line ? line : r->line);
	if (key)
		buf_putf(&where, "%s%s: ", r->prefix, key);
	va_start(ap, fmt);
	put_mistake(r->mistakes, &where, fmt, ap);
	va_end(ap);
}

static size_t
index_of(const struct reading *r, const char *key)
{
	return (size_t)(schema_find(r->schema, key) - r->schema->keys);
}

unsigned
config_line_of(const struct reading *r, const char *key)
{
	return r->lines[index_of(r, key)];
}

bool
config_is_bad(const struct reading *r, const char *key)
{
	return r->bad[index_of(r, key)];
}

/* values */

static void
put_found(const struct config_value *v, char *dst, size_t cap)
{
	char text[80];

	switch (v->kind) {
	case VALUE_STRING:
		text_escape_str(text, sizeof(text), v->text);
		snprintf(dst, cap, "\"%s\"", text);
		return;
	case VALUE_BOOL:
	case VALUE_NUMBER:
		snprintf(dst, cap, "%.60s", v->text);
		return;
	case VALUE_LIST:
		snprintf(dst, cap, "%s", v->words && !v->words[0] ? "an empty list" : "a list");
		return;
	case VALUE_GROUP:
		snprintf(dst, cap, "a group");
		return;
	}
}

/* How a number that is no number here is to be written instead. */
static void
mistake_write(struct reading *r, const struct schema_key *key, unsigned line, const char *number,
	      const char *why)
{
	if (strncasecmp(number, "0x", 2) == 0)
		mistake_at(r, line, key->path, "%s: %s: write \"%llu\"", number, why,
			   strtoull(number, NULL, 16));
	else
		mistake_at(r, line, key->path, "%s: %s: write \"%s\"", number, why, number);
}

bool
config_read_value(struct reading *r, const struct schema_key *key, unsigned line,
		  const struct config_value *v)
{
	size_t i = (size_t)(key - r->schema->keys);
	const char *why = NULL;
	struct buf allowed = {0};
	char found[100];

	r->lines[i] = line;
	r->bad[i] = !key->type->read(key, v, r->base, &why);
	if (!r->bad[i])
		return true;
	put_found(v, found, sizeof(found));
	key->type->allowed(key, &allowed);
	if (why && v->kind == VALUE_NUMBER)
		mistake_write(r, key, line, v->text, why);
	else
		mistake_at(r, line, key->path, "%s: %s%s", found, why ? "" : "must be ",
			   why ? why : schema_text(&allowed));
	buf_free(&allowed);
	return false;
}

static enum value_kind
kind_of(const config_setting_t *s)
{
	switch (config_setting_type(s)) {
	case CONFIG_TYPE_BOOL:
		return VALUE_BOOL;
	case CONFIG_TYPE_STRING:
		return VALUE_STRING;
	case CONFIG_TYPE_GROUP:
		return VALUE_GROUP;
	case CONFIG_TYPE_ARRAY:
	case CONFIG_TYPE_LIST:
		return VALUE_LIST;
	default:
		return VALUE_NUMBER;
	}
}

static const char *
text_of(const config_setting_t *s, enum value_kind kind)
{
	switch (kind) {
	case VALUE_BOOL:
		return config_setting_get_bool(s) ? "true" : "false";
	case VALUE_STRING:
		return config_setting_get_string(s);
	case VALUE_NUMBER:
		return config_setting_get_hook(s);
	case VALUE_LIST:
	case VALUE_GROUP:
		break;
	}
	return NULL;
}

/* The name of a variable that a worker may be given; NULL: fine. */
static const char *
variable_why(const char *name)
{
	for (const char *c = name; *c; c++)
		if (!isalnum((unsigned char)*c) && *c != '_')
			return "a variable's name has only A-Z a-z 0-9 _";
	if (strncmp(name, "PREFORKD_", 9) == 0)
		return "PREFORKD_… are set by the daemon";
	return NULL;
}

/* Element i of a list as a string, of a group as NAME=value; NULL and a mistake otherwise. */
static char *
word_of(struct reading *r, const struct schema_key *key, const config_setting_t *e, int i)
{
	const char *name = config_setting_name(e), *why = name ? variable_why(name) : NULL;
	enum value_kind kind = kind_of(e);
	struct config_value v = {kind, text_of(e, kind), NULL};
	char path[SCHEMA_PATH_MAX], found[100], *word = NULL;

	if (name)
		snprintf(path, sizeof(path), "%s.%s", key->path, name);
	else
		snprintf(path, sizeof(path), "%s[%d]", key->path, i);
	put_found(&v, found, sizeof(found));
	if (why)
		mistake_at(r, config_setting_source_line(e), path, "%s", why);
	else if (kind != VALUE_STRING)
		mistake_at(r, config_setting_source_line(e), path, "%s: must be a string (\"…\")",
			   found);
	else
		word = mem_printf("%s%s%s", name ? name : "", name ? "=" : "", v.text);
	return word;
}

static void
read_words(struct reading *r, const struct schema_key *key, const config_setting_t *s,
	   struct config_value *v)
{
	unsigned n = (unsigned)config_setting_length(s), line = config_setting_source_line(s);
	char **words = mem_array(n + 1, sizeof(*words));
	bool good = true;

	for (unsigned i = 0; i < n; i++) {
		words[i] = word_of(r, key, config_setting_get_elem(s, i), (int)i);
		good &= words[i] != NULL;
	}
	v->words = (const char *const *)words;
	if (good) {
		config_read_value(r, key, line, v);
	} else {
		r->lines[key - r->schema->keys] = line;
		r->bad[key - r->schema->keys] = true;
	}
	for (unsigned i = 0; i < n; i++)
		free(words[i]);
	free(words);
}

static void
read_key(struct reading *r, const struct schema_key *key, const config_setting_t *s)
{
	enum value_kind kind = kind_of(s);
	struct config_value v = {kind, text_of(s, kind), NULL};

	if (!key->type->read)
		r->lines[key - r->schema->keys] = config_setting_source_line(s);
	else if (kind == key->type->native && (kind == VALUE_LIST || kind == VALUE_GROUP))
		read_words(r, key, s, &v);
	else
		config_read_value(r, key, config_setting_source_line(s), &v);
}

static void
unknown_key(struct reading *r, const config_setting_t *s, const char *path)
{
	struct buf hint = {0};

	schema_hint(r->schema, path, &hint);
	mistake_at(r, config_setting_source_line(s), path, "%s", schema_text(&hint));
	buf_free(&hint);
}

static bool
is_known(const struct reading *r, const struct schema_key *key)
{
	/* In a file of its own the file's name is the pool's. */
	return key && !(key->flags & SCHEMA_LIST_ONLY && !*r->prefix);
}

/* Depth is that of the schema: groups that it does not know are not entered. */
static void
read_members(struct reading *r, config_setting_t *group, const char *within)
{
	for (int i = 0; i < config_setting_length(group); i++) {
		config_setting_t *s = config_setting_get_elem(group, (unsigned)i);
		unsigned line = config_setting_source_line(s);
		const struct schema_key *key;
		char path[SCHEMA_PATH_MAX];

		snprintf(path, sizeof(path), "%s%s%s", within, *within ? "." : "",
			 config_setting_name(s));
		key = schema_find(r->schema, path);
		if (is_known(r, key))
			read_key(r, key, s);
		else if (key)
			mistake_at(r, line, path,
				   "unknown key here: the file's name is the pool's");
		else if (!schema_is_group(r->schema, path))
			unknown_key(r, s, path);
		else if (config_setting_is_group(s))
			read_members(r, s, path);
		else
			mistake_at(r, line, path, "must be a group: { key = value; }");
	}
}

static void
check_required(struct reading *r)
{
	for (size_t i = 0; i < r->schema->n; i++) {
		const struct schema_key *key = &r->schema->keys[i];
		struct buf allowed = {0};

		if (!is_known(r, key) || !(key->flags & SCHEMA_REQUIRED) || r->lines[i])
			continue;
		key->type->allowed(key, &allowed);
		mistake_at(r, 0, key->path, "not set: must be %s", schema_text(&allowed));
		r->bad[i] = true;
		buf_free(&allowed);
	}
}

void
config_read_group(struct reading *r, config_setting_t *group)
{
	schema_set_defaults(r->schema, r->base);
	read_members(r, group, "");
	check_required(r);
}
