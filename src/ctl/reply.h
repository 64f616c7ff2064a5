/* SPDX-License-Identifier: MIT */
/*
 * reply - reading the daemon's replies: maps (name, value, name, value …, flat
 * in RESP2, or a map where hiredis knows RESP3) and their fields. Everything
 * that is returned points into the reply.
 */
#pragma once

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdint.h>

/* An array or a map. */
bool reply_is_array(const redisReply *r);
bool reply_is_nil(const redisReply *r);
bool reply_is_text(const redisReply *r);

/* The field's value, or NULL where it is missing or null. */
const redisReply *reply_get(const redisReply *map, const char *name);

/* An integer, or text that is one. */
bool reply_as_int(const redisReply *value, int64_t *ret);
bool reply_as_double(const redisReply *value, double *ret);

int64_t reply_int(const redisReply *map, const char *name, int64_t otherwise);
double reply_double(const redisReply *map, const char *name, double otherwise);
const char *reply_str(const redisReply *map, const char *name, const char *otherwise);
