/* SPDX-License-Identifier: MIT */
#include "base/parse.h"
#include "base/text.h"
#include "control/command.h"

#include <string.h>

#define KEY_MAX 256
#define COUNT_MAX 1000

/* Each reader returns NULL, or what is allowed. */

static const char *
read_duration(const struct resp_slice *v, int64_t *ret)
{
	if (parse_duration(v->data, v->len, ret) < 0)
		return "a duration such as 500ms, 30s, 2h or infinity";
	return NULL;
}

static const char *
read_key(const struct resp_slice *v, struct options *o)
{
	if (v->len < 1 || v->len > KEY_MAX)
		return "1 to 256 bytes";
	o->key = *v;
	return NULL;
}

static const char *
read_timeout(const struct resp_slice *v, struct options *o)
{
	const char *allowed = read_duration(v, &o->timeout_us);

	return !allowed && !o->timeout_us ? "longer than 0" : allowed;
}

static const char *
read_keep(const struct resp_slice *v, struct options *o)
{
	return read_duration(v, &o->keep_us);
}

static const char *
read_wait(const struct resp_slice *v, struct options *o)
{
	return read_duration(v, &o->wait_us);
}

static const char *
read_pool(const struct resp_slice *v, struct options *o)
{
	o->pool = *v;
	return NULL;
}

static const char *
read_state(const struct resp_slice *v, struct options *o)
{
	return job_state_parse(v->data, v->len, &o->state) < 0 ?
		       "queued, running, done, failed or cancelled" :
		       NULL;
}

static const char *
read_reason(const struct resp_slice *v, struct options *o)
{
	return job_reason_parse(v->data, v->len, &o->reason) < 0 ?
		       "error, crashed, timeout, request, down, draining, stopping or reload" :
		       NULL;
}

static const char *
read_count(const struct resp_slice *v, struct options *o)
{
	if (parse_u64(v->data, v->len, COUNT_MAX, &o->count) < 0 || !o->count)
		return "a number from 1 to 1000";
	return NULL;
}

static const char *
read_after(const struct resp_slice *v, struct options *o)
{
	return parse_u64(v->data, v->len, UINT64_MAX, &o->after) < 0 ? "a job's id" : NULL;
}

static const struct {
	const char *name;
	enum option option;
	const char *(*read)(const struct resp_slice *v, struct options *o);
} rows[] = {
	{"KEY", OPTION_KEY, read_key},		{"TIMEOUT", OPTION_TIMEOUT, read_timeout},
	{"KEEP", OPTION_KEEP, read_keep},	{"WAIT", OPTION_WAIT, read_wait},
	{"POOL", OPTION_POOL, read_pool},	{"STATE", OPTION_STATE, read_state},
	{"REASON", OPTION_REASON, read_reason}, {"COUNT", OPTION_COUNT, read_count},
	{"AFTER", OPTION_AFTER, read_after},
};

#define ROWS (sizeof(rows) / sizeof(rows[0]))

/* Which options a command has its row says, where COMMAND DOCS and the manual look too. */
static bool
takes_option(const struct command *row, const char *name)
{
	for (const struct command_arg *a = row->args; a->name; a++)
		if (a->optional && a->token && !strcmp(a->token, name))
			return true;
	return false;
}

static size_t
find_row(const struct resp_slice *name, const struct command *row)
{
	size_t i;

	for (i = 0; i < ROWS; i++)
		if (slice_is(name, rows[i].name) && takes_option(row, rows[i].name))
			break;
	return i;
}

static void
put_unknown(struct request *r, const struct resp_slice *name)
{
	char shown[128];
	struct buf have = {0};

	for (size_t i = 0; i < ROWS; i++)
		if (takes_option(r->row, rows[i].name))
			buf_putf(&have, "%s%s", buf_len(&have) ? ", " : "", rows[i].name);
	text_escape(shown, sizeof(shown), name->data, name->len);
	resp_put_errorf(r->out, "BADOPTION", "'%s' is no option of %s; it has %.*s", shown,
			r->row->name, (int)buf_len(&have), have.data ? buf_head(&have) : "none");
	buf_free(&have);
}

static bool
read_one(struct request *r, const struct resp_slice *pair, bool has_value, struct options *o)
{
	size_t i = find_row(&pair[0], r->row);
	const char *expected;
	char shown[128];

	if (i == ROWS) {
		put_unknown(r, &pair[0]);
		return false;
	}
	if (!has_value) {
		resp_put_errorf(r->out, "BADOPTION", "%s needs a value%s", rows[i].name,
				r->row->class == CLASS_SUBMIT ? " (the payload comes last)" : "");
		return false;
	}
	if (o->given & rows[i].option) {
		resp_put_errorf(r->out, "BADOPTION", "%s is given twice", rows[i].name);
		return false;
	}
	expected = rows[i].read(&pair[1], o);
	if (expected) {
		text_escape(shown, sizeof(shown), pair[1].data, pair[1].len);
		resp_put_errorf(r->out, "BADOPTION", "%s '%s': must be %s", rows[i].name, shown,
				expected);
		return false;
	}
	o->given |= rows[i].option;
	return true;
}

const struct options options_none = {.timeout_us = -1, .keep_us = -1, .count = 100};

const struct options *
options_read_some(struct request *r, size_t from, size_t to, struct options *ret)
{
	*ret = options_none;
	for (size_t i = from; i < to; i += 2)
		if (!read_one(r, &r->argv[i], i + 1 < to, ret))
			return NULL;
	return ret;
}
