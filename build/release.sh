#!/usr/bin/env bash
# The steps of a release: release.sh STEP...
#
#   clean          an empty dist/
#   check          one version everywhere; with TAG=v1.2.3 it is that one, the checkout is clean, and the changelog has it
#   static         dist/: the programs that need no library, for amd64 and arm64
#   native         dist/: those that link OpenCV, for this machine
#   chart          dist/: the packaged chart
#   sbom           dist/: what is in each program (CycloneDX)
#   sums           dist/SHA256SUMS of all that
#   push-images    builds the images on this machine and pushes them to REGISTRY, tagged with version and architecture
#   join-images    one tag for all architectures of an image
#   push-chart     pushes the chart to REGISTRY/charts
#   sign           signs the images, the chart and SHA256SUMS with the identity of the workflow that runs (cosign, keyless)
#   publish        makes the release of TAG on GitHub with all of dist/
#
# clean to sums change nothing outside of dist/, and make the same bytes from the same commit. The others want a registry
# that is logged in to, and a workflow's identity: .github/workflows/release.yml runs them.
set -euo pipefail
cd "$(dirname "$0")/.."

HELM="build/tool.sh helm"
COSIGN="build/tool.sh cosign"
SYFT="build/tool.sh syft"
export GOFLAGS='' # what is released is built as it is written

fail() { echo "release: $*" >&2; exit 1; }
field() { sed -n "s/^$1: *\"\{0,1\}\([^\" ]*\).*/\1/p" charts/spatial-flow/Chart.yaml; }
version=$(field appVersion)
revision=$(git rev-parse HEAD)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
package=github.com/spatial-flow/spatial-flow/flow/service
ldflags="-s -w -X $package.Version=$version -X $package.Revision=$revision"
STATIC=(./fuser/cmd/fuser ./gateway/cmd/gateway ./gateway/cmd/smoke ./flow/cmd/nats-config ./flow/cmd/provision)
NATIVE=(./producer/cmd/producer ./workers/cmd/worker ./standalone/cmd/spatialflow)
IMAGES=(static vision vision-cuda standalone)
architectures() { if [ "$1" = vision-cuda ]; then echo amd64; else echo amd64 arm64; fi; } # CUDA's wheels are for amd64

# pack FOLDER NAME: dist/NAME.tar.gz of dist/work/FOLDER, without anything of this machine or hour in it.
pack() {
	(cd "dist/work/$1" && tar --create --sort=name --owner=0 --group=0 --numeric-owner --mode=u+rw,go=rX,a+X \
		--mtime="@$SOURCE_DATE_EPOCH" --file - -- *) | gzip --no-name --best >"dist/$2.tar.gz"
	echo "dist/$2.tar.gz"
}

# build FOLDER PACKAGE...: the programs into dist/work/FOLDER, beside the licence and those of what is built into them.
build() {
	local folder=dist/work/$1
	shift
	rm -rf "$folder"
	mkdir -p "$folder"
	go build -trimpath -buildvcs=false -tags "${TAGS:-}" -ldflags "$ldflags" -o "$folder/" "$@"
	cp LICENSE "$folder/"
	build/audit.sh notices "$@" >"$folder/NOTICES"
}

# section NAME: that section of the changelog.
section() { awk -v name="## [$1]" 'index($0, name) == 1 { on = 1; next } on && /^## / { exit } on' CHANGELOG.md; }

clean() { rm -rf dist && mkdir -p dist/work; }

check() {
	[ -n "$version" ] || fail "charts/spatial-flow/Chart.yaml has no appVersion"
	[[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.]+)?$ ]] || fail "appVersion $version is not as 1.2.3 or 1.2.3-rc.1"
	[ "$(field version)" = "$version" ] || fail "Chart.yaml: version $(field version) and appVersion $version differ: they are released together"
	if [ -n "${TAG:-}" ]; then
		[ "$TAG" = "v$version" ] || fail "the tag is $TAG, Chart.yaml says $version"
		[ -n "$(section "$version" | tr -d '[:space:]')" ] || fail "CHANGELOG.md has no section [$version]"
		[ -z "$(git status --porcelain)" ] || fail "the checkout differs from its commit"
	else
		[ -n "$(section "$version" | tr -d '[:space:]')$(section Unreleased | tr -d '[:space:]')" ] ||
			fail "CHANGELOG.md has neither a section [$version] nor anything in [Unreleased]"
	fi
	echo "version $version, commit $revision"
}

static() {
	local arch
	for arch in amd64 arm64; do
		CGO_ENABLED=0 GOOS=linux GOARCH=$arch build "static-$arch" "${STATIC[@]}"
		pack "static-$arch" "spatial-flow-static_${version}_linux_$arch"
	done
}

native() {
	local arch
	arch=$(go env GOARCH)
	eval "$(make -s env)"
	build "native-$arch" "${NATIVE[@]}"
	pack "native-$arch" "spatial-flow_${version}_debian12_$arch"
	[[ "$("dist/work/native-$arch/spatialflow" --version)" == *" $version "* ]] || fail "spatialflow --version does not say $version"
}

chart() {
	# Packed again, because helm writes the hour into its archive.
	rm -rf dist/work/chart
	mkdir -p dist/work/chart/packed
	$HELM package charts/spatial-flow --destination dist/work/chart >/dev/null
	tar --extract --gzip --directory dist/work/chart/packed --file "dist/work/chart/spatial-flow-$version.tgz"
	pack chart/packed "spatial-flow-$version"
	mv "dist/spatial-flow-$version.tar.gz" "dist/spatial-flow-$version.tgz"
	[[ $'\n'$($HELM show chart "dist/spatial-flow-$version.tgz")$'\n' == *$'\n'"version: $version"$'\n'* ]] || fail "helm does not understand the packed chart"
}

sbom() {
	local folder
	for folder in dist/work/static-* dist/work/native-*; do
		[ ! -d "$folder" ] || build/sbom.sh "$folder" dist "v$version" "_${version}_linux_${folder##*-}"
	done
}

sums() {
	(cd dist && find . -maxdepth 1 -type f ! -name 'SHA256SUMS*' -printf '%P\n' | LC_ALL=C sort | xargs sha256sum >SHA256SUMS)
	cat dist/SHA256SUMS
}

registry() { : "${REGISTRY:?where to, as registry.example.org/team}"; }
reference() { echo "${REGISTRY%/}/spatial-flow-$1:$version"; }
digest() { docker buildx imagetools inspect "$1" --format '{{json .Manifest.Digest}}' | tr -d '"'; }

push-images() {
	registry
	local arch image
	arch=$(go env GOARCH)
	for image in "${IMAGES[@]}"; do
		[[ " $(architectures "$image") " == *" $arch "* ]] || continue
		make images IMAGES="$image" REGISTRY="$REGISTRY" VERSION="$version"
		docker tag "$(reference "$image")" "$(reference "$image")-$arch"
		docker push "$(reference "$image")-$arch"
	done
}

join-images() {
	registry
	local image arch parts
	for image in "${IMAGES[@]}"; do
		parts=()
		for arch in $(architectures "$image"); do parts+=("$(reference "$image")-$arch"); done
		docker buildx imagetools create --tag "$(reference "$image")" "${parts[@]}"
	done
}

push-chart() {
	registry
	$HELM push "dist/spatial-flow-$version.tgz" "oci://${REGISTRY%/}/charts" 2>&1 | tee dist/work/push-chart
	sed -n 's/^Digest: //p' dist/work/push-chart >dist/work/chart-digest
}

sign() {
	registry
	local image ref
	for image in "${IMAGES[@]}"; do
		ref="${REGISTRY%/}/spatial-flow-$image@$(digest "$(reference "$image")")"
		$COSIGN sign --yes --recursive "$ref"
		# What Debian, PyPI and Go brought into it; the SBOMs of dist/ know of Go alone.
		$SYFT scan "registry:$ref" --output "cyclonedx-json=dist/work/$image.cdx.json"
		$COSIGN attest --yes --type cyclonedx --predicate "dist/work/$image.cdx.json" "$ref"
	done
	$COSIGN sign --yes "${REGISTRY%/}/charts/spatial-flow@$(cat dist/work/chart-digest)"
	$COSIGN sign-blob --yes --bundle dist/SHA256SUMS.sigstore.json dist/SHA256SUMS
}

publish() {
	local flags=()
	[[ $version != *-* ]] || flags+=(--prerelease)
	section "$version" >dist/work/notes.md
	gh release create "${TAG:?TAG=v1.2.3}" --verify-tag --title "Spatial-Flow $version" --notes-file dist/work/notes.md \
		"${flags[@]}" dist/*.tar.gz dist/*.tgz dist/*.cdx.json dist/SHA256SUMS*
}

[ $# -gt 0 ] || { sed -n 's/^# \{0,1\}//p' "$0" | sed 1d; exit 2; }
mkdir -p dist/work
for step; do
	case $step in
	clean | check | static | native | chart | sbom | sums | push-images | join-images | push-chart | sign | publish) ;;
	*) fail "there is no step $step" ;;
	esac
	echo "== $step"
	"$step"
done
