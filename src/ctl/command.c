/* SPDX-License-Identifier: MIT */
#include "base/buf.h"
#include "base/fd.h"
#include "base/text.h"
#include "ctl/ctl.h"
#include "ctl/errors.h"
#include "ctl/reply.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void
command_add_bytes(struct command *c, const char *data, size_t len)
{
	if (c->count == c->cap) {
		c->cap = c->cap ? c->cap * 2 : 16;
		c->argv = ctl_realloc(c->argv, (size_t)c->cap * sizeof(*c->argv));
		c->len = ctl_realloc(c->len, (size_t)c->cap * sizeof(*c->len));
	}
	c->argv[c->count] = data;
	c->len[c->count++] = len;
}

void
command_add(struct command *c, const char *word)
{
	command_add_bytes(c, word, strlen(word));
}

void
command_free(struct command *c)
{
	free(c->argv);
	free(c->len);
	*c = (struct command){0};
}

void
command_put(struct buf *b, const char *const *words, int n)
{
	buf_putf(b, "*%d\r\n", n);
	for (int i = 0; i < n; i++)
		buf_putf(b, "$%zu\r\n%s\r\n", strlen(words[i]), words[i]);
}

int
ctl_connect(struct ctl *ctl)
{
	int fd = -1;

	if (ctl->redis)
		return STATUS_OK;
	int status = ctl_open(ctl, &fd);
	if (status)
		return status;
	ctl->redis = redisConnectFd(fd);
	if (!ctl->redis || ctl->redis->err) {
		ctl_warn("out of memory");
		fd_close(&fd);
		return STATUS_OS;
	}
	return STATUS_OK;
}

int
ctl_report_broken(const struct ctl *ctl)
{
	const redisContext *r = ctl->redis;

	if (ctl->own_daemon && r->err != REDIS_ERR_PROTOCOL)
		return STATUS_NO_DAEMON;
	if (r->err == REDIS_ERR_PROTOCOL) {
		ctl_warn("what answers is not preforkd: %s", r->errstr);
		return STATUS_FAILED;
	}
	if (ctl->patience_ms && r->err == REDIS_ERR_IO && errno == EAGAIN)
		ctl_warn("the daemon did not answer within %d ms", ctl->patience_ms);
	else if (r->err == REDIS_ERR_IO && errno != EPIPE && errno != ECONNRESET)
		ctl_warn("the connection to the daemon broke: %s", strerror(errno));
	else
		ctl_warn("the daemon closed the connection");
	ctl_hint("is it still there? preforkctl status; preforkctl logs");
	return STATUS_NO_DAEMON;
}

/* Send and wait; error replies are replies here. */
static int
exchange(struct ctl *ctl, const struct command *c, redisReply **ret_reply)
{
	void *reply = NULL;
	redisContext *r = ctl->redis;

	if (redisAppendCommandArgv(r, c->count, c->argv, c->len) != REDIS_OK ||
	    redisGetReply(r, &reply) != REDIS_OK)
		return ctl_report_broken(ctl);
	*ret_reply = reply;
	return STATUS_OK;
}

/* After -NOPOOL: which pools there are. */
static void
hint_pools(struct ctl *ctl)
{
	const char *word = "POOLS";
	size_t len = strlen(word);
	struct command c = {.argv = &word, .len = &len, .count = 1};
	redisReply *pools = NULL;
	struct buf names = {0};
	char shown[256];

	if (exchange(ctl, &c, &pools) != STATUS_OK || !pools)
		return;
	for (size_t i = 0; reply_is_array(pools) && i < pools->elements; i++) {
		buf_puts(&names, i ? " " : "");
		const char *name = reply_str(pools->element[i], "name", "?");
		buf_puts(&names, text_escape_str(shown, sizeof(shown), name));
	}
	if (buf_len(&names) && !buf_failed(&names))
		ctl_hint("the pools are: %.*s", (int)buf_len(&names), buf_head(&names));
	else
		ctl_hint("there are no pools: each is a file of the daemon's pool.d");
	buf_free(&names);
	freeReplyObject(pools);
}

int
ctl_report(struct ctl *ctl, const redisReply *error, const char *subject)
{
	int status = error_report(NULL, error->str, error->len, subject);

	if (strcmp(error_find(error->str, error->len)->word, "NOPOOL") == 0)
		hint_pools(ctl);
	return status;
}

int
ctl_call(struct ctl *ctl, struct command *c, redisReply **ret_reply)
{
	redisReply *reply = NULL;
	int status = ctl_connect(ctl);

	if (!status)
		status = exchange(ctl, c, &reply);
	if (!status && reply->type == REDIS_REPLY_ERROR) {
		status = ctl_report(ctl, reply, c->count > 1 ? c->argv[1] : NULL);
		freeReplyObject(reply);
		reply = NULL;
	}
	command_free(c);
	*ret_reply = reply;
	return status;
}

int
ctl_call_words(struct ctl *ctl, const char *const *words, int n, redisReply **ret_reply)
{
	struct command c = {0};

	for (int i = 0; i < n; i++)
		command_add(&c, words[i]);
	return ctl_call(ctl, &c, ret_reply);
}

int
ctl_send(struct ctl *ctl, const struct buf *b)
{
	int status = ctl_connect(ctl);

	if (status)
		return status;
	if (buf_failed(b) ||
	    redisAppendFormattedCommand(ctl->redis, buf_head(b), buf_len(b)) != REDIS_OK) {
		ctl_warn("out of memory");
		return STATUS_OS;
	}
	return STATUS_OK;
}

int
ctl_flush(struct ctl *ctl)
{
	int done = 0;

	while (!done)
		if (redisBufferWrite(ctl->redis, &done) != REDIS_OK)
			return ctl_report_broken(ctl);
	return STATUS_OK;
}

int
ctl_receive(struct ctl *ctl, redisReply **ret_reply)
{
	void *reply = NULL;

	if (redisGetReply(ctl->redis, &reply) != REDIS_OK)
		return ctl_report_broken(ctl);
	*ret_reply = reply;
	return STATUS_OK;
}

int
ctl_wait_closed(struct ctl *ctl)
{
	char rest[512];
	ssize_t n;

	do
		n = read(ctl->redis->fd, rest, sizeof(rest));
	while (n > 0 || (n < 0 && errno == EINTR));
	return STATUS_OK;
}
