/* SPDX-License-Identifier: MIT */
/* The list of jobs. The daemon gives it in the order of ids, a page at a time;
 * another order is made here, of all that match, and of those only as many are
 * kept as will be shown. */
#include "base/buf.h"
#include "base/text.h"
#include "ctl/args.h"
#include "ctl/human.h"
#include "ctl/json.h"
#include "ctl/reply.h"
#include "ctl/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PAGE_MAX 1000 /* that the daemon gives */
#define SHOWN 100     /* unless told otherwise */

#define FILTERS (OPT(POOL) | OPT(STATE) | OPT(REASON))

/* --- orders --- */

static const struct order {
	const char *name, *field;
	bool text;
	bool falls; /* the larger the field, the smaller what is asked for */
} orders[] = {
	{"id", "id", false, false},	     {"pool", "pool", true, false},
	{"state", "state", true, false},     {"age", "id", false, true}, /* ids rise with time */
	{"queue", "queue_ms", false, false}, {"run", "run_ms", false, false},
	{"worker", "worker", false, false},
};

struct sorting {
	const struct order *order; /* NULL: as they come */
	bool reverse;
};

static int
sign(int64_t a, int64_t b)
{
	return (a > b) - (a < b);
}

/* What a job does not have (a worker, a time) comes last either way. */
static int
compare(const redisReply *a, const redisReply *b, const struct sorting *by)
{
	const redisReply *x = reply_get(a, by->order->field), *y = reply_get(b, by->order->field);
	int64_t m = 0, n = 0;
	int d;

	if (!x || !y)
		return !x - !y;
	if (by->order->text)
		d = strcmp(reply_is_text(x) ? x->str : "", reply_is_text(y) ? y->str : "");
	else
		d = reply_as_int(x, &m) && reply_as_int(y, &n) ? sign(m, n) : 0;
	return by->reverse != by->order->falls ? -d : d;
}

static int
compare_jobs(const void *a, const void *b, void *by)
{
	const redisReply *x = *(redisReply *const *)a, *y = *(redisReply *const *)b;
	int d = compare(x, y, by);

	return d ? d : sign(reply_int(x, "id", 0), reply_int(y, "id", 0));
}

static bool
find_order(const char *word, struct sorting *ret)
{
	ret->reverse = word[0] == '-';
	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++)
		if (strcmp(orders[i].name, word + ret->reverse) == 0)
			ret->order = &orders[i];
	return ret->order != NULL;
}

/* --- getting them --- */

struct listing {
	struct ctl *ctl;
	const struct args *args;
	struct sorting by;
	size_t most;	   /* to be shown; SIZE_MAX: all */
	size_t shown;	   /* so far */
	char after[32];	   /* the last one that was shown, or fetched for another order */
	redisReply **kept; /* with an order: those that may be shown */
	size_t count;
	struct table table;
	struct buf json;
};

static int
fetch(struct listing *l, size_t n, redisReply **ret_page)
{
	struct command c = {0};
	char count[32];

	snprintf(count, sizeof(count), "%zu", n);
	command_add(&c, "JOBS");
	args_add_options(l->args, &c, FILTERS);
	command_add(&c, "COUNT");
	command_add(&c, count);
	if (l->after[0]) {
		command_add(&c, "AFTER");
		command_add(&c, l->after);
	}
	int status = ctl_call(l->ctl, &c, ret_page);
	if (!status && !reply_is_array(*ret_page)) {
		ctl_warn("the daemon answered with something that is not a list");
		status = STATUS_FAILED;
	}
	return status;
}

static void
go_behind(struct listing *l, const redisReply *job)
{
	snprintf(l->after, sizeof(l->after), "%s", reply_str(job, "id", ""));
}

/* --- showing them --- */

static void
add_int(struct table *t, const redisReply *job, const char *name)
{
	int64_t n;

	if (reply_as_int(reply_get(job, name), &n))
		table_addf(t, "%lld", (long long)n);
	else
		table_add(t, NULL);
}

static void
add_row(struct table *t, const redisReply *job, int64_t now_ms)
{
	char text[HUMAN_MAX];
	int64_t submitted = reply_int(job, "submitted_unix_ms", -1);
	int64_t age = submitted < 0 ? -1 : now_ms - submitted;
	const redisReply *head = reply_get(job, "payload_head");

	table_add(t, reply_str(job, "id", NULL));
	table_add(t, reply_str(job, "pool", NULL));
	table_add(t, reply_str(job, "state", NULL));
	table_add(t, reply_str(job, "reason", NULL));
	table_add(t, human_age(text, submitted >= 0 && age < 0 ? 0 : age));
	table_add(t, human_age(text, reply_int(job, "queue_ms", -1)));
	table_add(t, human_age(text, reply_int(job, "run_ms", -1)));
	add_int(t, job, "worker");
	table_add_bytes(t, reply_is_text(head) ? head->str : "-",
			reply_is_text(head) ? head->len : 1);
}

static void
show(struct listing *l, redisReply *const *jobs, size_t n)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	for (size_t i = 0; i < n; i++) {
		if (!l->ctl->json) {
			add_row(&l->table, jobs[i], now.tv_sec * 1000 + now.tv_nsec / 1000000);
			continue;
		}
		buf_puts(&l->json, l->shown + i ? "," : "[");
		json_reply(&l->json, jobs[i], JSON_MAP);
	}
	l->shown += n;
	if (l->ctl->json) {
		json_flush(&l->json);
		return;
	}
	table_print(&l->table, stdout, (size_t)l->ctl->columns);
	table_continue(&l->table);
}

/* Page after page, as they come; one job more than is shown tells whether there
 * is another page. */
static int
show_in_order(struct listing *l, bool *ret_more)
{
	int status = STATUS_OK;
	bool end = false;

	while (!status && !end && !*ret_more) {
		size_t left = l->most - l->shown;
		size_t asked = left < PAGE_MAX ? left + 1 : PAGE_MAX;
		redisReply *page = NULL;
		status = fetch(l, asked, &page);
		if (!status) {
			size_t n = page->elements < left ? page->elements : left;
			end = page->elements < asked;
			*ret_more = page->elements > left;
			show(l, page->element, n);
			if (n)
				go_behind(l, page->element[n - 1]);
			fflush(stdout);
			end |= ferror(stdout) != 0; /* nobody reads on */
		}
		freeReplyObject(page);
	}
	return status;
}

/* Sort what is kept, and drop what is more than will be shown. */
static void
prune(struct listing *l)
{
	if (l->count)
		qsort_r(l->kept, l->count, sizeof(redisReply *), compare_jobs, &l->by);
	while (l->count > l->most)
		freeReplyObject(l->kept[--l->count]);
}

static int
show_sorted(struct listing *l)
{
	int status = STATUS_OK;
	bool end = false;

	while (!status && !end) {
		redisReply *page = NULL;
		status = fetch(l, PAGE_MAX, &page);
		if (status)
			break;
		end = page->elements < PAGE_MAX;
		if (page->elements)
			go_behind(l, page->element[page->elements - 1]);
		l->kept = ctl_realloc(l->kept, (l->count + page->elements) * sizeof(redisReply *));
		for (size_t i = 0; i < page->elements; i++) {
			l->kept[l->count++] = page->element[i];
			page->element[i] = NULL;
		}
		freeReplyObject(page);
		prune(l);
	}
	if (!status)
		show(l, l->kept, l->count);
	while (l->count)
		freeReplyObject(l->kept[--l->count]);
	free(l->kept);
	return status;
}

/* For who looks at a terminal: the whole command for what comes next. */
static void
hint_next_page(const struct listing *l)
{
	struct buf b = {0};
	char shown[256];

	if (l->ctl->json || !isatty(STDERR_FILENO))
		return;
	fflush(stdout);
	for (int i = 0; i < OPT_MAX; i++) {
		const char *value = l->args->values[i];
		if (value && (FILTERS | OPT(COUNT) | OPT(SOCKET)) & UINT64_C(1) << i)
			buf_putf(&b, " --%s %s", options[i].name,
				 text_escape_str(shown, sizeof(shown), value));
	}
	ctl_hint("there are more: preforkctl jobs%.*s --after %s (or --all)", (int)buf_len(&b),
		 buf_len(&b) ? buf_head(&b) : "", l->after);
	buf_free(&b);
}

static int
list_jobs(struct listing *l)
{
	static const struct column columns[] = {{"ID", true},	   {"POOL", false},
						{"STATE", false},  {"REASON", false},
						{"AGE", true},	   {"WAITED", true},
						{"RAN", true},	   {"WORKER", true},
						{"PAYLOAD", false}};
	bool more = false;

	table_init(&l->table, columns, sizeof(columns) / sizeof(columns[0]));
	int status = l->by.order ? show_sorted(l) : show_in_order(l, &more);
	if (!status && l->ctl->json)
		fputs(l->shown ? "]\n" : "[]\n", stdout);
	if (!status && more)
		hint_next_page(l);
	table_free(&l->table);
	buf_free(&l->json);
	return status;
}

int
verb_jobs(struct ctl *ctl, const struct args *args)
{
	struct listing l = {.ctl = ctl, .args = args, .most = SHOWN};
	const struct verb *v = verb_find("jobs");
	const char *count = args->values[OPT_COUNT], *order = args->values[OPT_SORT];
	const char *after = args->values[OPT_AFTER];

	if (args->values[OPT_ALL] && count)
		return args_usage(v, "--all or --count, not both");
	if (order && !find_order(order, &l.by))
		return args_usage(v,
				  "--sort \"%s\" is none of id, pool, state, age, queue, run and "
				  "worker, or one of these behind a -",
				  order);
	if (count)
		l.most = strtoul(count, NULL, 10);
	if (args->values[OPT_ALL])
		l.most = SIZE_MAX;
	if (after && strlen(after) >= sizeof(l.after))
		return args_usage(v, "--after \"%s\" is not an id", after);
	snprintf(l.after, sizeof(l.after), "%s", after ? after : "");
	return list_jobs(&l);
}
