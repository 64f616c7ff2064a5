/* SPDX-License-Identifier: MIT */
/*
 * unit - which of systemd's units this process is in.
 *
 * Floor 3. By the cgroup, so it is what the journal files our lines under, also
 * in a unit that has cgroups of its own below. sd_pid_get_unit() would look at
 * PID 1 first, which ProtectProc= hides.
 */
#pragma once

/* Never NULL; "" where there is none. */
struct unit_names {
	char *system; /* in the system's manager: preforkd.service, user@1000.service */
	char *user;   /* in a user's, beneath that one */
};

void unit_names_get(struct unit_names *ret);
void unit_names_free(struct unit_names *u);

/* By what /proc/PID/cgroup says, a line for each hierarchy. */
void unit_names_parse(const char *text, struct unit_names *ret);
