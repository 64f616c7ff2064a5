/* SPDX-License-Identifier: MIT */
/* What of METRICS a system test cannot make happen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "connection.h"

#include <string.h>

static void
expect_line(const char *line)
{
	got[got_len] = 0;
	if (!strstr(got, line))
		fail_msg("no '%s' in: %s", line, got);
}

/* The configuration allows no such name; the text must not rely on it. */
static void
test_labels_are_escaped(void **state)
{
	static char name[] = "a\"b\\c\nd";

	(void)state;
	pool_conf.name = name;
	send_text("METRICS\r\n");
	receive();
	expect_line("\npreforkd_jobs_queued{pool=\"a\\\"b\\\\c\\nd\"} 0\n");
	expect_line(
		"\npreforkd_jobs_finished_total{pool=\"a\\\"b\\\\c\\nd\",outcome=\"done\"} 0\n");
}

/* Times are decimals with a point, to the microsecond, however large they are. */
static void
test_sums(void **state)
{
	(void)state;
	tally_add(&pool->stats.run.ever, 1, 1);
	tally_add(&pool->stats.run.ever, 4000 * USEC_PER_SEC, 1);
	tally_add(&pool->stats.wait.ever, INT64_C(100000000000) * USEC_PER_SEC, 1);
	send_text("METRICS\r\n");
	receive();
	expect_line("\npreforkd_job_run_seconds_bucket{pool=\"p\",le=\"0.0001\"} 1\n");
	expect_line("\npreforkd_job_run_seconds_bucket{pool=\"p\",le=\"3000.0\"} 1\n");
	expect_line("\npreforkd_job_run_seconds_bucket{pool=\"p\",le=\"+Inf\"} 2\n"
		    "preforkd_job_run_seconds_sum{pool=\"p\"} 4000.000001\n"
		    "preforkd_job_run_seconds_count{pool=\"p\"} 2\n");
	expect_line("\npreforkd_job_wait_seconds_sum{pool=\"p\"} 100000000000.000000\n");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_labels_are_escaped),
		TEST(test_sums),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
