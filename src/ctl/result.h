/* SPDX-License-Identifier: MIT */
/* result - a job's result, to standard output. */
#pragma once

#include "ctl/ctl.h"

/* As it is; on a terminal an LF follows where there is none. An exit status. */
int result_print(const struct ctl *ctl, const redisReply *r);
