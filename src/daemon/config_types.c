/* SPDX-License-Identifier: MIT */
#include "base/mono.h"
#include "base/parse.h"
#include "core/conf.h"
#include "daemon/config_schema.h"

#include <ctype.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * Targets. The tables say where a value goes as an offset and a width; these are
 * the only places that turn that into a pointer.
 */

void *
schema_target(void *base, size_t offset)
{
	return (char *)base + offset;
}

const void *
schema_target_of(const void *base, size_t offset)
{
	return (const char *)base + offset;
}

static void
put_int(void *base, size_t offset, size_t size, int64_t n)
{
	int32_t narrow = (int32_t)n;

	if (size == sizeof(narrow))
		memcpy(schema_target(base, offset), &narrow, size);
	else
		memcpy(schema_target(base, offset), &n, sizeof(n));
}

static int64_t
get_int(const void *base, size_t offset, size_t size)
{
	int32_t narrow;
	int64_t n;

	if (size == sizeof(narrow)) {
		memcpy(&narrow, schema_target_of(base, offset), size);
		return narrow;
	}
	memcpy(&n, schema_target_of(base, offset), sizeof(n));
	return n;
}

/*
 * A plain number as the source has it. libconfig keeps 32 bits of one without an
 * L behind it and says nothing, so its own value is never asked for.
 */
static int
read_number(const char *text, int64_t *ret, const char **ret_why)
{
	bool negative = *text == '-', is_long;
	const char *digits = text + (*text == '-' || *text == '+');
	int base = digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X') ? 16 : 10;
	unsigned long long n;
	char *end;

	errno = 0;
	n = strtoull(digits, &end, base);
	is_long = *end == 'L';
	end += strspn(end, "L");
	if (*end || end == digits || !isdigit((unsigned char)*digits))
		return -EINVAL;
	if (errno || n > INT64_MAX)
		return -ERANGE;
	if (n > INT32_MAX && !is_long && !negative) {
		*ret_why = "too large for a plain number, which has 32 bits";
		return -EOVERFLOW;
	}
	*ret = negative ? -(int64_t)n : (int64_t)n;
	return 0;
}

/* bool */

static bool
bool_read(const struct schema_key *key, const struct config_value *v, void *base,
	  const char **ret_why)
{
	bool *at = schema_target(base, key->offset);

	(void)ret_why;
	if (v->kind != VALUE_BOOL)
		return false;
	*at = strcmp(v->text, "true") == 0;
	return true;
}

static void
bool_allowed(const struct schema_key *key, struct buf *out)
{
	(void)key;
	buf_puts(out, "true or false");
}

static void
bool_print(const struct schema_key *key, const void *base, struct buf *out)
{
	const bool *at = schema_target_of(base, key->offset);

	buf_puts(out, *at ? "true" : "false");
}

const struct schema_type type_bool = {
	.name = "bool",
	.native = VALUE_BOOL,
	.read = bool_read,
	.allowed = bool_allowed,
	.print = bool_print,
	.size = sizeof(bool),
};

/* integer */

static bool
int_read(const struct schema_key *key, const struct config_value *v, void *base,
	 const char **ret_why)
{
	const char *why;
	int64_t n;

	(void)ret_why;
	if (v->kind != VALUE_NUMBER || read_number(v->text, &n, &why) < 0)
		return false;
	if (n < key->min || n > (int64_t)key->max)
		return false;
	put_int(base, key->offset, key->size, n);
	return true;
}

static void
int_allowed(const struct schema_key *key, struct buf *out)
{
	buf_putf(out, "a number from %lld to %llu", (long long)key->min,
		 (unsigned long long)key->max);
}

static void
int_print(const struct schema_key *key, const void *base, struct buf *out)
{
	buf_putf(out, "%lld", (long long)get_int(base, key->offset, key->size));
}

const struct schema_type type_int = {
	.name = "integer",
	.native = VALUE_NUMBER,
	.read = int_read,
	.allowed = int_allowed,
	.print = int_print,
};

/* duration */

/* The text that the parsers of durations and sizes take: numbers must be ones that libconfig
 * reads as they are written. */
static bool
quantity_text(const struct config_value *v, const char **ret_text, size_t *ret_len,
	      const char **ret_why)
{
	int64_t n;
	int r;

	if (v->kind != VALUE_NUMBER && v->kind != VALUE_STRING)
		return false;
	*ret_text = v->text;
	*ret_len = strlen(v->text);
	if (v->kind == VALUE_STRING)
		return true;
	r = read_number(v->text, &n, ret_why);
	if (r == -EOVERFLOW)
		return false;
	if (r == 0)
		*ret_len = strcspn(v->text, "L");
	return true; /* a fraction: the parser knows */
}

static bool
duration_read(const struct schema_key *key, const struct config_value *v, void *base,
	      const char **ret_why)
{
	const char *text;
	size_t len;
	int64_t us;

	if (!quantity_text(v, &text, &len, ret_why))
		return false;
	if (parse_duration(text, len, &us) < 0 || us < key->min)
		return false;
	if (us == USEC_INFINITY ? key->max != UINT64_MAX : (uint64_t)us > key->max)
		return false;
	put_int(base, key->offset, sizeof(us), us);
	return true;
}

static void
duration_allowed(const struct schema_key *key, struct buf *out)
{
	buf_putf(out, "a duration%s (\"500ms\", \"30s\", \"5m\", \"1h\")%s",
		 key->min > 0 ? " above 0" : "", key->max == UINT64_MAX ? " or \"infinity\"" : "");
}

static void
duration_print(const struct schema_key *key, const void *base, struct buf *out)
{
	char text[FORMAT_MAX];

	schema_put_string(out, format_duration(text, get_int(base, key->offset, key->size)));
}

const struct schema_type type_duration = {
	.name = "duration",
	.native = VALUE_STRING,
	.read = duration_read,
	.allowed = duration_allowed,
	.print = duration_print,
	.size = sizeof(int64_t),
};

/* size */

static bool
size_read(const struct schema_key *key, const struct config_value *v, void *base,
	  const char **ret_why)
{
	const char *text;
	uint64_t bytes;
	size_t len;

	if (!quantity_text(v, &text, &len, ret_why))
		return false;
	if (parse_size(text, len, &bytes) < 0 || bytes < (uint64_t)key->min || bytes > key->max)
		return false;
	put_int(base, key->offset, sizeof(bytes), (int64_t)bytes);
	return true;
}

static void
size_allowed(const struct schema_key *key, struct buf *out)
{
	char min[FORMAT_MAX], max[FORMAT_MAX];

	buf_puts(out, "a size (\"1000\", \"64K\", \"1M\", \"2G\")");
	if (key->max != UINT64_MAX)
		buf_putf(out, " from %s to %s", format_size(min, (uint64_t)key->min),
			 format_size(max, key->max));
	else if (key->min > 0)
		buf_putf(out, " of at least %s or \"infinity\"",
			 format_size(min, (uint64_t)key->min));
	else
		buf_puts(out, " or \"infinity\"");
}

static void
size_print(const struct schema_key *key, const void *base, struct buf *out)
{
	char text[FORMAT_MAX];

	schema_put_string(out, format_size(text, (uint64_t)get_int(base, key->offset, key->size)));
}

const struct schema_type type_size = {
	.name = "size",
	.native = VALUE_STRING,
	.read = size_read,
	.allowed = size_allowed,
	.print = size_print,
	.size = sizeof(uint64_t),
};

/* octal mode */

static bool
mode_read(const struct schema_key *key, const struct config_value *v, void *base,
	  const char **ret_why)
{
	size_t len = strlen(v->text ? v->text : "");
	unsigned long mode;

	if (len == 0 || len > 4 || strspn(v->text, "01234567") != len)
		return false;
	if (v->kind != VALUE_STRING) {
		*ret_why = "an octal mode is a string here";
		return false;
	}
	mode = strtoul(v->text, NULL, 8);
	if (mode > key->max)
		return false;
	put_int(base, key->offset, key->size, (int64_t)mode);
	return true;
}

static void
mode_allowed(const struct schema_key *key, struct buf *out)
{
	buf_putf(out, "an octal mode from \"0000\" to \"%04llo\"", (unsigned long long)key->max);
}

static void
mode_print(const struct schema_key *key, const void *base, struct buf *out)
{
	buf_putf(out, "\"%04llo\"", (unsigned long long)get_int(base, key->offset, key->size));
}

const struct schema_type type_mode = {
	.name = "mode",
	.native = VALUE_STRING,
	.read = mode_read,
	.allowed = mode_allowed,
	.print = mode_print,
	.size = sizeof(mode_t),
};

/* one of some words */

static bool
enum_read(const struct schema_key *key, const struct config_value *v, void *base,
	  const char **ret_why)
{
	(void)ret_why;
	if (v->kind != VALUE_STRING)
		return false;
	for (const struct schema_name *n = key->names; n->name; n++) {
		if (strcmp(n->name, v->text) != 0)
			continue;
		put_int(base, key->offset, key->size, n->value);
		return true;
	}
	return false;
}

static void
enum_allowed(const struct schema_key *key, struct buf *out)
{
	for (const struct schema_name *n = key->names; n->name; n++)
		buf_putf(out, "%s\"%s\"",
			 n == key->names ? "" :
			 n[1].name	 ? ", " :
					   " or ",
			 n->name);
}

static void
enum_print(const struct schema_key *key, const void *base, struct buf *out)
{
	int64_t value = get_int(base, key->offset, key->size);

	for (const struct schema_name *n = key->names; n->name; n++)
		if (n->value == value)
			schema_put_string(out, n->name);
}

const struct schema_type type_enum = {
	.name = "word",
	.native = VALUE_STRING,
	.read = enum_read,
	.allowed = enum_allowed,
	.print = enum_print,
	.size = sizeof(int),
};

/* number of workers */

static unsigned
count_cpus(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 0;

	if (n <= 0)
		n = (int)sysconf(_SC_NPROCESSORS_ONLN);
	if (n <= 0)
		return 1;
	return n < CONF_WORKERS_MAX ? (unsigned)n : CONF_WORKERS_MAX;
}

static bool
workers_read(const struct schema_key *key, const struct config_value *v, void *base,
	     const char **ret_why)
{
	bool *is_auto = schema_target(base, key->offset2);
	const char *why;
	int64_t n;

	if (v->kind != VALUE_NUMBER && v->kind != VALUE_STRING)
		return false;
	if (strstr(v->text, "..")) {
		*ret_why = "a range needs scaling, which this version does not have: write a "
			   "number or \"auto\"";
		return false;
	}
	if (strcmp(v->text, "auto") == 0) {
		*is_auto = true;
		put_int(base, key->offset, key->size, count_cpus());
		return true;
	}
	if (read_number(v->text, &n, &why) < 0 || n < key->min || n > (int64_t)key->max)
		return false;
	*is_auto = false;
	put_int(base, key->offset, key->size, n);
	return true;
}

static void
workers_allowed(const struct schema_key *key, struct buf *out)
{
	int_allowed(key, out);
	buf_puts(out, " or \"auto\"");
}

static void
workers_print(const struct schema_key *key, const void *base, struct buf *out)
{
	const bool *is_auto = schema_target_of(base, key->offset2);

	if (*is_auto)
		buf_puts(out, "\"auto\"");
	else
		int_print(key, base, out);
}

const struct schema_type type_workers = {
	.name = "workers",
	.native = VALUE_STRING,
	.read = workers_read,
	.allowed = workers_allowed,
	.print = workers_print,
	.size = sizeof(unsigned),
	.size2 = sizeof(bool),
};

/* from a duration to a duration */

static bool
backoff_read(const struct schema_key *key, const struct config_value *v, void *base,
	     const char **ret_why)
{
	int64_t min, max;

	(void)ret_why;
	if (v->kind != VALUE_STRING ||
	    parse_duration_range(v->text, strlen(v->text), &min, &max) < 0)
		return false;
	put_int(base, key->offset, sizeof(min), min);
	put_int(base, key->offset2, sizeof(max), max);
	return true;
}

static void
backoff_allowed(const struct schema_key *key, struct buf *out)
{
	(void)key;
	buf_puts(out, "two durations above 0, the smaller one first: \"1s..1m\"");
}

static void
backoff_print(const struct schema_key *key, const void *base, struct buf *out)
{
	char min[FORMAT_MAX], max[FORMAT_MAX];

	buf_putf(out, "\"%s..%s\"", format_duration(min, get_int(base, key->offset, key->size)),
		 format_duration(max, get_int(base, key->offset2, key->size2)));
}

const struct schema_type type_backoff = {
	.name = "backoff",
	.native = VALUE_STRING,
	.read = backoff_read,
	.allowed = backoff_allowed,
	.print = backoff_print,
	.size = sizeof(int64_t),
	.size2 = sizeof(int64_t),
};

/* resource limits of a process: numbers, or bytes */

static bool
limit_read(const struct schema_key *key, const struct config_value *v, void *base,
	   const char **ret_why)
{
	if (v->kind != VALUE_STRING || *v->text)
		return size_read(key, v, base, ret_why);
	put_int(base, key->offset, key->size, (int64_t)CONF_RLIMIT_UNSET);
	return true;
}

static void
limit_count_allowed(const struct schema_key *key, struct buf *out)
{
	(void)key;
	buf_puts(out, "a number, \"infinity\", or \"\" for inherited");
}

static void
limit_size_allowed(const struct schema_key *key, struct buf *out)
{
	size_allowed(key, out);
	buf_puts(out, ", or \"\" for inherited");
}

static void
limit_size_print(const struct schema_key *key, const void *base, struct buf *out)
{
	if ((uint64_t)get_int(base, key->offset, key->size) == CONF_RLIMIT_UNSET)
		buf_puts(out, "\"\"");
	else
		size_print(key, base, out);
}

static void
limit_count_print(const struct schema_key *key, const void *base, struct buf *out)
{
	uint64_t n = (uint64_t)get_int(base, key->offset, key->size);

	if (n <= INT32_MAX)
		buf_put_u64(out, n);
	else
		limit_size_print(key, base, out);
}

const struct schema_type type_limit_count = {
	.name = "limit",
	.native = VALUE_STRING,
	.read = limit_read,
	.allowed = limit_count_allowed,
	.print = limit_count_print,
	.size = sizeof(uint64_t),
};

const struct schema_type type_limit_size = {
	.name = "limit",
	.native = VALUE_STRING,
	.read = limit_read,
	.allowed = limit_size_allowed,
	.print = limit_size_print,
	.size = sizeof(uint64_t),
};
