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
		struct buf value = {0};

		if (key->type->print)
			key->type->print(key, base, &value);
		if (buf_len(&value)) {
			const char *name = enter_group(&p, key->path);

			indent(&p);
			buf_putf(out, "%s = %s;\n", name, schema_text(&value));
		}
		buf_free(&value);
	}
	close_groups(&p, 0);
}

/* n structs of size bytes each, as a list of groups. */
static void
print_list(struct buf *out, const char *name, const struct schema *s, const void *v, size_t n,
	   size_t size)
{
	buf_putf(out, "%s = (%s", name, n ? "\n" : " ");
	for (size_t i = 0; i < n; i++) {
		buf_puts(out, "  {\n");
		print_keys(out, s, (const char *)v + i * size, 2);
		buf_puts(out, i + 1 < n ? "  },\n" : "  }\n");
	}
	buf_puts(out, ");\n");
}

void
config_print(const struct conf *c, struct buf *out)
{
	struct conf here = *c;
	char none[] = "";

	/* The pools are printed below, so that they need not be looked for again. */
	here.pool_dir = none;
	print_keys(out, &schema_main, &here, 0);
	print_list(out, "access", &schema_access, c->access, c->n_access, sizeof(*c->access));
	print_list(out, "pools", &schema_pool, c->pools, c->n_pools, sizeof(*c->pools));
}
