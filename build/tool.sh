#!/bin/sh
# Runs a tool of build/pins/go.txt: tool.sh NAME [ARGUMENT...], or puts it into a folder: tool.sh -into FOLDER NAME
#
# It is built once, into the cache folder. Go has no place for the sum of what `go install PACKAGE@VERSION` fetches: the
# module's own is compared here, those of what it is made of by Go's checksum database.
set -eu
pins=$(dirname "$0")/pins/go.txt
into=
if [ "${1:-}" = -into ]; then
	into=${2:?tool.sh -into FOLDER NAME}
	shift 2
fi
name=${1:?tool.sh NAME [ARGUMENT...]}
shift
line=$(awk -v name="$name" '$1 == name && NF == 5 { print $2, $3, $4, $5 }' "$pins")
if [ -z "$line" ]; then
	echo "tool.sh: $pins has no line of five columns for $name" >&2
	exit 2
fi
read -r module version package sum <<END
$line
END
folder=${into:-${XDG_CACHE_HOME:-$HOME/.cache}/spatial-flow/tools/$name-$version-$(go env GOVERSION)}
if [ ! -x "$folder/$name" ]; then
	# In a folder without a module, lest the one here has a say; a version that is there already needs no network.
	found=$(cd / && GOFLAGS='' GOWORK=off go mod download -json "$module@$version" | sed -n 's/^\t"Sum": "\(.*\)",\{0,1\}$/\1/p')
	if [ "$found" != "$sum" ]; then
		echo "tool.sh: $module@$version has the sum ${found:-(none)}, $pins says $sum: it was not built" >&2
		exit 1
	fi
	mkdir -p "$folder"
	GOBIN=$(cd "$folder" && pwd) GOFLAGS='' GOOS='' GOARCH='' go install "$module${package#.}@$version"
fi
[ -n "$into" ] || exec "$folder/$name" "$@"
