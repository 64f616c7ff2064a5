/* SPDX-License-Identifier: MIT */
/* The types of keys whose targets are strings and lists of strings. */
#include "daemon/config_schema.h"

#include "base/mem.h"
#include "core/conf.h"

#include <stdlib.h>
#include <string.h>

#define NAME_MAX_LEN 64

static void
put_string(void *base, const struct schema_key *key, const char *s)
{
	char **at = schema_target(base, key->offset);

	free(*at);
	*at = mem_strdup(s);
}

static void
put_words(void *base, const struct schema_key *key, const char *const *words)
{
	char ***at = schema_target(base, key->offset);
	size_t n = 0;

	for (char **w = *at; w && *w; w++)
		free(*w);
	free(*at);
	while (words[n])
		n++;
	*at = mem_array(n + 1, sizeof(**at));
	for (size_t i = 0; i < n; i++)
		(*at)[i] = mem_strdup(words[i]);
}

void
schema_put_string(struct buf *out, const char *s)
{
	static const char special[] = "\"\\\n\r\t\f", letter[] = "\"\\nrtf";

	buf_putc(out, '"');
	for (; *s; s++) {
		const char *at = strchr(special, *s);

		if (at)
			buf_putf(out, "\\%c", letter[at - special]);
		else if ((unsigned char)*s < 0x20 || *s == 0x7f)
			buf_putf(out, "\\x%02x", (unsigned char)*s);
		else
			buf_putc(out, *s);
	}
	buf_putc(out, '"');
}

/* any string */

static bool
string_read(const struct schema_key *key, const struct config_value *v, void *base,
	    const char **ret_why)
{
	(void)ret_why;
	if (v->kind != VALUE_STRING)
		return false;
	put_string(base, key, v->text);
	return true;
}

static void
string_allowed(const struct schema_key *key, struct buf *out)
{
	(void)key;
	buf_puts(out, "a string (\"…\")");
}

static void
string_print(const struct schema_key *key, const void *base, struct buf *out)
{
	char *const *at = schema_target_of(base, key->offset);

	schema_put_string(out, *at ? *at : "");
}

const struct schema_type type_string = {
	.name = "string",
	.native = VALUE_STRING,
	.read = string_read,
	.allowed = string_allowed,
	.print = string_print,
	.size = sizeof(char *),
};

/* an absolute path */

static bool
path_read(const struct schema_key *key, const struct config_value *v, void *base,
	  const char **ret_why)
{
	(void)ret_why;
	if (v->kind != VALUE_STRING || v->text[0] != '/' || strlen(v->text) > key->max)
		return false;
	put_string(base, key, v->text);
	return true;
}

static void
path_allowed(const struct schema_key *key, struct buf *out)
{
	buf_putf(out, "an absolute path (\"/…\") of at most %llu bytes",
		 (unsigned long long)key->max);
}

const struct schema_type type_path = {
	.name = "path",
	.native = VALUE_STRING,
	.read = path_read,
	.allowed = path_allowed,
	.print = string_print,
	.size = sizeof(char *),
};

/* a pool's name */

static bool
name_read(const struct schema_key *key, const struct config_value *v, void *base,
	  const char **ret_why)
{
	static const char allowed[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
	size_t len = strlen(v->text ? v->text : "");

	(void)ret_why;
	if (v->kind != VALUE_STRING || len == 0 || len > NAME_MAX_LEN)
		return false;
	/* ".x" is a hidden file's name, "-x" an option's. */
	if (strspn(v->text, allowed) != len || v->text[0] == '.' || v->text[0] == '-')
		return false;
	put_string(base, key, v->text);
	return true;
}

static void
name_allowed(const struct schema_key *key, struct buf *out)
{
	(void)key;
	buf_putf(out, "1 to %d characters of A-Z a-z 0-9 _ . -, and not begin with . or -",
		 NAME_MAX_LEN);
}

const struct schema_type type_name = {
	.name = "name",
	.native = VALUE_STRING,
	.read = name_read,
	.allowed = name_allowed,
	.print = string_print,
	.size = sizeof(char *),
};

/* a command */

static bool
words_read(const struct schema_key *key, const struct config_value *v, void *base,
	   const char **ret_why)
{
	if (v->kind == VALUE_STRING)
		*ret_why = "a command is a list of words: [ \"/usr/bin/program\", \"argument\" ]";
	if (v->kind != VALUE_LIST || !v->words[0] || !v->words[0][0])
		return false;
	put_words(base, key, v->words);
	return true;
}

static void
words_allowed(const struct schema_key *key, struct buf *out)
{
	(void)key;
	buf_puts(out,
		 "a list of strings, the program first: [ \"/usr/bin/program\", \"argument\" ]");
}

static void
words_print(const struct schema_key *key, const void *base, struct buf *out)
{
	char **const *at = schema_target_of(base, key->offset);

	buf_puts(out, "[");
	for (char **w = *at; w && *w; w++) {
		buf_puts(out, w == *at ? " " : ", ");
		schema_put_string(out, *w);
	}
	buf_puts(out, " ]");
}

const struct schema_type type_words = {
	.name = "words",
	.native = VALUE_LIST,
	.read = words_read,
	.allowed = words_allowed,
	.print = words_print,
	.size = sizeof(char **),
};

/* environment variables */

static bool
environment_read(const struct schema_key *key, const struct config_value *v, void *base,
		 const char **ret_why)
{
	(void)ret_why;
	if (v->kind != VALUE_GROUP)
		return false;
	put_words(base, key, v->words);
	return true;
}

static void
environment_allowed(const struct schema_key *key, struct buf *out)
{
	(void)key;
	buf_puts(out, "a group of strings: { NAME = \"value\"; }");
}

static void
environment_print(const struct schema_key *key, const void *base, struct buf *out)
{
	char **const *at = schema_target_of(base, key->offset);

	buf_puts(out, "{ ");
	for (char **w = *at; w && *w; w++) {
		size_t len = strcspn(*w, "=");

		buf_putf(out, "%.*s = ", (int)len, *w);
		schema_put_string(out, *w + len + 1);
		buf_puts(out, "; ");
	}
	buf_puts(out, "}");
}

const struct schema_type type_environment = {
	.name = "environment",
	.native = VALUE_GROUP,
	.read = environment_read,
	.allowed = environment_allowed,
	.print = environment_print,
	.size = sizeof(char **),
};

/* a list of strings: of any, or of some words; min: how many at least */

static bool
list_read(const struct schema_key *key, const struct config_value *v, void *base,
	  const char **ret_why)
{
	(void)ret_why;
	if (v->kind != VALUE_LIST || (key->min && !v->words[0]))
		return false;
	put_words(base, key, v->words);
	return true;
}

static void
list_allowed(const struct schema_key *key, struct buf *out)
{
	const struct schema_name *n = key->names;

	if (!n)
		buf_puts(out, key->min ? "a list of one or more strings: [ \"…\" ]" :
					 "a list of strings: [ \"…\" ]");
	for (; n && n->name; n++)
		buf_putf(out, "%s\"%s\"%s", n == key->names ? "some of these, or none: [ " : ", ",
			 n->name, n[1].name ? "" : " ]");
}

static void
list_print(const struct schema_key *key, const void *base, struct buf *out)
{
	char **const *at = schema_target_of(base, key->offset);

	if (*at)
		words_print(key, base, out);
}

const struct schema_type type_list = {
	.name = "list",
	.native = VALUE_LIST,
	.read = list_read,
	.allowed = list_allowed,
	.print = list_print,
	.size = sizeof(char **),
};

/* a list of groups, which are read and printed by a schema of their own */

static void
groups_allowed(const struct schema_key *key, struct buf *out)
{
	(void)key;
	buf_puts(out, "a list of groups: ( { … }, { … } )");
}

const struct schema_type type_groups = {
	.name = "groups",
	.native = VALUE_LIST,
	.allowed = groups_allowed,
	.size = sizeof(void *),
};
