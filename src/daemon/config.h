/* SPDX-License-Identifier: MIT */
/*
 * config - from files, or a command line, to one checked struct conf.
 *
 * Floor 6, the daemon's. Only config*.c know libconfig. Called by main before
 * anything runs, so it may block and look up users. The result is the caller's
 * (conf_free()); it is whole and valid, or there is none: then the errors name
 * every mistake in every file. Nothing here logs, prints or exits.
 */
#pragma once

#include "base/buf.h"
#include "core/conf.h"

#include <stdbool.h>

#define CONFIG_E_INVALID 1 /* mistakes: ret_errors has them */

/* Read the main file and the pools of its pool_dir. listen: a socket path that
 * goes before control.listen, or NULL. waits: the main file may be a pipe, and is waited
 * for; or a mistake. 0: *ret_conf is set. CONFIG_E_INVALID:
 * each mistake is a line "FILE:LINE: key.path: what was found: what is allowed"
 * of ret_errors (a syntax error has the source line and a caret below it).
 * *ret_conf is zeroed then. Nothing else is returned: see base/mem.h. */
int config_load_at(const char *path, const char *listen, bool waits, struct conf *ret_conf,
		   struct buf *ret_errors);

/* One pool from a command line: --pool NAME -- COMMAND… Texts that are NULL are
 * the defaults. Its workers start in the current directory, as whoever we are. */
struct config_quick {
	const char *name;
	char *const *command; /* NULL-terminated */
	const char *workers, *protocol, *channel, *pipeline;
	const char *listen;	/* -s */
	bool whole_environment; /* a private daemon: it has no socket, and its workers get all of
				 * our own environment */
};

/* As config_load_at(); the mistakes name options: "--workers: …". */
int config_quick(const struct config_quick *q, struct conf *ret_conf, struct buf *ret_errors);

/* Such a list in a line: "configuration: 3 mistakes, the first: …"; malloc'ed. */
char *config_summary(const struct buf *errors);

/* "error" … "debug" → LOG_ERR … LOG_DEBUG. False: no such level. */
bool config_parse_level(const char *name, int *ret_level);

/* The whole effective configuration, defaults included, as one file that reads
 * back the same: its pools are in the list, and pool_dir is empty. */
void config_print(const struct conf *c, struct buf *out);

/* The schema: a line for each key, "key<TAB>type<TAB>what is allowed<TAB>default
 * <TAB>description", first those of the main file, then, behind "pool:", those
 * of a pool and, behind "access:", those of a rule of access. */
void config_describe(struct buf *out);
