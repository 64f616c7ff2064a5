/* SPDX-License-Identifier: MIT */
#include "core/throttle.h"

static int64_t
throttle_delay(unsigned fails, int64_t min_us, int64_t max_us)
{
	int64_t delay = min_us;

	if (fails < 2)
		return 0;
	for (unsigned i = 2; i < fails && delay < max_us; i++)
		delay = delay > max_us / 2 ? max_us : delay * 2;
	return delay < max_us ? delay : max_us;
}

void
throttle_reset(struct throttle *t)
{
	*t = (struct throttle){.fails = 0};
}

void
throttle_withdraw(struct throttle *t)
{
	t->trying = false;
}

void
throttle_failed(struct throttle *t, mono_t spawned, mono_t now, int64_t min_us, int64_t max_us)
{
	if (mono_since(now, spawned) > t->lived_us)
		t->lived_us = mono_since(now, spawned);
	if (t->fails && (mono_before(spawned, t->last_fail) || !mono_before(t->last_fail, now)))
		return; /* one of those that were started, or could not be, with the one before */
	t->fails++;
	t->trying = false;
	t->last_fail = now;
	t->next_try = mono_add(now, throttle_delay(t->fails, min_us, max_us));
}

bool
throttle_proved(struct throttle *t, mono_t spawned)
{
	if (!t->fails || mono_before(spawned, t->last_fail))
		return false;
	throttle_reset(t);
	return true;
}

bool
throttle_survived(struct throttle *t, mono_t now)
{
	if (!throttle_holds(t) || !t->trying || mono_before(now, t->next_try))
		return false;
	throttle_reset(t);
	return true;
}

bool
throttle_try(struct throttle *t, mono_t now, int64_t min_us, int64_t max_us)
{
	int64_t delay = throttle_delay(t->fails, min_us, max_us);
	int64_t patience = t->lived_us < max_us / 2 ? 2 * t->lived_us : max_us;

	if (!throttle_holds(t))
		return true;
	if (t->trying || mono_before(now, t->next_try))
		return false;
	t->trying = true;
	t->next_try = mono_add(now, delay > patience ? delay : patience);
	return true;
}
