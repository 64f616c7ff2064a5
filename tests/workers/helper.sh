#!/bin/sh
# SPDX-License-Identifier: MIT
#
# A worker with helpers/preforkd.sh; helper.py says what its jobs are.
#
# shellcheck disable=SC2154  # what is not set here is set by what is sourced

# shellcheck source=helpers/preforkd.sh
. "$(dirname "$0")/../../helpers/preforkd.sh"

echo starting
while preforkd_next; do
	verb=${job%% *}
	case $job in
	*' '*) arg=${job#* } ;;
	*) arg= ;; # cutting what is not there takes the square of a long job's time
	esac
	case $verb in
	print)
		echo "$arg"
		env echo "by echo: $arg"
		preforkd_ok printed
		;;
	read) preforkd_ok "$(
		cat
		env | grep -q PREFORKD_PROTOCOL && echo "told"
		echo "<none>"
	)" ;;
	fail | throw) preforkd_err "$arg" ;;
	retry) preforkd_retry "$arg" ;;
	progress)
		preforkd_progress 1 3 'one
third'
		preforkd_ok 'after progress'
		;;
	out)
		preforkd_out "$arg"
		preforkd_ok 'after out'
		;;
	log)
		preforkd_log "${arg%% *}" "${arg#* }"
		preforkd_ok 'after log'
		;;
	lines)
		preforkd_ok 'two
lines'
		;;
	cr) preforkd_ok "$(printf 'x\r')" ;;
	big) preforkd_ok "$(printf "%0${arg}d" 0 | tr 0 x)" ;;
	who) preforkd_ok "$job_id $job_attempt" ;;
	gate) preforkd_ok "$(cat "$arg")" ;;
	exit) exit 3 ;;
	file) preforkd_ok_file "$job_file" ;;
	*) preforkd_ok "$job" ;;
	esac
done
