/* SPDX-License-Identifier: MIT */
/*
 * tally - how often each line is done and failed, by the hash of its content.
 *
 * Open-addressed, sixteen bytes a row, of a size that is fixed when it is made:
 * whoever fills it knows how many there can be at most. A million lines take
 * 20 MB. Rows are never removed, their counts go down to nothing.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct tally_row {
	uint64_t hash; /* 0: an empty place */
	uint32_t done, failed;
};

struct tally {
	struct tally_row *rows;
	size_t places, count;
};

/* The same for the same content, always and everywhere; never 0. */
uint64_t tally_hash(const char *data, size_t len);

void tally_init(struct tally *t, size_t most);
void tally_free(struct tally *t);

/* The row of a hash, or NULL. */
struct tally_row *tally_find(const struct tally *t, uint64_t hash);

/* The row of a hash; a new one where there was none. */
struct tally_row *tally_get(struct tally *t, uint64_t hash);
