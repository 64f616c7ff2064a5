/* SPDX-License-Identifier: MIT */
/* echo - the smallest "line" worker in C: the job is its own result. */
#include <stdio.h>
#include <string.h>

int
main(void)
{
	char *line = NULL;
	size_t cap = 0;
	ssize_t len;

	while ((len = getline(&line, &cap, stdin)) > 0) {
		fputs("OK ", stdout);
		fwrite(line, 1, (size_t)len, stdout);
		fflush(stdout);
	}
	return 0;
}
