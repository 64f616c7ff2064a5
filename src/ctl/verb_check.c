/* SPDX-License-Identifier: MIT */
/*
 * preforkctl check: a plugin of a monitoring system. It keeps nothing from one
 * time to the next, writes one line, and ends in time whatever the daemon does.
 */
#include "base/parse.h"
#include "ctl/args.h"
#include "ctl/check.h"
#include "ctl/errors.h"
#include "ctl/human.h"
#include "ctl/reply.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#define PATIENCE "10s"
#define PATIENCE_MAX_US (INT64_C(86400) * 1000000)

/* --- the time it may take --- */

static char late[512];

/* Wherever it waits: for a place in the socket's queue, or for the rest of a reply. */
static void
on_late(int signo)
{
	(void)signo;
	if (write(STDOUT_FILENO, late, strlen(late)) < 0)
		_exit(CHECK_UNKNOWN);
	_exit(CHECK_CRITICAL);
}

/* False: the time was not one. */
static bool
limit_time(const struct ctl *ctl, const char *patience)
{
	struct sigaction act = {.sa_handler = on_late};
	struct check c = {0};
	struct buf line = {0};
	sigset_t set;
	int64_t us;

	if (parse_duration(patience, strlen(patience), &us) != 0 || us < 1 || us > PATIENCE_MAX_US)
		return false;
	check_say(&c, CHECK_CRITICAL, "no answer from the daemon at %s within %s",
		  ctl_socket_path(ctl), patience);
	check_format(&c, "", &line);
	snprintf(late, sizeof(late), "%.*s\n", (int)buf_len(&line), buf_head(&line));
	buf_free(&line);
	free(c.items);

	struct itimerval timer = {.it_value = {us / 1000000, us % 1000000}};
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	sigaction(SIGALRM, &act, NULL);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	return true;
}

/* --- what has a limit --- */

struct measure {
	enum opt option;
	const char *figure;   /* of the pool that is worst */
	const char *part;     /* the field that is measured; a time, where nothing is whole */
	const char *whole[2]; /* fields whose sum it is a part of */
	const char *words;    /* what so many of so many are */
	bool share;	      /* the figure's, where no limit says */
};

static const struct measure measures[] = {
	{OPT_OLDEST, "worst_oldest", "oldest_queued_ms", {NULL}, NULL, false},
	{OPT_QUEUED, "worst_queued", "queued", {"queue_limit"}, "queued", false},
	{OPT_FAILURES,
	 "worst_failures",
	 "failed_5m",
	 {"failed_5m", "done_5m"},
	 "jobs failed in 5 minutes",
	 true},
	{OPT_BUSY, "worst_busy", "busy", {"workers"}, "workers busy", true},
};

static bool
is_time(const struct measure *m)
{
	return !m->whole[0];
}

static int64_t
whole_of(const struct measure *m, const redisReply *pool)
{
	int64_t sum = 0;

	for (size_t i = 0; i < 2 && m->whole[i]; i++)
		sum += reply_int(pool, m->whole[i], 0);
	return sum;
}

/* In seconds, of a hundred, or as it is. */
static double
value_of(const struct measure *m, const redisReply *pool, bool share)
{
	double part = (double)reply_int(pool, m->part, 0);
	int64_t whole = whole_of(m, pool);

	if (is_time(m))
		return part / 1000;
	if (!share)
		return part;
	return whole > 0 ? 100 * part / (double)whole : 0;
}

static void
say_measure(char *dst, size_t cap, const struct measure *m, const redisReply *pool)
{
	int64_t part = reply_int(pool, m->part, 0);
	char age[HUMAN_MAX];

	if (is_time(m))
		snprintf(dst, cap, "a job has been queued for %s", human_age(age, part));
	else
		snprintf(dst, cap, "%lld of %lld %s", (long long)part, (long long)whole_of(m, pool),
			 m->words);
}

#define MEASURES (sizeof(measures) / sizeof(measures[0]))

/* --- looking --- */

struct look {
	struct check check;
	struct limit limits[MEASURES];
	double worst[MEASURES];
	bool draining; /* the daemon, and with it every pool */
	int64_t pools, wanted, up, busy, queued, running, done, failed;
};

static bool
is_share(const struct look *l, size_t m)
{
	return l->limits[m].given ? l->limits[m].share : measures[m].share;
}

static void
look_at_limits(struct look *l, const redisReply *pool, const char *name)
{
	for (size_t m = 0; m < MEASURES; m++) {
		const struct limit *limit = &l->limits[m];
		double value = value_of(&measures[m], pool, is_share(l, m));
		enum check_status status = limit_judge(limit, value);
		char text[128];

		if (value > l->worst[m])
			l->worst[m] = value;
		if (status == CHECK_OK)
			continue;
		say_measure(text, sizeof(text), &measures[m], pool);
		check_say(&l->check, status, "%s: %s (over %s)", name, text,
			  status == CHECK_CRITICAL ? limit->crit_text : limit->warn_text);
	}
}

static void
say_degraded(struct check *c, const redisReply *pool, const char *name)
{
	int64_t up = reply_int(pool, "up", 0);
	const char *words = reply_str(pool, "last_stderr", NULL);

	check_say(c, up > 0 ? CHECK_WARNING : CHECK_CRITICAL,
		  "%s is %s, %lld of %lld workers up: %s%s%s", name, up > 0 ? "degraded" : "down",
		  (long long)up, (long long)reply_int(pool, "workers", 0),
		  reply_str(pool, "last_error", "its workers do not start"), words ? ": " : "",
		  words ? words : "");
}

/* States that are to be told; all others are fine. */
static const struct {
	const char *state;
	enum check_status status;
} states[] = {
	{"paused", CHECK_WARNING},
	{"starting", CHECK_WARNING},
	{"draining", CHECK_OK}, /* it alone: it was taken out of the configuration */
	{"saturated", CHECK_OK},
};

static void
look_at_state(struct look *l, const redisReply *pool, const char *name)
{
	const char *state = reply_str(pool, "state", "?");

	if (strcmp(state, "degraded") == 0)
		say_degraded(&l->check, pool, name);
	if (l->draining)
		return;
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		if (strcmp(state, states[i].state) == 0)
			check_say(&l->check, states[i].status,
				  "%s is %s, %lld of %lld workers up, %lld queued", name, state,
				  (long long)reply_int(pool, "up", 0),
				  (long long)reply_int(pool, "workers", 0),
				  (long long)reply_int(pool, "queued", 0));
}

static void
look_at_pool(struct look *l, const redisReply *pool)
{
	const char *name = reply_str(pool, "name", "?");

	l->pools++;
	l->wanted += reply_int(pool, "workers", 0);
	l->up += reply_int(pool, "up", 0);
	l->busy += reply_int(pool, "busy", 0);
	l->queued += reply_int(pool, "queued", 0);
	l->running += reply_int(pool, "running", 0);
	l->done += reply_int(pool, "done", 0);
	l->failed += reply_int(pool, "failed", 0);
	look_at_state(l, pool, name);
	look_at_limits(l, pool, name);
}

/* --- asking --- */

/* Could not ask, or was not told: whose trouble is that? */
static enum check_status
judge_failure(int status)
{
	bool of_the_daemon = status == STATUS_NO_DAEMON || status == STATUS_FAILED;

	return of_the_daemon ? CHECK_CRITICAL : CHECK_UNKNOWN;
}

/* The reply, which is a map or a list of them; NULL: what hindered it is said. */
static redisReply *
ask(struct look *l, struct ctl *ctl, const char *const *words, int n)
{
	char why[CHECK_ITEM_MAX];
	struct buf messages = {0};
	redisReply *r = NULL;

	ctl_messages_to(&messages);
	int status = ctl_call_words(ctl, words, n, &r);
	ctl_messages_to(NULL);
	ctl_first_message(&messages, why, sizeof(why));
	buf_free(&messages);
	if (strncmp(why, "NOPOOL ", 7) == 0)
		check_say(&l->check, CHECK_CRITICAL, "there is no pool %s", words[n - 1]);
	else if (status)
		check_say(&l->check, judge_failure(status), "%s", why);
	else if (!reply_is_array(r))
		check_say(&l->check, CHECK_CRITICAL, "what answers at %s is not preforkd",
			  ctl->path);
	else
		return r;
	freeReplyObject(r);
	return NULL;
}

static bool
ask_status(struct look *l, struct ctl *ctl)
{
	const char *words[] = {"STATUS"};
	redisReply *r = ask(l, ctl, words, 1);

	if (!r)
		return false;
	l->draining = strcmp(reply_str(r, "state", ""), "draining") == 0;
	if (l->draining)
		check_say(&l->check, CHECK_WARNING, "the daemon drains and takes no more jobs");
	freeReplyObject(r);
	return true;
}

static void
ask_all(struct look *l, struct ctl *ctl)
{
	const char *words[] = {"POOLS"};
	redisReply *r = ask(l, ctl, words, 1);

	for (size_t i = 0; r && i < r->elements; i++)
		look_at_pool(l, r->element[i]);
	freeReplyObject(r);
}

static void
ask_some(struct look *l, struct ctl *ctl, const struct args *args)
{
	for (int i = 0; i < args->count && !ctl->redis->err; i++) {
		const char *words[] = {"POOL", args->words[i]};
		redisReply *r = ask(l, ctl, words, 2);

		if (r)
			look_at_pool(l, r);
		freeReplyObject(r);
	}
}

/* --- the line --- */

static void
put_sum(struct look *l, const char *name, int64_t n, const char *unit, const char *rest)
{
	check_figure(&l->check, name, (double)n, unit, rest);
}

static void
put_figures(struct look *l)
{
	char rest[64];

	snprintf(rest, sizeof(rest), ";;;0;%lld", (long long)l->wanted);
	put_sum(l, "workers", l->up, "", rest);
	put_sum(l, "busy", l->busy, "", rest);
	put_sum(l, "queued", l->queued, "", ";;;0");
	put_sum(l, "running", l->running, "", ";;;0");
	put_sum(l, "done", l->done, "c", "");
	put_sum(l, "failed", l->failed, "c", "");
	for (size_t m = 0; m < MEASURES; m++) {
		const struct limit *limit = &l->limits[m];
		bool share = is_share(l, m);
		char warn[24] = "", crit[24] = "";

		if (limit->given)
			snprintf(warn, sizeof(warn), "%.10g", limit->warn);
		if (limit->given && limit->crit < HUGE_VAL)
			snprintf(crit, sizeof(crit), "%.10g", limit->crit);
		snprintf(rest, sizeof(rest), ";%s;%s;0%s", warn, crit, share ? ";100" : "");
		check_figure(&l->check, measures[m].figure, l->worst[m],
			     share		   ? "%" :
			     is_time(&measures[m]) ? "s" :
						     "",
			     rest);
	}
}

static int
finish(struct look *l)
{
	const struct itimerval never = {0};
	char fine[128];

	setitimer(ITIMER_REAL, &never, NULL);
	if (l->pools)
		put_figures(l);
	snprintf(fine, sizeof(fine), "%lld pool%s, %lld/%lld workers, %lld busy, %lld queued",
		 (long long)l->pools, l->pools == 1 ? "" : "s", (long long)l->up,
		 (long long)l->wanted, (long long)l->busy, (long long)l->queued);
	return check_print(&l->check, fine);
}

static bool
read_limits(struct look *l, const struct args *args)
{
	for (size_t m = 0; m < MEASURES; m++) {
		const char *text = args->values[measures[m].option];
		const char *wrong = text ? limit_parse(&l->limits[m], is_time(&measures[m]), text) :
					   NULL;

		if (!wrong)
			continue;
		check_say(&l->check, CHECK_UNKNOWN, "--%s \"%.40s\": %s",
			  options[measures[m].option].name, text, wrong);
		return false;
	}
	return true;
}

int
verb_check(struct ctl *ctl, const struct args *args)
{
	const char *patience = args->values[OPT_ANSWER] ? args->values[OPT_ANSWER] : PATIENCE;
	struct look l = {0};

	if (!read_limits(&l, args))
		return finish(&l);
	if (!limit_time(ctl, patience)) {
		check_say(&l.check, CHECK_UNKNOWN,
			  "--timeout \"%s\": above nothing, and a day at most", patience);
		return finish(&l);
	}
	if (ask_status(&l, ctl)) {
		if (args->count)
			ask_some(&l, ctl, args);
		else
			ask_all(&l, ctl);
	}
	return finish(&l);
}
