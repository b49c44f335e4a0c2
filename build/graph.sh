#!/bin/sh
# Who may import whom, and how many files a folder may have: make graph.
set -eu
cd "$(dirname "$0")/.."
ROOT=github.com/spatial-flow/spatial-flow
bad=0
say() { echo "$*"; bad=1; }

# A service knows flow and itself; flow knows itself; what flow is made of knows nothing of ours. What readers get is of
# client, which knows nobody; flow, gateway and standalone know it.
for module in client flow producer workers fuser gateway; do
	case $module in client) known=client ;; *) known="$module|flow|client" ;; esac
	go list -tags "${TAGS:-}" -deps "./$module/..." | grep "^$ROOT/" | grep -Ev "^$ROOT/($known)(/|\$)" >.graph || :
	[ ! -s .graph ] || say "$module must not import: $(tr '\n' ' ' <.graph)"
done
# shellcheck disable=SC2016 # $p is of the template
go list -tags "${TAGS:-}" -f '{{$p := .ImportPath}}{{range .Imports}}{{$p}} {{.}}{{"\n"}}{{end}}' ./producer/... ./workers/... ./fuser/... |
	grep " $ROOT/client" >.graph || :
[ ! -s .graph ] || { cat .graph; say "these know flow, which has what is theirs"; }
for leaf in flow/clock flow/depthmap flow/picture producer/live/credit; do
	[ -d "$leaf" ] || continue
	go list -f '{{join .Imports "\n"}}' "./$leaf" | grep "^$ROOT/" | grep -Ev "^$ROOT/(flow|flow/clock)\$" >.graph || :
	case $leaf in flow/*) go list -f '{{join .Imports "\n"}}' "./$leaf" | grep "^$ROOT/" | grep -v "^$ROOT/client/" >.graph || : ;; esac
	[ ! -s .graph ] || say "$leaf must not import: $(tr '\n' ' ' <.graph)"
done

# Within a service a package imports what lies beside or below it, never what lies above; its commands and examples are at the top.
# dataset writes what its street draws.
# shellcheck disable=SC2016 # $p is of the template
go list -tags "${TAGS:-}" -f '{{$p := .ImportPath}}{{range .Imports}}{{$p}} {{.}}{{"\n"}}{{end}}' ./client/... ./producer/... ./workers/... ./fuser/... ./gateway/... ./standalone/... |
	grep " $ROOT/" | grep -Ev '/(cmd|examples)/' | grep -v "^$ROOT/producer/street/dataset " | while read -r package import; do
	case $package in "$import"/*) echo "${package#"$ROOT"/} imports upwards: ${import#"$ROOT"/}" ;; esac
done >.graph
[ ! -s .graph ] || { cat .graph; bad=1; }

# The rooms of a service: a package, and those of its own that it may import.
cat >.rooms <<EOF
gateway access callers live predict overview manage rest
gateway/rest access callers live predict overview manage web rest/reference still
gateway/live access live/pace live/smaller live/socket still
gateway/overview access live
gateway/manage access
gateway/smoke credentials live predict
workers detect depth model engine picture
workers/detect model engine picture
workers/depth model engine picture
workers/model engine picture
EOF
# shellcheck disable=SC2016 # $p is of the template
go list -tags "${TAGS:-}" -f '{{$p := .ImportPath}}{{range .Imports}}{{$p}} {{.}}{{"\n"}}{{end}}' ./gateway/... ./workers/... |
	sed "s,$ROOT/,,g" | awk '
		{ split($1, path, "/"); service = path[1] "/" }
		FNR == NR { for (i = 2; i <= NF; i++) may[$1, service $i] = 1; next }
		path[2] != "cmd" && index($2, service) == 1 && !may[$1, $2] { print $1 " must not import " $2 ": it is in another room" }
		$1 == "workers/engine" && $2 ~ /^(flow|workers)(\/|$)/ { print $1 " must not import " $2 ": it knows ONNX Runtime alone" }
	' .rooms - >.graph
[ ! -s .graph ] || { cat .graph; bad=1; }

# A folder has at most 15 Go files beside its tests. producer/street is one idea in many.
go list -tags "${TAGS:-}" -f '{{len .GoFiles}} {{len .CgoFiles}} {{.ImportPath}}' ./client/... ./flow/... ./producer/... ./workers/... ./fuser/... ./gateway/... ./standalone/... |
	awk '$1 + $2 > 15 && $3 !~ /producer\/street$/ { print $3 " has " $1 + $2 " files, at most 15: it holds more than one idea" }' >.graph
[ ! -s .graph ] || { cat .graph; bad=1; }

rm -f .graph .rooms
exit $bad
