/* SPDX-License-Identifier: MIT */
#include "ctl/human.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define MSEC INT64_C(1000)
#define SEC INT64_C(1000000)

/* Tenths of a unit: "2", "2.5". */
static char *
put_tenths(char dst[HUMAN_MAX], int64_t tenths, const char *unit)
{
	if (tenths % 10)
		snprintf(dst, HUMAN_MAX, "%lld.%lld%s", (long long)(tenths / 10),
			 (long long)(tenths % 10), unit);
	else
		snprintf(dst, HUMAN_MAX, "%lld%s", (long long)(tenths / 10), unit);
	return dst;
}

/* The two largest units of s seconds; a zero second one is left out. */
static char *
put_units(char dst[HUMAN_MAX], int64_t s, const char *gap)
{
	static const struct {
		int64_t seconds;
		char name;
	} units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
	size_t i = 0;

	while (i < 3 && s < units[i].seconds)
		i++;
	long long first = s / units[i].seconds, rest = s % units[i].seconds;
	long long second = i < 3 ? rest / units[i + 1].seconds : 0;
	if (second)
		snprintf(dst, HUMAN_MAX, "%lld%c%s%lld%c", first, units[i].name, gap, second,
			 units[i + 1].name);
	else
		snprintf(dst, HUMAN_MAX, "%lld%c", first, units[i].name);
	return dst;
}

static char *
put_none(char dst[HUMAN_MAX])
{
	return strcpy(dst, "-");
}

char *
human_span(char dst[HUMAN_MAX], int64_t us)
{
	if (us < 0)
		return put_none(dst);
	if (us > 0 && us < MSEC / 10) {
		snprintf(dst, HUMAN_MAX, "0.%02dms", us < 10 ? 1 : (int)(us / 10));
		return dst;
	}
	if (us < 10 * MSEC)
		return put_tenths(dst, us / 100, "ms");
	if (us < SEC)
		return put_tenths(dst, us / MSEC * 10, "ms");
	if (us < 60 * SEC)
		return put_tenths(dst, us / (SEC / 10), "s");
	return put_units(dst, us / SEC, "");
}

char *
human_age(char dst[HUMAN_MAX], int64_t ms)
{
	if (ms < 0)
		return put_none(dst);
	if (ms < 1000)
		return put_tenths(dst, ms * 10, "ms");
	return put_units(dst, ms / 1000, "");
}

char *
human_long(char dst[HUMAN_MAX], int64_t ms)
{
	return ms < 0 ? put_none(dst) : put_units(dst, ms / 1000, " ");
}

char *
human_size(char dst[HUMAN_MAX], int64_t bytes)
{
	static const char *const units[] = {"", "K", "M", "G", "T", "P"};
	size_t unit = 0;
	double n = (double)bytes;

	if (bytes < 0)
		return put_none(dst);
	while (n >= 1024 && unit < 5) {
		n /= 1024;
		unit++;
	}
	if (unit && n < 9.95)
		return put_tenths(dst, (int64_t)(n * 10 + 0.5), units[unit]);
	return put_tenths(dst, (int64_t)(n + 0.5) * 10, units[unit]);
}

char *
human_rate(char dst[HUMAN_MAX], double per_s)
{
	if (!(per_s >= 0))
		return put_none(dst);
	if (per_s >= 1e15)
		per_s = 1e15;
	if (per_s < 100)
		return put_tenths(dst, (int64_t)(per_s * 10 + 0.5), "");
	return put_tenths(dst, (int64_t)(per_s + 0.5) * 10, "");
}

char *
human_time(char dst[HUMAN_MAX], int64_t unix_ms)
{
	time_t t = (time_t)(unix_ms / 1000);
	struct tm tm;

	if (unix_ms < 0 || !localtime_r(&t, &tm) ||
	    strftime(dst, HUMAN_MAX, "%Y-%m-%d %H:%M:%S", &tm) == 0)
		return put_none(dst);
	return dst;
}
