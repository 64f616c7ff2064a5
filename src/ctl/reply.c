/* SPDX-License-Identifier: MIT */
#include "ctl/reply.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool
reply_is_array(const redisReply *r)
{
#ifdef REDIS_REPLY_MAP
	if (r && r->type == REDIS_REPLY_MAP)
		return true;
#endif
	return r && r->type == REDIS_REPLY_ARRAY;
}

bool
reply_is_nil(const redisReply *r)
{
	return !r || r->type == REDIS_REPLY_NIL;
}

bool
reply_is_text(const redisReply *r)
{
	return r && (r->type == REDIS_REPLY_STRING || r->type == REDIS_REPLY_STATUS);
}

const redisReply *
reply_get(const redisReply *map, const char *name)
{
	if (!reply_is_array(map))
		return NULL;
	for (size_t i = 0; i + 1 < map->elements; i += 2) {
		const redisReply *key = map->element[i], *value = map->element[i + 1];
		if (reply_is_text(key) && strcmp(key->str, name) == 0)
			return reply_is_nil(value) ? NULL : value;
	}
	return NULL;
}

bool
reply_as_int(const redisReply *value, int64_t *ret)
{
	char *end;

	if (value && value->type == REDIS_REPLY_INTEGER) {
		*ret = value->integer;
		return true;
	}
	if (!reply_is_text(value) || value->len == 0)
		return false;
	errno = 0;
	*ret = strtoll(value->str, &end, 10);
	return errno == 0 && *end == '\0';
}

bool
reply_as_double(const redisReply *value, double *ret)
{
	char *end;

	if (value && value->type == REDIS_REPLY_INTEGER) {
		*ret = (double)value->integer;
		return true;
	}
#ifdef REDIS_REPLY_DOUBLE
	if (value && value->type == REDIS_REPLY_DOUBLE) {
		*ret = value->dval;
		return true;
	}
#endif
	if (!reply_is_text(value) || value->len == 0)
		return false;
	*ret = strtod(value->str, &end);
	return *end == '\0';
}

int64_t
reply_int(const redisReply *map, const char *name, int64_t otherwise)
{
	int64_t n;

	return reply_as_int(reply_get(map, name), &n) ? n : otherwise;
}

double
reply_double(const redisReply *map, const char *name, double otherwise)
{
	double d;

	return reply_as_double(reply_get(map, name), &d) ? d : otherwise;
}

const char *
reply_str(const redisReply *map, const char *name, const char *otherwise)
{
	const redisReply *value = reply_get(map, name);

	return reply_is_text(value) ? value->str : otherwise;
}
