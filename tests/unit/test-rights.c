/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/rights.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))
#define WORDS 4
#define IDS 3
#define RULES 4

enum {
	NONE = 0,
	R = RIGHT_READ,
	S = RIGHT_SUBMIT,
	A = RIGHT_ADMIN,
};

/* A rule in short. The lists end with 0, which root's are: it has no need of rules. */
struct rule {
	unsigned uids[IDS], gids[IDS];
	unsigned rights;
	const char *pools[WORDS]; /* at least one */
};

#define USERS(...) .uids = {__VA_ARGS__}
#define GROUPS(...) .gids = {__VA_ARGS__}
#define POOLS(...) .pools = {__VA_ARGS__}
#define MAY(r) .rights = (r)
#define DAEMON NULL

struct row {
	const char *what;
	struct rule rules[RULES];
	unsigned uid, gid, groups[IDS];
	const char *pool;
	unsigned rights;
};

/* clang-format off */
static const struct row rows[] = {
	{"no rule", {}, 1, 1, {}, "p", R | S},
	{"no rule, the daemon", {}, 1, 1, {}, DAEMON, R | S},
	{"for everybody", {{MAY(NONE), POOLS("*")}}, 1, 1, {}, "p", NONE},
	{"for everybody, the daemon", {{MAY(A), POOLS("*")}}, 1, 1, {}, DAEMON, A},
	{"rights are what is listed", {{MAY(S), POOLS("*")}}, 7, 1, {}, "p", S},

	{"the user", {{USERS(7), MAY(A), POOLS("*")}}, 7, 1, {}, "p", A},
	{"one of the users", {{USERS(6, 7), MAY(A), POOLS("*")}}, 7, 1, {}, "p", A},
	{"another user", {{USERS(7), MAY(A), POOLS("*")}}, 8, 7, {7}, "p", R | S},
	{"the group, primary", {{GROUPS(7), MAY(A), POOLS("*")}}, 1, 7, {}, "p", A},
	{"the group, supplementary", {{GROUPS(7), MAY(A), POOLS("*")}}, 1, 1, {5, 7}, "p", A},
	{"one of the groups", {{GROUPS(6, 7), MAY(A), POOLS("*")}}, 1, 1, {7}, "p", A},
	{"another group", {{GROUPS(7), MAY(A), POOLS("*")}}, 7, 1, {8}, "p", R | S},
	{"either: the user", {{USERS(7), GROUPS(8), MAY(A), POOLS("*")}}, 7, 1, {}, "p", A},
	{"either: the group", {{USERS(7), GROUPS(8), MAY(A), POOLS("*")}}, 1, 1, {8}, "p", A},
	{"either: neither", {{USERS(7), GROUPS(8), MAY(A), POOLS("*")}}, 8, 7, {}, "p", R | S},

	{"the pool", {{USERS(7), MAY(A), POOLS("p")}}, 7, 1, {}, "p", A},
	{"another pool", {{USERS(7), MAY(A), POOLS("p")}}, 7, 1, {}, "q", R | S},
	{"one that begins so", {{USERS(7), MAY(A), POOLS("p")}}, 7, 1, {}, "pq", R | S},
	{"in another case", {{USERS(7), MAY(A), POOLS("p")}}, 7, 1, {}, "P", R | S},
	{"one of the pools", {{USERS(7), MAY(A), POOLS("o", "p")}}, 7, 1, {}, "p", A},
	{"a pattern", {{USERS(7), MAY(A), POOLS("web-*")}}, 7, 1, {}, "web-1", A},
	{"a pattern that does not fit", {{USERS(7), MAY(A), POOLS("web-*")}}, 7, 1, {}, "web", R | S},
	{"a set", {{USERS(7), MAY(A), POOLS("[ab]?")}}, 7, 1, {}, "b2", A},

	{"the daemon, by every pool", {{USERS(7), MAY(A), POOLS("p", "*")}}, 7, 1, {}, DAEMON, A},
	{"the daemon, not by one", {{USERS(7), MAY(A), POOLS("p")}}, 7, 1, {}, DAEMON, R | S},
	{"the daemon, not by chance", {{USERS(7), MAY(A), POOLS("?*")}}, 7, 1, {}, DAEMON, R | S},

	{"the first decides",
	 {{USERS(7), MAY(NONE), POOLS("*")}, {USERS(7), MAY(A), POOLS("*")}},
	 7, 1, {}, "p", NONE},
	{"the first about that pool decides",
	 {{USERS(7), MAY(NONE), POOLS("secret")}, {USERS(7), MAY(A), POOLS("*")}},
	 7, 1, {}, "p", A},
	{"for the other it is another",
	 {{USERS(7), MAY(NONE), POOLS("secret")}, {USERS(7), MAY(A), POOLS("*")}},
	 7, 1, {}, "secret", NONE},
	{"one by user does not go before one by group",
	 {{GROUPS(5), MAY(R), POOLS("*")}, {USERS(7), MAY(A), POOLS("*")}},
	 7, 5, {}, "p", R},
	{"the last one closes: who is named before",
	 {{USERS(7), MAY(A), POOLS("*")}, {MAY(NONE), POOLS("*")}},
	 7, 1, {}, "p", A},
	{"the last one closes: who is not",
	 {{USERS(7), MAY(A), POOLS("*")}, {MAY(NONE), POOLS("*")}},
	 8, 1, {}, "p", NONE},
};
/* clang-format on */

static size_t
count(const unsigned ids[IDS])
{
	size_t n = 0;

	while (n < IDS && ids[n])
		n++;
	return n;
}

/* The real form of a short rule, which lends it its lists. */
static struct conf_access
full_rule(const struct rule *from, char *pools[WORDS + 1])
{
	for (size_t i = 0; i < WORDS; i++)
		pools[i] = (char *)(uintptr_t)from->pools[i];
	return (struct conf_access){
		.uids = (uid_t *)(uintptr_t)from->uids,
		.n_uids = count(from->uids),
		.gids = (gid_t *)(uintptr_t)from->gids,
		.n_gids = count(from->gids),
		.rights = from->rights,
		.pools = pools,
	};
}

static void
rules_are_matched(void **state)
{
	(void)state;
	for (const struct row *row = rows; row < rows + N(rows); row++) {
		struct conf_access rules[RULES];
		char *pools[RULES][WORDS + 1] = {{0}};
		struct conf c = {.access = rules};
		struct peer peer = {
			.uid = row->uid,
			.gid = row->gid,
			.groups = row->groups,
			.n_groups = count(row->groups),
		};
		unsigned rights;

		for (const struct rule *from = row->rules; from->pools[0]; from++, c.n_access++)
			rules[c.n_access] = full_rule(from, pools[c.n_access]);
		rights = rights_of(&c, &peer, row->pool);
		if (rights != row->rights)
			fail_msg("%s: %u, not %u", row->what, rights, row->rights);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(rules_are_matched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
