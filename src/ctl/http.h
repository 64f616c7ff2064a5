/* SPDX-License-Identifier: MIT */
/*
 * http - the head of one HTTP/1.x request, read from the bytes that came so far.
 *
 * No I/O, and nothing is kept between calls: the caller has one buffer of at most
 * HTTP_HEAD_MAX bytes, adds to it, and asks again until http_parse() knows. What a
 * mistake is, is known as soon as its bytes are there, however they come cut.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define HTTP_HEAD_MAX 8192

struct http_request {
	int status;	  /* 200, or the status that it is to be refused with */
	const char *why;  /* in words; NULL with 200 */
	const char *path; /* in data: without the query; with 200 alone */
	size_t path_len;
	bool get, head;	  /* the method; neither: another one */
	bool openmetrics; /* it wants OpenMetrics rather than Prometheus' older text */
};

/* False: more has to come; then *ret is not set. */
bool http_parse(const char *data, size_t len, struct http_request *ret);
