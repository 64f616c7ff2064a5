/* SPDX-License-Identifier: MIT */
/* COMMAND: the table of commands, as clients ask for it. */
#include "control/command.h"

#include <ctype.h>

/* Redis' way to write a name: "client|list". */
static void
put_name(struct buf *b, const char *name)
{
	char lower[32];
	size_t n = 0;

	for (; n < sizeof(lower) && name[n]; n++)
		lower[n] = name[n] == ' ' ? '|' : (char)tolower((unsigned char)name[n]);
	resp_put_bulk(b, lower, n);
}

/* Name, arity, flags, first key, last key, step: the six that all clients know. */
static void
put_command(struct buf *b, enum resp_proto proto, const struct command *row)
{
	bool no_multi = row->in_multi == MULTI_REFUSED;

	resp_put_array(b, 6);
	put_name(b, row->name);
	resp_put_int(b, row->arity);
	resp_put_set(b, proto, no_multi ? 2 : 1);
	resp_put_simple(b, row->class == CLASS_ADMIN ? "admin" : "fast");
	if (no_multi)
		resp_put_simple(b, "no_multi");
	for (int i = 0; i < 3; i++)
		resp_put_int(b, 0);
}

/* redis-cli makes its hints of these; it wants the keys as bulk strings and the
 * flags as simple ones. */
static void
put_doc_arg(struct buf *b, enum resp_proto proto, const struct command_arg *a)
{
	int flags = a->optional + a->multiple;

	resp_put_map(b, proto, 2 + (a->token != NULL) + (flags > 0));
	resp_put_str(b, "name");
	resp_put_str(b, a->name);
	resp_put_str(b, "type");
	resp_put_str(b, "string");
	if (a->token) {
		resp_put_str(b, "token");
		resp_put_str(b, a->token);
	}
	if (!flags)
		return;
	resp_put_str(b, "flags");
	resp_put_array(b, (size_t)flags);
	if (a->optional)
		resp_put_simple(b, "optional");
	if (a->multiple)
		resp_put_simple(b, "multiple");
}

static void
put_doc_args(struct buf *b, enum resp_proto proto, const struct command *row, size_t n)
{
	resp_put_str(b, "arguments");
	resp_put_array(b, n);
	for (size_t i = 0; i < n; i++)
		put_doc_arg(b, proto, &row->args[i]);
}

static void put_docs(struct buf *b, enum resp_proto proto, const struct command *rows);

static void
put_doc(struct buf *b, enum resp_proto proto, const struct command *row)
{
	size_t n = 0;

	while (row->args[n].name)
		n++;
	put_name(b, row->name);
	resp_put_map(b, proto, 3 + (n > 0) + (row->subcommands != NULL));
	resp_put_str(b, "summary");
	resp_put_str(b, row->summary);
	resp_put_str(b, "since");
	resp_put_str(b, "0.1");
	resp_put_str(b, "group");
	resp_put_str(b, command_class_name(row->class));
	if (n)
		put_doc_args(b, proto, row, n);
	if (!row->subcommands)
		return;
	resp_put_str(b, "subcommands");
	put_docs(b, proto, row->subcommands);
}

static void
put_docs(struct buf *b, enum resp_proto proto, const struct command *rows)
{
	size_t n = 0;

	while (rows[n].name)
		n++;
	resp_put_map(b, proto, n);
	for (size_t i = 0; i < n; i++)
		put_doc(b, proto, &rows[i]);
}

static size_t
command_total(void)
{
	size_t n = 0;

	while (command_at(n))
		n++;
	return n;
}

static void
command_docs(struct request *r)
{
	enum resp_proto proto = r->client->proto;
	const struct command *row;
	size_t n = 0;

	if (r->argc == 2) {
		resp_put_map(r->out, proto, command_total());
		for (size_t i = 0; (row = command_at(i)); i++)
			put_doc(r->out, proto, row);
		return;
	}
	for (size_t i = 2; i < r->argc; i++)
		n += command_find(&r->argv[i]) != NULL;
	resp_put_map(r->out, proto, n);
	for (size_t i = 2; i < r->argc; i++)
		if ((row = command_find(&r->argv[i])))
			put_doc(r->out, proto, row);
}

static void
put_all_commands(struct request *r)
{
	const struct command *row;

	resp_put_array(r->out, command_total());
	for (size_t i = 0; (row = command_at(i)); i++)
		put_command(r->out, r->client->proto, row);
}

static void
command_info(struct request *r)
{
	if (r->argc == 2) {
		put_all_commands(r);
		return;
	}
	resp_put_array(r->out, r->argc - 2);
	for (size_t i = 2; i < r->argc; i++) {
		const struct command *row = command_find(&r->argv[i]);

		if (row)
			put_command(r->out, r->client->proto, row);
		else
			resp_put_null(r->out, r->client->proto);
	}
}

static void
command_list(struct request *r)
{
	const struct command *row;

	resp_put_array(r->out, command_total());
	for (size_t i = 0; (row = command_at(i)); i++)
		put_name(r->out, row->name);
}

static void
command_count(struct request *r)
{
	resp_put_int(r->out, (int64_t)command_total());
}

static const struct command subcommands[] = {
	{.name = "COMMAND COUNT",
	 .arity = 2,
	 .class = CLASS_CONNECTION,
	 .summary = "How many commands there are",
	 .handle = command_count},
	{.name = "COMMAND DOCS",
	 .arity = -2,
	 .class = CLASS_CONNECTION,
	 .summary = "What commands are for and what they take",
	 .handle = command_docs,
	 .args = {{.name = "command", .optional = true, .multiple = true}}},
	{.name = "COMMAND INFO",
	 .arity = -2,
	 .class = CLASS_CONNECTION,
	 .summary = "Arity and flags of commands",
	 .handle = command_info,
	 .args = {{.name = "command", .optional = true, .multiple = true}}},
	{.name = "COMMAND LIST",
	 .arity = 2,
	 .class = CLASS_CONNECTION,
	 .summary = "The names of the commands there are",
	 .handle = command_list},
	{.name = NULL},
};

const struct command command_commands[] = {
	{.name = "COMMAND",
	 .arity = 1,
	 .class = CLASS_CONNECTION,
	 .summary = "Arity and flags of all commands",
	 .handle = put_all_commands,
	 .subcommands = subcommands},
	{.name = NULL},
};
