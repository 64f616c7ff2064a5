/* SPDX-License-Identifier: MIT */
/*
 * helper - a worker with helpers/preforkd.h; helper.py says what its jobs are.
 */
#include "../../helpers/preforkd.h"

#include <time.h>

static struct preforkd p;

static void
ok(const struct preforkd_job *job, const char *text)
{
	preforkd_ok(&p, job, text, strlen(text));
}

/* All that a file or a program has to say. */
static void
ok_stream(const struct preforkd_job *job, FILE *f)
{
	char text[4096];
	size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;

	while (n && text[n - 1] == '\n')
		n--;
	preforkd_ok(&p, job, text, n);
}

static void
do_print(const struct preforkd_job *job, const char *arg)
{
	FILE *f;

	puts(arg);
	fflush(stdout);
	setenv("ARG", arg, 1);
	f = popen("exec echo \"by echo: $ARG\" >&2", "r");
	if (!f || pclose(f) != 0)
		preforkd_err(&p, job, "echo failed");
	else
		ok(job, "printed");
}

static void
do_read(const struct preforkd_job *job, const char *arg)
{
	FILE *f = popen("cat; echo \"<${PREFORKD_PROTOCOL-none}>\"", "r");

	(void)arg;
	ok_stream(job, f);
	if (f)
		pclose(f);
}

static void
do_fail(const struct preforkd_job *job, const char *arg)
{
	preforkd_err(&p, job, "%s", arg);
}

static void
do_retry(const struct preforkd_job *job, const char *arg)
{
	preforkd_retry(&p, job, "%s", arg);
}

static void
do_progress(const struct preforkd_job *job, const char *arg)
{
	(void)arg;
	preforkd_progress(&p, job, 1, 3, "one third");
	ok(job, "after progress");
}

static void
do_out(const struct preforkd_job *job, const char *arg)
{
	preforkd_out(&p, job, arg, strlen(arg));
	ok(job, "after out");
}

static void
do_log(const struct preforkd_job *job, const char *arg)
{
	preforkd_log(&p, arg[0] - '0', "%s", arg + 2);
	ok(job, "after log");
}

static void
do_lines(const struct preforkd_job *job, const char *arg)
{
	(void)arg;
	ok(job, "two\nlines");
}

static void
do_cr(const struct preforkd_job *job, const char *arg)
{
	(void)arg;
	ok(job, "x\r");
}

static void
do_big(const struct preforkd_job *job, const char *arg)
{
	size_t n = strtoul(arg, NULL, 10);
	char *text = malloc(n + 1);

	if (!text)
		exit(1);
	memset(text, 'x', n);
	preforkd_ok(&p, job, text, n);
	free(text);
}

static void
do_who(const struct preforkd_job *job, const char *arg)
{
	char text[64];

	(void)arg;
	snprintf(text, sizeof(text), "%llu %u", job->id, job->attempt);
	ok(job, text);
}

static void
do_gate(const struct preforkd_job *job, const char *arg)
{
	FILE *f = fopen(arg, "r");

	ok_stream(job, f);
	if (f)
		fclose(f);
}

static void
do_cancel(const struct preforkd_job *job, const char *arg)
{
	FILE *f = fopen(arg, "r");

	while (f && getc(f) != EOF)
		continue;
	while (!preforkd_cancelled(&p, job))
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	preforkd_err(&p, job, "given up");
	if (f)
		fclose(f);
}

static void
do_exit(const struct preforkd_job *job, const char *arg)
{
	(void)job;
	(void)arg;
	exit(3);
}

static const struct {
	const char *name;
	void (*run)(const struct preforkd_job *, const char *);
} verbs[] = {
	{"print", do_print}, {"read", do_read},	    {"fail", do_fail},
	{"throw", do_fail},  {"retry", do_retry},   {"progress", do_progress},
	{"out", do_out},     {"log", do_log},	    {"lines", do_lines},
	{"cr", do_cr},	     {"big", do_big},	    {"who", do_who},
	{"gate", do_gate},   {"cancel", do_cancel}, {"exit", do_exit},
};

static void
work(const struct preforkd_job *job)
{
	size_t n = strcspn(job->payload, " ");
	const char *arg = job->payload + n + (job->payload[n] == ' ');

	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strlen(verbs[i].name) == n && memcmp(job->payload, verbs[i].name, n) == 0) {
			verbs[i].run(job, arg);
			return;
		}
	preforkd_ok(&p, job, job->payload, job->len);
}

int
main(void)
{
	struct preforkd_job job;

	preforkd_open(&p);
	puts("starting");
	fflush(stdout);
	while (preforkd_next(&p, &job))
		work(&job);
	return 0;
}
