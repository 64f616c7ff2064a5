/* SPDX-License-Identifier: MIT */
#include "daemon/config.h"
#include "daemon/config_schema.h"

#include <string.h>

/* Where we are: the groups that are open, as a path "job" or "run_as.limits". */
struct printer {
	struct buf *out;
	const char *path; /* of the last key that was printed */
	size_t group;	  /* length of its group's part */
	int depth;	  /* of indentation */
};

static void
indent(struct printer *p)
{
	for (int i = 0; i < p->depth; i++)
		buf_puts(p->out, "  ");
}

/* Bytes of the groups that both paths are in: "a.b." of "a.b.c" and "a.b.d". */
static size_t
common_groups(const char *a, size_t a_len, const char *b)
{
	size_t common = 0;

	for (size_t i = 0; i < a_len && a[i] == b[i]; i++)
		if (a[i] == '.')
			common = i + 1;
	return common;
}

static void
close_groups(struct printer *p, size_t down_to)
{
	for (; p->group > down_to; p->group--) {
		if (p->path[p->group - 1] != '.')
			continue;
		p->depth--;
		indent(p);
		buf_puts(p->out, "};\n");
	}
}

/* Close and open groups until key's is the innermost; return its last name. */
static const char *
enter_group(struct printer *p, const char *path)
{
	size_t common = p->path ? common_groups(p->path, p->group, path) : 0;
	const char *dot;

	close_groups(p, common);
	p->path = path;
	for (; (dot = strchr(path + p->group, '.')); p->depth++) {
		indent(p);
		buf_putf(p->out, "%.*s = {\n", (int)(dot - path - (ptrdiff_t)p->group),
			 path + p->group);
		p->group = (size_t)(dot - path) + 1;
	}
	return path + p->group;
}

static void
print_keys(struct buf *out, const struct schema *s, const void *base, int depth)
{
	struct printer p = {.out = out, .depth = depth};

	for (size_t i = 0; i < s->n; i++) {
		const struct schema_key *key = &s->keys[i];
		const char *name;

		if (!key->type->print)
			continue;
		name = enter_group(&p, key->path);
		indent(&p);
		buf_putf(out, "%s = ", name);
		key->type->print(key, base, out);
		buf_puts(out, ";\n");
	}
	close_groups(&p, 0);
}

void
config_print(const struct conf *c, struct buf *out)
{
	struct conf here = *c;
	char none[] = "";

	/* The pools are printed below, so that they need not be looked for again. */
	here.pool_dir = none;
	print_keys(out, &schema_main, &here, 0);
	buf_puts(out, "pools = (\n");
	for (size_t i = 0; i < c->n_pools; i++) {
		buf_puts(out, "  {\n");
		print_keys(out, &schema_pool, &c->pools[i], 2);
		buf_puts(out, i + 1 < c->n_pools ? "  },\n" : "  }\n");
	}
	buf_puts(out, ");\n");
}
