/* SPDX-License-Identifier: MIT */
#include "control/command.h"

void
fields_begin(struct fields *f, enum resp_proto proto)
{
	*f = (struct fields){.proto = proto};
}

void
fields_end(struct fields *f, struct buf *out)
{
	resp_put_map(out, f->proto, f->count);
	if (buf_failed(&f->body))
		out->failed = true;
	else
		buf_put(out, buf_head(&f->body), buf_len(&f->body));
	buf_free(&f->body);
}

static struct buf *
field(struct fields *f, const char *name)
{
	f->count++;
	resp_put_str(&f->body, name);
	return &f->body;
}

void
field_bytes(struct fields *f, const char *name, const char *value, size_t len)
{
	resp_put_bulk(field(f, name), value, len);
}

void
field_str(struct fields *f, const char *name, const char *value)
{
	struct buf *b = field(f, name);

	if (value)
		resp_put_str(b, value);
	else
		resp_put_null(b, f->proto);
}

void
put_id(struct buf *out, uint64_t id)
{
	char digits[U64_DIGITS];

	resp_put_bulk(out, digits, (size_t)(buf_digits(digits, id) - digits));
}

void
field_id(struct fields *f, const char *name, const struct job *j)
{
	if (j)
		put_id(field(f, name), j->id);
	else
		field_str(f, name, NULL);
}

void
field_int(struct fields *f, const char *name, int64_t value)
{
	resp_put_int(field(f, name), value);
}

void
field_opt(struct fields *f, const char *name, int64_t value)
{
	if (value < 0)
		field_str(f, name, NULL);
	else
		field_int(f, name, value);
}

void
field_double(struct fields *f, const char *name, double value)
{
	resp_put_double(field(f, name), f->proto, value);
}
