/* SPDX-License-Identifier: MIT */
/* check - what the test clients in C have in common: a case that does not hold ends
 * the program, with the line. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #cond);         \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

struct check_case {
	const char *name;
	void (*run)(const char *socket);
};

/* NAME SOCKET: run the case of that name. */
static inline int
check_main(int argc, char **argv, const struct check_case *cases)
{
	CHECK(argc == 3);
	for (; cases->name; cases++) {
		if (strcmp(cases->name, argv[1]))
			continue;
		cases->run(argv[2]);
		puts("ok");
		return 0;
	}
	fprintf(stderr, "no case %s\n", argv[1]);
	return 2;
}
