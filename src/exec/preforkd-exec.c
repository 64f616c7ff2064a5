/* SPDX-License-Identifier: MIT */
/*
 * preforkd-exec - the chain loader: put a worker's circumstances on, then become
 * the worker.
 *
 * The master spawns it with a status descriptor. A step that fails is reported
 * there as one line, "ERRNO what: why", and ends it with 126 (127: the execution
 * itself); an end of file there means that the worker runs. Linked statically
 * (a dynamic second exec would cost as much again as the spawn), so there are
 * no user names here, only numbers. Not meant to be called by people.
 */
#include "base/parse.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sysexits.h>
#include <unistd.h>

#define EXIT_STEP 126
#define EXIT_EXEC 127

#define N(array) (sizeof(array) / sizeof(array)[0])

struct plan {
	int status;	       /* -1: none given */
	unsigned close_from;   /* 0: not given */
	const char *directory; /* NULL: stay */
	mode_t umask;	       /* (mode_t)-1: inherit */
	int nice;	       /* NICE_UNSET: inherit */
	bool limited[RLIM_NLIMITS];
	rlim_t limits[RLIM_NLIMITS];
	rlim_t soft_nofile; /* 0: inherit */
	uid_t uid;	    /* (uid_t)-1: no change; so for the gid */
	gid_t gid;
	bool set_groups;
	gid_t *groups;
	size_t n_groups;
	bool no_new_privs;
	char **command;
};

#define NICE_UNSET 99

static const char *const limit_names[RLIM_NLIMITS] = {
	[RLIMIT_AS] = "as",
	[RLIMIT_CORE] = "core",
	[RLIMIT_CPU] = "cpu",
	[RLIMIT_DATA] = "data",
	[RLIMIT_FSIZE] = "fsize",
	[RLIMIT_LOCKS] = "locks",
	[RLIMIT_MEMLOCK] = "memlock",
	[RLIMIT_MSGQUEUE] = "msgqueue",
	[RLIMIT_NICE] = "nice",
	[RLIMIT_NOFILE] = "nofile",
	[RLIMIT_NPROC] = "nproc",
	[RLIMIT_RSS] = "rss",
	[RLIMIT_RTPRIO] = "rtprio",
	[RLIMIT_RTTIME] = "rttime",
	[RLIMIT_SIGPENDING] = "sigpending",
	[RLIMIT_STACK] = "stack",
};

/* Report "errno what: why of errno" and end. */
static _Noreturn __attribute__((format(printf, 3, 4))) void
die(const struct plan *p, int exit_status, const char *fmt, ...)
{
	int error = errno;
	char what[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	(void)dprintf(p->status, "%d %s: %s\n", error, what, strerror(error));
	_exit(exit_status);
}

/* ---- the steps ---- */

/* What is ignored stays ignored over an exec, and a shell cannot undo it. */
static void
step_dispositions(struct plan *p)
{
	(void)p;
	const long defaults[16] = {0}; /* the kernel's struct sigaction, larger than any */

	/* Not by signal(), which leaves alone the two signals of the C library's own,
	 * and posix_spawn() has them ignored. EINVAL for those that are never changed. */
	for (int sig = 1; sig < NSIG; sig++)
		(void)syscall(SYS_rt_sigaction, sig, defaults, NULL, (size_t)(NSIG / 8));
}

/* The spawner has done it already, unless it is a shell or a test. */
static void
step_group(struct plan *p)
{
	if (setpgid(0, 0) < 0 && errno != EPERM) /* EPERM: leads a session, so a group too */
		die(p, EXIT_STEP, "cannot make a process group");
}

/* The status descriptor takes the first number of those that are closed: then
 * one range is all that is left to close. */
static void
step_descriptors(struct plan *p)
{
	unsigned from = p->close_from;

	if ((unsigned)p->status < from) {
		if (fcntl(p->status, F_SETFD, FD_CLOEXEC) < 0)
			die(p, EXIT_STEP, "cannot mark descriptor %d", p->status);
	} else {
		if ((unsigned)p->status > from && dup2(p->status, (int)from) < 0)
			die(p, EXIT_STEP, "cannot move descriptor %d to %u", p->status, from);
		p->status = (int)from++;
		if (fcntl(p->status, F_SETFD, FD_CLOEXEC) < 0)
			die(p, EXIT_STEP, "cannot mark descriptor %d", p->status);
	}
	closefrom((int)from); /* close_range(), and its like where the kernel has none */
}

static void
step_umask(struct plan *p)
{
	if (p->umask != (mode_t)-1)
		(void)umask(p->umask);
}

static void
step_nice(struct plan *p)
{
	if (p->nice != NICE_UNSET && setpriority(PRIO_PROCESS, 0, p->nice) < 0)
		die(p, EXIT_STEP, "cannot set the nice value to %d", p->nice);
}

static void
step_limits(struct plan *p)
{
	char text[FORMAT_MAX];

	for (int i = 0; i < RLIM_NLIMITS; i++) {
		struct rlimit limit = {p->limits[i], p->limits[i]};

		if (!p->limited[i] || setrlimit((__rlimit_resource_t)i, &limit) == 0)
			continue;
		if (p->limits[i] == RLIM_INFINITY)
			die(p, EXIT_STEP, "cannot set the limit %s to infinity", limit_names[i]);
		(void)snprintf(text, sizeof text, "%llu", (unsigned long long)p->limits[i]);
		die(p, EXIT_STEP, "cannot set the limit %s to %s", limit_names[i], text);
	}
}

/* The master raises its own soft limit, for its clients' sake; a worker that has
 * no limit of its own gets the one from before: select() ends at 1024. */
static void
step_soft_nofile(struct plan *p)
{
	struct rlimit limit;

	if (!p->soft_nofile || p->limited[RLIMIT_NOFILE])
		return;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		die(p, EXIT_STEP, "cannot get the limit nofile");
	limit.rlim_cur = p->soft_nofile < limit.rlim_max ? p->soft_nofile : limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		die(p, EXIT_STEP, "cannot lower the limit nofile");
}

/* From root the kernel has dropped them with the uid; a master that is not root
 * has CAP_SETUID from its service manager, and that would stay. */
static void
drop_capabilities(struct plan *p)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};

	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capset, &head, none) < 0)
		die(p, EXIT_STEP, "cannot drop capabilities");
}

static void
step_user(struct plan *p)
{
	/* Another user never keeps the groups of this one. */
	if ((p->set_groups || p->uid != (uid_t)-1) && setgroups(p->n_groups, p->groups) < 0)
		die(p, EXIT_STEP, "cannot set the supplementary groups");
	if (p->gid != (gid_t)-1 && setresgid(p->gid, p->gid, p->gid) < 0)
		die(p, EXIT_STEP, "cannot change to group %u", p->gid);
	if (p->uid == (uid_t)-1)
		return;
	if (setresuid(p->uid, p->uid, p->uid) < 0)
		die(p, EXIT_STEP, "cannot change to user %u", p->uid);
	if (p->uid == 0)
		return;
	drop_capabilities(p);
	if (setuid(0) == 0) {
		errno = EPERM;
		die(p, EXIT_STEP, "the change to user %u can be undone", p->uid);
	}
}

/* After the user: the directory is entered with the worker's permissions. */
static void
step_directory(struct plan *p)
{
	if (p->directory && chdir(p->directory) < 0)
		die(p, EXIT_STEP, "cannot change to directory %s", p->directory);
}

static void
step_no_new_privs(struct plan *p)
{
	if (p->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		die(p, EXIT_STEP, "cannot set no_new_privs");
}

/* Last, so that a signal that came before acts on a finished worker-to-be. */
static void
step_mask(struct plan *p)
{
	sigset_t none;

	sigemptyset(&none);
	if (sigprocmask(SIG_SETMASK, &none, NULL) < 0)
		die(p, EXIT_STEP, "cannot empty the signal mask");
}

/* The kernel says "permission denied" of a directory, and of a script whose
 * interpreter is missing that the script is: say what is the matter. */
static void
step_execute(struct plan *p)
{
	const char *name = p->command[0], *hint = "";
	struct stat st;
	int err;

	(void)execvp(name, p->command);
	err = errno;
	if (strchr(name, '/') && stat(name, &st) == 0) {
		if (S_ISDIR(st.st_mode))
			err = EISDIR;
		else if (err == ENOENT)
			hint = " (its interpreter is missing)";
	}
	errno = err;
	die(p, EXIT_EXEC, "cannot execute %s%s", name, hint);
}

static void (*const steps[])(struct plan *) = {
	step_dispositions, step_group, step_descriptors, step_umask,	    step_nice, step_limits,
	step_soft_nofile,  step_user,  step_directory,	 step_no_new_privs, step_mask, step_execute,
};

/* ---- the options: each reader returns whether the value was good ---- */

static bool
read_number(const char *s, uint64_t min, uint64_t max, uint64_t *ret)
{
	return parse_u64(s, strlen(s), max, ret) == 0 && *ret >= min;
}

/* 0, 1 and 2 are the worker's. */
static bool
read_status(struct plan *p, const char *s)
{
	uint64_t fd;

	if (!read_number(s, 3, INT32_MAX, &fd) || fcntl((int)fd, F_GETFD) < 0)
		return false;
	p->status = (int)fd;
	return true;
}

static bool
read_close_from(struct plan *p, const char *s)
{
	uint64_t fd;

	if (!read_number(s, 3, INT32_MAX - 1, &fd))
		return false;
	p->close_from = (unsigned)fd;
	return true;
}

static bool
read_directory(struct plan *p, const char *s)
{
	p->directory = s;
	return *s != '\0';
}

static bool
read_umask(struct plan *p, const char *s)
{
	size_t len = strlen(s);

	if (len == 0 || len > 4 || strspn(s, "01234567") != len)
		return false;
	p->umask = 0;
	for (; *s; s++)
		p->umask = p->umask << 3 | (mode_t)(*s - '0');
	return p->umask <= 0777;
}

static bool
read_nice(struct plan *p, const char *s)
{
	bool minus = *s == '-';
	uint64_t n;

	if (!read_number(s + minus, 0, minus ? 20 : 19, &n))
		return false;
	p->nice = minus ? -(int)n : (int)n;
	return true;
}

static bool
read_limit(struct plan *p, const char *s)
{
	const char *colon = strchr(s, ':');
	uint64_t value;

	if (!colon || parse_size(colon + 1, strlen(colon + 1), &value) < 0)
		return false;
	for (int i = 0; i < RLIM_NLIMITS; i++) {
		size_t len = (size_t)(colon - s);

		if (strlen(limit_names[i]) != len || strncmp(limit_names[i], s, len) != 0)
			continue;
		p->limited[i] = true;
		p->limits[i] = value == SIZE_INFINITY ? RLIM_INFINITY : (rlim_t)value;
		return true;
	}
	return false;
}

static bool
read_soft_nofile(struct plan *p, const char *s)
{
	uint64_t value;

	if (parse_u64(s, strlen(s), UINT64_MAX, &value) < 0 || !value)
		return false;
	p->soft_nofile = (rlim_t)value;
	return true;
}

/* UINT32_MAX is no id: it means "no change". */
static bool
read_id(const char *s, size_t len, unsigned *ret)
{
	uint64_t id;

	if (parse_u64(s, len, UINT32_MAX - 1, &id) < 0)
		return false;
	*ret = (unsigned)id;
	return true;
}

static bool
read_uid(struct plan *p, const char *s)
{
	return read_id(s, strlen(s), &p->uid);
}

static bool
read_gid(struct plan *p, const char *s)
{
	return read_id(s, strlen(s), &p->gid);
}

/* "" is none. */
static bool
read_groups(struct plan *p, const char *s)
{
	free(p->groups);
	p->groups = calloc(strlen(s) / 2 + 1, sizeof *p->groups);
	p->n_groups = 0;
	p->set_groups = true;
	while (p->groups && *s) {
		size_t len = strcspn(s, ",");

		if (!read_id(s, len, &p->groups[p->n_groups++]))
			return false;
		s += len;
		if (*s == ',' && *++s == '\0')
			return false;
	}
	return p->groups != NULL;
}

static bool
read_no_new_privs(struct plan *p, const char *s)
{
	(void)s;
	p->no_new_privs = true;
	return true;
}

static const struct option {
	const char *name;
	const char *value; /* what it takes, for the usage; NULL: nothing */
	bool (*read)(struct plan *, const char *);
} options[] = {
	{"status", "FD", read_status},
	{"close-from", "N", read_close_from},
	{"chdir", "PATH", read_directory},
	{"umask", "OCTAL", read_umask},
	{"nice", "N", read_nice},
	{"rlimit", "NAME:VALUE", read_limit},
	{"soft-nofile", "N", read_soft_nofile},
	{"gid", "N", read_gid},
	{"groups", "N,N,...", read_groups},
	{"uid", "N", read_uid},
	{"no-new-privs", NULL, read_no_new_privs},
};

/* The master made a mistake, or is of another version. It hears of it too. */
static _Noreturn void
usage(const struct plan *p, const char *what, const char *arg)
{
	(void)fprintf(stderr, "preforkd-exec: %s%s\nusage: preforkd-exec", what, arg);
	for (const struct option *o = options; o < options + N(options); o++)
		(void)fprintf(stderr, " [--%s%s%s]", o->name, o->value ? "=" : "",
			      o->value ? o->value : "");
	(void)fprintf(stderr, " -- COMMAND [ARG...]\n");
	if (p->status >= 0)
		(void)dprintf(p->status, "%d preforkd-exec: %s%s\n", EINVAL, what, arg);
	exit(EX_USAGE);
}

static void
read_option(struct plan *p, const char *arg)
{
	const char *value = strchr(arg, '=');
	size_t len = value ? (size_t)(value - arg) : strlen(arg);

	for (const struct option *o = options; o < options + N(options); o++) {
		if (strlen(o->name) + 2 != len || strncmp(arg + 2, o->name, len - 2) != 0)
			continue;
		if (!o->value != !value || !o->read(p, value ? value + 1 : ""))
			usage(p, "bad value: ", arg);
		return;
	}
	usage(p, "unknown option: ", arg);
}

static void
read_plan(struct plan *p, char **argv)
{
	for (argv++; *argv && strncmp(*argv, "--", 2) == 0 && (*argv)[2]; argv++)
		read_option(p, *argv);
	if (!*argv || strcmp(*argv, "--") != 0)
		usage(p, "-- expected before the command", "");
	p->command = argv + 1;
	if (!*p->command)
		usage(p, "no command", "");
	if (p->status < 0 || p->close_from == 0)
		usage(p, "--status and --close-from are needed", "");
	if (p->uid != (uid_t)-1 && p->gid == (gid_t)-1)
		usage(p, "--uid needs --gid", "");
}

int
main(int argc, char **argv)
{
	struct plan plan = {
		.status = -1,
		.umask = (mode_t)-1,
		.nice = NICE_UNSET,
		.uid = (uid_t)-1,
		.gid = (gid_t)-1,
	};

	if (argc < 1)
		return EX_USAGE;
	read_plan(&plan, argv);
	for (size_t i = 0; i < N(steps); i++)
		steps[i](&plan);
	return EXIT_EXEC; /* not reached: the last step executes or ends */
}
