/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ctl/event.h"

#include <string.h>

#define N(a) (sizeof(a) / sizeof((a)[0]))

/* A message, and how it is put in words and as JSON. */
static const struct {
	const char *channel, *text, *line, *json;
} cases[] = {
	{"job.17", "queued", "job      17 queued",
	 "\"kind\":\"job\",\"id\":\"17\",\"state\":\"queued\""},
	{"job.17", "failed error no such\\x09file", "job      17 failed error no such\\x09file",
	 "\"kind\":\"job\",\"id\":\"17\",\"state\":\"failed\",\"reason\":\"error\","
	 "\"text\":\"no such\\\\x09file\""},
	{"job.17", "cancelled request", "job      17 cancelled request",
	 "\"kind\":\"job\",\"id\":\"17\",\"state\":\"cancelled\",\"reason\":\"request\""},
	{"jobs.p", "17 running", "job      17 p running",
	 "\"kind\":\"job\",\"id\":\"17\",\"pool\":\"p\",\"state\":\"running\""},
	{"out.17", "a\nb", "out      17 a\\x0ab",
	 "\"kind\":\"out\",\"id\":\"17\",\"out\":\"a\\nb\""},
	{"out.17", "\xff", "out      17 \\xff",
	 "\"kind\":\"out\",\"id\":\"17\",\"out_base64\":\"/w==\""},
	{"out.17", "", "out      17", "\"kind\":\"out\",\"id\":\"17\",\"out\":\"\""},
	{"progress.17", "3 10", "progress 17 3/10",
	 "\"kind\":\"progress\",\"id\":\"17\",\"done\":3,\"total\":10"},
	{"progress.17", "3 10 half way", "progress 17 3/10 half way",
	 "\"kind\":\"progress\",\"id\":\"17\",\"done\":3,\"total\":10,\"text\":\"half way\""},
	{"pool.p", "state=ok workers=4", "pool     p state=ok workers=4",
	 "\"kind\":\"pool\",\"pool\":\"p\",\"state\":\"ok\",\"workers\":4"},
	{"worker.a.b", "worker=0 state=down text=exited with status 3 = bad",
	 "worker   a.b worker=0 state=down text=exited with status 3 = bad",
	 "\"kind\":\"worker\",\"pool\":\"a.b\",\"worker\":0,\"state\":\"down\","
	 "\"text\":\"exited with status 3 = bad\""},
	{"lost", "12", "lost     12 events: more than could be taken in time",
	 "\"kind\":\"lost\",\"count\":12"},
	/* nonsense stays harmless */
	{"job.", "", "job     ", "\"kind\":\"job\""},
	{"progress.17", "x", "progress 17 0/0",
	 "\"kind\":\"progress\",\"id\":\"17\",\"done\":0,\"total\":0"},
	{"pool.p", "=", "pool     p =", "\"kind\":\"pool\",\"pool\":\"p\",\"\":\"\""},
};

static void
test_messages(void **state)
{
	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		struct event e;
		struct buf line = {0}, json = {0};
		assert_true(event_parse(cases[i].channel, strlen(cases[i].channel), cases[i].text,
					strlen(cases[i].text), &e));
		event_put_line(&line, &e, false);
		buf_putc(&line, '\0');
		assert_string_equal(buf_head(&line), cases[i].line);
		event_put_json(&json, &e);
		buf_putc(&json, '\0');
		assert_string_equal(buf_head(&json), cases[i].json);
		buf_free(&line);
		buf_free(&json);
	}
}

static void
test_unknown(void **state)
{
	static const char *const channels[] = {"", ".", "jobsworth.1", "key.p.k", "losts", "jo"};
	struct event e;

	(void)state;
	for (size_t i = 0; i < N(channels); i++)
		assert_false(event_parse(channels[i], strlen(channels[i]), "x", 1, &e));
}

static void
test_fields(void **state)
{
	static const char text[] = "worker=3 state=up event= text=state=down now";
	struct event e;
	struct text value;

	(void)state;
	assert_true(event_parse("worker.p", 8, text, strlen(text), &e));
	assert_true(event_field(&e, "worker", &value) && text_is(&value, "3"));
	assert_true(event_field(&e, "state", &value) && text_is(&value, "up"));
	assert_true(event_field(&e, "event", &value) && text_is(&value, ""));
	assert_true(event_field(&e, "text", &value) && text_is(&value, "state=down now"));
	assert_false(event_field(&e, "pid", &value));
	assert_false(event_field(&e, "now", &value));
}

static void
test_colours(void **state)
{
	struct event e;
	struct buf b = {0};

	(void)state;
	assert_true(event_parse("job.1", 5, "failed error", 12, &e));
	event_put_line(&b, &e, true);
	buf_putc(&b, '\0');
	assert_string_equal(buf_head(&b), "job     \033[31m 1 failed error\033[0m");
	buf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_colours),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
