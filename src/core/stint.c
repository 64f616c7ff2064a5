/* SPDX-License-Identifier: MIT */
#include "core/stint.h"

unsigned
stint_next(unsigned stint, uint64_t done, int64_t us, unsigned max)
{
	if (us > STINT_US)
		stint = (unsigned)(stint * (int64_t)STINT_US / us);
	else if (done >= stint)
		stint++;
	if (stint > max)
		stint = max;
	return stint ? stint : 1;
}
