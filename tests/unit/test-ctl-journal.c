/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ctl/journal.h"

#include <stdlib.h>
#include <string.h>

#define N(a) (sizeof(a) / sizeof((a)[0]))
#define TEXT(s) s, sizeof(s) - 1

static const struct {
	const char *data;
	size_t len;
	int64_t unix_us;
	int level;
	const char *message, *pool; /* NULL: there is none */
} entries[] = {
	{TEXT("MESSAGE=hello\n\n"), -1, -1, "hello", NULL},
	{TEXT("__REALTIME_TIMESTAMP=1700000000000001\nPRIORITY=3\nPREFORKD_POOL=p\n"
	      "MESSAGE=a=b\n\n"),
	 1700000000000001, 3, "a=b", "p"},
	{TEXT("MESSAGE\n\4\0\0\0\0\0\0\0a\n\nb\nPREFORKD_POOL=p\n\n"), -1, -1, "a\n\nb", "p"},
	{TEXT("MESSAGE\n\0\0\0\0\0\0\0\0\nPRIORITY=8\n\n"), -1, -1, "", NULL},
	{TEXT("X\n\12\0\0\0\0\0\0\0MESSAGE=no\n__REALTIME_TIMESTAMP=-5\n\n"), -1, -1, NULL, NULL},
	{TEXT("MESSAGE=\nPRIORITY=\nMESSAGES=no\nMESSAG=no\n=no\n\n"), -1, -1, "", NULL},
	{TEXT("\n"), -1, -1, NULL, NULL},
};

static void
check_slice(struct journal_slice s, const char *text)
{
	if (!text) {
		assert_null(s.data);
		return;
	}
	assert_int_equal(s.len, strlen(text));
	assert_memory_equal(s.data, text, s.len);
}

/* Of every beginning no more is read than there is, and only the whole is an entry. */
static void
test_cut_at_every_byte(void **state)
{
	struct journal_entry e;

	(void)state;
	for (size_t i = 0; i < N(entries); i++)
		for (size_t len = 0; len <= entries[i].len; len++) {
			char *copy = malloc(len + 1);
			assert_non_null(copy);
			memcpy(copy, entries[i].data, len);
			ssize_t n = journal_parse(copy, len, &e);
			assert_int_equal(n, len == entries[i].len ? (ssize_t)len : 0);
			if (n > 0) {
				assert_int_equal(e.unix_us, entries[i].unix_us);
				assert_int_equal(e.level, entries[i].level);
				check_slice(e.message, entries[i].message);
				check_slice(e.pool, entries[i].pool);
			}
			free(copy);
		}
}

static void
test_garbage(void **state)
{
	static const struct {
		const char *data;
		size_t len;
	} cases[] = {
		{TEXT("MESSAGE\n\377\377\377\377\377\377\377\377x\n\n")},
		{TEXT("MESSAGE\n\0\0\0\200\0\0\0\0x\n\n")},
		{TEXT("MESSAGE\n\1\0\0\0\0\0\0\0xx\n\n")}, /* no LF behind it */
	};
	struct journal_entry e;

	(void)state;
	for (size_t i = 0; i < N(cases); i++)
		assert_int_equal(journal_parse(cases[i].data, cases[i].len, &e), -1);
}

/* What a daemon says its unit is goes into matches. */
static void
test_units(void **state)
{
	static const char *const good[] = {"preforkd.service", "preforkd@a-b.service",
					   "a\\x2db.service", "session-3.scope"},
				 *const bad[] = {"",	"a b.service", "*.service", "a\n.service",
						 "a=b", "a/b.service"};
	char long_one[400];

	(void)state;
	memset(long_one, 'x', sizeof(long_one));
	long_one[sizeof(long_one) - 1] = '\0';
	assert_false(journal_is_unit(long_one));
	for (size_t i = 0; i < N(good); i++)
		assert_true(journal_is_unit(good[i]));
	for (size_t i = 0; i < N(bad); i++)
		assert_false(journal_is_unit(bad[i]));
}

static void
check_command(const struct journal_query *q, const char *const *matches)
{
	char **words = journal_command(q);
	size_t n = 0, from = 0;

	while (words[n])
		n++;
	while (words[from] && (strncmp(words[from], "--", 2) == 0 || !from))
		from++;
	for (; *matches; matches++)
		assert_string_equal(words[from++], *matches);
	assert_int_equal(from, n);
	journal_command_free(words);
}

/* The unit narrows all of it. */
static void
test_matches(void **state)
{
	static const struct {
		struct journal_query q;
		const char *matches[12];
	} cases[] = {
		{{.pool = "p"}, {"PREFORKD_POOL=p"}},
		{{.pool = "p", .unit = "a.service"},
		 {"_SYSTEMD_UNIT=a.service", "PREFORKD_POOL=p"}},
		{{.job = "7", .unit = "user@1.service", .user_unit = "a.service"},
		 {"_SYSTEMD_UNIT=user@1.service", "_SYSTEMD_USER_UNIT=a.service",
		  "PREFORKD_JOB=7"}},
		{{0}, {"SYSLOG_IDENTIFIER=preforkd"}},
		{{.unit = "a.service"},
		 {"_SYSTEMD_UNIT=a.service", "+", "_PID=1", "UNIT=a.service"}},
		{{.pool = "p", .named_unit = "a.service"}, {"PREFORKD_POOL=p"}},
		{{.pool = "p", .worker = "0", .named_unit = "a.service", .only_named = true},
		 {"_SYSTEMD_UNIT=a.service", "PREFORKD_POOL=p", "PREFORKD_WORKER=0", "+",
		  "_SYSTEMD_USER_UNIT=a.service", "PREFORKD_POOL=p", "PREFORKD_WORKER=0"}},
		{{.named_unit = "a.service"},
		 {"SYSLOG_IDENTIFIER=preforkd", "+", "_PID=1", "UNIT=a.service", "+",
		  "USER_UNIT=a.service"}},
		{{.named_unit = "a.service", .only_named = true},
		 {"_SYSTEMD_UNIT=a.service", "+", "_SYSTEMD_USER_UNIT=a.service", "+", "_PID=1",
		  "UNIT=a.service", "+", "USER_UNIT=a.service"}},
		{{.unit = "user@1.service", .user_unit = "a.service"},
		 {"_SYSTEMD_UNIT=user@1.service", "_SYSTEMD_USER_UNIT=a.service", "+",
		  "_SYSTEMD_UNIT=user@1.service", "USER_UNIT=a.service"}},
	};

	(void)state;
	for (size_t i = 0; i < N(cases); i++)
		check_command(&cases[i].q, cases[i].matches);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cut_at_every_byte),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_units),
		cmocka_unit_test(test_matches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
