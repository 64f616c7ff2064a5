/* SPDX-License-Identifier: MIT */
/*
 * config_access - the list of rules that says who may do what. Private to config*.c.
 */
#pragma once

#include "daemon/config_read.h"

/* Read the list (NULL: there is none) into c->access; main is of the main file. */
void config_read_access(struct reading *main, struct conf *c, const config_setting_t *list);
