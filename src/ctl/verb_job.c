/* SPDX-License-Identifier: MIT */
#include "base/buf.h"
#include "ctl/args.h"
#include "ctl/json.h"
#include "ctl/lines.h"
#include "ctl/listing.h"
#include "ctl/reply.h"
#include "ctl/result.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define STDIN_CHUNK 65536
#define STDIN_MAX (512U << 20) /* what RESP can carry */

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

int
result_print(const struct ctl *ctl, const redisReply *r)
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
		status = result_print(ctl, r);
	freeReplyObject(r);
	return status;
}

static int
submit_lines(struct ctl *ctl, const struct args *args)
{
	const struct verb *v = verb_find("submit");

	if (args->count > 1)
		return args_usage(v, "with --lines the payloads are lines of standard input, "
				     "not words");
	if (args->values[OPT_KEY])
		return args_usage(v, "--key names one job, and --lines are many");
	return lines_submit(ctl, args);
}

int
verb_submit(struct ctl *ctl, const struct args *args)
{
	const char *const *values = args->values;
	redisReply *r = NULL;

	if (values[OPT_LINES])
		return submit_lines(ctl, args);
	if (values[OPT_NULL] || values[OPT_NO_RETRY])
		return args_usage(verb_find("submit"), "--null and --no-retry go with --lines");
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
		status = result_print(ctl, r);
	}
	freeReplyObject(r);
	return status;
}

/* A command that replies for how many of the jobs it did its work. */
static int
count_jobs(struct ctl *ctl, const struct args *args, const char *word, const char *done,
	   const char *why_not)
{
	struct command c = {0};
	redisReply *r = NULL;

	command_add(&c, word);
	for (int i = 0; i < args->count; i++)
		command_add(&c, args->words[i]);
	int status = ctl_call(ctl, &c, &r);
	if (status)
		return status;
	int64_t n = 0;
	reply_as_int(r, &n);
	if (ctl->json)
		status = json_print_named(done, r);
	else
		printf("%lld of %d %s\n", (long long)n, args->count, done);
	freeReplyObject(r);
	if (!status && n < args->count) {
		ctl_warn("%lld of these jobs %s", (long long)(args->count - n), why_not);
		status = STATUS_FAILED;
	}
	return status;
}

int
verb_cancel(struct ctl *ctl, const struct args *args)
{
	return count_jobs(ctl, args, "CANCEL", "cancelled", "are not queued or running (any more)");
}

int
verb_forget(struct ctl *ctl, const struct args *args)
{
	return count_jobs(ctl, args, "FORGET", "forgotten", "are not known, or not over");
}

int
verb_job(struct ctl *ctl, const struct args *args)
{
	return listing_of(ctl, "JOB", args->words[0]);
}
