/* SPDX-License-Identifier: MIT */
/*
 * map_options - what the command line asks of a map.
 */
#pragma once

#include "ctl/args.h"
#include "ctl/map.h"

struct map_plan {
	struct map_setup setup;
	struct private_setup own; /* of the private daemon, where setup.own */
	enum log_use log_use;
	const char *log_path;
	struct map_log *log; /* open; not by map_plan() */
	bool progress;
	bool summary; /* whatever there is to say */
};

/* An exit status; a mistake has been printed. args stays, and its words are used. */
int map_plan(struct map_plan *p, const struct args *args);

/* "never", "now", "soon", or either of these with ",fail=3", ",success=1" or
 * ",done=10%". False: not of that form. */
bool map_parse_halt(const char *text, struct map_halt *ret);
