/* SPDX-License-Identifier: MIT */
/* gearmand: jobs of one function, answered on the connection that submitted them. */
#include "wire.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>

enum packet {
	CAN_DO = 1,
	PRE_SLEEP = 4,
	NOOP = 6,
	SUBMIT_JOB = 7,
	JOB_CREATED = 8,
	GRAB_JOB = 9,
	NO_JOB = 10,
	JOB_ASSIGN = 11,
	WORK_COMPLETE = 13,
};

struct head {
	char magic[4];
	uint32_t type;
	uint32_t len;
};

static void
put_packet(struct bytes *out, uint32_t type, size_t len)
{
	struct head head = {"\0REQ", htonl(type), htonl((uint32_t)len)};

	bytes_add(out, &head, sizeof(head));
}

static void
gearman_hello(struct bytes *out, const char *puts, const char *takes)
{
	(void)puts;
	if (!takes || strcmp(takes, "jobs") != 0)
		return;
	put_packet(out, CAN_DO, strlen(takes));
	bytes_say(out, takes);
	put_packet(out, GRAB_JOB, 0);
}

/* Without a unique name, which would have to be looked up. */
static void
gearman_put(struct bytes *out, const char *queue, const char *front, const char *data, size_t len)
{
	size_t name = strlen(queue) + 1;

	put_packet(out, SUBMIT_JOB, name + 1 + strlen(front) + len);
	bytes_add(out, queue, name);
	bytes_add(out, "", 1);
	bytes_say(out, front);
	bytes_add(out, data, len);
}

/* What stands behind a number of words that end with 0. */
static void
open_packet(struct item *item, const char *body, size_t len, unsigned words)
{
	const char *at = body;

	item->id = body;
	item->id_len = strnlen(body, len);
	while (words--)
		at += strnlen(at, len - 1 - (size_t)(at - body)) + 1;
	item->data = at;
	item->len = len - (size_t)(at - body);
}

static enum heard
gearman_next(struct ear *ear, struct item *item)
{
	struct bytes *in = &ear->in;
	const char *at = in->data + in->head;
	struct head head;
	size_t len;

	if (in->len - in->head < sizeof(head))
		return HEARD_PART;
	memcpy(&head, at, sizeof(head));
	len = ntohl(head.len);
	if (memcmp(head.magic, "\0RES", 4) != 0)
		return HEARD_NONSENSE;
	if (in->len - in->head < sizeof(head) + len)
		return HEARD_PART;
	in->head += sizeof(head) + len;
	*item = (struct item){.last = true, .about = ntohl(head.type)};
	switch (item->about) {
	case JOB_CREATED:
	case NOOP:
	case NO_JOB:
		return HEARD_NOTE;
	case JOB_ASSIGN:
		open_packet(item, at + sizeof(head), len, 2);
		return HEARD_PAYLOAD;
	case WORK_COMPLETE:
		open_packet(item, at + sizeof(head), len, 1);
		return HEARD_PAYLOAD;
	default:
		return HEARD_NONSENSE;
	}
}

static void
gearman_answer(struct bytes *out, const struct item *job)
{
	put_packet(out, WORK_COMPLETE, job->id_len + 1 + job->len);
	bytes_add(out, job->id, job->id_len + 1);
	bytes_add(out, job->data, job->len);
	put_packet(out, GRAB_JOB, 0);
}

static void
gearman_on_note(struct bytes *out, const struct item *note)
{
	if (note->about == NO_JOB)
		put_packet(out, PRE_SLEEP, 0);
	else if (note->about == NOOP)
		put_packet(out, GRAB_JOB, 0);
}

const struct wire wire_gearman = {
	.name = "gearman",
	.hello = gearman_hello,
	.put = gearman_put,
	.next = gearman_next,
	.answer = gearman_answer,
	.on_note = gearman_on_note,
};
