/* SPDX-License-Identifier: MIT */
#include "daemon/daemon.h"

#include "config.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/text.h"
#include "control/server.h"
#include "daemon/reload.h"
#include "daemon/report.h"
#include "daemon/socket.h"
#include "daemon/stop.h"
#include "io/notify.h"
#include "io/orphans.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

#define UNTOLD_US USEC_PER_SEC

struct daemon {
	struct loop *loop;
	struct pools *pools;
	struct server *server;
	struct notify notify;
	struct orphans orphans;
	struct report report;
	struct stop stop;
	char *kept_socket;   /* by what name the manager keeps a duplicate; NULL: it does not */
	struct timer untold; /* lines of the log that were dropped are told then */
	struct timer proof;  /* when the workers of required pools have proved good */
	int status;	     /* what it ends with */
	struct reload reload;
};

/* ---- what others ask of the daemon ---- */

static void
op_stop(void *ctx, bool now)
{
	struct daemon *d = ctx;

	if (now)
		stop_fast(&d->stop);
	else
		stop_slowly(&d->stop, d->reload.conf->drain_us);
}

static void
op_drain(void *ctx)
{
	struct daemon *d = ctx;

	pools_drain(d->pools);
}

static const char *
op_reload(void *ctx, const char **ret_code)
{
	struct daemon *d = ctx;

	return reload_ask(&d->reload, ret_code);
}

static void
op_orphaned(void *ctx)
{
	struct daemon *d = ctx;

	stop_fast(&d->stop);
}

static const char *
op_state(void *ctx)
{
	const struct daemon *d = ctx;

	if (d->pools->mode != POOLS_OPEN)
		return "draining";
	if (report_degraded(d->pools))
		return "degraded";
	return d->report.ready ? "ready" : "starting";
}

static const struct server_ops server_ops = {
	.stop = op_stop,
	.drain = op_drain,
	.reload = op_reload,
	.state = op_state,
	.orphaned = op_orphaned,
};

/* ---- signals ---- */

static void
on_term(struct daemon *d)
{
	if (d->stop.phase == STOP_NOT)
		stop_slowly(&d->stop, d->reload.conf->drain_us);
	else
		stop_fast(&d->stop);
}

static void
on_int(struct daemon *d)
{
	stop_fast(&d->stop);
}

static void
on_quit(struct daemon *d)
{
	stop_slowly(&d->stop, USEC_INFINITY);
}

static void
on_hup(struct daemon *d)
{
	const char *code, *why = reload_ask(&d->reload, &code);

	if (why)
		log_msg(LOG_WARNING, "SIGHUP: %s", why);
}

static void
on_usr1(struct daemon *d)
{
	report_log(d->pools, op_state(d));
}

static void
on_usr2(struct daemon *d)
{
	(void)d;
	log_msg(LOG_WARNING, "SIGUSR2: this version cannot be upgraded in place: restart it");
}

static const struct {
	int signo;
	void (*handle)(struct daemon *d);
} signal_rows[] = {
	{SIGTERM, on_term}, {SIGINT, on_int},	{SIGQUIT, on_quit},
	{SIGHUP, on_hup},   {SIGUSR1, on_usr1}, {SIGUSR2, on_usr2},
};

#define SIGNALS (sizeof(signal_rows) / sizeof(signal_rows[0]))

static void
on_signal(void *ctx, int signo)
{
	for (size_t i = 0; i < SIGNALS; i++)
		if (signal_rows[i].signo == signo)
			signal_rows[i].handle(ctx);
}

/* ---- a turn ---- */

static void
become_ready(struct daemon *d, mono_t now)
{
	char *text = report_line(d->pools);

	log_event(LOG_EVENT_READY, LOG_INFO, "ready: %s", text);
	report_ready(&d->report, now);
	notify_owe(&d->notify, "READY=1");
	free(text);
}

/* It is said in all places, and the workers that did start are ended. */
static void
fail_start(struct daemon *d, const struct pool *p)
{
	struct log_about about = {.event = LOG_EVENT_START_REFUSED, .pool = p->conf->name};
	char *trouble = pool_trouble(p);
	char *text = mem_printf("start failed: pool %s is required, and its workers cannot start: "
				"%s",
				p->conf->name, p->last_error ? p->last_error : "");

	log_about(&about, LOG_ERR, "start failed, this pool is required: %s", trouble);
	report_failure(&d->report, p->last_errno, text);
	d->status = EX_UNAVAILABLE;
	stop_fast(&d->stop);
	loop_again(d->loop);
	free(text);
	free(trouble);
}

/* A required pool that is degraded; NULL: none. */
static const struct pool *
find_refusal(const struct pools *ps)
{
	for (size_t i = 0; i < ps->count; i++)
		if (ps->v[i]->conf->start.required && throttle_holds(&ps->v[i]->throttle))
			return ps->v[i];
	return NULL;
}

/* Most programs that are no good need a moment to show it: who says nothing by
 * itself is looked at for as long as a restart would. */
static mono_t
proven_at(const struct pools *ps)
{
	mono_t last = {0};

	for (size_t i = 0; i < ps->count; i++) {
		const struct pool *p = ps->v[i];

		if (p->conf->start.required && mono_before(last, pool_proven_at(p)))
			last = pool_proven_at(p);
	}
	return last;
}

static void
proceed_start(struct daemon *d, mono_t now)
{
	const struct pool *refusal = find_refusal(d->pools);
	mono_t proven;

	if (refusal) {
		fail_start(d, refusal);
	} else if (pools_settled(d->pools)) {
		proven = proven_at(d->pools);
		if (mono_before(now, proven))
			timer_set(loop_timers(d->loop), &d->proof, proven);
		else
			become_ready(d, now);
	}
}

static void
on_turn(void *ctx, mono_t now)
{
	struct daemon *d = ctx;

	pools_turn(d->pools, now);
	reload_turn(&d->reload, now);
	server_turn(d->server);
	if (!d->report.ready && d->stop.phase == STOP_NOT)
		proceed_start(d, now);
	if (d->stop.phase != STOP_NOT)
		stop_proceed(&d->stop, now);
	report_turn(&d->report, now);
	if (!d->server->listening)
		socket_forget(&d->notify, &d->kept_socket);
	if (log_has_dropped() && !timer_is_set(&d->untold))
		timer_set(loop_timers(d->loop), &d->untold, mono_add(now, UNTOLD_US));
}

/* Nobody knows when the log takes lines again, and the next one may be long in coming. */
static void
on_untold(struct timer *t, mono_t now)
{
	(void)t;
	(void)now;
	log_tell_dropped();
}

/* Clients are to be read, which takes a while: workers that have answered need not wait for
 * their next jobs until then. */
static void
before_last(void *ctx, mono_t now)
{
	struct daemon *d = ctx;

	pools_feed(d->pools, now);
}

static void
on_rest(void *ctx)
{
	(void)ctx;
	mem_give_back();
}

static const struct loop_ops loop_ops = {
	.on_turn = on_turn, .before_last = before_last, .on_signal = on_signal, .on_rest = on_rest};

/* ---- building ---- */

/* Clients and workers take a descriptor or five each. The soft limit from before
 * is what workers get. */
static uint64_t
raise_nofile(void)
{
	struct rlimit limit, more;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 1024;
	more = (struct rlimit){limit.rlim_max, limit.rlim_max};
	if (setrlimit(RLIMIT_NOFILE, &more) < 0)
		log_msg(LOG_WARNING, "cannot raise the limit of open files: %s", strerror(errno));
	return limit.rlim_cur;
}

/* 0 or a status of <sysexits.h>. */
static int
open_socket(struct daemon *d, const struct daemon_setup *setup)
{
	struct listener l;
	int r = 0, status;

	if (setup->connected_fd >= 0) {
		for (int fd = setup->connected_fd; r == 0 && fd <= setup->connected_last; fd++)
			r = server_adopt(d->server, fd);
		return r < 0 ? EX_UNAVAILABLE : 0;
	}
	status = socket_open(setup->conf, &d->notify, &l, &d->kept_socket);
	if (status)
		return status;
	return server_listen(d->server, &l) < 0 ? EX_OSERR : 0;
}

/* For the first process of a container there is no default action: a signal that
 * nobody has blocked yet would be lost, and whoever stops it wait in vain. */
void
daemon_hold_signals(void)
{
	sigset_t set;

	if (getpid() != 1)
		return;
	sigemptyset(&set);
	for (size_t i = 0; i < SIGNALS; i++)
		sigaddset(&set, signal_rows[i].signo);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

static int
make_loop(struct daemon *d)
{
	int signals[SIGNALS + 1] = {0};
	int r;

	for (size_t i = 0; i < SIGNALS; i++)
		signals[i] = signal_rows[i].signo;
	r = loop_new(&loop_ops, d, signals, &d->loop);
	if (r < 0) {
		log_msg(LOG_ERR, "cannot set up the event loop: %s", strerror(-r));
		return EX_OSERR;
	}
	r = orphans_start(&d->orphans, d->loop);
	if (r < 0) {
		log_msg(LOG_ERR, "cannot watch for children that end: %s", strerror(-r));
		return EX_OSERR;
	}
	return 0;
}

static void
make_parts(struct daemon *d, const struct daemon_setup *setup, uint64_t soft_nofile)
{
	const struct conf *conf = setup->conf;

	d->untold.on_due = on_untold;
	notify_init(&d->notify, d->loop);
	d->pools = pools_new(d->loop, conf, setup->loader, soft_nofile, setup->environment);
	d->server = server_new(d->loop, d->pools, conf, &server_ops, d);
	stop_init(&d->stop, &(struct stop){.conf = conf,
					   .loop = d->loop,
					   .pools = d->pools,
					   .server = d->server,
					   .notify = &d->notify});
	report_init(&d->report, &(struct report){.loop = d->loop,
						 .notify = &d->notify,
						 .pools = d->pools,
						 .stop = &d->stop});
	reload_init(&d->reload, &(struct reload){.path = setup->config,
						 .listen = setup->listen,
						 .log_level = setup->log_level,
						 .loop = d->loop,
						 .pools = d->pools,
						 .server = d->server,
						 .notify = &d->notify,
						 .report = &d->report,
						 .stop = &d->stop,
						 .conf = conf});
}

/* 0 or a status of <sysexits.h>. */
static int
daemon_build(struct daemon *d, const struct daemon_setup *setup)
{
	uint64_t soft_nofile = raise_nofile();
	int r, status = make_loop(d);

	if (status)
		return status;
	make_parts(d, setup, soft_nofile);
	status = open_socket(d, setup);
	if (status)
		return status;
	r = loop_watchdog(d->loop);
	if (r < 0)
		log_msg(LOG_WARNING, "watchdog: %s", strerror(-r));
	return 0;
}

int
daemon_run(const struct daemon_setup *setup)
{
	struct daemon d = {.status = 0};
	int status;

	mem_keep_freed();
	status = daemon_build(&d, setup);
	if (!status) {
		int r = loop_run(d.loop);

		if (r < 0) {
			log_msg(LOG_ERR, "event loop: %s", strerror(-r));
			report_failure(&d.report, -r, "the event loop has failed");
			status = EX_OSERR;
		}
		report_end(&d.report);
		if (!status)
			status = d.status;
		/* Whoever runs a filter by itself wants to know that its lines did not match. */
		if (!status && setup->connected_fd >= 0 && pools_total(d.pools).broken)
			status = EX_PROTOCOL;
		log_event(LOG_EVENT_STOPPED, LOG_INFO, "stopped");
	}
	server_free(d.server);
	socket_forget(&d.notify, &d.kept_socket);
	pools_free(d.pools);
	reload_fini(&d.reload);
	report_fini(&d.report);
	notify_fini(&d.notify);
	orphans_stop(&d.orphans);
	if (orphans_live())
		log_msg(LOG_NOTICE, "processes that have left their worker still run: %s",
			getpid() == 1 ? "they end with the container" : "they are left alone");
	loop_free(d.loop);
	return status;
}
