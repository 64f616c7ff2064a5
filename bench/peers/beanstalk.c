/* SPDX-License-Identifier: MIT */
/* beanstalkd: a queue is a tube; what is reserved has to be deleted. */
#include "wire.h"

#include <stdio.h>
#include <string.h>

static void
beanstalk_hello(struct bytes *out, const char *puts, const char *takes)
{
	if (puts) {
		bytes_say(out, "use ");
		bytes_say(out, puts);
		bytes_say(out, "\r\n");
	}
	if (takes) {
		bytes_say(out, "watch ");
		bytes_say(out, takes);
		bytes_say(out, "\r\nignore default\r\n");
	}
}

/* A client's connections put into "jobs" alone, and a worker, which has one, never. */
static void
use_tube(struct bytes *out, const char *tube)
{
	static char used[QUEUE_LEN + 1];

	if (strcmp(tube, "jobs") == 0 || strcmp(tube, used) == 0)
		return;
	snprintf(used, sizeof(used), "%s", tube);
	beanstalk_hello(out, tube, NULL);
}

static void
beanstalk_put(struct bytes *out, const char *queue, const char *front, const char *data, size_t len)
{
	use_tube(out, queue);
	bytes_say(out, "put 0 0 600 ");
	bytes_number(out, strlen(front) + len);
	bytes_say(out, "\r\n");
	bytes_say(out, front);
	bytes_add(out, data, len);
	bytes_say(out, "\r\n");
}

static void
beanstalk_take(struct bytes *out, const char *queue, unsigned most)
{
	(void)queue;
	(void)most;
	bytes_say(out, "reserve\r\n");
}

static void
beanstalk_settle(struct bytes *out, const struct item *item)
{
	bytes_say(out, "delete ");
	bytes_add(out, item->id, item->id_len);
	bytes_say(out, "\r\n");
}

/* RESERVED <id> <bytes>, and in the next line the bytes. */
static enum heard
reserved(struct bytes *in, const char *line, size_t line_len, struct item *item)
{
	const char *id = line + strlen("RESERVED ");
	const char *space = memchr(id, ' ', (size_t)(line + line_len - id));
	size_t len;

	if (!space)
		return HEARD_NONSENSE;
	len = number_at(space + 1);
	if (in->len - in->head < line_len + 2 + len + 2)
		return HEARD_PART;
	*item = (struct item){.data = line + line_len + 2,
			      .len = len,
			      .id = id,
			      .id_len = (size_t)(space - id),
			      .last = true};
	in->head += line_len + 2 + len + 2;
	return HEARD_PAYLOAD;
}

static enum heard
beanstalk_next(struct ear *ear, struct item *item)
{
	static const char *const notes[] = {"INSERTED ", "DELETED", "USING ", "WATCHING "};
	struct bytes *in = &ear->in;
	size_t len;
	const char *line = bytes_line(in, &len);

	if (!line)
		return HEARD_PART;
	if (strncmp(line, "RESERVED ", strlen("RESERVED ")) == 0)
		return reserved(in, line, len, item);
	for (size_t i = 0; i < sizeof(notes) / sizeof(*notes); i++) {
		if (strncmp(line, notes[i], strlen(notes[i])) == 0) {
			in->head += len + 2;
			return HEARD_NOTE;
		}
	}
	return HEARD_NONSENSE;
}

const struct wire wire_beanstalk = {
	.name = "beanstalk",
	.hello = beanstalk_hello,
	.put = beanstalk_put,
	.take = beanstalk_take,
	.settle = beanstalk_settle,
	.next = beanstalk_next,
};
