/* SPDX-License-Identifier: MIT */
/*
 * json - replies as JSON (RFC 8259), on one line.
 *
 * Text from outside may be any bytes, JSON strings are UTF-8: a byte that is
 * not becomes U+FFFD. A job's result, where that would be a loss, is then
 * given as base64, under another name.
 */
#pragma once

#include "base/buf.h"

#include <hiredis/hiredis.h>

/* What a reply is meant as; RESP2 does not tell a map from an array. */
enum json_shape { JSON_LIST, JSON_MAP, JSON_MAPS };

/* Bytes of the UTF-8 character at s, 0: none begins there. */
size_t json_utf8(const char *s, size_t len);

void json_string(struct buf *b, const char *s, size_t len);
void json_reply(struct buf *b, const redisReply *r, enum json_shape shape);

/* "name":"text", or "name_base64":"…" where the bytes are not text. */
void json_bytes(struct buf *b, const char *name, const char *s, size_t len);

/* Print the reply and an LF to standard output; an exit status. */
int json_print(const redisReply *r, enum json_shape shape);

/* {"name":value}, for replies that are no map. */
int json_print_named(const char *name, const redisReply *r);

/* Print what b holds, and empty it; an exit status. */
int json_flush(struct buf *b);

/* The same with an LF, and free b. */
int json_finish(struct buf *b);
