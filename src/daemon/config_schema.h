/* SPDX-License-Identifier: MIT */
/*
 * config_schema - every key there is, in two tables.
 *
 * Private to config*.c. A key's row says what it takes, what it is when it is
 * not set, where it goes and what it is for; reading, printing, hints and the
 * description all follow from it. A type reads values that do not know
 * libconfig, so that command line options go through the same door.
 */
#pragma once

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum value_kind { VALUE_BOOL, VALUE_NUMBER, VALUE_STRING, VALUE_LIST, VALUE_GROUP };

struct config_value {
	enum value_kind kind;
	const char *text;	  /* BOOL: true or false; NUMBER: as in the source; STRING */
	const char *const *words; /* LIST: strings, GROUP: NAME=value; NULL-terminated */
};

struct schema_key;

struct schema_type {
	const char *name;
	enum value_kind native; /* the kind that a default or an option's text has */
	/* False: not a value of this key, and *ret_why is set where something better can be said
	 * than what is allowed. base is what offset counts from. */
	bool (*read)(const struct schema_key *key, const struct config_value *v, void *base,
		     const char **ret_why);
	/* What is allowed, to go behind "must be ". */
	void (*allowed)(const struct schema_key *key, struct buf *out);
	/* The value in libconfig's form; nothing where it is not set. NULL: elsewhere. */
	void (*print)(const struct schema_key *key, const void *base, struct buf *out);
	size_t size, size2; /* of the targets; 0: any integer */
};

extern const struct schema_type type_bool, type_int, type_duration, type_size, type_mode, type_enum,
	type_string, type_path, type_name, type_words, type_workers, type_backoff, type_limit_count,
	type_limit_size, type_environment, type_list, type_groups;

struct schema_name {
	const char *name;
	int value;
};

enum schema_flags {
	SCHEMA_REQUIRED = 1,  /* no default */
	SCHEMA_COMPUTED = 2,  /* the default depends on who runs the daemon */
	SCHEMA_LIST_ONLY = 4, /* only in the list of pools, not in a pool's own file */
};

struct schema_key {
	const char *path;
	const struct schema_type *type;
	const char *def; /* as text; NULL: required or computed */
	const char *help;
	size_t offset, size;
	size_t offset2, size2; /* of types with two targets */
	int64_t min;
	uint64_t max;			 /* UINT64_MAX: "infinity" too */
	const struct schema_name *names; /* enum; ends with a NULL name */
	unsigned flags;
};

struct schema {
	const struct schema_key *keys;
	size_t n;
};

extern const struct schema schema_main, schema_pool, schema_access;
extern const struct schema_name schema_rights[];

#define SCHEMA_KEYS_MAX 48 /* of one schema */
#define SCHEMA_PATH_MAX 96 /* of a key that was read, with what is before it */

/* NULL: there is none. The index, for tables beside the schema: key - keys. */
const struct schema_key *schema_find(const struct schema *s, const char *path);
/* Is path the name of a group of keys? */
bool schema_is_group(const struct schema *s, const char *path);
/* Give every key its default. */
void schema_set_defaults(const struct schema *s, void *base);
/* What to say about a key that is not there: "unknown key; did you mean …?" */
void schema_hint(const struct schema *s, const char *path, struct buf *out);

/* Where a value goes. */
void *schema_target(void *base, size_t offset);
const void *schema_target_of(const void *base, size_t offset);

/* The bytes of a short text as a string, which is b's. */
const char *schema_text(struct buf *b);

/* A string in quotes, as libconfig reads it. */
void schema_put_string(struct buf *out, const char *s);
