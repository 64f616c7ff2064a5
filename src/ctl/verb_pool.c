/* SPDX-License-Identifier: MIT */
#include "ctl/args.h"
#include "ctl/human.h"
#include "ctl/json.h"
#include "ctl/listing.h"
#include "ctl/reply.h"
#include "ctl/table.h"

#include <stdio.h>

static void
add_pool_row(struct table *t, const redisReply *pool)
{
	char text[HUMAN_MAX];

	table_add(t, reply_str(pool, "name", NULL));
	table_add(t, reply_str(pool, "state", NULL));
	table_addf(t, "%lld/%lld", (long long)reply_int(pool, "up", 0),
		   (long long)reply_int(pool, "workers", 0));
	table_addf(t, "%lld", (long long)reply_int(pool, "busy", 0));
	table_addf(t, "%lld", (long long)reply_int(pool, "queued", 0));
	table_add(t, human_age(text, reply_int(pool, "oldest_queued_ms", -1)));
	table_add(t, human_rate(text, reply_double(pool, "done_per_s", -1)));
	table_add(t, human_span(text, reply_int(pool, "wait_p99_us", -1)));
	table_add(t, human_span(text, reply_int(pool, "run_p99_us", -1)));
	table_addf(t, "%lld", (long long)reply_int(pool, "failed", 0));
}

static void
print_pools(const struct ctl *ctl, const redisReply *pools)
{
	static const struct column columns[] = {
		{"POOL", false},  {"STATE", false}, {"WORKERS", true}, {"BUSY", true},
		{"QUEUED", true}, {"OLDEST", true}, {"DONE/s", true},  {"WAIT99", true},
		{"RUN99", true},  {"FAILED", true},
	};
	struct table t;

	table_init(&t, columns, sizeof(columns) / sizeof(columns[0]));
	for (size_t i = 0; i < pools->elements; i++)
		add_pool_row(&t, pools->element[i]);
	table_print(&t, stdout, (size_t)ctl->columns);
	table_free(&t);
}

int
verb_pools(struct ctl *ctl, const struct args *args)
{
	const char *words[] = {"POOLS"};
	redisReply *r = NULL;
	int status = ctl_call_words(ctl, words, 1, &r);

	(void)args;
	if (!status && ctl->json)
		status = json_print(r, JSON_MAPS);
	else if (!status && reply_is_array(r))
		print_pools(ctl, r);
	freeReplyObject(r);
	return status;
}

int
verb_pool(struct ctl *ctl, const struct args *args)
{
	return listing_of(ctl, "POOL", args->words[0]);
}

static void
add_int(struct table *t, const redisReply *map, const char *name)
{
	int64_t n;

	if (reply_as_int(reply_get(map, name), &n))
		table_addf(t, "%lld", (long long)n);
	else
		table_add(t, NULL);
}

static void
add_worker_row(struct table *t, const redisReply *worker)
{
	char text[HUMAN_MAX];

	table_add(t, reply_str(worker, "pool", NULL));
	add_int(t, worker, "worker");
	add_int(t, worker, "pid");
	table_add(t, reply_str(worker, "state", NULL));
	add_int(t, worker, "job");
	table_add(t, human_age(text, reply_int(worker, "job_ms", -1)));
	add_int(t, worker, "jobs");
	table_add(t, human_age(text, reply_int(worker, "age_ms", -1)));
	table_add(t, human_size(text, reply_int(worker, "rss_bytes", -1)));
	table_add(t, human_age(text, reply_int(worker, "cpu_ms", -1)));
}

static void
print_workers(const struct ctl *ctl, const redisReply *workers)
{
	static const struct column columns[] = {
		{"POOL", false}, {"WORKER", true}, {"PID", true}, {"STATE", false}, {"JOB", true},
		{"FOR", true},	 {"JOBS", true},   {"AGE", true}, {"RSS", true},    {"CPU", true},
	};
	struct table t;

	table_init(&t, columns, sizeof(columns) / sizeof(columns[0]));
	for (size_t i = 0; i < workers->elements; i++)
		add_worker_row(&t, workers->element[i]);
	table_print(&t, stdout, (size_t)ctl->columns);
	table_free(&t);
}

int
verb_workers(struct ctl *ctl, const struct args *args)
{
	const char *words[] = {"WORKERS", args->count ? args->words[0] : ""};
	redisReply *r = NULL;
	int status = ctl_call_words(ctl, words, args->count ? 2 : 1, &r);

	if (!status && ctl->json)
		status = json_print(r, JSON_MAPS);
	else if (!status && reply_is_array(r))
		print_workers(ctl, r);
	freeReplyObject(r);
	return status;
}

/* The same command for each pool that was named; the first mistake ends it. */
static int
for_each_pool(struct ctl *ctl, const struct args *args, const char *word)
{
	int status = STATUS_OK;

	for (int i = 0; i < args->count && !status; i++) {
		const char *words[] = {word, args->words[i]};
		redisReply *r = NULL;
		status = ctl_call_words(ctl, words, 2, &r);
		if (!status && ctl->json)
			status = json_print_named("reply", r);
		freeReplyObject(r);
	}
	return status;
}

int
verb_pause(struct ctl *ctl, const struct args *args)
{
	return for_each_pool(ctl, args, "PAUSE");
}

int
verb_resume(struct ctl *ctl, const struct args *args)
{
	return for_each_pool(ctl, args, "RESUME");
}
