/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define N(a) (sizeof(a) / sizeof((a)[0]))

static int receiver; /* the service manager's end */
static struct sockaddr_un address;
static socklen_t address_len;

static int
setup(void **state)
{
	char name[64];

	(void)state;
	snprintf(name, sizeof(name), "@preforkd-test-notify-%d", (int)getpid());
	setenv("NOTIFY_SOCKET", name, 1);
	address = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(address.sun_path + 1, name + 1, strlen(name) - 1);
	address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
	receiver = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	return receiver < 0 || bind(receiver, (struct sockaddr *)&address, address_len) < 0 ? -1 :
											      0;
}

static int
teardown(void **state)
{
	(void)state;
	return close(receiver);
}

/* Messages of others, until there is no room. */
static void
fill(void)
{
	int s = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	while (sendto(s, "F", 1, 0, (struct sockaddr *)&address, address_len) == 1)
		;
	assert_int_equal(errno, EAGAIN);
	close(s);
}

/* The next message that is no filling, "" without one; a descriptor with it. */
static const char *
next(int *ret_fd)
{
	static char text[4096];
	char control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = {text, sizeof(text) - 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *c;
	ssize_t n;

	do {
		m.msg_control = control;
		m.msg_controllen = sizeof(control);
		n = recvmsg(receiver, &m, MSG_CMSG_CLOEXEC);
		text[n < 0 ? 0 : n] = 0;
	} while (!strcmp(text, "F"));
	*ret_fd = -1;
	if (n >= 0 && (c = CMSG_FIRSTHDR(&m)))
		memcpy(ret_fd, CMSG_DATA(c), sizeof(*ret_fd));
	return text;
}

static void
expect(const char *text)
{
	int fd;

	assert_string_equal(next(&fd), text);
	assert_int_equal(fd, -1);
}

/* What is owed while there is no room ("=" before a status), and the messages that it
 * becomes. */
static void
owed_goes_out_in_order(void **state)
{
	static const struct {
		const char *owed[8], *sent[8];
	} rows[] = {
		{{"READY=1"}, {"READY=1"}},
		{{"READY=1", "STOPPING=1"}, {"READY=1", "STOPPING=1"}},
		{{"=one"}, {"STATUS=one"}},
		{{"=one", "=two"}, {"STATUS=two"}},
		{{"=one", "READY=1"}, {"READY=1\nSTATUS=one"}},
		{{"READY=1", "=one", "STOPPING=1", "=two"}, {"READY=1", "STOPPING=1\nSTATUS=two"}},
		{{"RELOADING=1\nMONOTONIC_USEC=1", "READY=1"},
		 {"RELOADING=1\nMONOTONIC_USEC=1", "READY=1"}},
		/* said again it is said once, at its last place and as it was then */
		{{"READY=1", "RELOADING=1\nMONOTONIC_USEC=1", "READY=1",
		  "RELOADING=1\nMONOTONIC_USEC=2"},
		 {"READY=1", "RELOADING=1\nMONOTONIC_USEC=2"}},
		{{"READY=1", "RELOADING=1\nMONOTONIC_USEC=1", "READY=1"},
		 {"RELOADING=1\nMONOTONIC_USEC=1", "READY=1"}},
		{{"FDNAME=a\nFDSTOREREMOVE=1", "FDNAME=b\nFDSTOREREMOVE=1"},
		 {"FDNAME=a\nFDSTOREREMOVE=1", "FDNAME=b\nFDSTOREREMOVE=1"}},
		{{"ERRNO=2", "ERRNO=22"}, {"ERRNO=2", "ERRNO=22"}},
	};
	struct notify n;
	int fd;

	(void)state;
	for (size_t i = 0; i < N(rows); i++) {
		notify_init(&n, NULL);
		fill();
		for (const char *const *o = rows[i].owed; *o; o++) {
			if (**o == '=')
				notify_status(&n, *o + 1);
			else
				notify_owe(&n, *o);
			assert_true(notify_owes(&n));
		}
		assert_string_equal(next(&fd), ""); /* room is made */
		notify_fini(&n);
		for (const char *const *s = rows[i].sent; *s; s++)
			expect(*s);
		expect("");
	}
}

static void
with_room_nothing_is_owed(void **state)
{
	struct notify n;

	(void)state;
	notify_init(&n, NULL);
	notify_owe(&n, "READY=1");
	assert_false(notify_owes(&n));
	expect("READY=1");
	notify_status(&n, "good");
	assert_false(notify_owes(&n));
	expect("STATUS=good");
	notify_status(&n, "\\x1b, \\");
	expect("STATUS=\\\\x1b, \\\\");
	notify_fini(&n);
	expect("");
}

/* It is ours for as long as it is owed, whatever its owner does. */
static void
descriptors_are_kept_and_sent(void **state)
{
	struct stat before, after;
	struct notify n;
	int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC), got;

	(void)state;
	assert_int_equal(fstat(fd, &before), 0);
	notify_init(&n, NULL);
	fill();
	assert_int_equal(notify_owe_fd(&n, "FDNAME=a\nFDSTORE=1", fd), 0);
	assert_int_equal(notify_owe_fd(&n, "FDNAME=b\nFDSTORE=1", fd), 0);
	notify_owe(&n, "FDNAME=b\nFDSTOREREMOVE=1"); /* it was never stored */
	close(fd);
	assert_string_equal(next(&got), "");
	notify_fini(&n);
	assert_string_equal(next(&got), "FDNAME=a\nFDSTORE=1");
	assert_true(got >= 0);
	assert_int_equal(fstat(got, &after), 0);
	assert_true(before.st_rdev == after.st_rdev);
	close(got);
	expect("FDNAME=b\nFDSTOREREMOVE=1");
	assert_int_equal(open("/dev/null", O_RDONLY | O_CLOEXEC), fd); /* none is left open */
	close(fd);
}

static void
the_end_waits_a_moment_at_most(void **state)
{
	struct notify n;
	mono_t begun;
	int64_t took;

	(void)state;
	notify_init(&n, NULL);
	fill();
	notify_owe(&n, "READY=1");
	notify_owe(&n, "STOPPING=1");
	begun = mono_now();
	notify_fini(&n);
	took = mono_since(mono_now(), begun);
	assert_true(took > USEC_PER_SEC / 2 && took < 30 * USEC_PER_SEC);
	expect("");
}

static void
nowhere_is_no_error(void **state)
{
	struct notify n;

	(void)state;
	unsetenv("NOTIFY_SOCKET");
	notify_init(&n, NULL);
	assert_false(n.wanted);
	notify_owe(&n, "READY=1");
	notify_status(&n, "good");
	assert_int_equal(notify_owe_fd(&n, "FDNAME=a\nFDSTORE=1", -1), 0);
	assert_int_equal(notify_try("WATCHDOG=1"), -ENOTCONN);
	notify_fini(&n);
	notify_fini(&(struct notify){.wanted = false});
	expect("");
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(owed_goes_out_in_order),	     CASE(with_room_nothing_is_owed),
		CASE(descriptors_are_kept_and_sent), CASE(the_end_waits_a_moment_at_most),
		CASE(nowhere_is_no_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
