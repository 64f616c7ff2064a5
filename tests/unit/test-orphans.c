/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/orphans.h"

#include "base/list.h"
#include "io/proc.h"
#include "loop-thread.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define CROWD 5000 /* more than a turn's share */

static struct loop_thread t;
static struct orphans orphans;
static unsigned exits;

static int
start(void **state)
{
	(void)state;
	orphans = (struct orphans){.watch.fd = -1};
	exits = 0;
	loop_thread_start(&t, NULL);
	return 0;
}

static int
stop(void **state)
{
	(void)state;
	orphans_stop(&orphans);
	loop_thread_stop(&t);
	return 0;
}

/* A child that ends with status; it is a zombie when this returns. */
static pid_t
zombie(int status)
{
	pid_t pid = fork();
	siginfo_t si;

	if (pid == 0)
		_exit(status);
	assert_true(pid > 0);
	assert_int_equal(waitid(P_PID, (id_t)pid, &si, WEXITED | WNOWAIT), 0);
	return pid;
}

static bool
is_there(pid_t pid)
{
	return kill(pid, 0) == 0;
}

static void
on_exit_(struct proc *p)
{
	(void)p;
	exits++;
}

/* A worker that ends at once, for the loader takes no argument that it gets. */
static void
spawn(struct proc *p)
{
	static char root[] = "/", name[] = "worker";
	static struct conf_run_as run_as = {.directory = root, .uid = (uid_t)-1, .gid = (gid_t)-1};
	struct spawn_fds fds;
	struct spawn how = {
		.loader = "/bin/false",
		.command = (char *[]){name, NULL},
		.environment = (char *[]){NULL},
		.channel = CHANNEL_PIPE,
		.run_as = &run_as,
	};
	siginfo_t si;

	for (size_t i = 0; i < RLIM_NLIMITS; i++)
		run_as.limits[i] = CONF_RLIMIT_UNSET;
	assert_int_equal(proc_spawn(p, t.loop, &how, on_exit_, &fds), 0);
	close(fds.in);
	close(fds.out);
	close(fds.err);
	close(fds.status);
	assert_int_equal(waitid(P_PID, (id_t)p->pid, &si, WEXITED | WNOWAIT), 0);
}

static void
test_before_and_after(void **state)
{
	pid_t before = zombie(0), after;

	(void)state;
	assert_int_equal(orphans_start(&orphans, t.loop), 0);
	loop_thread_turn(&t);
	assert_false(is_there(before));
	after = zombie(1);
	while (is_there(after))
		loop_thread_wait(&t); /* the signal alone wakes it */
	assert_false(orphans_live());
}

static void
test_one_signal_for_many(void **state)
{
	pid_t pids[20];

	(void)state;
	assert_int_equal(orphans_start(&orphans, t.loop), 0);
	loop_thread_turn(&t);
	for (size_t i = 0; i < 20; i++)
		pids[i] = zombie(0);
	while (is_there(pids[19]))
		loop_thread_wait(&t);
	for (size_t i = 0; i < 20; i++)
		assert_false(is_there(pids[i]));
}

/* Those behind it in the kernel's list are found in the same turn, and the worker's
 * status stays its own. */
static void
test_behind_a_worker(void **state)
{
	struct proc first, second;
	pid_t pids[2];

	(void)state;
	spawn(&first);
	pids[0] = zombie(2);
	spawn(&second);
	pids[1] = zombie(3);
	assert_ptr_equal(proc_find(first.pid), &first);
	assert_ptr_equal(proc_find(second.pid), &second);
	assert_null(proc_find(pids[0]));
	/* Not by their pidfds, so that the orphans' search is who finds them. */
	watch_set(t.loop, &first.watch, 0);
	watch_set(t.loop, &second.watch, 0);
	assert_int_equal(orphans_start(&orphans, t.loop), 0);
	loop_thread_turn(&t);
	assert_int_equal(exits, 2);
	assert_true(first.exited && WEXITSTATUS(first.status) == 1);
	assert_true(second.exited && WEXITSTATUS(second.status) == 1);
	assert_false(is_there(pids[0]) || is_there(pids[1]));
	assert_null(proc_find(first.pid));
}

static unsigned
count(const pid_t *pids, unsigned n)
{
	unsigned there = 0;

	for (unsigned i = 0; i < n; i++)
		there += is_there(pids[i]);
	return there;
}

/* A turn takes a share; the rest needs no further signal. */
static void
test_a_crowd(void **state)
{
	static pid_t pids[CROWD];
	unsigned left;

	(void)state;
	for (unsigned i = 0; i < CROWD; i++)
		pids[i] = zombie(0);
	assert_int_equal(orphans_start(&orphans, t.loop), 0);
	loop_thread_turn(&t);
	left = count(pids, CROWD);
	assert_in_range(left, 1, CROWD - 1);
	while (left) {
		unsigned before = left;

		loop_thread_wait(&t);
		left = count(pids, CROWD);
		assert_true(left < before);
	}
}

static void
test_live(void **state)
{
	int gate[2];
	char c;
	pid_t pid;

	(void)state;
	assert_false(orphans_live());
	assert_int_equal(pipe2(gate, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		close(gate[1]);
		_exit((int)read(gate[0], &c, 1));
	}
	zombie(0); /* one that has ended does not hide it, nor count */
	assert_true(orphans_live());
	close(gate[1]);
	close(gate[0]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	zombie(0);
	assert_false(orphans_live());
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_before_and_after, start, stop),
		cmocka_unit_test_setup_teardown(test_one_signal_for_many, start, stop),
		cmocka_unit_test_setup_teardown(test_behind_a_worker, start, stop),
		cmocka_unit_test_setup_teardown(test_a_crowd, start, stop),
		cmocka_unit_test_setup_teardown(test_live, start, stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
