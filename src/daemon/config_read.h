/* SPDX-License-Identifier: MIT */
/*
 * config_read - one file: text, libconfig's tree, values; and the list of mistakes.
 *
 * Private to config*.c. A reading is made for each struct that is filled: the
 * main file's, and each pool's. It knows where each key was set, so that checks
 * of one value against another can name the line.
 */
#pragma once

#include "base/buf.h"
#include "core/conf.h"
#include "daemon/config_schema.h"
#include "daemon/config_syntax.h"

#include <libconfig.h>
#include <stdbool.h>

/* What all files have in common. */
struct mistakes {
	struct buf *out;
	size_t n;
};

struct reading {
	struct mistakes *mistakes;
	const char *file;   /* NULL: options of a command line */
	const char *prefix; /* before a key's path: "pools[0]." or "" */
	unsigned line;	    /* where the whole of it begins */
	const struct schema *schema;
	void *base;			 /* what is filled */
	unsigned lines[SCHEMA_KEYS_MAX]; /* of each key; 0: it has its default */
	bool bad[SCHEMA_KEYS_MAX];	 /* set, and refused */
};

/* A file that libconfig has parsed. */
struct config_file {
	config_t config;
	char *text;
	struct syntax syntax; /* its numbers are hooked to their settings */
};

/* Read and parse. waits: as of config_load_at(). False: there is no tree, and why is among the mistakes.
 * config_file_close() in any case. */
bool config_file_open(struct config_file *f, const char *path, bool waits, struct mistakes *m);
void config_file_close(struct config_file *f);

/* Fill r->base: defaults, then what group sets; other mistakes are noted. */
void config_read_group(struct reading *r, config_setting_t *group);

/* FILE:LINE: key.path: … ; key NULL: about the whole. line 0: that of r. */
void mistake_at(struct reading *r, unsigned line, const char *key, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* The same for a whole file. */
void mistake_in(struct mistakes *m, const char *file, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Read one value; false and a mistake when it does not do. */
bool config_read_value(struct reading *r, const struct schema_key *key, unsigned line,
		       const struct config_value *v);
/* Was key set (to whatever), was it refused, and in which line. */
unsigned config_line_of(const struct reading *r, const char *key);
bool config_is_bad(const struct reading *r, const char *key);
