/* SPDX-License-Identifier: MIT */
/*
 * stint - how many of the jobs that come at once one worker is given before the next one is.
 *
 * Floor 2. To wake a process takes longer than a short job. As long as workers have done a
 * whole stint within STINT_US, a second one would hardly have had its part done sooner, and
 * the stint grows by a job; one that took longer makes it shorter by as much. So it is one
 * job to begin with, where jobs are long, and for a good while after a long one.
 */
#pragma once

#include <stdint.h>

#define STINT_US 300

/* The next stint, 1 … max, after a worker has done so many jobs within us. */
unsigned stint_next(unsigned stint, uint64_t done, int64_t us, unsigned max);
