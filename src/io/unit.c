/* SPDX-License-Identifier: MIT */
#include "io/unit.h"

#include "base/mem.h"

#include <stdlib.h>
#include <systemd/sd-login.h>

/* Whatever hinders it, a daemon works as well without a unit. */
static char *
name_or_none(int r, char *name)
{
	return r >= 0 && name ? name : mem_strdup("");
}

void
unit_names_get(struct unit_names *ret)
{
	char *system = NULL, *user = NULL;
	int r_system = sd_pid_get_unit(0, &system);
	int r_user = sd_pid_get_user_unit(0, &user);

	ret->system = name_or_none(r_system, system);
	ret->user = name_or_none(r_user, user);
}

void
unit_names_free(struct unit_names *u)
{
	free(u->system);
	free(u->user);
}
