/* SPDX-License-Identifier: MIT */
#include "io/notify.h"

#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PAUSE_MIN_US (50 * USEC_PER_MSEC)
#define PAUSE_MAX_US (2 * USEC_PER_SEC)
#define LAST_US USEC_PER_SEC /* how long the end waits for room */

struct message {
	struct list link;
	int fd; /* sent with it; -1: none */
	char text[];
};

/* ---- one datagram ---- */

/* Where messages go: 0, -ENOTCONN (nowhere), or why that cannot be. */
static int
find_receiver(struct sockaddr_un *ret_sa, socklen_t *ret_len)
{
	const char *path = getenv("NOTIFY_SOCKET");
	size_t len = path ? strlen(path) : 0;

	if (!len)
		return -ENOTCONN;
	if (path[0] != '/' && path[0] != '@')
		return -EAFNOSUPPORT;
	if (len < 2 || len >= sizeof(ret_sa->sun_path))
		return len < 2 ? -EINVAL : -ENAMETOOLONG;
	*ret_sa = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(ret_sa->sun_path, path, len);
	*ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	if (path[0] == '@')
		ret_sa->sun_path[0] = 0;
	else
		++*ret_len;
	return 0;
}

static void
attach(struct msghdr *m, char *control, size_t len, int fd)
{
	struct cmsghdr *c;

	m->msg_control = control;
	m->msg_controllen = len;
	c = CMSG_FIRSTHDR(m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
}

/* wait_us: how long to wait for room; 0: not at all. The socket is made for each
 * message: it is one a second at most, and there is none that could go stale. */
static int
send_datagram(struct iovec *text, int parts, int fd, int64_t wait_us)
{
	struct sockaddr_un sa;
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct msghdr m = {.msg_name = &sa, .msg_iov = text, .msg_iovlen = (size_t)parts};
	struct timeval tv = {wait_us / USEC_PER_SEC, wait_us % USEC_PER_SEC};
	int r = find_receiver(&sa, &m.msg_namelen);
	int s;

	if (r < 0)
		return r;
	s = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (s < 0)
		return -errno;
	if (fd >= 0)
		attach(&m, control.bytes, sizeof(control.bytes), fd);
	if (wait_us && setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)) < 0)
		wait_us = 0;
	if (sendmsg(s, &m, MSG_NOSIGNAL | (wait_us ? 0 : MSG_DONTWAIT)) < 0)
		r = -errno;
	close(s);
	return r;
}

int
notify_try(const char *state)
{
	struct iovec text = {(void *)(uintptr_t)state, strlen(state)};

	return send_datagram(&text, 1, -1, 0);
}

/* ---- what is owed ---- */

static void
drop(struct message *m)
{
	list_remove(&m->link);
	if (m->fd >= 0)
		close(m->fd);
	free(m);
}

/* m (NULL: nothing) with the status that has not been said. */
static int
say(struct notify *n, const struct message *m, bool with_status, int64_t wait_us)
{
	const char *parts[] = {m ? m->text : "", m ? "\n" : "", "STATUS=", n->status};
	struct iovec text[4];
	int count = with_status && n->status ? 4 : 1;

	for (int i = 0; i < count; i++)
		text[i] = (struct iovec){(void *)(uintptr_t)parts[i], strlen(parts[i])};
	return send_datagram(text, count, m ? m->fd : -1, wait_us);
}

/* Say as much as there is room for. 0 when nothing is left, or -errno. */
static int
say_all(struct notify *n, mono_t until)
{
	int r = 0;

	while (notify_owes(n)) {
		struct list *first = list_first(&n->owed);
		struct message *m = first ? container_of(first, struct message, link) : NULL;
		bool last = !m || first->next == &n->owed;
		int64_t left = mono_since(until, mono_now());

		r = say(n, m, last, left > 0 ? left : 0);
		if (r < 0)
			return r;
		if (m)
			drop(m);
		if (last) {
			free(n->status);
			n->status = NULL;
		}
	}
	return r;
}

static void
complain(struct notify *n, int error)
{
	if (n->complained || error == -EAGAIN)
		return;
	n->complained = true;
	log_msg(LOG_WARNING, "the service manager cannot be told anything: %s: %s",
		getenv("NOTIFY_SOCKET"), strerror(-error));
}

static void
flush(struct notify *n, mono_t now)
{
	int r = say_all(n, (mono_t){0});

	if (r < 0) {
		complain(n, r);
		if (n->loop)
			timer_set(loop_timers(n->loop), &n->retry, mono_add(now, n->pause_us));
		return;
	}
	n->complained = false;
	n->pause_us = PAUSE_MIN_US;
}

/* What was owed before is still in the way, more often than not: then it waits
 * for its turn. */
static void
flush_soon(struct notify *n)
{
	if (!timer_is_set(&n->retry))
		flush(n, mono_now());
}

static void
on_retry(struct timer *t, mono_t now)
{
	struct notify *n = container_of(t, struct notify, retry);

	n->pause_us = n->pause_us < PAUSE_MAX_US / 2 ? 2 * n->pause_us : PAUSE_MAX_US;
	flush(n, now);
}

void
notify_init(struct notify *n, struct loop *l)
{
	struct sockaddr_un sa;
	socklen_t len;
	int r = find_receiver(&sa, &len);

	*n = (struct notify){
		.loop = l, .retry.on_due = on_retry, .pause_us = PAUSE_MIN_US, .wanted = r == 0};
	list_init(&n->owed);
	if (r < 0 && r != -ENOTCONN)
		complain(n, r);
}

void
notify_fini(struct notify *n)
{
	if (!n->wanted)
		return;
	if (n->loop)
		timer_clear(loop_timers(n->loop), &n->retry);
	(void)say_all(n, mono_add(mono_now(), LAST_US)); /* nobody is left to be told why not */
	list_foreach(it, next, &n->owed)
		drop(container_of(it, struct message, link));
	free(n->status);
	*n = (struct notify){.wanted = false};
}

bool
notify_owes(const struct notify *n)
{
	return n->status || !list_empty(&n->owed);
}

/* The one that is owed and begins with the same line. */
static struct message *
find_owed(const struct notify *n, const char *state)
{
	size_t len = strcspn(state, "\n");

	list_foreach(it, next, &n->owed) {
		struct message *m = container_of(it, struct message, link);

		if (strcspn(m->text, "\n") == len && !memcmp(m->text, state, len))
			return m;
	}
	return NULL;
}

/* take_fd: -1: none. */
static void
owe(struct notify *n, const char *state, int take_fd)
{
	struct message *m, *before = find_owed(n, state);
	size_t size = strlen(state) + 1;

	if (before)
		drop(before);
	m = mem_new(sizeof(*m) + size);
	memcpy(m->text, state, size);
	m->fd = take_fd;
	list_append(&n->owed, &m->link);
	flush_soon(n);
}

void
notify_owe(struct notify *n, const char *state)
{
	if (n->wanted)
		owe(n, state, -1);
}

int
notify_owe_fd(struct notify *n, const char *state, int fd)
{
	int copy;

	if (!n->wanted)
		return 0;
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (copy < 0)
		return -errno;
	owe(n, state, copy);
	return 0;
}

/* systemd takes a backslash for the beginning of an escape: it drops it, and where
 * nothing comes after it the whole message. */
static char *
escape_status(const char *text)
{
	char *escaped = mem_array(2 * strlen(text) + 1, 1), *at = escaped;

	for (; *text; text++) {
		if (*text == '\\')
			*at++ = '\\';
		*at++ = *text;
	}
	*at = 0;
	return escaped;
}

void
notify_status(struct notify *n, const char *text)
{
	if (!n->wanted)
		return;
	free(n->status);
	n->status = escape_status(text);
	flush_soon(n);
}
