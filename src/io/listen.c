/* SPDX-License-Identifier: MIT */
#include "io/listen.h"

#include "base/fd.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ACCEPTS_A_TURN 64
#define REARM_US (100 * USEC_PER_MSEC)

static void
listener_init(struct listener *l)
{
	*l = (struct listener){.watch.fd = -1, .fd = -1, .lock_fd = -1, .reserve_fd = -1};
}

static int
fail(struct buf *why, const char *path, const char *what, int error)
{
	buf_putf(why, "%s: %s: %s\n", path, what, strerror(error));
	return -error;
}

/* ---- the socket's place ---- */

/* The directory must keep strangers from putting their own socket there. It is
 * made when only its last part is missing. */
static int
check_directory(const char *path, struct buf *why)
{
	char *copy = mem_strdup(path);
	const char *dir = dirname(copy);
	struct stat st;
	int r = 0;

	if (mkdir(dir, 0755) < 0 && errno != EEXIST)
		r = fail(why, dir, "cannot make the socket's directory", errno);
	else if (stat(dir, &st) < 0)
		r = fail(why, dir, "the socket's directory", errno);
	else if (!S_ISDIR(st.st_mode))
		r = fail(why, dir, "the socket's directory", ENOTDIR);
	else if ((st.st_mode & 022) && !(st.st_mode & S_ISVTX)) {
		buf_putf(why,
			 "%s: others can write to the socket's directory (mode %04o): "
			 "choose one that only its owner can write\n",
			 dir, st.st_mode & 07777);
		r = -EPERM;
	}
	free(copy);
	return r;
}

/* Take the lock. The file may be unlinked by the daemon that held it just before:
 * a lock counts only while its path still leads to it. */
static int
take_lock(struct listener *l, const char *path, struct buf *why)
{
	char *lock = mem_printf("%s.lock", path);
	struct stat at_path, ours;
	int r = -EAGAIN;

	while (r == -EAGAIN) {
		l->lock_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (l->lock_fd < 0) {
			r = fail(why, lock, "cannot open the lock file", errno);
		} else if (flock(l->lock_fd, LOCK_EX | LOCK_NB) < 0) {
			r = -EADDRINUSE;
			buf_putf(why, "%s: another preforkd serves this socket\n", path);
		} else if (fstat(l->lock_fd, &ours) == 0 && stat(lock, &at_path) == 0 &&
			   ours.st_ino == at_path.st_ino && ours.st_dev == at_path.st_dev) {
			r = 0;
		}
		if (r < 0)
			fd_close(&l->lock_fd);
	}
	free(lock);
	if (r == 0)
		l->path = mem_strdup(path);
	return r;
}

/* A socket unit has no lock file. Neither has what keeps a socket for a daemon
 * that is just being restarted. */
static bool
is_served(const struct sockaddr_un *sa)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool served = fd >= 0 && (connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) == 0 ||
				  errno == EAGAIN || errno == EPROTOTYPE);

	fd_close(&fd);
	return served;
}

static int
remove_stale(const struct sockaddr_un *sa, struct buf *why)
{
	const char *path = sa->sun_path;
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : fail(why, path, "cannot look at it", errno);
	if (!S_ISSOCK(st.st_mode)) {
		buf_putf(why, "%s: is there and is no socket: not replaced\n", path);
		return -EEXIST;
	}
	if (is_served(sa)) {
		buf_putf(why,
			 "%s: somebody listens there (the service manager, for a socket unit or a "
			 "service that is about to start?): not replaced\n",
			 path);
		return -EADDRINUSE;
	}
	if (unlink(path) < 0)
		return fail(why, path, "cannot remove the old socket", errno);
	return 0;
}

/* Nobody can connect before the mode is right: the umask lets only the owner,
 * and until listen() not even that one. */
static int
bind_socket(struct listener *l, const struct sockaddr_un *sa, mode_t mode, gid_t group,
	    struct buf *why)
{
	const char *path = sa->sun_path;
	mode_t old;
	int r;

	l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->fd < 0)
		return fail(why, path, "cannot make a socket", errno);
	old = umask(0177);
	r = bind(l->fd, (const struct sockaddr *)sa, sizeof(*sa)) < 0 ? -errno : 0;
	umask(old);
	if (r < 0)
		return fail(why, path, "cannot bind the socket", -r);
	l->bound = true;
	if (group != (gid_t)-1 && chown(path, (uid_t)-1, group) < 0)
		return fail(why, path, "cannot give the socket to its group", errno);
	if (chmod(path, mode) < 0)
		return fail(why, path, "cannot set the socket's mode", errno);
	if (listen(l->fd, SOMAXCONN) < 0)
		return fail(why, path, "cannot listen", errno);
	return 0;
}

int
listener_open(struct listener *l, const char *path, mode_t mode, gid_t group, struct buf *why)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int r;

	listener_init(l);
	if (strlen(path) >= sizeof(sa.sun_path)) {
		buf_putf(why, "%s: longer than the %zu bytes that a socket's path may have\n", path,
			 sizeof(sa.sun_path) - 1);
		return -ENAMETOOLONG;
	}
	memcpy(sa.sun_path, path, strlen(path) + 1);
	r = check_directory(path, why);
	if (r >= 0)
		r = take_lock(l, path, why);
	if (r >= 0)
		r = remove_stale(&sa, why);
	if (r >= 0)
		r = bind_socket(l, &sa, mode, group, why);
	if (r < 0)
		listener_close(l);
	return r;
}

/* ---- a socket of ours that was kept ---- */

/* What is at the path of a socket cannot be seen from the socket. So its file
 * goes into the name: that number is not given again while the socket is there. */
static char *
kept_name(const struct stat *st)
{
	return mem_printf(LISTENER_KEPT "-%llx-%llx", (unsigned long long)st->st_dev,
			  (unsigned long long)st->st_ino);
}

char *
listener_kept_name(const struct listener *l)
{
	struct stat st;

	return l->bound && lstat(l->path, &st) == 0 ? kept_name(&st) : NULL;
}

/* Take the lock of the socket's own path, and see that it is still there. */
static int
claim(struct listener *l, const char *name, struct stat *ret_st, struct buf *why)
{
	struct sockaddr_un sa = {0};
	socklen_t len = sizeof(sa) - 1; /* a path of all bytes has no end */
	char *is;
	int r;

	if (getsockname(l->fd, (struct sockaddr *)&sa, &len) < 0)
		return fail(why, name, "cannot find its path", errno);
	r = take_lock(l, sa.sun_path, why);
	if (r < 0)
		return r;
	if (lstat(l->path, ret_st) < 0)
		return fail(why, l->path, "cannot look at it", errno);
	is = kept_name(ret_st);
	l->bound = strcmp(is, name) == 0;
	free(is);
	if (!l->bound)
		buf_putf(why, "%s: leads to it no more\n", l->path);
	return l->bound ? 0 : -ESTALE;
}

bool
listener_restore(struct listener *l, int take_fd, const char *name, const char *path, mode_t mode,
		 gid_t group, struct buf *why)
{
	struct stat st = {0}; /* clang-tidy has errno be 0 after a failure */
	int r;

	listener_init(l);
	l->fd = take_fd;
	r = claim(l, name, &st, why);
	if (r == 0 && (strcmp(l->path, path) != 0 || (st.st_mode & 07777) != mode ||
		       st.st_gid != (group == (gid_t)-1 ? getegid() : group))) {
		buf_putf(why, "%s: another path, mode or group is configured now\n", l->path);
		r = -ESTALE;
	}
	/* Again, for its clients are told whose it is: of who listened last. */
	if (r == 0 && listen(l->fd, SOMAXCONN) < 0)
		r = fail(why, l->path, "cannot listen", errno);
	if (r < 0)
		listener_close(l);
	return r == 0;
}

int
listener_inherit(struct listener *l, int take_fd)
{
	int r;

	listener_init(l);
	l->fd = take_fd;
	r = fd_set_nonblock(l->fd);
	if (r < 0)
		listener_close(l);
	return r;
}

/* ---- accepting ---- */

/* Out of descriptors: the reserve is spent on taking the caller off the queue,
 * so that it sees a closed connection and not a silent one; then a pause, for
 * a listener that stays readable would spin. The kernel looks for a descriptor
 * before it looks for a caller: there may be none, and nobody was refused. */
static void
on_shortage(struct listener *l)
{
	bool nobody;
	int fd;

	fd_close(&l->reserve_fd);
	fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
	nobody = fd < 0 && errno == EAGAIN;
	fd_close(&fd);
	l->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (nobody)
		return;
	log_event(LOG_EVENT_CONNECTION_REFUSED, LOG_ERR,
		  "out of descriptors: a connection was refused");
	watch_set(l->loop, &l->watch, 0);
	timer_set(loop_timers(l->loop), &l->rearm, mono_add(loop_now(l->loop), REARM_US));
}

static void
on_rearm(struct timer *t, mono_t now)
{
	struct listener *l = container_of(t, struct listener, rearm);

	(void)now;
	watch_set(l->loop, &l->watch, EPOLLIN);
}

static void
on_connection(struct watch *w, uint32_t events)
{
	struct listener *l = container_of(w, struct listener, watch);

	(void)events;
	for (int i = 0; i < ACCEPTS_A_TURN; i++) {
		int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			l->on_accept(l, fd);
		} else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
			   errno == ENOMEM) {
			on_shortage(l);
			return;
		} else if (errno == EAGAIN) {
			return;
		}
	}
}

int
listener_start(struct listener *l, struct loop *loop,
	       void (*on_accept)(struct listener *, int take_fd))
{
	l->loop = loop;
	l->on_accept = on_accept;
	l->rearm.on_due = on_rearm;
	l->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return watch_add(loop, &l->watch, l->fd, EPOLLIN, on_connection);
}

void
listener_close(struct listener *l)
{
	if (l->loop) {
		watch_remove(l->loop, &l->watch);
		timer_clear(loop_timers(l->loop), &l->rearm);
	}
	if (l->bound) {
		unlink(l->path);
		shutdown(l->fd, SHUT_RDWR); /* wherever a duplicate of it may be */
	}
	if (l->path) {
		char *lock = mem_printf("%s.lock", l->path);

		unlink(lock);
		free(lock);
	}
	free(l->path);
	fd_close(&l->fd);
	fd_close(&l->lock_fd);
	fd_close(&l->reserve_fd);
	listener_init(l);
}
