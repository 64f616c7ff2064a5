/* SPDX-License-Identifier: MIT */
/*
 * help - on the verbs, from their table, and on the commands of the control
 * socket, from the daemon.
 */
#pragma once

#include "ctl/ctl.h"

/* The list of commands, and all about one. An exit status. */
int help_commands(struct ctl *ctl);
int help_command(struct ctl *ctl, const char *name);
