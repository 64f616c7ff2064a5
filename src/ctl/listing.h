/* SPDX-License-Identifier: MIT */
/*
 * listing - one map as names and values, a line each, units made readable by
 * the endings of the names (_ms, _us, _bytes, _unix_ms); as JSON where that is
 * asked for.
 */
#pragma once

#include "ctl/ctl.h"

int listing_print(const struct ctl *ctl, const redisReply *map);

/* Ask "command name" and print the map that comes. An exit status. */
int listing_of(struct ctl *ctl, const char *command, const char *name);
