/* SPDX-License-Identifier: MIT */
/*
 * lines - each line of the input is a job to be submitted, its id is printed.
 *
 * A batch of lines at a time: they are sent together, their replies read, their
 * ids printed, those that found the queue full sent again after a while, and
 * then the next lines are looked at. So the ids come in the order of the lines,
 * and no more is held than one batch (of which one line may be long).
 */
#pragma once

#include "ctl/args.h"

/* An exit status: that of the first line that was refused. */
int lines_submit(struct ctl *ctl, const struct args *args);
