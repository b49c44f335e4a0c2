#!/bin/sh
# Runs build/audit in the root of the repository: audit.sh COMMAND [ARGUMENT...]
#
# It is built for this machine, whichever one go's environment is for: notices are of the programs that are built with it.
set -eu
cd "$(dirname "$0")/.."
program=$(mktemp)
trap 'rm -f "$program"' EXIT
(cd build/audit && GOWORK=off GOFLAGS='' GOOS='' GOARCH='' CGO_ENABLED=0 go build -o "$program" .)
"$program" "$@"
