#!/usr/bin/env bash
# Runs the commands of a page of the docs: page.sh PAGE KIND [SED-SCRIPT]
# KIND is what stands behind ```sh at the blocks that are meant, as cluster or images; those with "KIND background" run
# beside the others until the end. SED-SCRIPT changes names and addresses to those of a test. What fails is tried again
# for a minute, since what runs beside it may still be starting; what a block exports counts in those after it.
set -uo pipefail
page=$1 kind=$2 change=${3:-}
pids=()
stop() { for pid in ${pids[@]+"${pids[@]}"}; do kill -- "-$pid" 2>/dev/null; done; }
trap stop EXIT
number=0 fresh=
while IFS= read -r -d '' info && IFS= read -r -d '' text; do
	text=$(sed "$change" <<<"$text")
	number=$((number + 1))
	if [ "$info" = "$kind background" ]; then
		setsid bash -c "$text" >/dev/null 2>&1 &
		pids+=($!) fresh=$! fresh_text=$text
		continue
	fi
	end=$((SECONDS + 60))
	until output=$(bash -euo pipefail -c "$text" 2>&1 </dev/null); do
		if [ "$SECONDS" -ge "$end" ]; then
			printf '%s, commands %d:\n%s\nsaid:\n%s\n' "$page" "$number" "$text" "$output" >&2
			exit 1
		fi
		sleep 1
	done
	if [ -n "$fresh" ] && ! kill -0 "$fresh" 2>/dev/null && ! wait "$fresh"; then
		printf '%s: in the background this failed:\n%s\n' "$page" "$fresh_text" >&2
		exit 1
	fi
	fresh=
	printf '%s\n' "$text" | sed 's/^/    $ /'
	eval "$(grep '^export ' <<<"$text")"
done < <(python3 - "$page" "$kind" <<'PY'
import re, sys
for info, text in re.findall(r"(?ms)^```sh ([^\n]*)\n(.*?)^```$", open(sys.argv[1]).read()):
    if info in (sys.argv[2], sys.argv[2] + " background"):
        sys.stdout.write(info + "\0" + text + "\0")
PY
)
[ "$number" -gt 0 ] || { echo "$page has no commands of the kind $kind" >&2; exit 1; }
