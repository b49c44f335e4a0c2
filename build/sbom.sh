#!/bin/sh
# Writes FOLDER/PROGRAM.cdx.json for each program of a folder: sbom.sh FOLDER OUT [VERSION [SUFFIX]]
#
# What is in each program (CycloneDX): its modules of Go with their sums and licences. What an image has of Debian and of
# PyPI is in the SBOM that build/release.sh attests to the image.
set -eu
cd "$(dirname "$0")/.."
folder=$1 out=$2 version=${3:-} suffix=${4:-}
[ -n "${TAGS+set}" ] || eval "$(make -s env)"
set --
for program in "$folder"/*; do
	case $program in *.*) continue ;; esac
	if [ ! -f "$program" ] || [ ! -x "$program" ]; then continue; fi
	bom=$out/$(basename "$program")$suffix.cdx.json
	build/tool.sh cyclonedx-gomod bin -json -std -noserial -output-version 1.6 -output "$bom" ${version:+-version "$version"} "$program"
	set -- "$@" "$bom"
done
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)} build/audit.sh sbom "$@"
