/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "base/buf.h"
#include "base/text.h"
#include "ctl/args.h"
#include "ctl/errors.h"
#include "ctl/json.h"
#include "ctl/reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Send words; with --json print the reply, else done (NULL: nothing). */
static int
command_ok(struct ctl *ctl, const char *const *words, int n, const char *done)
{
	redisReply *r = NULL;
	int status = ctl_call_words(ctl, words, n, &r);

	if (!status && ctl->json)
		status = json_print_named("reply", r);
	else if (!status && done)
		puts(done);
	freeReplyObject(r);
	return status;
}

/* What STATUS has of the last reload, line by line. False: nothing. */
static bool
print_told(struct ctl *ctl, const char *field)
{
	const char *words[] = {"STATUS"};
	redisReply *r = NULL;
	const char *text = ctl_call_words(ctl, words, 1, &r) ? NULL : reply_str(r, field, NULL);

	for (const char *line = text, *end; line && *line; line = end + (*end == '\n')) {
		end = strchrnul(line, '\n');
		char *shown = ctl_escape(line, (size_t)(end - line));
		fprintf(stderr, "%s\n", shown);
		free(shown);
	}
	freeReplyObject(r);
	return text;
}

/* An error reply is one line, so that the mistakes are asked for. */
int
verb_reload(struct ctl *ctl, const struct args *args)
{
	const char *words[] = {"RELOAD"};
	struct buf b = {0};
	redisReply *r = NULL;
	int status;

	(void)args;
	command_put(&b, words, 1);
	status = ctl_send(ctl, &b);
	buf_free(&b);
	if (!status)
		status = ctl_receive(ctl, &r);
	if (!status && r->type != REDIS_REPLY_ERROR) {
		if (ctl->json)
			status = json_print_named("reply", r);
		print_told(ctl, "reload_warning");
	} else if (!status && error_find(r->str, r->len)->status == STATUS_CONFIG &&
		   print_told(ctl, "reload_error")) {
		ctl_warn("nothing was changed: the configuration has mistakes");
		status = STATUS_CONFIG;
	} else if (!status) {
		status = ctl_report(ctl, r, NULL);
	}
	freeReplyObject(r);
	return status;
}

int
verb_drain(struct ctl *ctl, const struct args *args)
{
	const char *words[] = {"DRAIN"};

	(void)args;
	return command_ok(ctl, words, 1, ctl->terminal ? "draining: new jobs are refused" : NULL);
}

int
verb_stop(struct ctl *ctl, const struct args *args)
{
	const char *words[] = {"SHUTDOWN", "NOW"};
	int status = command_ok(ctl, words, args->values[OPT_NOW] ? 2 : 1,
				ctl->terminal ? "stopping" : NULL);

	if (status)
		return status;
	fflush(stdout);
	return ctl_wait_closed(ctl);
}

int
verb_ping(struct ctl *ctl, const struct args *args)
{
	const char *words[] = {"PING"};

	(void)args;
	return command_ok(ctl, words, 1, "PONG");
}

/* The daemon's version where one answers; none is no mistake here. */
static redisReply *
ask_daemon(struct ctl *ctl)
{
	const char *words[] = {"STATUS"};
	redisReply *r = NULL;

	if (access(ctl_socket_path(ctl), R_OK | W_OK) != 0)
		return NULL;
	return ctl_call_words(ctl, words, 1, &r) == STATUS_OK ? r : NULL;
}

int
verb_version(struct ctl *ctl, const struct args *args)
{
	redisReply *r = ask_daemon(ctl);
	const char *daemon = reply_str(r, "version", NULL);
	struct buf b = {0};
	char shown[128];
	int status = STATUS_OK;

	(void)args;
	if (ctl->json) {
		buf_puts(&b, "{\"preforkctl\":\"" PREFORKD_VERSION "\",\"preforkd\":");
		if (daemon)
			json_string(&b, daemon, strlen(daemon));
		else
			buf_puts(&b, "null");
		buf_putc(&b, '}');
		status = json_finish(&b);
	} else {
		puts("preforkctl " PREFORKD_VERSION);
		if (daemon)
			printf("preforkd %s\n", text_escape_str(shown, sizeof(shown), daemon));
	}
	freeReplyObject(r);
	return status;
}
