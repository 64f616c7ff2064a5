#!/bin/sh
# SPDX-License-Identifier: MIT
#
# A worker in shell: a job is a file's name, its result the file's SHA-256.
#
#   ls | preforkctl map -- ./worker.sh
#
# Standard input is where the next job comes from and standard output is where
# answers go, so a program started here must have neither: "$(program <file)"
# redirects both; for others add </dev/null >&2.

while IFS= read -r job; do
	if sum=$(sha256sum <"$job"); then
		printf 'OK %s\n' "${sum%% *}"
	else
		printf 'ERR cannot read %s\n' "$job"
	fi
done
