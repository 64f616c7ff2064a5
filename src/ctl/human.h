/* SPDX-License-Identifier: MIT */
/*
 * human - numbers as people read them. Every writer fills dst and returns it;
 * a negative number, which stands for "there is none", gives "-".
 */
#pragma once

#include <stdint.h>

#define HUMAN_MAX 32

char *human_span(char dst[HUMAN_MAX], int64_t us);	/* 0.3ms 2ms 11.8s 3m2s 3d4h */
char *human_age(char dst[HUMAN_MAX], int64_t ms);	/* 250ms 12s 3m2s 3d4h */
char *human_long(char dst[HUMAN_MAX], int64_t ms);	/* 12s, 3m 2s, 3d 4h */
char *human_size(char dst[HUMAN_MAX], int64_t bytes);	/* 512 9M 1.5G */
char *human_rate(char dst[HUMAN_MAX], double per_s);	/* 0 3.1 1204 */
char *human_time(char dst[HUMAN_MAX], int64_t unix_ms); /* 2025-03-01 13:02:59 */
