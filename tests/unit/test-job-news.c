/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/news.h"
#include "random.h"

#include <stdio.h>
#include <string.h>

#define COST(len) (sizeof(struct message) + (len))

/* The messages, each in brackets. */
static const char *
kept(const struct news *n)
{
	static char text[4096];
	char *at = text;

	*at = 0;
	list_foreach(it, next, &n->outs) {
		const struct message *m = container_of(it, struct message, link);

		at += sprintf(at, "[%.*s]", (int)m->len, m->text);
	}
	return text;
}

static void
test_out(void **state)
{
	static const struct {
		const char *text;
		size_t limit; /* in messages of one byte */
		const char *kept;
	} steps[] = {
		{"a", 3, "[a]"},      {"b", 3, "[a][b]"},   {"", 3, "[a][b][]"},
		{"c", 3, "[b][][c]"}, {"d", 3, "[][c][d]"}, {"e", 3, "[c][d][e]"},
		{"ff", 3, "[e][ff]"}, {"g", 1, "[g]"},	    {"h", 0, ""},
		{"i", 2, "[i]"},
	};
	struct news *n = news_new();

	(void)state;
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		news_out(n, steps[i].text, strlen(steps[i].text), steps[i].limit * COST(1));
		assert_string_equal(kept(n), steps[i].kept);
	}
	news_free(n);
}

/* One that is too long alone leaves nothing: what came before it is no end. */
static void
test_too_long(void **state)
{
	struct news *n = news_new();
	size_t empty = n->bytes;

	(void)state;
	news_out(n, "a", 1, COST(9));
	news_out(n, "0123456789", 10, COST(9));
	assert_string_equal(kept(n), "");
	assert_int_equal(n->bytes, empty);
	news_out(n, "012345678", 9, COST(9));
	assert_string_equal(kept(n), "[012345678]");
	news_free(n);
}

static void
test_progress(void **state)
{
	struct news *n = news_new();
	size_t empty = n->bytes;

	(void)state;
	assert_false(n->progressed);
	news_progress(n, 1, 10, "one", 3);
	assert_true(n->progressed);
	assert_int_equal(n->bytes, empty + 3);
	news_progress(n, 2, 10, NULL, 0);
	assert_int_equal(n->done, 2);
	assert_int_equal(n->total, 10);
	assert_null(n->text);
	assert_int_equal(n->bytes, empty);
	news_progress(n, 3, 10, "three", 5);
	assert_memory_equal(n->text, "three", 5);
	/* The text takes no room from the messages. */
	news_out(n, "a", 1, COST(1));
	assert_string_equal(kept(n), "[a]");
	news_free(n);
}

static void
test_text_len(void **state)
{
	char text[NEWS_TEXT_MAX + 8];

	(void)state;
	memset(text, 'x', sizeof(text));
	assert_int_equal(news_text_len(text, 0), 0);
	assert_int_equal(news_text_len(text, NEWS_TEXT_MAX), NEWS_TEXT_MAX);
	assert_int_equal(news_text_len(text, sizeof(text)), NEWS_TEXT_MAX);
	memcpy(text + NEWS_TEXT_MAX - 1, "\xc3\xa9", 2);
	assert_int_equal(news_text_len(text, sizeof(text)), NEWS_TEXT_MAX - 1);
	memcpy(text + NEWS_TEXT_MAX - 3, "\xf0\x9f\x98\x80", 4);
	assert_int_equal(news_text_len(text, sizeof(text)), NEWS_TEXT_MAX - 3);
	memset(text, '\x80', sizeof(text)); /* no characters at all */
	assert_true(news_text_len(text, sizeof(text)) >= NEWS_TEXT_MAX - 3);
}

/* The account is what is there, whatever comes. */
static void
test_account(void **state)
{
	static const char text[300] = "text";
	struct news *n = news_new();
	uint64_t seed = 8;

	(void)state;
	for (int round = 0; round < 5000; round++) {
		size_t limit = 1000, sum = sizeof(*n), outs = 0;
		size_t len = random_next(&seed) % sizeof(text);

		if (random_next(&seed) % 4)
			news_out(n, text, len, limit);
		else
			news_progress(n, 1, 2, text, len);
		list_foreach(it, next, &n->outs)
			outs += COST(container_of(it, struct message, link)->len);
		sum += outs + n->text_len;
		assert_int_equal(n->bytes, sum);
		assert_true(outs <= limit);
	}
	news_free(n);
	news_free(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_out),	 cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_progress), cmocka_unit_test(test_text_len),
		cmocka_unit_test(test_account),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
