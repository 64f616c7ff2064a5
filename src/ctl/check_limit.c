/* SPDX-License-Identifier: MIT */
#include "ctl/check.h"

#include "base/mono.h"
#include "base/parse.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS "0123456789"
#define COUNT_MAX 1e12

static const char not_a_time[] = "a duration, or two: such as 90s, or 1m,10m",
		  not_a_number[] = "a number or a percentage, or two of the same kind: "
				   "such as 10, or 5%,20%";

static bool
read_time(const char *s, size_t len, double *ret)
{
	int64_t us;

	if (parse_duration(s, len, &us) != 0 || us == USEC_INFINITY)
		return false;
	*ret = (double)us / (double)USEC_PER_SEC;
	return true;
}

/* "12", "12%", "0.5%" */
static bool
read_number(const char *s, size_t len, double *ret, bool *ret_share)
{
	size_t whole = strspn(s, DIGITS), at = whole;
	bool share = len && s[len - 1] == '%';

	if (whole && share && s[at] == '.') {
		size_t part = strspn(s + at + 1, DIGITS);
		at += part ? part + 1 : 0;
	}
	if (!whole || at + share != len)
		return false;
	*ret = strtod(s, NULL);
	*ret_share = share;
	return *ret <= (share ? 100 : COUNT_MAX);
}

static bool
read_value(bool of_time, const char *s, size_t len, double *ret, bool *ret_share)
{
	*ret_share = false;
	return of_time ? read_time(s, len, ret) : read_number(s, len, ret, ret_share);
}

const char *
limit_parse(struct limit *l, bool of_time, const char *text)
{
	size_t first = strcspn(text, ",");
	const char *second = text[first] ? text + first + 1 : NULL;
	const char *wrong = of_time ? not_a_time : not_a_number;
	bool crit_share;

	*l = (struct limit){.given = true, .crit = HUGE_VAL};
	if (first >= sizeof(l->warn_text) || (second && strlen(second) >= sizeof(l->crit_text)))
		return wrong;
	if (!read_value(of_time, text, first, &l->warn, &l->share))
		return wrong;
	memcpy(l->warn_text, text, first);
	if (!second)
		return NULL;
	if (!read_value(of_time, second, strlen(second), &l->crit, &crit_share) ||
	    crit_share != l->share)
		return wrong;
	memcpy(l->crit_text, second, strlen(second));
	return l->crit < l->warn ? "the first is that of a warning, and not above the second" :
				   NULL;
}

enum check_status
limit_judge(const struct limit *l, double value)
{
	if (!l->given || !(value > l->warn))
		return CHECK_OK;
	return value > l->crit ? CHECK_CRITICAL : CHECK_WARNING;
}
