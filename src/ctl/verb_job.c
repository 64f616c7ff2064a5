/* SPDX-License-Identifier: MIT */
#include "base/buf.h"
#include "base/text.h"
#include "ctl/args.h"
#include "ctl/human.h"
#include "ctl/json.h"
#include "ctl/listing.h"
#include "ctl/reply.h"
#include "ctl/table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define STDIN_CHUNK 65536
#define STDIN_MAX (512U << 20) /* what RESP can carry */
#define JOBS_PAGE "100"

static int
read_stdin(struct buf *payload)
{
	for (;;) {
		if (!buf_reserve(payload, STDIN_CHUNK) || buf_len(payload) > STDIN_MAX) {
			ctl_warn("the payload on standard input is too big");
			return STATUS_PAYLOAD;
		}
		ssize_t n = read(STDIN_FILENO, buf_tail(payload), STDIN_CHUNK);
		if (n == 0)
			return STATUS_OK;
		if (n < 0 && errno != EINTR) {
			ctl_warn("cannot read standard input: %s", strerror(errno));
			return STATUS_FAILED;
		}
		if (n > 0)
			buf_commit(payload, (size_t)n);
	}
}

static void
drop_newline(struct buf *payload)
{
	if (buf_len(payload) && payload->data[payload->end - 1] == '\n')
		payload->end--;
}

/* The payload: the words behind the pool, or standard input. */
static int
take_payload(const struct args *args, struct buf *payload)
{
	/* behind "--" a lone "-" is a payload like another */
	bool dash = args->count == 2 && strcmp(args->words[1], "-") == 0 && args->command < 0;

	if (args->count > 1 && !dash) {
		for (int i = 1; i < args->count; i++) {
			buf_puts(payload, i > 1 ? " " : "");
			buf_puts(payload, args->words[i]);
		}
		return STATUS_OK;
	}
	int status = read_stdin(payload);
	if (!status && !args->values[OPT_RAW])
		drop_newline(payload);
	return status;
}

static int
send_job(struct ctl *ctl, const struct args *args, const char *word, redisReply **ret_reply)
{
	struct buf payload = {0};
	struct command c = {0};
	int status = take_payload(args, &payload);

	if (!status) {
		command_add(&c, word);
		command_add(&c, args->words[0]);
		args_add_options(args, &c, OPT(TIMEOUT) | OPT(KEY) | OPT(KEEP) | OPT(WAIT));
		command_add_bytes(&c, buf_len(&payload) ? buf_head(&payload) : "",
				  buf_len(&payload));
		status = ctl_call(ctl, &c, ret_reply);
	}
	buf_free(&payload);
	return status;
}

static int
print_result(const struct ctl *ctl, const redisReply *r)
{
	struct buf b = {0};

	if (!reply_is_text(r)) {
		ctl_warn("the daemon answered with something that is not a result");
		return STATUS_FAILED;
	}
	if (ctl->json) {
		buf_putc(&b, '{');
		json_bytes(&b, "result", r->str, r->len);
		buf_putc(&b, '}');
		return json_finish(&b);
	}
	fwrite(r->str, 1, r->len, stdout);
	if (ctl->terminal && (r->len == 0 || r->str[r->len - 1] != '\n'))
		putchar('\n');
	return STATUS_OK;
}

int
verb_run(struct ctl *ctl, const struct args *args)
{
	redisReply *r = NULL;
	int status = send_job(ctl, args, "RUN", &r);

	if (!status)
		status = print_result(ctl, r);
	freeReplyObject(r);
	return status;
}

int
verb_submit(struct ctl *ctl, const struct args *args)
{
	redisReply *r = NULL;
	int status = send_job(ctl, args, "SUBMIT", &r);

	if (!status && ctl->json)
		status = json_print_named("id", r);
	else if (!status && reply_is_text(r))
		puts(r->str);
	freeReplyObject(r);
	return status;
}

int
verb_result(struct ctl *ctl, const struct args *args)
{
	struct command c = {0};
	redisReply *r = NULL;
	const char *id = args->words[0];

	command_add(&c, "RESULT");
	command_add(&c, id);
	args_add_options(args, &c, OPT(WAIT));
	int status = ctl_call(ctl, &c, &r);
	if (!status && reply_is_nil(r)) {
		ctl_warn("job %s is not finished", id);
		ctl_hint(
			"wait for it: preforkctl result %s --wait 1m; how it is: preforkctl job %s",
			id, id);
		status = STATUS_LATER;
	} else if (!status) {
		status = print_result(ctl, r);
	}
	freeReplyObject(r);
	return status;
}

int
verb_cancel(struct ctl *ctl, const struct args *args)
{
	struct command c = {0};
	redisReply *r = NULL;

	command_add(&c, "CANCEL");
	for (int i = 0; i < args->count; i++)
		command_add(&c, args->words[i]);
	int status = ctl_call(ctl, &c, &r);
	if (status)
		return status;
	int64_t cancelled = 0;
	reply_as_int(r, &cancelled);
	if (ctl->json)
		status = json_print_named("cancelled", r);
	else
		printf("%lld of %d cancelled\n", (long long)cancelled, args->count);
	freeReplyObject(r);
	if (!status && cancelled < args->count) {
		ctl_warn("%lld of these jobs are not queued or running (any more)",
			 (long long)(args->count - cancelled));
		status = STATUS_FAILED;
	}
	return status;
}

int
verb_job(struct ctl *ctl, const struct args *args)
{
	return listing_of(ctl, "JOB", args->words[0]);
}

static void
add_job_row(struct table *t, const redisReply *job, int64_t now_ms)
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
	table_add_bytes(t, reply_is_text(head) ? head->str : "-",
			reply_is_text(head) ? head->len : 1);
}

static void
print_jobs(const struct ctl *ctl, const redisReply *jobs)
{
	static const struct column columns[] = {{"ID", true},	  {"POOL", false},
						{"STATE", false}, {"REASON", false},
						{"AGE", true},	  {"WAITED", true},
						{"RAN", true},	  {"PAYLOAD", false}};
	struct table t;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	table_init(&t, columns, sizeof(columns) / sizeof(columns[0]));
	for (size_t i = 0; i < jobs->elements; i++)
		add_job_row(&t, jobs->element[i], now.tv_sec * 1000 + now.tv_nsec / 1000000);
	table_print(&t, stdout, (size_t)ctl->columns);
	table_free(&t);
}

/* A full page: there may be more. */
static void
hint_next_page(const struct ctl *ctl, const redisReply *jobs, const char *count)
{
	size_t page = strtoul(count, NULL, 10);

	if (ctl->terminal && page && jobs->elements >= page)
		ctl_hint("there may be more: --after %s",
			 reply_str(jobs->element[jobs->elements - 1], "id", "?"));
}

int
verb_jobs(struct ctl *ctl, const struct args *args)
{
	struct command c = {0};
	redisReply *r = NULL;
	const char *count = args->values[OPT_COUNT];

	command_add(&c, "JOBS");
	args_add_options(args, &c, OPT(POOL) | OPT(STATE) | OPT(REASON) | OPT(COUNT) | OPT(AFTER));
	if (!count) {
		count = JOBS_PAGE;
		command_add(&c, "COUNT");
		command_add(&c, count);
	}
	int status = ctl_call(ctl, &c, &r);
	if (!status && ctl->json) {
		status = json_print(r, JSON_MAPS);
	} else if (!status && reply_is_array(r)) {
		print_jobs(ctl, r);
		fflush(stdout);
		hint_next_page(ctl, r, count);
	}
	freeReplyObject(r);
	return status;
}
