/* SPDX-License-Identifier: MIT */
/*
 * list-commands - the command tables as an mdoc list, for preforkd-control(7);
 * with an argument, "metrics", the table of those.
 *
 * Floor 5. Run by the build and not installed.
 */
#include "control/command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
put_row(struct buf *b, const struct command *row)
{
	buf_puts(b, ".It ");
	command_put_synopsis(b, row, SYNOPSIS_MDOC);
	buf_putf(b, "\n%s\n.Pq Cm %s\n", row->summary, command_class_name(row->class));
}

static void
put_commands(struct buf *b)
{
	const struct command *row;

	buf_puts(b, ".Pp\n.Bl -tag -width Ds -compact\n");
	for (size_t i = 0; (row = command_at(i)); i++) {
		if (row->handle)
			put_row(b, row);
		for (const struct command *sub = row->subcommands; sub && sub->name; sub++)
			put_row(b, sub);
	}
	buf_puts(b, ".El\n");
}

int
main(int argc, char **argv)
{
	struct buf b = {0};

	if (argc == 2 && strcmp(argv[1], "metrics") == 0)
		metrics_put_list(&b);
	else
		put_commands(&b);
	if (buf_failed(&b) || fwrite(buf_head(&b), buf_len(&b), 1, stdout) != 1 || fflush(stdout)) {
		perror("list-commands");
		return EXIT_FAILURE;
	}
	buf_free(&b);
	return EXIT_SUCCESS;
}
