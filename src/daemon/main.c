/* SPDX-License-Identifier: MIT */
/* preforkd: the command line. */
#include "config.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/parse.h"
#include "daemon/config.h"
#include "daemon/daemon.h"
#include "daemon/report.h"
#include "io/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sysexits.h>
#include <unistd.h>

#define CONFIG_FILE SYSCONFDIR "/preforkd/preforkd.conf"

struct arguments {
	const char *config, *listen, *log_level, *connected, *user;
	struct config_quick quick;
	bool test, print, version, help;
};

struct option_row {
	const char *name;  /* without the dashes */
	char letter;	   /* 0: none */
	const char *value; /* what it takes, as usage shows it; NULL: nothing */
	size_t target;	   /* in struct arguments: a const char *, or a bool without a value */
	const char *help;
};

#define AT(member) offsetof(struct arguments, member)

static const struct option_row option_rows[] = {
	{"config", 'c', "FILE", AT(config), "read FILE, not " CONFIG_FILE},
	{"test", 't', NULL, AT(test), "check the configuration and exit"},
	{"print", 'T', NULL, AT(print), "check the configuration, print all of it and exit"},
	{"user", 'u', "USER", AT(user), "with -t or -T: as a daemon of that user"},
	{"socket", 's', "PATH", AT(listen), "listen at PATH, not at control.listen"},
	{"pool", 0, "NAME", AT(quick.name), "run one pool, without a configuration file"},
	{"workers", 0, "N", AT(quick.workers), "with --pool: how many workers"},
	{"protocol", 0, "P", AT(quick.protocol), "with --pool: filter, line or frame"},
	{"channel", 0, "C", AT(quick.channel), "with --pool: stdio, fd3 or pipe"},
	{"pipeline", 0, "N", AT(quick.pipeline), "with --pool: jobs in flight a worker"},
	{"connected", 0, "FD[-FD]", AT(connected),
	 "with --pool: serve connected sockets, and end with the first"},
	{"log-level", 0, "LEVEL", AT(log_level), "error, warning, notice, info or debug"},
	{"version", 'v', NULL, AT(version), "print the version and exit"},
	{"help", 'h', NULL, AT(help), "print this and exit"},
};

#define OPTION_ROWS (sizeof(option_rows) / sizeof(option_rows[0]))

static void
usage(FILE *to)
{
	fputs("usage: preforkd [-c FILE] [-s PATH] [-t | -T [-u USER]]\n"
	      "       preforkd --pool NAME [OPTION]... [--] COMMAND [ARG]...\n\n",
	      to);
	for (size_t i = 0; i < OPTION_ROWS; i++) {
		const struct option_row *o = &option_rows[i];
		char letter[8] = "   ";

		if (o->letter)
			snprintf(letter, sizeof(letter), "-%c,", o->letter);
		fprintf(to, "  %s --%s%s%-*s %s\n", letter, o->name, o->value ? " " : "",
			(int)(18 - strlen(o->name) - (o->value ? 1 : 0)), o->value ? o->value : "",
			o->help);
	}
}

static _Noreturn __attribute__((format(printf, 1, 2))) void
usage_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("preforkd: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputs(" (preforkd --help lists the options)\n", stderr);
	va_end(ap);
	exit(EX_USAGE);
}

/* ---- options ---- */

static const struct option_row *
find_option(const char *arg, const char **ret_value)
{
	const char *name = arg + 2;
	size_t len = strcspn(name, "=");

	*ret_value = NULL;
	for (size_t i = 0; i < OPTION_ROWS; i++) {
		const struct option_row *o = &option_rows[i];

		if (arg[1] == '-') {
			if (strlen(o->name) != len || strncmp(o->name, name, len) != 0)
				continue;
			*ret_value = name[len] ? name + len + 1 : NULL;
			return o;
		}
		if (o->letter && arg[1] == o->letter && (!arg[2] || o->value)) {
			*ret_value = arg[2] ? arg + 2 : NULL;
			return o;
		}
	}
	usage_error("unknown option '%s'", arg);
}

static void
set_option(struct arguments *a, const struct option_row *o, const char *value)
{
	void *target = (char *)a + o->target;

	if (o->value)
		*(const char **)target = value;
	else if (value)
		usage_error("--%s takes no value", o->name);
	else
		*(bool *)target = true;
}

static void
read_arguments(struct arguments *a, char **argv)
{
	const struct option_row *o;
	const char *value;

	while (*++argv && (*argv)[0] == '-' && (*argv)[1]) {
		if (!strcmp(*argv, "--")) {
			argv++;
			break;
		}
		o = find_option(*argv, &value);
		if (o->value && !value && !(value = *++argv))
			usage_error("--%s needs a value: %s", o->name, o->value);
		set_option(a, o, value);
	}
	a->quick.command = argv;
}

/* Options that make no sense without, or with, another. */
static void
check_arguments(const struct arguments *a)
{
	const struct config_quick *q = &a->quick;

	if (a->user && !a->test && !a->print)
		usage_error("--user goes with -t or -T alone: a service manager starts the daemon "
			    "as another user");
	if (q->name) {
		if (a->config)
			usage_error("--pool needs no configuration file: -c does not go with it");
		if (!q->command[0])
			usage_error("--pool needs a command: preforkd --pool NAME -- COMMAND");
		if (a->connected && a->listen)
			usage_error("--connected does not listen: -s does not go with it");
		return;
	}
	if (q->command[0])
		usage_error("'%s': arguments are a pool's command, and that needs --pool NAME",
			    q->command[0]);
	if (q->workers || q->protocol || q->channel || q->pipeline || a->connected)
		usage_error("--workers, --protocol, --channel, --pipeline and --connected need "
			    "--pool NAME");
}

/* ---- set-up ---- */

/* Descriptors, "3" or "3-5". */
static void
connected_fds(const char *text, int *ret_first, int *ret_last)
{
	const char *dash = text ? strchr(text, '-') : NULL;
	size_t len = dash ? (size_t)(dash - text) : text ? strlen(text) : 0;
	uint64_t first, last;

	*ret_first = *ret_last = -1;
	if (!text)
		return;
	if (parse_u64(text, len, INT_MAX - 1, &first) < 0 ||
	    (dash && parse_u64(dash + 1, strlen(dash + 1), INT_MAX - 1, &last) < 0))
		usage_error("--connected '%s': not a descriptor, nor a range of them", text);
	if (!dash)
		last = first;
	for (uint64_t fd = first; fd <= last; fd++)
		if (fcntl((int)fd, F_SETFD, FD_CLOEXEC) < 0)
			usage_error("--connected '%s': not an open descriptor", text);
	*ret_first = (int)first;
	*ret_last = (int)last;
}

/* Beside ourselves, as in the place we were built in, else where it is installed.
 * A container may have no /proc: then there is the name that we were executed by. */
static char *
find_loader(void)
{
	char self[PATH_MAX];
	const char *executed = (const char *)getauxval(AT_EXECFN);
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash, *beside;

	if (n >= 0)
		self[n] = 0;
	else
		snprintf(self, sizeof(self), "%s", executed ? executed : "");
	slash = strrchr(self, '/');
	if (slash) {
		beside = mem_printf("%.*s/preforkd-exec", (int)(slash - self), self);
		if (access(beside, X_OK) == 0)
			return beside;
		free(beside);
	}
	return mem_strdup(LIBEXECDIR "/preforkd/preforkd-exec");
}

/* As they are for whoever looks on; in the journal each with its level and event. */
static void
print_mistakes(const struct buf *errors)
{
	const struct log_about about = {.event = LOG_EVENT_CONFIG_REFUSED};

	if (log_to_journal()) {
		log_wait();
		log_lines(&about, LOG_ERR, buf_head(errors), buf_len(errors));
	} else {
		fwrite(buf_head(errors), 1, buf_len(errors), stderr);
	}
}

/* What is wrong, for the people at the terminal, the journal and the service manager. */
static void
refuse(const struct arguments *a, const struct buf *errors)
{
	struct notify n;
	char *summary;

	print_mistakes(errors);
	if (a->test || a->print || a->connected)
		return;
	summary = config_summary(errors);
	notify_init(&n, NULL);
	report_refusal(&n, EINVAL, summary);
	notify_fini(&n);
	free(summary);
}

static int
load(struct arguments *a, struct conf *conf)
{
	struct buf errors = {0};
	int r;

	a->quick.listen = a->listen;
	a->quick.whole_environment = a->connected != NULL;
	if (a->quick.name)
		r = config_quick(&a->quick, conf, &errors);
	else
		r = config_load_at(a->config ? a->config : CONFIG_FILE, a->listen, true, conf,
				   &errors);
	if (r)
		refuse(a, &errors);
	buf_free(&errors);
	if (!r && a->log_level && !config_parse_level(a->log_level, &conf->log.level))
		usage_error("--log-level '%s': error, warning, notice, info or debug",
			    a->log_level);
	if (!r)
		return 0;
	return a->quick.name ? EX_USAGE : EX_CONFIG;
}

static int
run(const struct arguments *a, const struct conf *conf)
{
	char *loader = find_loader();
	struct daemon_setup setup = {
		.conf = conf,
		.config = a->quick.name ? NULL : conf->path,
		.listen = a->listen,
		.log_level = -1,
		.loader = loader,
		.environment = environ,
	};
	int status;

	connected_fds(a->connected, &setup.connected_fd, &setup.connected_last);
	if (a->log_level)
		setup.log_level = conf->log.level;
	if (a->connected) { /* what a service manager has said to our parent is not for us */
		unsetenv("NOTIFY_SOCKET");
		unsetenv("WATCHDOG_USEC");
		unsetenv("WATCHDOG_PID");
	}
	log_setup("preforkd", conf->log.level, conf->log.format);
	if (access(loader, X_OK) < 0) {
		log_msg(LOG_ERR, "%s: %s", loader, strerror(errno));
		free(loader);
		return EX_UNAVAILABLE;
	}
	status = daemon_run(&setup);
	free(loader);
	return status;
}

/* Whose daemon it is decides what a configuration may ask for, and where the
 * socket is: for a check we become that user, with what a login or a unit gives. */
static int
become_user(const char *name)
{
	const struct passwd *pw = getpwnam(name);
	char runtime[64];

	if (!pw)
		usage_error("--user '%s': there is no such user", name);
	snprintf(runtime, sizeof(runtime), "/run/user/%u", pw->pw_uid);
	if (pw->pw_uid != geteuid() && (initgroups(name, pw->pw_gid) < 0 ||
					setgid(pw->pw_gid) < 0 || setuid(pw->pw_uid) < 0)) {
		fprintf(stderr, "preforkd: --user '%s': %s (only root can check for others)\n",
			name, strerror(errno));
		return EX_OSERR;
	}
	if (access(runtime, X_OK) == 0)
		setenv("XDG_RUNTIME_DIR", runtime, 1);
	else
		setenv("RUNTIME_DIRECTORY", "/run/preforkd", 0);
	return 0;
}

static int
check_only(const struct arguments *a, const struct conf *conf)
{
	struct buf text = {0};

	if (a->print) {
		config_print(conf, &text);
		fwrite(buf_head(&text), 1, buf_len(&text), stdout);
		buf_free(&text);
	} else {
		puts("configuration ok");
	}
	return fflush(stdout) == 0 ? 0 : EX_IOERR;
}

/* Descriptors 0, 1 and 2 must be something, or a socket of ours becomes one. */
static void
open_standard(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= 2);
	if (fd > 2)
		close(fd);
}

int
main(int argc, char **argv)
{
	struct arguments a = {0};
	struct conf conf;
	int status;

	(void)argc;
	daemon_hold_signals();
	open_standard();
	read_arguments(&a, argv);
	if (a.help || a.version) {
		if (a.help)
			usage(stdout);
		else
			puts("preforkd " PREFORKD_VERSION);
		return fflush(stdout) == 0 ? 0 : EX_IOERR;
	}
	check_arguments(&a);
	status = a.user ? become_user(a.user) : 0;
	if (!status)
		status = load(&a, &conf);
	if (!status) {
		status = a.test || a.print ? check_only(&a, &conf) : run(&a, &conf);
		conf_free(&conf);
	}
	if (status)
		log_finish(); /* why */
	return status;
}
