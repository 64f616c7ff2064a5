/* SPDX-License-Identifier: MIT */
/*
 * config_check - values against each other, against the users of this system and
 * against who we are. Private to config*.c.
 */
#pragma once

#include "daemon/config_read.h"

/* control.listen, where it is not set, and control.group. listen: an option that
 * goes before what is configured, or NULL. listens: is there to be a socket at all. */
void config_check_main(struct reading *r, struct conf *c, const char *listen, bool listens);

/* A pool by itself, and against control; resolves its user and groups. */
void config_check_pool(struct reading *r, const struct conf *c, struct conf_pool *p);

/* By name, or by number, which need not have a name. False: there is none. */
bool config_find_uid(const char *name, uid_t *ret);
bool config_find_gid(const char *name, gid_t *ret);

/* 0, or CONFIG_E_INVALID and *c freed. */
int config_finish(const struct mistakes *m, struct conf *c);
