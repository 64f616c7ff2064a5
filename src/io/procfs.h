/* SPDX-License-Identifier: MIT */
/*
 * procfs - what /proc tells of a process. Floor 3; read on request only.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

struct procfs_usage {
	int64_t rss_bytes; /* resident; -1: unknown */
	int64_t cpu_ms;	   /* user and system time, its reaped children's too; -1: unknown */
};

void procfs_usage(pid_t pid, struct procfs_usage *ret);

/* How many descriptors this process has open; -1: unknown. */
int64_t procfs_own_fds(void);
