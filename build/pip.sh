#!/bin/sh
# Prints a set of build/pins/pip.txt as a requirements file: pip.sh SET
set -eu
awk -v set="${1:?pip.sh SET}" '
	/^# for:/ { on = 0; for (i = 3; i <= NF; i++) if ($i == set) { on = 1; any = 1 } next }
	on
	END { exit !any }' "$(dirname "$0")/pins/pip.txt" || { echo "pip.sh: there is no set $1" >&2; exit 2; }
