/* SPDX-License-Identifier: MIT */
/*
 * CRC-32 of any bytes, with the helper for C: a job is the bytes, its result eight
 * hexadecimal digits.
 *
 *	cc -O2 -o helper-crc helper-crc.c
 *
 *	preforkctl map -- ./helper-crc < lines
 *	./helper-crc < lines                     without a daemon
 *
 * In a pool with protocol = "frame" a job can be a whole file:
 *
 *	preforkctl run crc --raw - < file
 */
#include <preforkd.h>

#include <stdint.h>

static uint32_t
crc32(const char *data, size_t len)
{
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < len; i++) {
		crc ^= (unsigned char)data[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0xedb88320) : 0);
	}
	return ~crc;
}

int
main(void)
{
	struct preforkd p;
	struct preforkd_job job;

	preforkd_open(&p);
	while (preforkd_next(&p, &job)) {
		char result[9];

		snprintf(result, sizeof(result), "%08x", (unsigned)crc32(job.payload, job.len));
		preforkd_ok(&p, &job, result, strlen(result));
	}
	return 0;
}
