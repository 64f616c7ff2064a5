/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/config.h"
#include "daemon/config_schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define N(array) (sizeof(array) / sizeof((array)[0]))

/* ---- the schema ---- */

struct table {
	const char *name;
	const struct schema *schema;
	size_t size; /* of the struct that it fills */
};

static const struct table tables[] = {
	{"main", &schema_main, sizeof(struct conf)},
	{"pool", &schema_pool, sizeof(struct conf_pool)},
	{"access", &schema_access, sizeof(struct conf_access)},
};

#define FOREACH_KEY(t, key)                                                                        \
	for (const struct table *t = tables; t < tables + N(tables); t++)                          \
		for (const struct schema_key *key = t->schema->keys;                               \
		     key < t->schema->keys + t->schema->n; key++)

static void
keys_are_whole(void **state)
{
	(void)state;
	FOREACH_KEY(t, key)
	{
		size_t help = key->help ? strlen(key->help) : 0;

		if (help == 0 || key->help[help - 1] != '.' || strpbrk(key->help, "\t\n"))
			fail_msg("%s: a sentence is missing", key->path);
		if (!key->type || !key->type->allowed || !key->type->name)
			fail_msg("%s: its type is not whole", key->path);
		if (!key->def != !!(key->flags & (SCHEMA_REQUIRED | SCHEMA_COMPUTED)))
			fail_msg("%s: has a default, or is required, or computed", key->path);
		if (key->type->read && !key->type->print)
			fail_msg("%s: is read and not printed", key->path);
		if (strlen(key->path) >= SCHEMA_PATH_MAX)
			fail_msg("%s: too long", key->path);
	}
}

static void
targets_fit(void **state)
{
	(void)state;
	FOREACH_KEY(t, key)
	{
		bool any_integer = key->type->size == 0;

		if (key->offset + key->size > t->size || key->offset2 + key->size2 > t->size)
			fail_msg("%s: goes outside", key->path);
		if (any_integer ? key->size != 4 && key->size != 8 : key->size != key->type->size)
			fail_msg("%s: its target has %zu bytes", key->path, key->size);
		if (key->size2 != key->type->size2)
			fail_msg("%s: its second target has %zu bytes", key->path, key->size2);
	}
}

static bool
overlap(size_t a, size_t a_size, size_t b, size_t b_size)
{
	return a < b + b_size && b < a + a_size;
}

static void
targets_are_apart(void **state)
{
	(void)state;
	FOREACH_KEY(t, key)
	{
		const struct schema_key *end = t->schema->keys + t->schema->n;

		assert_false(overlap(key->offset, key->size, key->offset2, key->size2));
		for (const struct schema_key *k = key + 1; k < end; k++)
			if (overlap(key->offset, key->size, k->offset, k->size) ||
			    (k->size2 && overlap(key->offset, key->size, k->offset2, k->size2)) ||
			    (key->size2 && overlap(key->offset2, key->size2, k->offset, k->size)))
				fail_msg("%s and %s go to the same place", key->path, k->path);
	}
}

static void
paths_are_distinct(void **state)
{
	(void)state;
	FOREACH_KEY(t, key)
	{
		assert_ptr_equal(schema_find(t->schema, key->path), key);
		if (schema_is_group(t->schema, key->path))
			fail_msg("%s is a key and a group", key->path);
		/* What is of one group stands together, or it would be printed twice. */
		if (key > t->schema->keys && strchr(key->path, '.')) {
			size_t len = strcspn(key->path, ".") + 1;
			const struct schema_key *k = key;

			while (k > t->schema->keys && strncmp(k[-1].path, key->path, len) == 0)
				k--;
			while (k > t->schema->keys)
				if (strncmp((--k)->path, key->path, len) == 0)
					fail_msg("%s is not with its group", key->path);
		}
	}
	assert_true(schema_is_group(&schema_pool, "run_as.limits"));
	assert_false(schema_is_group(&schema_pool, "run_as.limit"));
	assert_null(schema_find(&schema_pool, "run_as"));
}

static char *
printed(const struct schema_key *key, const void *base)
{
	struct buf out = {0};

	key->type->print(key, base, &out);
	return buf_steal(&out, NULL);
}

/* Each default is one that its own type takes, and prints back as it stands in the table. */
static void
defaults_read_and_print(void **state)
{
	(void)state;
	for (const struct table *t = tables; t < tables + N(tables); t++) {
		void *base = calloc(1, t->size);

		assert_non_null(base);
		schema_set_defaults(t->schema, base);
		for (size_t i = 0; i < t->schema->n; i++) {
			const struct schema_key *key = &t->schema->keys[i];
			char *text;

			if (!key->def || !key->type->print || key->type == &type_environment)
				continue;
			text = printed(key, base);
			if (key->type == &type_list) {
				assert_string_equal(text, "[ \"*\" ]");
			} else if (key->type->native == VALUE_STRING) {
				assert_int_equal(text[0], '"');
				text[strlen(text) - 1] = 0;
				assert_string_equal(text + 1, key->def);
			} else {
				assert_string_equal(text, key->def);
			}
			free(text);
		}
		if (t->schema == &schema_main) {
			conf_free(base);
		} else if (t->schema == &schema_access) {
			conf_access_free(base);
		} else {
			struct conf_pool *p = base;

			assert_string_equal(p->run_as.environment[0], "LANG=C.UTF-8");
			assert_null(p->run_as.environment[1]);
			assert_true(p->workers >= 1 && p->workers_auto);
			assert_true(p->run_as.limits[RLIMIT_NOFILE] == CONF_RLIMIT_UNSET);
			conf_pool_free(p);
		}
		free(base);
	}
}

/* ---- values ---- */

static const struct {
	const char *key;
	enum value_kind kind;
	const char *text;
	const char *printed; /* NULL: refused */
} values[] = {
	{"in_order", VALUE_BOOL, "true", "true"},
	{"in_order", VALUE_NUMBER, "1", NULL},
	{"in_order", VALUE_STRING, "true", NULL},
	{"pipeline", VALUE_NUMBER, "1024", "1024"},
	{"pipeline", VALUE_NUMBER, "0x10", "16"},
	{"pipeline", VALUE_NUMBER, "7L", "7"},
	{"pipeline", VALUE_NUMBER, "0", NULL},
	{"pipeline", VALUE_NUMBER, "1025", NULL},
	{"pipeline", VALUE_NUMBER, "4294967297", NULL},
	{"pipeline", VALUE_NUMBER, "99999999999999999999999", NULL},
	{"pipeline", VALUE_NUMBER, "1.0", NULL},
	{"pipeline", VALUE_NUMBER, "-1", NULL},
	{"pipeline", VALUE_STRING, "1", NULL},
	{"run_as.nice", VALUE_NUMBER, "-20", "-20"},
	{"run_as.nice", VALUE_NUMBER, "+19", "19"},
	{"run_as.nice", VALUE_NUMBER, "20", NULL},
	{"job.keep", VALUE_NUMBER, "90", "\"90s\""},
	{"job.keep", VALUE_NUMBER, "1.5", "\"1500ms\""},
	{"job.keep", VALUE_NUMBER, "2147483647", "\"2147483647s\""},
	{"job.keep", VALUE_NUMBER, "2147483648", NULL},
	{"job.keep", VALUE_NUMBER, "2147483648L", "\"2147483648s\""},
	{"job.keep", VALUE_STRING, "2147483648", "\"2147483648s\""},
	{"job.keep", VALUE_STRING, "infinity", "\"infinity\""},
	{"job.keep", VALUE_NUMBER, "0", "\"0s\""},
	{"job.keep", VALUE_NUMBER, "-1", NULL},
	{"job.keep", VALUE_STRING, "", NULL},
	{"job.keep", VALUE_BOOL, "true", NULL},
	{"job.timeout", VALUE_STRING, "0s", NULL},
	{"queue.memory", VALUE_STRING, "64M", "\"64M\""},
	{"queue.memory", VALUE_NUMBER, "1000", "\"1000\""},
	{"queue.memory", VALUE_NUMBER, "5000000000", NULL},
	{"queue.memory", VALUE_NUMBER, "5000000000LL", "\"5000000000\""},
	{"queue.memory", VALUE_STRING, "5000000000", "\"5000000000\""},
	{"queue.memory", VALUE_NUMBER, "0xffffffff", NULL},
	{"queue.memory", VALUE_NUMBER, "1.5", NULL},
	{"queue.memory", VALUE_STRING, "infinity", "\"infinity\""},
	{"job.max_payload", VALUE_STRING, "infinity", NULL},
	{"job.max_payload", VALUE_STRING, "0", NULL},
	{"run_as.umask", VALUE_STRING, "077", "\"0077\""},
	{"run_as.umask", VALUE_STRING, "0778", NULL},
	{"run_as.umask", VALUE_STRING, "01777", NULL},
	{"run_as.umask", VALUE_STRING, "", NULL},
	{"run_as.umask", VALUE_NUMBER, "0077", NULL},
	{"protocol", VALUE_STRING, "frame", "\"frame\""},
	{"protocol", VALUE_STRING, "Frame", NULL},
	{"workers", VALUE_STRING, "auto", "\"auto\""},
	{"workers", VALUE_STRING, "12", "12"},
	{"workers", VALUE_NUMBER, "4096", "4096"},
	{"workers", VALUE_NUMBER, "4097", NULL},
	{"workers", VALUE_STRING, "2..16", NULL},
	{"start.backoff", VALUE_STRING, "100ms..30s", "\"100ms..30s\""},
	{"start.backoff", VALUE_STRING, "30s..1s", NULL},
	{"start.backoff", VALUE_STRING, "1s", NULL},
	{"start.backoff", VALUE_NUMBER, "1", NULL},
	{"run_as.directory", VALUE_STRING, "/srv", "\"/srv\""},
	{"run_as.directory", VALUE_STRING, "srv", NULL},
	{"run_as.limits.nofile", VALUE_NUMBER, "1024", "1024"},
	{"run_as.limits.nofile", VALUE_STRING, "infinity", "\"infinity\""},
	{"run_as.limits.nofile", VALUE_STRING, "", "\"\""},
	{"run_as.limits.as", VALUE_STRING, "2G", "\"2G\""},
	{"run_as.limits.as", VALUE_NUMBER, "-1", NULL},
	{"name", VALUE_STRING, "A-z_0.9", "\"A-z_0.9\""},
	{"name", VALUE_STRING, ".hidden", NULL},
	{"name", VALUE_STRING, "-x", NULL},
	{"name", VALUE_STRING, "a b", NULL},
	{"name", VALUE_STRING, "", NULL},
	{"run_as.user", VALUE_STRING, "a\"b\\c\n\x01", "\"a\\\"b\\\\c\\n\\x01\""},
};

static void
values_are_taken_or_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < N(values); i++) {
		const struct schema_key *key = schema_find(&schema_pool, values[i].key);
		struct config_value v = {values[i].kind, values[i].text, NULL};
		struct conf_pool pool = {0};
		const char *why = NULL;
		char *text;

		assert_non_null(key);
		schema_set_defaults(&schema_pool, &pool);
		if (key->type->read(key, &v, &pool, &why) != (values[i].printed != NULL))
			fail_msg("%s: %s", values[i].key, values[i].text);
		if (values[i].printed) {
			text = printed(key, &pool);
			assert_string_equal(text, values[i].printed);
			free(text);
		}
		conf_pool_free(&pool);
	}
}

static void
name_has_64_bytes_at_most(void **state)
{
	const struct schema_key *key = schema_find(&schema_pool, "name");
	struct conf_pool pool = {0};
	char name[66];
	struct config_value v = {VALUE_STRING, name, NULL};
	const char *why;

	(void)state;
	memset(name, 'x', 65);
	name[65] = 0;
	assert_false(key->type->read(key, &v, &pool, &why));
	name[64] = 0;
	assert_true(key->type->read(key, &v, &pool, &why));
	conf_pool_free(&pool);
}

/* ---- hints ---- */

static const struct {
	const struct schema *schema;
	const char *path, *hint;
} hints[] = {
	{&schema_pool, "comand", "unknown key; did you mean command?"},
	{&schema_pool, "queue.limt", "unknown key; did you mean queue.limit?"},
	{&schema_pool, "run_as.limits.core_", "unknown key; did you mean run_as.limits.core?"},
	{&schema_pool, "timeout", "unknown key; did you mean job.timeout or start.timeout?"},
	{&schema_pool, "umask", "unknown key; did you mean run_as.umask?"},
	{&schema_pool, "queue.xyz", "unknown key; there are limit, memory"},
	{&schema_pool, "drain", "unknown key of a pool, but one of the main file's"},
	{&schema_main, "control.lisen", "unknown key; did you mean control.listen?"},
	{&schema_access, "user", "unknown key; did you mean users?"},
	{&schema_access, "max_queued", "unknown key; there are users, groups, allow, pools"},
	{&schema_main, "journal",
	 "unknown key; there are control, access, log, drain, pool_dir, pools"},
	{&schema_main, "job",
	 "unknown key of the main file, but one of a pool's: it goes into pool.d/NAME.conf"},
};

static void
hints_name_the_nearest(void **state)
{
	(void)state;
	for (size_t i = 0; i < N(hints); i++) {
		struct buf out = {0};

		schema_hint(hints[i].schema, hints[i].path, &out);
		assert_string_equal(schema_text(&out), hints[i].hint);
		buf_free(&out);
	}
}

/* ---- a pool from a command line ---- */

static char word_cat[] = "cat", word_n[] = "-n";
static char *const cat[] = {word_cat, word_n, NULL};

static void
quick_has_one_pool(void **state)
{
	struct config_quick q = {.name = "map",
				 .command = cat,
				 .workers = "3",
				 .protocol = "filter",
				 .channel = "pipe",
				 .listen = "/run/x.sock"};
	char *here = getcwd(NULL, 0);
	struct buf errors = {0};
	struct conf c;

	(void)state;
	assert_int_equal(config_quick(&q, &c, &errors), 0);
	assert_int_equal(buf_len(&errors), 0);
	assert_int_equal(c.n_pools, 1);
	assert_string_equal(c.control.listen, "/run/x.sock");
	assert_string_equal(c.pools[0].name, "map");
	assert_string_equal(c.pools[0].command[1], "-n");
	assert_int_equal(c.pools[0].workers, 3);
	assert_int_equal(c.pools[0].protocol, PROTOCOL_FILTER);
	assert_int_equal(c.pools[0].channel, CHANNEL_PIPE);
	assert_int_equal(c.pools[0].pipeline, 1);
	assert_string_equal(c.pools[0].run_as.directory, here);
	assert_true(c.pools[0].run_as.uid == (uid_t)-1 && c.pools[0].run_as.gid == (gid_t)-1);
	assert_false(c.pools[0].run_as.whole_environment);
	assert_non_null(c.pools[0].run_as.environment[0]);
	conf_free(&c);
	free(here);
}

static void
quick_private_has_no_socket(void **state)
{
	struct config_quick q = {.name = "map", .command = cat, .whole_environment = true};
	struct buf errors = {0};
	struct conf c;

	(void)state;
	unsetenv("XDG_RUNTIME_DIR");
	assert_int_equal(config_quick(&q, &c, &errors), 0);
	assert_null(c.control.listen);
	assert_true(c.pools[0].run_as.whole_environment && c.pools[0].workers_auto);
	assert_null(c.pools[0].run_as.environment[0]);
	conf_free(&c);
}

static void
quick_lists_all_mistakes(void **state)
{
	static char *const nothing[] = {NULL};
	struct config_quick q = {.name = "a/b",
				 .command = nothing,
				 .workers = "x",
				 .protocol = "line2",
				 .channel = "fd4",
				 .pipeline = "0",
				 .listen = "/run/x.sock"};
	static const char *const options[] = {"--pool: ",     "COMMAND: ",   "--workers: ",
					      "--protocol: ", "--channel: ", "--pipeline: "};
	struct buf errors = {0};
	const char *text;
	struct conf c;

	(void)state;
	assert_int_equal(config_quick(&q, &c, &errors), CONFIG_E_INVALID);
	text = schema_text(&errors);
	for (size_t i = 0; i < N(options); i++) {
		if (strncmp(text, options[i], strlen(options[i])) != 0)
			fail_msg("%s is missing before %s", options[i], text);
		text = strchr(text, '\n') + 1;
	}
	assert_string_equal(text, "");
	assert_null(c.pools);
	buf_free(&errors);
}

static void
levels_have_names(void **state)
{
	int level = -1;

	(void)state;
	assert_true(config_parse_level("warning", &level));
	assert_int_equal(level, LOG_WARNING);
	assert_false(config_parse_level("warn", &level));
}

/* ---- the manual page ---- */

static char *
read_manual(void)
{
	const char *source = getenv("PREFORKD_SRCDIR");
	char path[4096], block[4096];
	struct buf text = {0};
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "%s/man/preforkd.conf.5", source ? source : ".");
	f = fopen(path, "r");
	if (!f)
		return NULL;
	while ((n = fread(block, 1, sizeof(block), f)) > 0)
		buf_put(&text, block, n);
	fclose(f);
	return buf_steal(&text, NULL);
}

/* Has the page an item "name"; its own one, not one that name begins. */
static bool
has_item(const char *page, const char *name)
{
	const char *at = page;
	size_t len = strlen(name);

	while ((at = strstr(at, "\n.It Ic "))) {
		at += strlen("\n.It Ic ");
		if (strncmp(at, name, len) == 0 && (at[len] == ' ' || at[len] == '\n'))
			return true;
	}
	return false;
}

static void
manual_has_each_key(void **state)
{
	char *page = read_manual();
	size_t limits = strlen("run_as.limits.");

	(void)state;
	if (!page)
		skip();
	FOREACH_KEY(t, key)
	{
		/* They are named in the text of one item. */
		if (strncmp(key->path, "run_as.limits.", limits) == 0) {
			char word[64];

			snprintf(word, sizeof(word), " %s ", key->path + limits);
			if (!has_item(page, "run_as.limits") ||
			    (!strstr(page, word) && !strstr(page, key->path)))
				fail_msg("the page does not name %s", key->path);
		} else if (!(key->flags & SCHEMA_LIST_ONLY) && !has_item(page, key->path)) {
			fail_msg("the page has no item %s", key->path);
		}
	}
	free(page);
}

static void
manual_has_no_other_key(void **state)
{
	char *page = read_manual();
	char name[SCHEMA_PATH_MAX];

	(void)state;
	if (!page)
		skip();
	for (const char *at = page; (at = strstr(at, "\n.It Ic "));) {
		at += strlen("\n.It Ic ");
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(at, " \n"), at);
		if (!schema_find(&schema_main, name) && !schema_find(&schema_pool, name) &&
		    !schema_find(&schema_access, name) && !schema_is_group(&schema_pool, name))
			fail_msg("the page has an item %s, which is no key", name);
	}
	free(page);
}

static void
describe_has_a_line_for_each(void **state)
{
	struct buf out = {0};
	size_t lines = 0;

	(void)state;
	config_describe(&out);
	for (const char *c = schema_text(&out); *c; c++)
		lines += *c == '\n';
	assert_int_equal(lines, schema_main.n + 1 + schema_pool.n + 1 + schema_access.n);
	buf_free(&out);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_are_whole),
		cmocka_unit_test(targets_fit),
		cmocka_unit_test(targets_are_apart),
		cmocka_unit_test(paths_are_distinct),
		cmocka_unit_test(defaults_read_and_print),
		cmocka_unit_test(values_are_taken_or_refused),
		cmocka_unit_test(name_has_64_bytes_at_most),
		cmocka_unit_test(hints_name_the_nearest),
		cmocka_unit_test(quick_has_one_pool),
		cmocka_unit_test(quick_private_has_no_socket),
		cmocka_unit_test(quick_lists_all_mistakes),
		cmocka_unit_test(levels_have_names),
		cmocka_unit_test(manual_has_each_key),
		cmocka_unit_test(manual_has_no_other_key),
		cmocka_unit_test(describe_has_a_line_for_each),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
