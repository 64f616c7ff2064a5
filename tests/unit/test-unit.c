/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/unit.h"

#include <stdlib.h>

static const struct {
	const char *cgroup, *system, *user;
} cases[] = {
	{"0::/system.slice/preforkd.service\n", "preforkd.service", ""},
	{"0::/system.slice/system-preforkd.slice/preforkd@two.service\n", "preforkd@two.service",
	 ""},
	{"0::/system.slice/preforkd.service/pools/thumbs\n", "preforkd.service", ""},
	{"0::/system.slice/_tasks.service\n", "tasks.service", ""},
	{"0::/system.slice/a\\x2db.service\n", "a\\x2db.service", ""},
	{"0::/user.slice/user-1000.slice/session-3.scope\n", "session-3.scope", ""},
	{"0::/user.slice/user-1000.slice/user@1000.service/app.slice/preforkd.service\n",
	 "user@1000.service", "preforkd.service"},
	{"0::/user.slice/user-1000.slice/user@1000.service/init.scope\n", "user@1000.service",
	 "init.scope"},
	{"0::/user.slice/user-1000.slice/user@1000.service\n", "user@1000.service", ""},
	/* several hierarchies: that which has systemd's units */
	{"12:pids:/other.service\n1:name=systemd:/system.slice/preforkd.service\n0::/\n",
	 "preforkd.service", ""},
	{"12:pids:/other.service\n0::/system.slice/preforkd.service\n", "preforkd.service", ""},
	/* no unit */
	{"0::/\n", "", ""},
	{"0::/docker/0123abc\n", "", ""},
	{"0::/system.slice\n", "", ""},
	{"0::/.service/x\n", "", ""},
	{"10::/x.service\n", "", ""},
	{"0::", "", ""},
	{"", "", ""},
};

static void
test_parse(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct unit_names u;

		unit_names_parse(cases[i].cgroup, &u);
		assert_string_equal(u.system, cases[i].system);
		assert_string_equal(u.user, cases[i].user);
		unit_names_free(&u);
	}
}

static void
test_own(void **state)
{
	struct unit_names u;

	(void)state;
	unit_names_get(&u);
	assert_non_null(u.system);
	assert_non_null(u.user);
	unit_names_free(&u);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
