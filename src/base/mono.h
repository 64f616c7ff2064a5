/* SPDX-License-Identifier: MIT */
/*
 * mono - a point on the monotonic clock, as a type of its own.
 *
 * Floor 0. A struct, so that a point in time is never added to a duration or
 * mixed up with wall-clock time by accident. Durations are int64_t, in
 * microseconds, named _us. Rules take "now" as an argument; only the loop
 * (and programs without one) calls mono_now().
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

typedef struct mono {
	int64_t us; /* microseconds since an arbitrary start */
} mono_t;

#define USEC_PER_MSEC INT64_C(1000)
#define USEC_PER_SEC INT64_C(1000000)
#define USEC_INFINITY INT64_MAX /* a duration without end */

#define MONO_NEVER ((mono_t){INT64_MAX})

static inline mono_t
mono_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (mono_t){ts.tv_sec * USEC_PER_SEC + ts.tv_nsec / 1000};
}

/* t + us; never past MONO_NEVER, which any sum with USEC_INFINITY is. us >= 0. */
static inline mono_t
mono_add(mono_t t, int64_t us)
{
	return us >= INT64_MAX - t.us ? MONO_NEVER : (mono_t){t.us + us};
}

static inline int64_t
mono_since(mono_t now, mono_t then)
{
	return now.us - then.us;
}

static inline bool
mono_before(mono_t a, mono_t b)
{
	return a.us < b.us;
}

static inline bool
mono_is_never(mono_t t)
{
	return t.us == INT64_MAX;
}
