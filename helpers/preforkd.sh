# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# Workers of preforkd(8) in shell: jobs in, answers out, at every level and channel.
#
#   . /usr/share/preforkd/helpers/preforkd.sh
#
#   while preforkd_next; do
#           if sum=$(sha256sum <"$job"); then
#                   preforkd_ok "${sum%% *}"
#           else
#                   preforkd_err "cannot read $job"
#           fi
#   done
#
# It can be copied to where the worker is; it needs nothing but a POSIX shell, and at level frame
# head, mktemp and wc. Sourcing it takes the channel: programs that are started from then on have
# an empty standard input, and what they print goes to the log.
#
#   preforkd_next             read a job into $job; fails when no more come. At frame $job_id and
#                             $job_attempt are set too, and $job_file is a file with its bytes
#                             ($job has no NULs). It is removed by a trap on EXIT
#   preforkd_ok [TEXT]        the job is done
#   preforkd_ok_file FILE     the same, and the file's bytes are the result
#   preforkd_err TEXT         the job failed
#   preforkd_retry TEXT       the job failed for now
#   preforkd_out TEXT         partial output
#   preforkd_progress DONE TOTAL [TEXT]
#   preforkd_log LEVEL TEXT   a log line, with a level from 0 to 7
#
# preforkd-worker(7) says more. Names that begin with _preforkd are for this file.

_preforkd_level=${PREFORKD_PROTOCOL:-line}
_preforkd_max=${PREFORKD_MAX_RESULT:-1000000000}
_preforkd_ready=
_preforkd_lf='
'
_preforkd_cr=$(printf '\r')
if [ "${PREFORKD_CHANNEL:-stdio}" = fd3 ]; then
	exec 8<&3 9>&3 3>&-
else
	exec 8<&0 9>&1
fi
exec </dev/null >&2
unset PREFORKD_PROTOCOL PREFORKD_CHANNEL PREFORKD_MAX_RESULT # a child is no worker
if [ "$_preforkd_level" = frame ]; then
	job_file=$(mktemp "${TMPDIR:-/tmp}/preforkd.XXXXXX") || exit 71
	trap 'rm -f "$job_file"' EXIT
	trap 'exit 143' TERM
fi

_preforkd_line() { # text: on one line
	set -f
	# shellcheck disable=SC2086
	set -- $1
	set +f
	printf '%s' "$*"
}

_preforkd_put() { # verb text
	case $_preforkd_level in
	line) printf '%s %s\n' "$1" "$2" >&9 ;;
	frame) printf '%s %s %s\n%s\n' "$1" "$job_id" "$(($(printf '%s' "$2" | wc -c)))" "$2" >&9 ;;
	*) # a filter has no other word for a failure than its end
		case $1 in
		OK) printf '%s\n' "$2" >&9 ;;
		OUT) ;;
		*)
			printf '%s\n' "$2" >&2
			exit 1
			;;
		esac
		;;
	esac
}

_preforkd_unfit() { # text: is it no result? Then the answer is why.
	if [ ${#1} -gt $((_preforkd_max / 4)) ] && [ "$(printf '%s' "$1" | wc -c)" -gt "$_preforkd_max" ]; then
		preforkd_err "the result is longer than the pool's job.max_result"
		return 0
	fi
	[ "$_preforkd_level" = frame ] && return 1
	case $_preforkd_level$1 in
	*"$_preforkd_lf"* | line*"$_preforkd_cr") ;;
	*) return 1 ;;
	esac
	preforkd_err 'the result is not one line: the pool needs protocol = "frame"'
}

preforkd_ok() {
	_preforkd_unfit "${1-}" || _preforkd_put OK "${1-}"
}

preforkd_ok_file() {
	if [ "$_preforkd_level" != frame ]; then
		preforkd_ok "$(cat -- "$1")"
	elif [ "$(wc -c <"$1")" -gt "$_preforkd_max" ]; then
		preforkd_err "the result is longer than the pool's job.max_result"
	else
		printf 'OK %s %s\n' "$job_id" "$(($(wc -c <"$1")))" >&9
		cat -- "$1" >&9
		echo >&9
	fi
}

preforkd_err() { _preforkd_put ERR "$(_preforkd_line "$*")"; }
preforkd_retry() { _preforkd_put RETRY "$(_preforkd_line "$*")"; }
preforkd_out() { _preforkd_put OUT "$1"; }

preforkd_progress() {
	case $_preforkd_level in
	line) printf 'PROGRESS %d %d %s\n' "$1" "$2" "$(_preforkd_line "${3-}")" >&9 ;;
	frame) printf 'PROGRESS %s %d %d\n' "$job_id" "$1" "$2" >&9 ;;
	esac
}

preforkd_log() {
	case $_preforkd_level in
	line) printf 'LOG <%d>%s\n' "$1" "$(_preforkd_line "$2")" >&9 ;;
	frame) printf 'LOG %d %s\n%s\n' "$1" "$(($(printf '%s' "$2" | wc -c)))" "$2" >&9 ;;
	*) printf '<%d>%s\n' "$1" "$(_preforkd_line "$2")" >&2 ;;
	esac
}

preforkd_next() {
	if [ -z "$_preforkd_ready" ]; then
		_preforkd_ready=1
		case $_preforkd_level in
		line) echo READY >&9 ;;
		frame) echo READY 1 >&9 ;;
		esac
	fi
	if [ "$_preforkd_level" != frame ]; then
		IFS= read -r job <&8
		return
	fi
	# shellcheck disable=SC2034
	while read -r _preforkd_verb job_id job_attempt _preforkd_length <&8; do
		[ "$_preforkd_verb" = JOB ] || continue # a CANCEL that comes here comes too late
		head -c "$_preforkd_length" <&8 >"$job_file"
		read -r _preforkd_verb <&8 || return 1 # it was cut short: half a job is none
		job=$(tr -d '\0' <"$job_file" && echo .)
		job=${job%.}
		return 0
	done
	return 1
}
