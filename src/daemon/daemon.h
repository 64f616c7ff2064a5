/* SPDX-License-Identifier: MIT */
/*
 * daemon - the running whole: loop, pools, server, and how they start and end.
 *
 * Floor 6. main builds it from a checked configuration and runs it. It owns the
 * loop, the pools and the server; it decides when the service is ready, what the
 * service manager is told, and the order of a stop: refuse, finish, end of file
 * to the workers, SIGTERM, SIGKILL, last replies, exit.
 */
#pragma once

#include "core/conf.h"

struct daemon;

struct daemon_setup {
	const struct conf *conf; /* outlives the daemon */
	const char *config; /* the main file, to be read again by a reload; NULL: there is none */
	const char *listen; /* what goes before its control.listen; NULL: nothing */
	int log_level;	    /* what goes before its log.level; -1: nothing */
	const char *loader; /* path of preforkd-exec */
	int connected_fd;   /* the one client of a private daemon, consumed; -1: listen */
	int connected_last; /* its other connections: those up to this */
	char **environment;
};

/* As early as can be: keep signals that come before daemon_run() for it. */
void daemon_hold_signals(void);

/* An exit status (0, or one of <sysexits.h>), after everything has ended. What
 * is wrong at the start is on standard error or in the log. */
int daemon_run(const struct daemon_setup *setup);
