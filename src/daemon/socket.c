/* SPDX-License-Identifier: MIT */
#include "daemon/socket.h"

#include "base/log.h"
#include "base/mem.h"
#include "daemon/report.h"
#include "io/passed.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

/* The reason as a string, its newline made the end. */
static const char *
reason(struct buf *why)
{
	if (buf_failed(why) || !buf_len(why))
		return "";
	buf_tail(why)[-1] = 0;
	return buf_head(why);
}

static void
keep(const struct listener *l, struct notify *n, char **ret_kept)
{
	char *message;

	*ret_kept = listener_kept_name(l);
	if (!*ret_kept)
		return;
	message = mem_printf("FDNAME=%s\nFDSTORE=1\nFDPOLL=0", *ret_kept);
	if (notify_owe_fd(n, message, l->fd) < 0)
		log_msg(LOG_WARNING, "the control socket cannot be kept over a crash");
	free(message);
}

void
socket_forget(struct notify *n, char **take_kept)
{
	char *message;

	if (!*take_kept)
		return;
	message = mem_printf("FDNAME=%s\nFDSTOREREMOVE=1", *take_kept);
	notify_owe(n, message);
	free(message);
	free(*take_kept);
	*take_kept = NULL;
}

/* One that was kept is good, or it goes. */
static bool
restore(const struct conf *c, struct notify *n, struct passed_socket *s, struct listener *ret,
	char **ret_kept)
{
	struct buf why = {0};
	bool good = listener_restore(ret, s->fd, s->name, c->control.listen, c->control.mode,
				     c->control.gid, &why);

	*ret_kept = s->name;
	*s = (struct passed_socket){.fd = -1};
	if (good) {
		log_msg(LOG_NOTICE, "the control socket from before is served again");
	} else {
		log_msg(LOG_NOTICE, "the control socket from before is not used: %s", reason(&why));
		socket_forget(n, ret_kept);
	}
	buf_free(&why);
	return good;
}

/* The first that can be gone on with, where none is better; the others are let go of. */
static bool
take_kept(const struct conf *c, struct notify *n, struct passed *p, struct listener *ret,
	  char **ret_kept)
{
	bool found = false;

	for (size_t i = 0; i < p->kept_count; i++) {
		struct listener l;
		char *kept;

		if (!restore(c, n, &p->kept[i], &l, &kept))
			continue;
		if (!found && p->control.fd < 0) {
			*ret = l;
			*ret_kept = kept;
			found = true;
		} else {
			listener_close(&l);
			socket_forget(n, &kept);
		}
	}
	return found;
}

static int
take_control(struct passed *p, struct listener *ret, struct buf *why)
{
	int r = listener_inherit(ret, p->control.fd);

	p->control.fd = -1;
	if (r < 0)
		buf_putf(why, "the service manager's socket: %s\n", strerror(-r));
	return r;
}

/* One of them: 0 or -errno. */
static int
choose(const struct conf *c, struct notify *n, struct passed *p, struct listener *ret,
       char **ret_kept, struct buf *why)
{
	int r;

	if (take_kept(c, n, p, ret, ret_kept))
		return 0;
	if (p->control.fd >= 0)
		return take_control(p, ret, why);
	r = listener_open(ret, c->control.listen, c->control.mode, c->control.gid, why);
	if (r == 0)
		keep(ret, n, ret_kept);
	return r;
}

int
socket_open(const struct conf *c, struct notify *n, struct listener *ret, char **ret_kept)
{
	struct passed p;
	struct buf why = {0};
	int status = EX_CONFIG; /* the socket unit's: no restart mends it */
	int r = passed_take(&p, &why);

	*ret_kept = NULL;
	if (r == 0) {
		status = EX_UNAVAILABLE;
		r = choose(c, n, &p, ret, ret_kept, &why);
	}
	if (r < 0) {
		log_msg(LOG_ERR, "%s", reason(&why));
		report_refusal(n, -r, reason(&why));
	}
	buf_free(&why);
	passed_free(&p);
	return r < 0 ? status : 0;
}
