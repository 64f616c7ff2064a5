/* SPDX-License-Identifier: MIT */
/*
 * multi - MULTI … EXEC: commands that are carried out together.
 *
 * Floor 5. Owned by the client that said MULTI. Commands are checked as they come
 * and copied, within control.client_memory; EXEC has their jobs submitted, all or
 * none, and then they are carried out in order, as if they came just then, under
 * the same budgets and turns. Its array's elements are ordinary replies, so RUNs run
 * side by side.
 */
#pragma once

#include "control/command.h"

#define MULTI_COMMANDS_MAX 16384

/* Keep r, which was checked, for EXEC: +QUEUED, or why not, in r->out. */
void multi_queue(struct request *r);

/* A command was refused: EXEC will be, too. Without a MULTI nothing happens. */
void multi_spoil(struct client *c);

/* The end of it, if there is one; of an EXEC, too. */
void multi_drop(struct client *c);

/* The next command of client->exec. */
void multi_step(struct client *c);

/* Is there room for so many bytes more? */
bool multi_has_room(const struct client *c, size_t bytes);
/* Bytes, and commands, that are kept; -1 commands: there is no MULTI. */
size_t multi_bytes(const struct client *c);
int multi_count(const struct client *c);
