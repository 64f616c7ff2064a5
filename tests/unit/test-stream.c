/* SPDX-License-Identifier: MIT */
/* long: all cases stand on one set-up, a stream and its peer */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/stream.h"

#include "base/list.h"
#include "loop-thread.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static struct loop_thread t;
static struct stream s;
static int in, out;	      /* the peer's: it reads from in and writes to out; -1: closed */
static unsigned inputs, ends; /* up-calls */
static size_t leaves;	      /* of the input, unread; SIZE_MAX: all of it */

static void
on_input(struct stream *stream)
{
	assert_ptr_equal(stream, &s);
	inputs++;
	if (buf_len(&s.in) > leaves)
		buf_consume(&s.in, buf_len(&s.in) - leaves);
}

static void
on_end(struct stream *stream)
{
	assert_ptr_equal(stream, &s);
	assert_true(s.eof || s.hup || s.error);
	ends++;
}

static const struct stream_ops ops = {.on_input = on_input, .on_end = on_end};

/* ---- set-up ---- */

static void
open_over(int r, int w, size_t turn_max)
{
	fcntl(r, F_SETFL, O_NONBLOCK);
	fcntl(w, F_SETFL, O_NONBLOCK);
	assert_int_equal(stream_open(&s, t.loop, r, w, turn_max, &ops), 0);
}

static void
open_socket(size_t turn_max)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	in = out = pair[1];
	open_over(pair[0], pair[0], turn_max);
}

static void
open_pipes(void)
{
	int to[2], from[2];

	assert_int_equal(pipe2(to, O_CLOEXEC), 0);
	assert_int_equal(pipe2(from, O_CLOEXEC), 0);
	in = to[0];
	out = from[1];
	open_over(from[0], to[1], 4096);
}

static int
start(void **state)
{
	(void)state;
	in = out = -1;
	inputs = ends = 0;
	leaves = SIZE_MAX;
	s = (struct stream){.rfd = -1, .wfd = -1};
	loop_thread_start(&t, NULL);
	return 0;
}

static void
close_in(void)
{
	if (in == out)
		out = -1;
	close(in);
	in = -1;
}

static void
close_out(void)
{
	if (in == out)
		in = -1;
	close(out);
	out = -1;
}

static int
stop(void **state)
{
	(void)state;
	stream_close(&s);
	loop_thread_stop(&t);
	if (in >= 0)
		close_in();
	if (out >= 0)
		close_out();
	return 0;
}

static void
turn(void)
{
	loop_thread_turn(&t);
}

static void
peer_writes(const char *text)
{
	assert_int_equal(write(out, text, strlen(text)), strlen(text));
}

static void
peer_reads(const char *text)
{
	char got[256];
	ssize_t n = read(in, got, sizeof(got));

	assert_int_equal(n, strlen(text));
	assert_memory_equal(got, text, strlen(text));
}

/* What has come in is text, and is consumed. */
static void
check_input(const char *text)
{
	assert_int_equal(buf_len(&s.in), strlen(text));
	if (*text)
		assert_memory_equal(buf_head(&s.in), text, strlen(text));
	buf_consume(&s.in, buf_len(&s.in));
}

static void
send_text(const char *text)
{
	buf_puts(&s.out, text);
	stream_flush(&s);
}

/* The loop has nothing more to tell of s. */
static void
check_quiet(void)
{
	unsigned i = inputs, e = ends;

	assert_int_equal(s.rwatch.fd, -1);
	assert_int_equal(s.wwatch.fd, -1);
	turn();
	assert_int_equal(inputs, i);
	assert_int_equal(ends, e);
}

/* ---- both ways ---- */

static void
both_ways(void)
{
	peer_writes("hello");
	turn();
	assert_int_equal(inputs, 1);
	check_input("hello");
	turn();
	assert_int_equal(inputs, 1);
	send_text("good day");
	assert_int_equal(s.sent, 8);
	assert_int_equal(buf_len(&s.out), 0);
	assert_false(s.blocked);
	peer_reads("good day");
	assert_int_equal(ends, 0);
}

static void
test_socket(void **state)
{
	(void)state;
	open_socket(4096);
	both_ways();
}

static void
test_pipes(void **state)
{
	(void)state;
	open_pipes();
	both_ways();
}

/* What is not consumed stays, and what comes is put behind it. */
static void
test_input_gathers(void **state)
{
	(void)state;
	open_socket(4096);
	peer_writes("one ");
	turn();
	peer_writes("two ");
	turn();
	peer_writes("three");
	turn();
	assert_int_equal(inputs, 3);
	check_input("one two three");
}

static void
test_turn_max(void **state)
{
	static const size_t lens[] = {100, 200, 250, 250};
	char text[251];

	(void)state;
	open_socket(100);
	memset(text, 'x', 250);
	text[250] = 0;
	peer_writes(text);
	assert_int_equal(stream_unread(&s), 250);
	for (size_t i = 0; i < 4; i++) {
		turn();
		assert_int_equal(buf_len(&s.in), lens[i]);
		assert_int_equal(stream_unread(&s), 250 - lens[i]);
	}
	assert_int_equal(inputs, 3);
}

/* More than one read's worth, in one turn. */
static void
test_large_turn(void **state)
{
	static char text[100001];

	(void)state;
	open_socket(1024 * 1024);
	memset(text, 'x', 100000);
	peer_writes(text);
	turn();
	assert_int_equal(inputs, 1);
	check_input(text);
}

/* Send n bytes and have them read, each other than the 250 before it. */
static void
pass(size_t n)
{
	static unsigned char text[200000];
	static unsigned next;

	assert_true(n <= sizeof(text));
	for (size_t i = 0; i < n; i++)
		text[i] = (unsigned char)(next++ % 251);
	assert_int_equal(write(out, text, n), n);
	while (stream_unread(&s))
		turn();
	if (buf_len(&s.in))
		assert_memory_equal(buf_tail(&s.in) - 1, text + n - 1, 1);
	for (size_t i = 1; i < buf_len(&s.in); i++)
		assert_int_equal((unsigned char)buf_head(&s.in)[i],
				 ((unsigned char)buf_head(&s.in)[i - 1] + 1) % 251);
}

/* What is read at once costs no memory, and what is not no more than it is. */
static void
test_shared_input(void **state)
{
	static const size_t kept[] = {0, 1, 4096, 64 * 1024, 64 * 1024 + 1, 100000, 7, 0};

	(void)state;
	open_socket(256 * 1024);
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		leaves = kept[i];
		pass(120000);
		assert_int_equal(buf_len(&s.in), kept[i]);
		assert_true(s.in.cap <= 2 * kept[i] + 128 * 1024);
		if (!kept[i])
			assert_null(s.in.data);
	}
	assert_non_null(loop_input(t.loop)->data);
	assert_int_equal(buf_len(loop_input(t.loop)), 0);
}

/* What is said to come has room, but not much more than a few times what is there. */
static void
test_expected(void **state)
{
	static const size_t expected[] = {0, 500000, 800000, SIZE_MAX / 2};
	static const size_t room[] = {0, 500000, 800000, 800000};

	(void)state;
	open_socket(256 * 1024);
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		leaves = 100000;
		s.expected = expected[i];
		pass(100000);
		assert_true(buf_room(&s.in) >= room[i]);
		assert_true(buf_room(&s.in) < room[i] + 128 * 1024);
		buf_consume(&s.in, buf_len(&s.in));
		stream_trim(&s);
	}
}

/* One that had no memory for more is the only one to suffer. */
static void
test_no_memory_for_more(void **state)
{
	(void)state;
	open_socket(4096);
	peer_writes("one");
	turn();
	buf_free(&s.in);
	s.in = *loop_input(t.loop);
	*loop_input(t.loop) = (struct buf){0};
	s.borrowed = s.in.failed = true;
	stream_trim(&s);
	assert_false(s.borrowed);
	assert_true(buf_failed(&s.in));
	assert_false(buf_failed(loop_input(t.loop)));
	assert_null(loop_input(t.loop)->data);
}

static void
test_read_outside_of_the_loop(void **state)
{
	(void)state;
	open_socket(4096);
	stream_read(&s);
	check_input("");
	peer_writes("now");
	stream_read(&s);
	check_input("now");
	assert_int_equal(inputs, 0);
	turn();
	assert_int_equal(inputs, 0);
}

/* ---- ends ---- */

static void
test_half_close(void **state)
{
	(void)state;
	open_socket(4096);
	peer_writes("last words");
	shutdown(out, SHUT_WR);
	turn();
	turn(); /* the end is noticed with the words, or after them */
	check_input("last words");
	assert_int_equal(ends, 1);
	assert_true(s.eof);
	assert_false(s.hup || s.reset || s.error);
	turn(); /* told once */
	assert_int_equal(ends, 1);
	send_text("and mine");
	assert_int_equal(s.error, 0);
	peer_reads("and mine");
	close_in(); /* gone altogether, later */
	turn();
	assert_int_equal(ends, 2);
	assert_true(s.hup);
	check_quiet();
}

static void
test_hang_up(void **state)
{
	(void)state;
	open_socket(4096);
	send_text("read");
	peer_reads("read");
	peer_writes("bye");
	close_in();
	turn();
	turn();
	check_input("bye");
	assert_true(s.eof && s.hup);
	assert_false(s.reset);
	assert_int_equal(s.error, 0);
	check_quiet();
}

/* A peer that is gone is so for its owner only when what it said has been read. */
static void
test_hang_up_waits_for_input(void **state)
{
	(void)state;
	open_socket(4);
	peer_writes("ten bytes.");
	close_in();
	turn();
	assert_int_equal(buf_len(&s.in), 4);
	assert_false(s.eof || s.hup);
	turn();
	assert_false(s.eof || s.hup);
	turn();
	turn();
	check_input("ten bytes.");
	assert_true(s.eof && s.hup);
	check_quiet();
}

static void
test_reset(void **state)
{
	(void)state;
	open_socket(4096);
	send_text("never read");
	peer_writes("bye");
	close_in();
	for (int i = 0; i < 3 && !s.eof; i++)
		turn();
	check_input("bye"); /* that was before */
	assert_true(s.reset && s.eof && s.hup);
	assert_int_equal(s.error, ECONNRESET);
	check_quiet();
}

static void
test_reset_half_read(void **state)
{
	char c;

	(void)state;
	open_socket(4096);
	send_text("ab");
	assert_int_equal(read(in, &c, 1), 1);
	close_in();
	turn();
	assert_true(s.reset && s.hup);
}

/* It was found by writing: the reset comes with the reading that follows. */
static void
test_write_to_gone_peer(void **state)
{
	(void)state;
	open_socket(4096);
	send_text("never read");
	peer_writes("bye");
	close_in();
	send_text("too late");
	assert_int_equal(s.error, EPIPE);
	assert_int_equal(s.sent, 10);
	assert_int_equal(ends, 0); /* never from inside a call */
	turn();
	turn();
	check_input("bye");
	assert_true(ends > 0);
	assert_true(s.reset && s.hup);
	check_quiet();
}

/* The peer takes no more, but has not said its last. */
static void
test_peer_stops_reading(void **state)
{
	(void)state;
	open_socket(4096);
	shutdown(in, SHUT_RD);
	send_text("unwanted");
	assert_int_equal(s.error, EPIPE);
	assert_false(s.eof);
	peer_writes("last words");
	turn();
	check_input("last words");
}

static void
test_pipe_end(void **state)
{
	(void)state;
	open_pipes();
	peer_writes("bye");
	close_out();
	turn();
	turn();
	check_input("bye");
	assert_true(s.eof && s.hup);
	assert_int_equal(s.error, 0);
	send_text("still");
	peer_reads("still");
	assert_int_equal(s.rwatch.fd, -1);
}

static void
test_pipe_reader_goes(void **state)
{
	(void)state;
	open_pipes();
	close_in();
	turn(); /* with nothing to write */
	assert_int_equal(ends, 1);
	assert_int_equal(s.error, EPIPE);
	assert_false(s.eof);
	peer_writes("last words");
	turn();
	check_input("last words");
	close_out();
	turn();
	assert_true(s.eof && s.hup);
	check_quiet();
}

static void
test_pipe_reader_goes_found_by_writing(void **state)
{
	(void)state;
	open_pipes();
	close_in();
	send_text("unwanted");
	assert_int_equal(s.error, EPIPE);
	assert_false(s.eof);
	turn();
	assert_true(ends > 0);
	peer_writes("last words");
	turn();
	check_input("last words");
}

/* ---- hold ---- */

static void
test_hold(void **state)
{
	(void)state;
	open_socket(4096);
	stream_hold(&s, true);
	stream_hold(&s, true);
	peer_writes("patience");
	turn();
	turn();
	assert_int_equal(inputs, 0);
	check_input("");
	assert_int_equal(stream_unread(&s), 8);
	stream_hold(&s, false);
	turn();
	assert_int_equal(inputs, 1);
	check_input("patience");
}

static void
test_hold_half_close(void **state)
{
	(void)state;
	open_socket(4096);
	stream_hold(&s, true);
	peer_writes("x");
	shutdown(out, SHUT_WR);
	turn();
	assert_int_equal(ends, 0);
	stream_hold(&s, false);
	turn();
	turn();
	check_input("x");
	assert_true(s.eof);
	assert_false(s.hup);
}

/* Held or not: a peer that is gone is known to be. */
static void
test_hold_hang_up(void **state)
{
	(void)state;
	open_socket(4096);
	stream_hold(&s, true);
	peer_writes("x");
	close_in();
	turn();
	assert_int_equal(ends, 1);
	assert_true(s.hup);
	assert_int_equal(inputs, 0);
	check_quiet();
}

/* ---- writing ---- */

/* Fill the channel until it takes no more; how much was written to it. */
static size_t
fill(char *sample, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sample[i] = (char)('a' + i * 7 % 26 + i / 4096 % 2);
	buf_put(&s.out, sample, len);
	stream_flush(&s);
	assert_true(s.blocked);
	assert_true(s.sent > 0 && s.sent < len);
	assert_int_equal(buf_len(&s.out), len - s.sent);
	return len;
}

/* The peer reads all, and the loop writes on as it does. */
static void
drain(const char *sample, size_t len)
{
	static char got[8192];
	size_t n = 0;

	fcntl(in, F_SETFL, O_NONBLOCK);
	while (n < len) {
		ssize_t r = read(in, got, sizeof(got));

		if (r < 0) {
			assert_int_equal(errno, EAGAIN);
			loop_thread_wait(&t);
			continue;
		}
		assert_memory_equal(got, sample + n, r);
		n += (size_t)r;
	}
	assert_int_equal(read(in, got, 1), -1);
	assert_int_equal(s.sent, len);
	assert_int_equal(buf_len(&s.out), 0);
	assert_false(s.blocked);
}

static char sample[2 * 1024 * 1024];

static void
test_blocked_socket(void **state)
{
	size_t len;

	(void)state;
	open_socket(4096);
	len = fill(sample, sizeof(sample));
	peer_writes("meanwhile"); /* reading is not held up */
	turn();
	check_input("meanwhile");
	drain(sample, len);
	send_text("and on");
	peer_reads("and on");
}

static void
test_blocked_pipe(void **state)
{
	size_t len;

	(void)state;
	open_pipes();
	len = fill(sample, sizeof(sample));
	peer_writes("meanwhile");
	turn();
	check_input("meanwhile");
	drain(sample, len);
	send_text("and on");
	peer_reads("and on");
}

/* Writing goes on after the peer's half-close, and while reading is held. */
static void
test_blocked_and_half_closed(void **state)
{
	(void)state;
	open_socket(4096);
	fill(sample, sizeof(sample));
	stream_hold(&s, true);
	shutdown(out, SHUT_WR);
	turn();
	drain(sample, sizeof(sample));
}

static void
test_blocked_and_gone(void **state)
{
	(void)state;
	open_socket(4096);
	fill(sample, sizeof(sample));
	close_in();
	turn();
	turn();
	assert_true(s.reset && s.hup && s.error);
	check_quiet();
}

static void
test_blocked_pipe_and_gone(void **state)
{
	(void)state;
	open_pipes();
	fill(sample, sizeof(sample));
	close_in();
	turn();
	assert_int_equal(s.error, EPIPE);
	assert_true(ends > 0);
	assert_int_equal(s.wwatch.fd, -1);
}

static void
test_shutdown(void **state)
{
	(void)state;
	open_socket(4096);
	send_text("all");
	stream_shutdown(&s);
	peer_reads("all");
	peer_reads(""); /* the end */
	peer_writes("answer");
	turn();
	check_input("answer");
	close_in();
	turn();
	assert_true(s.eof && s.hup);
	check_quiet();
}

static void
test_shutdown_pipe(void **state)
{
	(void)state;
	open_pipes();
	send_text("all");
	stream_shutdown(&s);
	stream_shutdown(&s);
	assert_int_equal(s.wfd, -1);
	peer_reads("all");
	peer_reads("");
	send_text("no use");
	peer_writes("answer");
	turn();
	check_input("answer");
}

/* ---- descriptors ---- */

static bool
is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static void
test_close(void **state)
{
	int r, w;

	(void)state;
	stream_close(&s); /* never opened */
	open_pipes();
	r = s.rfd;
	w = s.wfd;
	send_text("x");
	stream_close(&s);
	stream_close(&s);
	assert_false(stream_is_open(&s));
	assert_false(is_open(r) || is_open(w));
	assert_int_equal(stream_unread(&s), 0);
	turn();
	assert_int_equal(ends, 0);
}

/* Descriptors are consumed on failure too: a plain file cannot be watched. */
static void
test_open_fails(void **state)
{
	int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	int other[2];

	(void)state;
	assert_int_equal(stream_open(&s, t.loop, file, file, 4096, &ops), -EPERM);
	assert_false(is_open(file));
	assert_int_equal(pipe2(other, O_CLOEXEC), 0);
	file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	assert_int_equal(stream_open(&s, t.loop, other[0], file, 4096, &ops), -EPERM);
	assert_false(is_open(file) || is_open(other[0]));
	close(other[1]);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_socket),
		TEST(test_pipes),
		TEST(test_input_gathers),
		TEST(test_turn_max),
		TEST(test_large_turn),
		TEST(test_shared_input),
		TEST(test_expected),
		TEST(test_no_memory_for_more),
		TEST(test_read_outside_of_the_loop),
		TEST(test_half_close),
		TEST(test_hang_up),
		TEST(test_hang_up_waits_for_input),
		TEST(test_reset),
		TEST(test_reset_half_read),
		TEST(test_write_to_gone_peer),
		TEST(test_peer_stops_reading),
		TEST(test_pipe_end),
		TEST(test_pipe_reader_goes),
		TEST(test_pipe_reader_goes_found_by_writing),
		TEST(test_hold),
		TEST(test_hold_half_close),
		TEST(test_hold_hang_up),
		TEST(test_blocked_socket),
		TEST(test_blocked_pipe),
		TEST(test_blocked_and_half_closed),
		TEST(test_blocked_and_gone),
		TEST(test_blocked_pipe_and_gone),
		TEST(test_shutdown),
		TEST(test_shutdown_pipe),
		TEST(test_close),
		TEST(test_open_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
