# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# bash completion for preforkctl. What may come next preforkctl says itself, from
# the tables that it works by and from the daemon that runs; so this is as new as
# the program is.

_preforkctl()
{
	local cur=${COMP_WORDS[COMP_CWORD]} said
	mapfile -t said < <(
		"${COMP_WORDS[0]/#\~/$HOME}" complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null
	)
	case ${said[0]-} in
	words)
		COMPREPLY=("${said[@]:1}")
		;;
	files)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		;;
	commands)
		mapfile -t COMPREPLY < <(compgen -c -- "$cur")
		;;
	*)
		COMPREPLY=()
		;;
	esac
}

complete -F _preforkctl preforkctl
