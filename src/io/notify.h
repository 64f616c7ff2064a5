/* SPDX-License-Identifier: MIT */
/*
 * notify - what the service manager is told.
 *
 * Floor 3. Messages go by sd_notify(), which waits when the receiver's queue is
 * full; so a message is sent only when there is room for it, and 0 says that it
 * was not.
 */
#pragma once

#include <stdbool.h>

/* Is there anybody to tell? */
bool notify_wanted(void);

/* state: lines of NAME=VALUE, as sd_notify(3). True when it was sent or nobody
 * listens; false: try again later. */
bool notify_send(const char *state);
