#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Back directories up, with the helper for shell: a job is a directory's name,
# its result the archive's name and size.
#
#   ls -d /srv/*/ | preforkctl map -- helper-backup.sh /var/backups
#   ls -d /srv/*/ | helper-backup.sh /var/backups      without a daemon
#
# What tar prints goes to the log, and it cannot swallow the next job.

# Where the helper is installed, seen from here; or copy it to where your worker is.
. "$(dirname "$0")/../helpers/preforkd.sh"

# shellcheck disable=SC2154  # job is set by preforkd_next
while preforkd_next; do
	target=${1:-.}/$(basename -- "$job").tar.gz
	if [ ! -d "$job" ]; then
		preforkd_err "$job is no directory"
	elif tar -C "$job" -czf "$target.new" . && mv -- "$target.new" "$target"; then
		preforkd_ok "$target $(($(wc -c <"$target"))) bytes"
	else
		rm -f -- "$target.new"
		preforkd_retry "tar failed; the log says why"
	fi
done
