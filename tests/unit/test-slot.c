/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/slot.h"

#include "aborts.h"

#include <string.h>

/* A letter for each state, in the order of enum slot_state. */
static const char letters[] = "DSTUCEK";

/* The state after each event (spawn, execed, ready, close, end, destroy, exit) in
 * each state; '-': that cannot happen. */
static const char *const after[SLOT_STATES] = {
	[SLOT_DOWN] = "S------", [SLOT_SPAWNED] = "-T-CEKD", [SLOT_STARTING] = "--UCEKD",
	[SLOT_UP] = "--UCEKD",	 [SLOT_CLOSING] = "-CCCEKD", [SLOT_TERM] = "-EEEEKD",
	[SLOT_KILL] = "-KKKKKD",
};

struct step {
	enum slot_state state;
	enum slot_event event;
};

static void
take_step(void *arg)
{
	struct step *s = arg;

	s->state = slot_next(s->state, s->event);
}

static void
test_table(void **state)
{
	(void)state;
	for (unsigned s = 0; s < SLOT_STATES; s++)
		for (unsigned e = 0; e < SLOT_EVENTS; e++) {
			struct step step = {(enum slot_state)s, (enum slot_event)e};

			if (after[s][e] == '-')
				assert_true(aborts(take_step, &step));
			else
				assert_int_equal(letters[slot_next(step.state, step.event)],
						 after[s][e]);
		}
}

static void
test_a_life(void **state)
{
	static const enum slot_event events[] = {SLOT_SPAWN, SLOT_EXECED,  SLOT_READY, SLOT_CLOSE,
						 SLOT_END,   SLOT_DESTROY, SLOT_EXIT};
	enum slot_state s = SLOT_DOWN;
	char seen[SLOT_EVENTS + 1] = "";

	(void)state;
	for (size_t i = 0; i < SLOT_EVENTS; i++) {
		s = slot_next(s, events[i]);
		seen[i] = letters[s];
	}
	assert_string_equal(seen, "STUCEKD");
}

static void
test_names(void **state)
{
	static const char *const names[SLOT_STATES][2] = {
		[SLOT_DOWN] = {"down", "down"},
		[SLOT_SPAWNED] = {"starting", "starting"},
		[SLOT_STARTING] = {"starting", "starting"},
		[SLOT_UP] = {"idle", "busy"},
		[SLOT_CLOSING] = {"stopping", "stopping"},
		[SLOT_TERM] = {"stopping", "stopping"},
		[SLOT_KILL] = {"stopping", "stopping"},
	};

	(void)state;
	for (unsigned s = 0; s < SLOT_STATES; s++) {
		const char *idle = slot_state_name((enum slot_state)s, false);
		const char *busy = slot_state_name((enum slot_state)s, true);

		assert_string_equal(idle, names[s][0]);
		assert_string_equal(busy, names[s][1]);
		assert_int_equal(slot_is_stopping((enum slot_state)s), !strcmp(idle, "stopping"));
		assert_string_equal(slot_phase_name(slot_phase((enum slot_state)s)),
				    s == SLOT_UP ? "up" : idle);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_a_life),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
