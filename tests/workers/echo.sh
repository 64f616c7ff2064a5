#!/bin/sh
# SPDX-License-Identifier: MIT
# The smallest "line" worker in sh: the job is its own result.
while IFS= read -r job; do
	printf 'OK %s\n' "$job"
done
