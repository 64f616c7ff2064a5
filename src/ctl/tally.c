/* SPDX-License-Identifier: MIT */
#include "ctl/tally.h"

#include "base/map.h"
#include "ctl/ctl.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* The key of SipHash: any, but for ever the same, since hashes are kept in files. */
#define KEY_0 UINT64_C(0x707265666f726b64)
#define KEY_1 UINT64_C(0x6d61702d6a6f626c)

uint64_t
tally_hash(const char *data, size_t len)
{
	uint64_t hash = map_siphash(data, len, KEY_0, KEY_1);

	return hash ? hash : 1;
}

void
tally_init(struct tally *t, size_t most)
{
	/* a fifth stays empty, so that walks are short */
	size_t places = most + most / 4 + 8;

	*t = (struct tally){.places = places};
	t->rows = ctl_realloc(NULL, places * sizeof(*t->rows));
	memset(t->rows, 0, places * sizeof(*t->rows));
}

void
tally_free(struct tally *t)
{
	free(t->rows);
	*t = (struct tally){0};
}

/* The place of a hash, or the empty one where it belongs. */
static struct tally_row *
find_place(const struct tally *t, uint64_t hash)
{
	/* its upper bits, scaled to the number of places */
	size_t i = (size_t)(((unsigned __int128)hash * t->places) >> 64);

	while (t->rows[i].hash && t->rows[i].hash != hash)
		i = i + 1 < t->places ? i + 1 : 0;
	return &t->rows[i];
}

struct tally_row *
tally_find(const struct tally *t, uint64_t hash)
{
	struct tally_row *row = t->rows ? find_place(t, hash) : NULL;

	return row && row->hash ? row : NULL;
}

struct tally_row *
tally_get(struct tally *t, uint64_t hash)
{
	struct tally_row *row = find_place(t, hash);

	if (!row->hash) {
		assert(t->count + 1 < t->places);
		t->count++;
		row->hash = hash;
	}
	return row;
}
