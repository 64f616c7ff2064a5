/* SPDX-License-Identifier: MIT */
/* act - its channel (act.c) and its verbs (act-verbs.c). */
#pragma once

#include <stddef.h>

enum level { LEVEL_LINE, LEVEL_FILTER, LEVEL_FRAME };

extern enum level level;
extern int fd_out;
extern char job_id[32]; /* frame: of the job being answered */

void write_all(int fd, const void *data, size_t len);
void answer(const char *verb, const char *text, size_t len);
void ok(const char *text);
void raw(const char *text);

void nap_ms(long ms);
/* A FIFO that the test opens (it knows then that this point is reached) and
 * closes (to let it go on). */
void gate(const char *path);

/* Do what a job says. job is cut into words. */
void act(char *job);
/* Write bytes given in hexadecimal, and no more. */
void act_raw(const char *arg);
