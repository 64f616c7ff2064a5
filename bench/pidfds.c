/* SPDX-License-Identifier: MIT */
/*
 * pidfds - preloaded, lets preforkd run in a valgrind that knows no pidfds.
 *
 * A pidfd is here a descriptor that never has news. The daemon finds its dead workers
 * by SIGCHLD then; nothing else differs that a count of instructions a job would show.
 */
#include <dlfcn.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define FILES_MAX 65536

static pid_t pids[FILES_MAX]; /* by descriptor */

long
syscall(long number, ...)
{
	long (*real)(long, ...) = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	long arguments[4];
	va_list list;
	int fd;

	va_start(list, number);
	for (int i = 0; i < 4; i++)
		arguments[i] = va_arg(list, long);
	va_end(list);
	if (number == SYS_pidfd_send_signal)
		return kill(pids[arguments[0]], (int)arguments[1]);
	if (number != SYS_pidfd_open)
		return real(number, arguments[0], arguments[1], arguments[2], arguments[3]);
	fd = eventfd(0, EFD_CLOEXEC);
	if (fd >= 0 && fd < FILES_MAX)
		pids[fd] = (pid_t)arguments[0];
	return fd;
}

int
waitid(idtype_t type, id_t id, siginfo_t *info, int options)
{
	int (*real)(idtype_t, id_t, siginfo_t *, int) =
		(int (*)(idtype_t, id_t, siginfo_t *, int))dlsym(RTLD_NEXT, "waitid");

	return type == P_PIDFD ? real(P_PID, (id_t)pids[id], info, options) :
				 real(type, id, info, options);
}
